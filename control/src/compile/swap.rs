//! Compiled ports whose contents alone are news: what is made again is theirs, not everybody's.

use std::sync::Arc;

use maglane_shared::service::ForwardingMode;

use super::services::Issue;
use super::{Changed, Compiler};
use crate::plan::PlannedPort;

impl Compiler {
    /// Where `ports` differs from what was last given, if it differs in nothing but what is in some entries.
    pub(super) fn swapped(&self, ports: &[Arc<PlannedPort>]) -> Option<Vec<usize>> {
        if ports.len() != self.given.len() || !self.refused.is_empty() {
            return None;
        }
        let same_entry = |old: &PlannedPort, new: &PlannedPort| {
            (old.key, old.mode, old.reach) == (new.key, new.mode, new.reach)
                && old.owner == new.owner
                && old.mode != ForwardingMode::Dnat
                && self.ports.get(&old.key).is_some_and(|held| *held.planned == *old)
        };
        let pairs = self.given.iter().zip(ports).enumerate();
        let differ = pairs.filter(|(_, (old, new))| !Arc::ptr_eq(old, new));
        differ
            .map(|(at, (old, new))| same_entry(old, new).then_some(at))
            .collect()
    }

    pub(super) fn swap(
        &mut self,
        ports: &[Arc<PlannedPort>],
        swapped: Vec<usize>,
        issue: Issue<'_>,
    ) -> Changed {
        let mut others = vec![];
        for at in swapped {
            self.given[at] = Arc::clone(&ports[at]);
            if self.is_other(&ports[at]) {
                self.release_backends(&ports[at]);
                others.push(&ports[at]);
            }
        }
        for port in &others {
            let id = self.ports[&port.key].entry.id;
            self.put(port, id, issue);
        }
        match others.is_empty() {
            true => Changed::Nothing,
            false => Changed::Contents(others.iter().map(|port| port.key).collect()),
        }
    }
}
