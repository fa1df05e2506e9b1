//! Which global Services have failed over: the other clusters join at once when too few endpoints are ready
//! here, and leave after enough have been for a while, so that a flapping endpoint does not move flows to and fro.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{ObjectName, ServiceSpec};

/// How long enough endpoints must have been ready here.
pub(super) const RETURN_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Tiers {
    /// Those that have failed over, with the time since when enough are ready again.
    joined: BTreeMap<ObjectName, Option<Duration>>,
}

impl Tiers {
    pub fn failed_over(&self, name: &ObjectName) -> bool {
        self.joined.contains_key(name)
    }

    /// Takes note of how many are ready here; says whether the other clusters count.
    pub fn settle(&mut self, service: &ServiceSpec, ready_here: usize, now: Duration) -> bool {
        let threshold = service.global.get().and_then(|global| global.failover_threshold);
        let Some(threshold) = threshold else {
            self.joined.remove(&service.name);
            return false;
        };
        let enough = ready_here >= usize::from(threshold);
        match self.joined.get_mut(&service.name) {
            None if enough => false,
            None => {
                self.joined.insert(service.name.clone(), None);
                true
            }
            Some(since) if enough => {
                let since = *since.get_or_insert(now);
                let over = now.saturating_sub(since) >= RETURN_AFTER;
                if over {
                    self.joined.remove(&service.name);
                }
                !over
            }
            Some(since) => {
                *since = None;
                true
            }
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
    }
}
