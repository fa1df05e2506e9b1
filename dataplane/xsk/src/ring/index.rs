//! The index protocol of a ring with one producer and one consumer, free of memory and kernel so that loom checks it.
//!
//! Indices run freely over u32; a slot is `index & (size - 1)`. Release on our index pairs with acquire on theirs, as in
//! `linux/net/xdp/xsk_queue.h` ("The structure of the shared state of the rings"). Each side keeps a cached view of the
//! other's index and publishes its own once a batch. An impossible index from the other side is not believed.

use crate::sync::SharedIndex;

/// The producing side's indices: what we filled, what we showed, what the consumer has freed as far as we know.
#[derive(Debug)]
pub struct ProducerIndex {
    next: u32,
    published: u32,
    consumer_seen: u32,
    size: u32,
}

impl ProducerIndex {
    pub fn new(size: u32) -> Self {
        ProducerIndex {
            next: 0,
            published: 0,
            consumer_seen: 0,
            size,
        }
    }

    /// Free slots, looking at the consumer's index only when fewer than `want` are known.
    #[inline]
    pub fn free(&mut self, consumer: &impl SharedIndex, want: u32) -> u32 {
        let known = self.size - self.outstanding();
        if known >= want {
            return known;
        }
        let seen = consumer.acquire();
        // A consumer can only be between what we last saw and what we published; anything else is not believed.
        if seen.wrapping_sub(self.consumer_seen) <= self.published.wrapping_sub(self.consumer_seen) {
            self.consumer_seen = seen;
        }
        self.size - self.outstanding()
    }

    /// The slot to fill next. Only after [`Self::free`] said there is one.
    #[inline]
    pub fn claim(&mut self) -> u32 {
        let slot = self.next;
        self.next = self.next.wrapping_add(1);
        slot
    }

    /// Shows all claimed slots to the consumer; true if there were any.
    #[inline]
    pub fn publish(&mut self, producer: &impl SharedIndex) -> bool {
        let any = self.next != self.published;
        if any {
            producer.release(self.next);
            self.published = self.next;
        }
        any
    }

    /// Published and not yet consumed, now.
    pub fn pending(&mut self, consumer: &impl SharedIndex) -> u32 {
        self.free(consumer, u32::MAX);
        self.published.wrapping_sub(self.consumer_seen)
    }

    /// Slots filled and not known to be consumed.
    #[inline]
    fn outstanding(&self) -> u32 {
        self.next.wrapping_sub(self.consumer_seen)
    }
}

/// The consuming side's indices.
#[derive(Debug)]
pub struct ConsumerIndex {
    next: u32,
    released: u32,
    producer_seen: u32,
    size: u32,
}

impl ConsumerIndex {
    pub fn new(size: u32) -> Self {
        ConsumerIndex {
            next: 0,
            released: 0,
            producer_seen: 0,
            size,
        }
    }

    /// Filled slots, looking at the producer's index only when fewer than `want` are known.
    #[inline]
    pub fn available(&mut self, producer: &impl SharedIndex, want: u32) -> u32 {
        let known = self.producer_seen.wrapping_sub(self.next);
        if known >= want {
            return known;
        }
        let seen = producer.acquire();
        // Behind what we took, or more than a ring ahead of what we released, is impossible and not believed.
        let taken = self.next.wrapping_sub(self.released);
        if seen.wrapping_sub(self.next) <= self.size - taken {
            self.producer_seen = seen;
        }
        self.producer_seen.wrapping_sub(self.next)
    }

    /// The slot to read next. Only after [`Self::available`] said there is one.
    #[inline]
    pub fn take(&mut self) -> u32 {
        let slot = self.next;
        self.next = self.next.wrapping_add(1);
        slot
    }

    /// Produced and not taken, now, without moving anything.
    pub fn waiting(&self, producer: &impl SharedIndex) -> u32 {
        let ahead = producer.acquire().wrapping_sub(self.next);
        if ahead > self.size { 0 } else { ahead }
    }

