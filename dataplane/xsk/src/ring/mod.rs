//! The four AF_XDP rings over one generic single-producer single-consumer ring.
//!
//! ```text
//!   RxRing, CompletionRing: kernel produces, we consume      FillRing, TxRing: we produce, kernel consumes
//! ```
//! The index protocol is in `index`, the shared words in `sys/ring_memory`; this joins them and gives each ring a type, so
//! that a producer cannot be used as a consumer. Must never judge contents: descriptors are checked by [`crate::umem`].

mod index;

use std::sync::atomic::Ordering;

use crate::sys::ring_memory::RingMemory;

pub use index::{ConsumerIndex, ProducerIndex};

/// One descriptor of an RX or TX ring (`struct xdp_desc`): address in the UMEM, bytes, options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    pub address: u64,
    pub len: u32,
    pub options: u32,
}

/// 64-bit words in a slot of an RX or TX ring, and of a fill or completion ring.
pub(crate) const DESCRIPTOR_WORDS: u32 = 2;
pub(crate) const ADDRESS_WORDS: u32 = 1;

/// What a slot holds.
trait Slot: Copy {
    fn load(memory: &RingMemory, slot: u32) -> Self;
    fn store(self, memory: &RingMemory, slot: u32);
}

impl Slot for u64 {
    #[inline(always)]
    fn load(memory: &RingMemory, slot: u32) -> u64 {
        memory.word(slot).load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn store(self, memory: &RingMemory, slot: u32) {
        memory.word(slot).store(self, Ordering::Relaxed);
    }
}

impl Slot for Descriptor {
    #[inline(always)]
    fn load(memory: &RingMemory, slot: u32) -> Descriptor {
        let at = slot.wrapping_mul(2);
        let address = memory.word(at).load(Ordering::Relaxed);
        let rest = memory
            .word(at.wrapping_add(1))
            .load(Ordering::Relaxed)
            .to_ne_bytes();
        let half = |i: usize| u32::from_ne_bytes([rest[i], rest[i + 1], rest[i + 2], rest[i + 3]]);
        Descriptor {
            address,
            len: half(0),
            options: half(4),
        }
    }

    #[inline(always)]
    fn store(self, memory: &RingMemory, slot: u32) {
        let at = slot.wrapping_mul(2);
        let (len, options) = (self.len.to_ne_bytes(), self.options.to_ne_bytes());
        let rest = [
            len[0], len[1], len[2], len[3], options[0], options[1], options[2], options[3],
        ];
        memory.word(at).store(self.address, Ordering::Relaxed);
        memory
            .word(at.wrapping_add(1))
            .store(u64::from_ne_bytes(rest), Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Producer<T> {
    memory: RingMemory,
    index: ProducerIndex,
    slot: std::marker::PhantomData<T>,
}

impl<T: Slot> Producer<T> {
    fn new(memory: RingMemory, size: u32) -> Self {
        Producer {
            memory,
            index: ProducerIndex::new(size),
            slot: std::marker::PhantomData,
        }
    }

    #[inline]
    fn free(&mut self, want: u32) -> u32 {
        self.index.free(self.memory.consumer(), want)
    }

    #[inline]
    fn push(&mut self, value: T) -> bool {
        if self.free(1) == 0 {
            return false;
        }
        value.store(&self.memory, self.index.claim());
        true
    }

    #[inline]
    fn publish(&mut self) -> bool {
        self.index.publish(self.memory.producer())
    }

    /// `XDP_RING_NEED_WAKEUP`: the consumer sleeps until a system call.
    #[inline]
    fn needs_wakeup(&self) -> bool {
        self.memory.flags().load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    /// Published and not yet consumed.
    fn pending(&mut self) -> u32 {
        self.index.pending(self.memory.consumer())
    }
}

#[derive(Debug)]
struct Consumer<T> {
    memory: RingMemory,
    index: ConsumerIndex,
    slot: std::marker::PhantomData<T>,
}

impl<T: Slot> Consumer<T> {
    fn new(memory: RingMemory, size: u32) -> Self {
        Consumer {
            memory,
            index: ConsumerIndex::new(size),
            slot: std::marker::PhantomData,
        }
    }

    #[inline]
    fn available(&mut self, want: u32) -> u32 {
        self.index.available(self.memory.producer(), want)
    }

    /// The next value; None when none is known (after [`Self::available`]).
    #[inline]
    fn pop(&mut self) -> Option<T> {
        if self.available(1) == 0 {
            return None;
        }
        Some(T::load(&self.memory, self.index.take()))
    }

    #[inline]
    fn release(&mut self) {
        self.index.release(self.memory.consumer());
    }

    /// Produced and not taken, without moving anything.
    fn waiting(&self) -> u32 {
        self.index.waiting(self.memory.producer())
    }
}

macro_rules! ring {
    ($(#[$doc:meta])* $name:ident, $kind:ident<$slot:ty>) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name($kind<$slot>);

        impl $name {
            /// `size`: slots, a power of two.
            pub(crate) fn new(memory: RingMemory, size: u32) -> Self {
                Self($kind::new(memory, size))
            }
        }
    };
}

macro_rules! producing {
    ($name:ident, $slot:ty) => {
        impl $name {
            /// Free slots; asks the kernel's index only if fewer than `want` are known.
            #[inline]
            pub fn free(&mut self, want: u32) -> u32 {
                self.0.free(want)
            }

            /// False when full. Nothing is seen before [`Self::publish`].
            #[inline]
            pub fn push(&mut self, value: $slot) -> bool {
                self.0.push(value)
            }

            /// One release store for all that was pushed; true if there was anything.
            #[inline]
            pub fn publish(&mut self) -> bool {
                self.0.publish()
            }

            #[inline]
            pub fn needs_wakeup(&self) -> bool {
                self.0.needs_wakeup()
            }

            /// Published and not yet taken by the other side.
            pub fn pending(&mut self) -> u32 {
                self.0.pending()
            }
        }
    };
}

macro_rules! consuming {
    ($name:ident, $slot:ty) => {
        impl $name {
            /// Filled slots; asks the kernel's index only if fewer than `want` are known.
            #[inline]
            pub fn available(&mut self, want: u32) -> u32 {
                self.0.available(want)
            }

            #[inline]
            pub fn pop(&mut self) -> Option<$slot> {
                self.0.pop()
            }

            /// One release store giving all popped slots back.
            #[inline]
            pub fn release(&mut self) {
                self.0.release();
            }

            /// Slots waiting to be popped, now.
            pub fn waiting(&self) -> u32 {
                self.0.waiting()
            }
        }
    };
}

ring!(/// Received packets; the kernel fills it.
    RxRing, Consumer<Descriptor>);
ring!(/// Packets to send; we fill it.
    TxRing, Producer<Descriptor>);
ring!(/// Empty chunks for the kernel to receive into; we fill it.
    FillRing, Producer<u64>);
ring!(/// Sent chunks; the kernel fills it.
    CompletionRing, Consumer<u64>);
consuming!(RxRing, Descriptor);
producing!(TxRing, Descriptor);
producing!(FillRing, u64);
consuming!(CompletionRing, u64);

// The kernel's side, for tests that play it.
ring!(KernelRx, Producer<Descriptor>);
ring!(KernelTx, Consumer<Descriptor>);
ring!(KernelFill, Consumer<u64>);
ring!(KernelCompletion, Producer<u64>);
producing!(KernelRx, Descriptor);
consuming!(KernelTx, Descriptor);
consuming!(KernelFill, u64);
producing!(KernelCompletion, u64);
