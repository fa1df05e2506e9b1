//! Slots of dense arrays: given out, taken back, given out again, the longest idle first.

use std::collections::{BTreeSet, VecDeque};

/// So many slots rest before the first is used again: late packets and flows of the old holder still count on
/// its slot, and the fewer meet a new holder, the truer are its counters.
const RESTING: usize = 1024;

#[derive(Debug)]
pub(super) struct Slots {
    /// Never given out from here on.
    fresh: u32,
    limit: u32,
    free: VecDeque<u32>,
}

impl Slots {
    pub fn new(limit: u32) -> Slots {
        Slots {
            fresh: 0,
            limit,
            free: VecDeque::new(),
        }
    }

    /// With the slots in `live` given out already.
    pub fn resume(limit: u32, live: &[u32]) -> Slots {
        let live: BTreeSet<u32> = live.iter().copied().collect();
        let fresh = live.last().map_or(0, |last| last + 1);
        Slots {
            fresh,
            limit,
            free: (0..fresh).filter(|slot| !live.contains(slot)).collect(),
        }
    }

    pub fn take(&mut self) -> Option<u32> {
        if self.free.len() > RESTING || self.fresh == self.limit {
            return self.free.pop_front();
        }
        self.fresh += 1;
        Some(self.fresh - 1)
    }

    pub fn give_back(&mut self, slot: u32) {
        self.free.push_back(slot);
    }
}
