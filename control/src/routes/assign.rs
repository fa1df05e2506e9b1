//! Indexes of hops and groups: given once, kept while in use, then free for others.

use std::collections::{BTreeMap, BTreeSet};

use maglane_shared::addr::Addr;
use maglane_shared::next_hop::{HopGroupId, HopIndex, PortIndex};

use super::NO_WAY;
use crate::problem::Problem;

/// What makes a hop another hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HopKey {
    pub port: PortIndex,
    pub neighbor: Addr,
    /// The route's MTU, where it has one.
    pub mtu: Option<u32>,
}

/// A group by its members; a member may be there more than once, by weight.
pub(super) type GroupKey = Box<[HopKey]>;

/// Numbers for keys, the smallest free one each.
#[derive(Debug)]
pub(super) struct Numbers<K> {
    by_key: BTreeMap<K, u32>,
    free: BTreeSet<u32>,
    next: u32,
    limit: u32,
}

impl<K: Ord + Clone> Numbers<K> {
    fn new(first: u32, limit: u32) -> Self {
        Numbers {
            by_key: BTreeMap::new(),
            free: BTreeSet::new(),
            next: first,
            limit,
        }
    }

    /// Frees the numbers of all keys that are not in `used`.
    fn keep(&mut self, used: &BTreeSet<K>) {
        let free = &mut self.free;
        self.by_key.retain(|key, number| {
            let keep = used.contains(key);
            if !keep {
                free.insert(*number);
            }
            keep
        });
    }

    fn give(&mut self, key: &K) -> Option<u32> {
        if let Some(number) = self.by_key.get(key) {
            return Some(*number);
        }
        let number = match self.free.pop_first() {
            Some(number) => number,
            None if self.next < self.limit => {
                self.next += 1;
                self.next - 1
            }
            None => return None,
        };
        self.by_key.insert(key.clone(), number);
        Some(number)
    }
}

/// Hops fit a `u16`.
const MAX_HOPS: u32 = 1 << 16;
const MAX_GROUPS: u32 = 1 << 20;

#[derive(Debug)]
pub(super) struct Assigned {
    hops: Numbers<HopKey>,
    groups: Numbers<GroupKey>,
    /// Neighbours of hops: those that something needs, and those that are merely known.
    present: BTreeMap<(PortIndex, Addr), Need>,
    left_out: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// The kernel knows it; we may as well.
    Known,
    /// A gateway, a backend, or asked for by a worker.
    Needed,
}

impl Default for Assigned {
    fn default() -> Self {
        Assigned {
            hops: Numbers::new(0, MAX_HOPS),
            groups: Numbers::new(NO_WAY.0 + 1, MAX_GROUPS),
            present: BTreeMap::new(),
            left_out: 0,
        }
    }
}

impl Assigned {
    /// Gives every group and its hops a number; groups that find none lose those members.
    pub fn assign(&mut self, groups: &BTreeMap<GroupKey, Need>) {
        let hops: BTreeSet<HopKey> = groups.keys().flat_map(|group| group.iter().copied()).collect();
        self.hops.keep(&hops);
        self.groups.keep(&groups.keys().cloned().collect());
        self.present.clear();
        self.left_out = 0;
        let mut order: Vec<(&GroupKey, &Need)> = groups.iter().collect();
        order.sort_by_key(|(_, need)| std::cmp::Reverse(**need));
        for (group, need) in order {
            for hop in group {
                match self.hops.give(hop) {
                    Some(_) => {
                        let entry = self.present.entry((hop.port, hop.neighbor)).or_insert(*need);
                        *entry = (*entry).max(*need);
                    }
                    None => self.left_out += 1,
                }
            }
            self.groups.give(group);
        }
    }

    pub fn group(&self, key: &GroupKey) -> Option<HopGroupId> {
        self.groups.by_key.get(key).copied().map(HopGroupId)
    }

    pub fn hop(&self, key: &HopKey) -> Option<HopIndex> {
        self.hops.by_key.get(key).map(|number| HopIndex(*number as u16))
    }

    /// By index; gaps are free numbers.
    pub fn hops(&self) -> impl Iterator<Item = (&HopKey, usize)> {
        self.hops
            .by_key
            .iter()
            .map(|(key, number)| (key, *number as usize))
    }

    pub fn groups(&self) -> impl Iterator<Item = (&GroupKey, usize)> {
        self.groups
            .by_key
            .iter()
            .map(|(key, number)| (key, *number as usize))
    }

    /// Neighbours that something needs.
    pub fn neighbors(&self) -> impl Iterator<Item = (PortIndex, Addr)> {
        self.present
            .iter()
            .filter(|(_, need)| **need == Need::Needed)
            .map(|(key, _)| *key)
    }

    pub fn has(&self, port: PortIndex, addr: Addr) -> bool {
        self.present.contains_key(&(port, addr))
    }

    pub fn needs(&self, port: PortIndex, addr: Addr) -> bool {
        self.present.get(&(port, addr)) == Some(&Need::Needed)
    }

    pub fn problem(&self) -> Option<Problem> {
        (self.left_out > 0).then(|| {
            let message = format!(
                "{} next hops are past the {MAX_HOPS} that a table holds",
                self.left_out
            );
            Problem::error(message, "put a router between this node and so many neighbours")
        })
    }
}
