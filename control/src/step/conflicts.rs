//! Who else claims our addresses.

use std::collections::BTreeMap;
use std::time::Duration;

use maglane_shared::addr::{Addr, MacAddr};

use crate::problem::Problem;

/// A claim is a problem while it was heard within this time.
const KEPT: Duration = Duration::from_secs(60);
/// A node that takes over says so while the old owner may still hold on: such a moment is no conflict, and to
/// contradict then would send packets the wrong way.
const LASTING: Duration = Duration::from_secs(1);
/// Between two defences (RFC 5227 §2.4).
const DEFEND_EVERY: Duration = Duration::from_secs(10);
/// Claimed addresses that are remembered.
const MOST: usize = 256;

#[derive(Clone, Copy, Debug)]
struct Claim {
    mac: MacAddr,
    first: Duration,
    last: Duration,
    defended: Option<Duration>,
}

impl Claim {
    fn lasts(&self) -> bool {
        self.last >= self.first + LASTING
    }
}

#[derive(Debug, Default)]
pub(super) struct Conflicts(BTreeMap<Addr, Claim>);

impl Conflicts {
    /// Says whether the address should be announced again at once.
    pub fn add(&mut self, addr: Addr, mac: MacAddr, now: Duration) -> bool {
        if self.0.len() >= MOST && !self.0.contains_key(&addr) {
            return false;
        }
        let claim = self.0.entry(addr).or_insert(Claim {
            mac,
            first: now,
            last: now,
            defended: None,
        });
        claim.mac = mac;
        claim.last = now;
        let rested = claim.defended.is_none_or(|last| now >= last + DEFEND_EVERY);
        let due = claim.lasts() && rested;
        if due {
            claim.defended = Some(now);
        }
        due
    }

    pub fn expire(&mut self, now: Duration) {
        self.0.retain(|_, claim| now < claim.last + KEPT);
    }

    pub fn keep_only(&mut self, owned: impl Fn(&Addr) -> bool) {
        self.0.retain(|addr, _| owned(addr));
    }

    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        let lasting = self.0.iter().filter(|(_, claim)| claim.lasts());
        lasting.map(|(addr, Claim { mac, .. })| {
            let message = format!("{addr} is claimed by {mac} as well as by this node");
            let remedy =
                "find the host with that MAC address and take the address off it, or out of the pool";
            Problem::error(message, remedy)
        })
    }
}
