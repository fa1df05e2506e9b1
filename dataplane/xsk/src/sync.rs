//! The shared word of a ring as the index protocol sees it: two orderings and nothing else.
//! The real one is an `AtomicU32` in kernel-shared memory, the other one is loom's, so that the model checker runs the
//! very code that talks to the kernel (`RUSTFLAGS="--cfg loom" cargo test --release -p maglane-xsk --lib loom`).

use std::sync::atomic::{AtomicU32, Ordering};

/// A ring index that both sides see.
pub trait SharedIndex {
    /// Everything the other side wrote before it stored this value is visible afterwards.
    fn acquire(&self) -> u32;
    /// Everything written before this call is visible to whoever acquires the value.
    fn release(&self, value: u32);
}

impl SharedIndex for AtomicU32 {
    #[inline(always)]
    fn acquire(&self) -> u32 {
        self.load(Ordering::Acquire)
    }

    #[inline(always)]
    fn release(&self, value: u32) {
        self.store(value, Ordering::Release);
    }
}

#[cfg(loom)]
impl SharedIndex for loom::sync::atomic::AtomicU32 {
    fn acquire(&self) -> u32 {
        self.load(loom::sync::atomic::Ordering::Acquire)
    }

    fn release(&self, value: u32) {
        self.store(value, loom::sync::atomic::Ordering::Release);
    }
}
