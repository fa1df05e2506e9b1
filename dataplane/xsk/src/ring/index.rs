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