    /// Gives all taken slots back to the producer.
    #[inline]
    pub fn release(&mut self, consumer: &impl SharedIndex) {
        if self.next != self.released {
            consumer.release(self.next);
            self.released = self.next;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn nothing_is_seen_before_publish_nor_freed_before_release() {
        let (produced, consumed) = (AtomicU32::new(0), AtomicU32::new(0));
        let (mut producer, mut consumer) = (ProducerIndex::new(4), ConsumerIndex::new(4));
        assert_eq!(producer.free(&consumed, 4), 4);
        producer.claim();
        producer.claim();
        assert_eq!(consumer.available(&produced, 1), 0);
        assert!(producer.publish(&produced));
        assert!(!producer.publish(&produced));
        assert_eq!(consumer.available(&produced, 1), 2);
        consumer.take();
        assert_eq!(producer.free(&consumed, 4), 2);
        consumer.release(&consumed);
        assert_eq!(producer.free(&consumed, 4), 3);
        assert_eq!(producer.pending(&consumed), 1);
    }

    #[test]
    fn impossible_indices_are_not_believed() {
        let (produced, consumed) = (AtomicU32::new(0), AtomicU32::new(0));
        let (mut producer, mut consumer) = (ProducerIndex::new(4), ConsumerIndex::new(4));
        produced.store(5, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(consumer.available(&produced, 1), 0);
        assert_eq!(consumer.waiting(&produced), 0);
        produced.store(u32::MAX, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(consumer.available(&produced, 1), 0);
        consumed.store(3, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(producer.free(&consumed, 9), 4);
        produced.store(3, std::sync::atomic::Ordering::Relaxed);
        consumer.available(&produced, 1);
        consumer.take();
        consumer.take();
        produced.store(1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(
            consumer.available(&produced, 9),
            1,
            "an index behind what we took"
        );
    }

    proptest! {
        /// Against the obvious model, from any starting point of the indices (so across the wrap of u32).
        #[test]
        fn agrees_with_counting(start in any::<u32>(), steps in prop::collection::vec((0u8..4, 1u32..9), 0..300)) {
            const SIZE: u32 = 8;
            let (produced, consumed) = (AtomicU32::new(start), AtomicU32::new(start));
            let mut producer = ProducerIndex { next: start, published: start, consumer_seen: start, size: SIZE };
            let mut consumer = ConsumerIndex { next: start, released: start, producer_seen: start, size: SIZE };
            let (mut claimed, mut shown, mut taken, mut freed) = (0u32, 0u32, 0u32, 0u32);
            for (kind, want) in steps {
                match kind {
                    0 => {
                        let n = producer.free(&consumed, want).min(want);
                        prop_assert!(n == want.min(SIZE - (claimed - freed)));
                        (0..n).for_each(|_| { producer.claim(); });
                        claimed += n;
                    }
                    1 => {
                        producer.publish(&produced);
                        shown = claimed;
                    }
                    2 => {
                        let n = consumer.available(&produced, want).min(want);
                        prop_assert!(n == want.min(shown - taken));
                        for _ in 0..n {
                            prop_assert_eq!(consumer.take(), start.wrapping_add(taken));
                            taken += 1;
                        }
                    }
                    _ => {
                        consumer.release(&consumed);
                        freed = taken;
                    }
                }
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_model {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU32;

    const SIZE: u32 = 2;

    struct Shared {
        produced: AtomicU32,
        consumed: AtomicU32,
        slots: [UnsafeCell<u32>; SIZE as usize],
    }

    /// Every interleaving: a slot is never read while written (loom's cells would report it), values come once and in order.
    #[test]
    fn loom_slots_pass_from_producer_to_consumer() {
        const VALUES: u32 = 3;
        loom::model(|| {
            let shared = Arc::new(Shared {
                produced: AtomicU32::new(0),
                consumed: AtomicU32::new(0),
                slots: [UnsafeCell::new(0), UnsafeCell::new(0)],
            });
            let kernel = Arc::clone(&shared);
            let consumer = loom::thread::spawn(move || {
                let mut index = ConsumerIndex::new(SIZE);
                let mut expected = 0;
                while expected < VALUES {
                    if index.available(&kernel.produced, 1) == 0 {
                        loom::thread::yield_now();
                        continue;
                    }
                    let slot = (index.take() & (SIZE - 1)) as usize;
                    // SAFETY: the protocol under test; loom reports a concurrent write.
                    let value = kernel.slots[slot].with(|p| unsafe { *p });
                    assert_eq!(value, expected);
                    expected += 1;
                    index.release(&kernel.consumed);
                }
            });
            let mut index = ProducerIndex::new(SIZE);
            let mut next = 0;
            while next < VALUES {
                let free = index.free(&shared.consumed, 1).min(VALUES - next);
                if free == 0 {
                    loom::thread::yield_now();
                    continue;
                }
                for _ in 0..free {
                    let slot = (index.claim() & (SIZE - 1)) as usize;
                    // SAFETY: the protocol under test; loom reports a concurrent read.
                    shared.slots[slot].with_mut(|p| unsafe { *p = next });
                    next += 1;
                }
                index.publish(&shared.produced);
            }
            consumer.join().unwrap();
        });
    }
}
