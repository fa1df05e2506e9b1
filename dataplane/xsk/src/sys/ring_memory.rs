//! A ring's shared memory as atomics: producer and consumer index, flags, and slots of one or two 64-bit words.
//!
//! Slots are read and written as relaxed `AtomicU64`s. That costs nothing on any 64-bit machine, and makes even a kernel (or a
//! test playing the kernel) that breaks the index protocol deliver wrong numbers, never undefined behaviour. Numbers are
//! checked by [`crate::umem`]. Layout: `linux/net/xdp/xsk_queue.h`, `struct xdp_ring`.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::memory::Mapping;

/// Byte offsets of the four parts, as `XDP_MMAP_OFFSETS` tells them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets {
    pub producer: usize,
    pub consumer: usize,
    pub flags: usize,
    pub slots: usize,
}

impl Offsets {
    /// A layout for heap rings: indices on cache lines of their own, as in the kernel.
    pub(crate) const HEAP: Offsets = Offsets {
        producer: 0,
        consumer: 64,
        flags: 128,
        slots: 192,
    };
}

/// One side's view of a ring.
#[derive(Debug)]
pub(crate) struct RingMemory {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    slots: NonNull<AtomicU64>,
    words: u32,
    /// Keeps the four pointers valid.
    _mapping: Arc<Mapping>,
}

// SAFETY: the pointers lead to atomics in a mapping that the value keeps alive; atomics may be used from any thread.
unsafe impl Send for RingMemory {}
// SAFETY: as above.
unsafe impl Sync for RingMemory {}

impl RingMemory {
    /// `words`: 64-bit words in all slots together.
    pub(crate) fn new(mapping: Arc<Mapping>, at: Offsets, words: u32) -> io::Result<RingMemory> {
        let place = |offset: usize, bytes: usize, align: usize| {
            let fits = offset.checked_add(bytes).is_some_and(|end| end <= mapping.len());
            if !fits || !offset.is_multiple_of(align) {
                return Err(io::Error::other(format!(
                    "ring offset {offset} does not fit its mapping"
                )));
            }
            // SAFETY: offset + bytes lie inside the mapping, just checked.
            Ok(unsafe { mapping.start().add(offset) })
        };
        let producer = place(at.producer, 4, 4)?.cast();
        let consumer = place(at.consumer, 4, 4)?.cast();
        let flags = place(at.flags, 4, 4)?.cast();
        let slots = place(at.slots, words as usize * 8, 8)?.cast();
        Ok(RingMemory {
            producer,
            consumer,
            flags,
            slots,
            words,
            _mapping: mapping,
        })
    }

    #[inline(always)]
    pub(crate) fn producer(&self) -> &AtomicU32 {
        // SAFETY: aligned and inside the live mapping (`new`), only ever accessed atomically.
        unsafe { self.producer.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.consumer.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn flags(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.flags.as_ref() }
    }

    /// Word `index` of the slots, in bounds whatever the index.
    #[inline(always)]
    pub(crate) fn word(&self, index: u32) -> &AtomicU64 {
        // The count is a power of two times one or two words, so this mask is exact for every ring in use.
        let index = (index & (self.words - 1)) as usize;
        // SAFETY: index < words, and `new` checked that `words` words fit the mapping.
        let word = unsafe { self.slots.add(index) };
        // SAFETY: as for `producer`.
        unsafe { word.as_ref() }
    }
}
