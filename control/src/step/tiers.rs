//! Which global Services have failed over: the other clusters join at once when too few endpoints are ready
//! here, and leave after enough have been for a while, so that a flapping endpoint does not move flows to and fro.
//! Once they have had flows they keep them: leaving is a drain.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::ObjectName;
use crate::plan::Others;

/// How long enough endpoints must have been ready here.
pub(super) const RETURN_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Tiers {
    /// Those that have failed over, with the time since when enough are ready again.
    joined: BTreeMap<ObjectName, Option<Duration>>,
    /// Those that have returned from it.
    left: BTreeSet<ObjectName>,
}

impl Tiers {
    pub fn others(&self, name: &ObjectName) -> Others {
        if self.joined.contains_key(name) {
            Others::Joined
        } else if self.left.contains(name) {
            Others::Leaving
        } else {
            Others::Away
        }
    }

    /// Takes note of how many are ready here; says how far the other clusters count.
    pub fn settle(
        &mut self,
        service: &ObjectName,
        threshold: Option<u16>,
        ready_here: usize,
        now: Duration,
    ) -> Others {
        match threshold {
            None => self.forget(service),
            Some(threshold) => self.count(service, ready_here >= usize::from(threshold), now),
        }
        self.others(service)
    }

    fn count(&mut self, name: &ObjectName, enough: bool, now: Duration) {
        match self.joined.get_mut(name) {
            None if enough => {}
            None => {
                self.joined.insert(name.clone(), None);
            }
            Some(since) if enough => {
                let since = *since.get_or_insert(now);
                if now.saturating_sub(since) >= RETURN_AFTER {
                    self.joined.remove(name);
                    self.left.insert(name.clone());
                }
            }
            Some(since) => *since = None,
        }
    }

    /// Those that may return now.
    pub fn due(&self, now: Duration) -> Vec<ObjectName> {
        let due =
            |since: &Option<Duration>| since.is_some_and(|since| now.saturating_sub(since) >= RETURN_AFTER);
        let joined = self.joined.iter().filter(|(_, since)| due(since));
        joined.map(|(name, _)| name.clone()).collect()
    }

    pub fn forget(&mut self, name: &ObjectName) {
        self.joined.remove(name);
        self.left.remove(name);
    }
}
