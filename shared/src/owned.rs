//! Which virtual addresses this node answers ARP and neighbour discovery for, on which interface, and until when.
//!
//! The set is published to the workers beside the forwarding table and never changes. The fence is one word
//! that all of them read: past its deadline nobody answers, whatever became of those who should have moved it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::addr::Addr;
use crate::next_hop::PortIndex;
use crate::tick::Tick;

/// Addresses by interface.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Owned(Box<[Box<[Addr]>]>);

impl Owned {
    /// One list an interface, in the order of [`PortIndex`].
    pub fn new(ports: impl IntoIterator<Item = Vec<Addr>>) -> Owned {
        let sorted = |mut addrs: Vec<Addr>| {
            addrs.sort_unstable();
            addrs.into_boxed_slice()
        };
        Owned(ports.into_iter().map(sorted).collect())
    }

    pub fn contains(&self, port: PortIndex, addr: Addr) -> bool {
        let addrs = self.0.get(usize::from(port.0));
        addrs.is_some_and(|addrs| addrs.binary_search(&addr).is_ok())
    }
}

/// How long answers may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    Passed,
    /// Up to this tick, not at it.
    At(Tick),
    Never,
}

/// The deadline that all workers share. At first it has passed.
#[derive(Debug, Default)]
pub struct Fence(AtomicU64);

const PASSED: u64 = 0;
const NEVER: u64 = u64::MAX;
/// Beside the tick in the lower half.
const AT: u64 = 1 << 32;

impl Fence {
    pub fn set(&self, deadline: Deadline) {
        let word = match deadline {
            Deadline::Passed => PASSED,
            Deadline::At(tick) => AT | u64::from(tick.0),
            Deadline::Never => NEVER,
        };
        self.0.store(word, Ordering::Release);
    }

    pub fn is_open(&self, now: Tick) -> bool {
        is_open(self.0.load(Ordering::Acquire), now)
    }

    /// Shuts a fence whose deadline has passed, for good: a tick says "later" for 24 days only. To be called
    /// far more often than that.
    #[inline]
    pub fn latch(&self, now: Tick) {
        let word = self.0.load(Ordering::Relaxed);
        if word != PASSED && !is_open(word, now) {
            // Lost against a new deadline: that one holds.
            let _ = self
                .0
                .compare_exchange(word, PASSED, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

#[inline]
fn is_open(word: u64, now: Tick) -> bool {
    match word {
        PASSED => false,
        NEVER => true,
        at => Tick(at as u32).since(now) > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_owned_on_its_interface_alone() {
        let [a, b, c]: [Addr; 3] = ["192.0.2.9", "192.0.2.1", "2001:db8::1"].map(|a| a.parse().unwrap());
        let owned = Owned::new([vec![a, b], vec![c]]);
        assert!(owned.contains(PortIndex(0), a) && owned.contains(PortIndex(0), b));
        assert!(owned.contains(PortIndex(1), c));
        assert!(!owned.contains(PortIndex(1), a) && !owned.contains(PortIndex(0), c));
        assert!(!owned.contains(PortIndex(2), a) && !Owned::default().contains(PortIndex(0), a));
    }

    #[test]
    fn nobody_answers_past_the_deadline_however_long_ago_it_was() {
        let fence = Fence::default();
        assert!(!fence.is_open(Tick(0)));
        fence.set(Deadline::At(Tick(100)));
        assert!(fence.is_open(Tick(0)) && fence.is_open(Tick(99)));
        assert!(!fence.is_open(Tick(100)) && !fence.is_open(Tick(5000)));
        fence.latch(Tick(99));
        assert!(fence.is_open(Tick(99)));
        fence.latch(Tick(100));
        // 30 days on, the tick alone would say that the deadline lies ahead.
        assert!(!fence.is_open(Tick(100).plus(30 * 86_400_000)));
        assert!(!fence.is_open(Tick(0)));
        fence.set(Deadline::Never);
        fence.latch(Tick(7));
        assert!(fence.is_open(Tick(u32::MAX)));
        fence.set(Deadline::Passed);
        assert!(!fence.is_open(Tick(0)));
    }

    #[test]
    fn a_deadline_survives_the_wrap_of_ticks() {
        let fence = Fence::default();
        fence.set(Deadline::At(Tick(u32::MAX).plus(1000)));
        assert!(fence.is_open(Tick(u32::MAX)) && fence.is_open(Tick(998)));
        assert!(!fence.is_open(Tick(999)));
    }
}
