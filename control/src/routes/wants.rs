//! Whom to keep resolved, and when the kernel must be asked.
//!
//! Packets that bypass the kernel leave its neighbour entries looking idle or, worse, reachable for tens of
//! seconds after the MAC address behind them has changed in silence. So everything in use is confirmed once a
//! second, at most [`CONFIRMATIONS`] neighbours a second, and asked for anew when it does not answer: a new MAC
//! address is found within two seconds. What is missing is asked for every [`RETRY`].

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use maglane_shared::addr::Addr;
use maglane_shared::next_hop::PortIndex;

use super::neighbors::Freshness;
use crate::effect::{NeighborRef, Question};

/// Between two confirmations of a neighbour, as long as they are few.
pub(super) const CONFIRM: Duration = Duration::from_secs(1);
/// Of all neighbours a second: each is a unicast ARP request or neighbour solicitation.
const CONFIRMATIONS: u32 = 256;
/// A neighbour that has not answered for so long may be elsewhere.
pub(super) const PATIENCE: Duration = Duration::from_millis(400);
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// A neighbour that only workers asked for is kept fresh this long after they last did.
const KEEP_ASKED: Duration = Duration::from_secs(600);
/// Most such neighbours; what is past it is dropped until room is made.
const MAX_ASKED: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Wants {
    /// By how many ports each.
    backends: BTreeMap<Addr, u32>,
    /// By workers, with the time they last did.
    asked: BTreeMap<(PortIndex, Addr), Duration>,
    /// When the kernel was last made to look.
    looked: BTreeMap<(PortIndex, Addr), Duration>,
}

impl Wants {
    pub fn backends(&self) -> impl Iterator<Item = Addr> {
        self.backends.keys().copied()
    }

    pub fn asked(&self) -> impl Iterator<Item = (PortIndex, Addr)> {
        self.asked.keys().copied()
    }

    /// The addresses that are wanted now and were not before, or the other way round.
    pub fn change_backends(
        &mut self,
        gone: impl Iterator<Item = Addr>,
        come: impl Iterator<Item = Addr>,
    ) -> Vec<Addr> {
        let mut changed = vec![];
        for addr in come {
            let ports = self.backends.entry(addr).or_insert(0);
            *ports += 1;
            if *ports == 1 {
                changed.push(addr);
            }
        }
        for addr in gone {
            if let Entry::Occupied(mut ports) = self.backends.entry(addr) {
                *ports.get_mut() -= 1;
                if *ports.get() == 0 {
                    ports.remove();
                    changed.push(addr);
                }
            }
        }
        changed
    }

    /// Says whether this is a new wish.
    pub fn ask_for(&mut self, port: PortIndex, addr: Addr, now: Duration) -> bool {
        let known = self.asked.contains_key(&(port, addr));
        if known || self.asked.len() < MAX_ASKED {
            self.asked.insert((port, addr), now);
        }
        !known && self.asked.len() <= MAX_ASKED && self.asked.contains_key(&(port, addr))
    }

    /// Nobody answers: what only a worker asked for is given up, it will ask again. Says whether it was such.
    pub fn failed(&mut self, port: PortIndex, addr: Addr) -> bool {
        self.asked.remove(&(port, addr)).is_some()
    }

    /// The kernel forgot it: due at once.
    pub fn ask_again(&mut self, port: PortIndex, addr: Addr) {
        self.looked.remove(&(port, addr));
    }

    /// Whom to ask for now, of the `hops` in use; they count as asked for.
    pub fn due(
        &mut self,
        now: Duration,
        hops: impl Iterator<Item = (PortIndex, Addr)>,
        state: impl Fn(PortIndex, Addr) -> Option<(u32, Freshness)>,
    ) -> Vec<NeighborRef> {
        let mut looked = BTreeMap::new();
        let mut due = vec![];
        let hops: Vec<_> = hops.collect();
        let confirm = CONFIRM * (hops.len() as u32).div_ceil(CONFIRMATIONS).max(1);
        for (port, addr) in hops {
            let Some((interface, freshness)) = state(port, addr) else {
                continue;
            };
            let (wait, question) = match freshness {
                Freshness::Fixed => continue,
                Freshness::Resolved => (confirm, Question::Confirm),
                Freshness::Probing => (PATIENCE, Question::Anew),
                Freshness::Missing => (RETRY, Question::Resolve),
            };
            let last = self.looked.get(&(port, addr)).copied();
            if last.is_some_and(|last| now.saturating_sub(last) < wait) {
                looked.extend(last.map(|last| ((port, addr), last)));
                continue;
            }
            looked.insert((port, addr), now);
            due.push(NeighborRef {
                port,
                interface,
                addr,
                question,
            });
        }
        self.looked = looked;
        due
    }

    /// Forgets workers' old wishes; says whether there were any.
    pub fn expire(&mut self, now: Duration) -> bool {
        let before = self.asked.len();
        self.asked
            .retain(|_, last| now.saturating_sub(*last) < KEEP_ASKED);
        self.asked.len() != before
    }
}
