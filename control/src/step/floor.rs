//! The panic floor (FAILURES K6): when a Service of a cluster loses its last usable backend at once, the last
//! usable ones are kept for a while. A controller that wrote empty slices by mistake writes good ones soon; a
//! Service that was scaled to nothing has nobody to answer either way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use maglane_shared::addr::VipKey;

use crate::model::{ClusterId, ObjectName, ObjectRef};
use crate::plan::{PlannedBackend, PlannedPort, ServicePlan};
use crate::problem::Problem;

pub(super) const HOLD: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Held {
    since: Duration,
    backends: Vec<PlannedBackend>,
}

#[derive(Debug, Default)]
pub(super) struct Floor {
    held: BTreeMap<VipKey, Held>,
    /// Ports whose time was up: nobody is kept for them until they have backends again.
    given_up: BTreeSet<VipKey>,
}

impl Floor {
    /// The new plan of a Service with the backends it must not lose yet.
    pub fn hold(&mut self, plan: ServicePlan, before: Option<&ServicePlan>, now: Duration) -> ServicePlan {
        let ports = plan
            .ports
            .iter()
            .map(|port| self.hold_port(port, before, now))
            .collect();
        plan.with_ports(ports)
    }

    fn hold_port(
        &mut self,
        port: &Arc<PlannedPort>,
        before: Option<&ServicePlan>,
        now: Duration,
    ) -> Arc<PlannedPort> {
        if port.owner.cluster == ClusterId::MANIFESTS {
            return Arc::clone(port);
        }
        if usable(&port.backends).next().is_some() {
            self.held.remove(&port.key);
            self.given_up.remove(&port.key);
            return Arc::clone(port);
        }
        let last = before.and_then(|before| before.ports.iter().find(|old| old.key == port.key));
        if !self.held.contains_key(&port.key) && !self.given_up.contains(&port.key) {
            let backends: Vec<_> = last
                .map(|last| usable(&last.backends).cloned().collect())
                .unwrap_or_default();
            if !backends.is_empty() {
                self.held.insert(port.key, Held { since: now, backends });
            }
        }
        let Some(held) = self.held.get(&port.key) else {
            return Arc::clone(port);
        };
        if now.saturating_sub(held.since) >= HOLD {
            self.held.remove(&port.key);
            self.given_up.insert(port.key);
            return Arc::clone(port);
        }
        Arc::new(PlannedPort {
            backends: merged(&port.backends, &held.backends),
            ..PlannedPort::clone(port)
        })
    }

    /// Owners of ports whose time is up.
    pub fn due(&self, now: Duration, owner: impl Fn(&VipKey) -> Option<ObjectName>) -> Vec<ObjectName> {
        let over = self
            .held
            .iter()
            .filter(|(_, held)| now.saturating_sub(held.since) >= HOLD);
        over.filter_map(|(key, _)| owner(key)).collect()
    }

    pub fn forget(&mut self, before: &ServicePlan) {
        for port in &before.ports {
            self.held.remove(&port.key);
            self.given_up.remove(&port.key);
        }
    }

    pub fn problems(&self, owner: impl Fn(&VipKey) -> Option<ObjectRef>) -> Vec<Problem> {
        let held = self
            .held
            .iter()
            .filter_map(|(key, held)| Some((owner(key)?, key, held.backends.len())));
        let tell = |(object, key, count): (ObjectRef, &VipKey, usize)| {
            let message =
                format!("{key} has lost all usable endpoints at once; the last {count} are kept for 30 s");
            let remedy = "nothing, if it was meant; else look why its endpoints are gone or not ready";
            Problem::warning(message, remedy).about(object)
        };
        held.map(tell).collect()
    }
}

fn usable(backends: &[PlannedBackend]) -> impl Iterator<Item = &PlannedBackend> {
    backends.iter().filter(|backend| backend.weight > 0)
}

/// The held ones take the place of those of the same address.
fn merged(now: &[PlannedBackend], held: &[PlannedBackend]) -> Vec<PlannedBackend> {
    let now = now.iter().map(|backend| (backend.addr, backend));
    let all: BTreeMap<_, _> = now
        .chain(held.iter().map(|backend| (backend.addr, backend)))
        .collect();
    all.into_values().cloned().collect()
}
