//! What a change of objects would do to Services that are served: addresses, VIPs, rows of the Maglev tables.
//! Pure: the same allocator, plan and compiler as the daemon's, on objects that nobody has applied.
//!
//! Objects are taken for those of the own cluster. Failover between clusters and the kernel's routes stay out.

mod shares;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use maglane_shared::addr::Addr;
use maglane_shared::flow::HashKey;
use serde::Serialize;

use crate::compile::CompileSettings;
use crate::event::Event;
use crate::ipam::{Allocation, ChangeKind, changes};
use crate::model::{ClusterId, ServiceSpec, Setting};
use crate::plan::{Plan, PlanSettings, plan};
use crate::problem::Problem;
use crate::step::{Controller, Resume, Settings, allocation};
use crate::store::Store;

pub use shares::{PortRows, Rows};

/// One Service of type LoadBalancer of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceChange {
    /// `namespace/name`
    pub service: String,
    pub change: ChangeKind,
    pub before: Vec<Addr>,
    pub after: Vec<Addr>,
    /// It only keeps what it has because the daemon refuses to take it.
    pub refused: bool,
    /// Why it has what it then has.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// By name.
    pub services: Vec<ServiceChange>,
    /// VIPs that are served then and are not now.
    pub announced: Vec<Addr>,
    /// VIPs that are served now and are not then.
    pub withdrawn: Vec<Addr>,
    /// Of the ports that are served now and then.
    pub rows: Rows,
    /// Those of them whose flows move.
    pub ports: Vec<PortRows>,
    /// What is wrong with the objects then.
    pub problems: Vec<Problem>,
}

impl Preview {
    /// Clients would notice, or would if the daemon did not refuse.
    pub fn is_destructive(&self) -> bool {
        let harmed = |change: &ServiceChange| change.change.is_destructive() || change.refused;
        !self.withdrawn.is_empty() || self.services.iter().any(harmed)
    }
}

/// `now` makes the objects as they are, `then` is applied on top of them.
pub fn preview(now: Vec<Event>, then: Vec<Event>, settings: &PlanSettings) -> Preview {
    let mut world = Controller::new(controller_settings(settings), Resume::default());
    world.step_all(now, std::time::Duration::ZERO);
    let before = world.store().clone();
    world.step_all(
        then.into_iter().map(|event| completed(event, &before)),
        std::time::Duration::ZERO,
    );
    // What the daemon remembers: where each address came from.
    let (_, known) = allocation(ClusterId::OWN, &before, settings, &Allocation::default());
    let (requests, given) = allocation(ClusterId::OWN, world.store(), settings, &known);
    let granted = granted(world.store(), &given);
    world.step_all(granted, std::time::Duration::ZERO);
    let (old, new) = (planned(&before, settings), planned(world.store(), settings));
    let (rows, ports) = shares::compare(&old, &new);
    let (was, is) = (vips(&old), vips(&new));
    Preview {
        services: services(&changes(&requests.iter().collect::<Vec<_>>(), &given), &given),
        announced: is.difference(&was).copied().collect(),
        withdrawn: was.difference(&is).copied().collect(),
        rows,
        ports,
        problems: new.problems,
    }
}

fn services(changes: &[crate::ipam::Change], given: &Allocation) -> Vec<ServiceChange> {
    let service = |change: &crate::ipam::Change| {
        let answer = given.services.get(&change.service);
        ServiceChange {
            service: change.service.to_string(),
            change: change.kind,
            before: change.before.clone(),
            after: change.after.clone(),
            refused: answer.is_some_and(|answer| answer.retained().next().is_some()),
            why: answer.map(crate::ipam::Answer::message).unwrap_or_default(),
        }
    };
    changes.iter().map(service).collect()
}

/// A file does not say what only the cluster knows: age, identity and status are those of the object there.
fn completed(mut event: Event, before: &Store) -> Event {
    if let Event::ServiceApplied(spec) = &mut event
        && let Some(there) = before.service(&spec.name)
    {
        complete(spec, there);
    } else if let Event::PoolApplied(spec) = &mut event
        && let Some(there) = before.pools().find(|there| there.name == spec.name)
    {
        spec.pool.created = there.pool.created;
    }
    event
}

fn complete(spec: &mut ServiceSpec, there: &ServiceSpec) {
    spec.created = there.created;
    spec.vips.clone_from(&there.vips);
    spec.observed.clone_from(&there.observed);
    if spec.cluster_ips.is_empty() {
        spec.cluster_ips.clone_from(&there.cluster_ips);
    }
    if let (Some(request), Some(known)) = (&mut spec.request, &there.request) {
        request.created = known.created;
        request.held.clone_from(&known.held);
    }
}

/// The Services as they are once their addresses are in their status.
fn granted(store: &Store, given: &Allocation) -> Vec<Event> {
    let granted = given.services.iter().filter_map(|(name, answer)| {
        let mut service = ServiceSpec::clone(store.service(name)?);
        service.vips = Setting::Valid(answer.addrs().collect());
        Some(Event::ServiceApplied(Box::new(service)))
    });
    granted.collect()
}

fn planned(store: &Store, settings: &PlanSettings) -> Plan {
    plan(store, settings, &BTreeSet::new())
}

fn vips(plan: &Plan) -> BTreeSet<Addr> {
    plan.ports.iter().map(|port| port.key.addr).collect()
}

fn controller_settings(plan: &PlanSettings) -> Settings {
    Settings {
        interfaces: vec![],
        workers: 1,
        sources: BTreeSet::new(),
        plan: plan.clone(),
        compile: compile_settings(),
        nat_returns: BTreeMap::new(),
        // Nothing is served here that a limit could protect.
        max_removal_percent: 100,
    }
}

fn compile_settings() -> CompileSettings {
    CompileSettings {
        hash_key: HashKey::default(),
        maglev_table_size: None,
        max_services: u32::MAX,
        max_backends: u32::MAX,
    }
}
