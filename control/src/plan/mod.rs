//! Objects -> what to balance: VIP ports with mode, hash inputs and backends. Pure; the same objects give the
//! same plan, in whatever order they came.
//!
//! Each Service is planned by itself ([`plan_service`]), so that a change costs one Service; [`Plan::merge`]
//! then settles who gets a VIP port that several claim: the older, else the first by namespace and name.

mod backends;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use maglane_shared::addr::{Addr, Protocol, VipKey};
use maglane_shared::flow::HashInputs;
use maglane_shared::service::{BackendState, ForwardingMode};

use crate::model::{EndpointSliceSpec, ObjectName, PortProtocol, PortSpec, ServiceSpec};
use crate::problem::Problem;
use crate::store::Store;

#[derive(Clone, Debug, Default)]
pub struct PlanSettings {
    /// `--mode`.
    pub mode: ForwardingMode,
    /// `--snat-address`: never a VIP.
    pub snat: BTreeSet<Addr>,
}

/// One backend of one VIP port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlannedBackend {
    pub addr: Addr,
    pub port: u16,
    /// Of the pod; another pod is another backend.
    pub uid: Box<str>,
    /// 0 when it drains.
    pub weight: u16,
}

impl PlannedBackend {
    pub const fn state(&self) -> BackendState {
        match self.weight {
            0 => BackendState::Draining,
            _ => BackendState::Active,
        }
    }
}

/// One VIP port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPort {
    pub key: VipKey,
    pub owner: ObjectName,
    pub port_name: Box<str>,
    pub mode: ForwardingMode,
    pub hash_inputs: HashInputs,
    /// By address, each once.
    pub backends: Vec<PlannedBackend>,
}

/// What one Service asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// Rank among rivals: age, then name.
    rank: (i64, ObjectName),
    pub ports: Vec<Arc<PlannedPort>>,
    pub problems: Vec<Problem>,
}

/// What all ask for, rivalry settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By key, each once.
    pub ports: Vec<Arc<PlannedPort>>,
    /// In order, each once.
    pub problems: Vec<Problem>,
}

/// Plans everything from nothing; the controller plans what has changed, to the same result.
pub fn plan(store: &Store, settings: &PlanSettings) -> Plan {
    let services: Vec<ServicePlan> = store
        .services()
        .map(|service| plan_service(service, &store.slices_of(&service.name), settings))
        .collect();
    Plan::merge(services.iter())
}

/// Plans one Service with its slices, in any order.
pub fn plan_service(
    service: &ServiceSpec,
    slices: &[&EndpointSliceSpec],
    settings: &PlanSettings,
) -> ServicePlan {
    let mut problems = found_before(service, slices);
    let no_vips = vec![];
    let (vips, refused): (Vec<Addr>, Vec<Addr>) = service
        .vips
        .get()
        .unwrap_or(&no_vips)
        .iter()
        .partition(|vip| !settings.snat.contains(vip));
    problems.extend(refused.into_iter().map(|vip| refused_vip(service, vip)));
    let mut ports = vec![];
    if !vips.is_empty() {
        for (at, port) in service.ports.iter().enumerate() {
            let place = backends::Place {
                service,
                port,
                at,
                slices,
                settings,
            };
            match &port.protocol {
                PortProtocol::Balanced(protocol) => {
                    ports.extend(plan_port(&place, *protocol, &vips, &mut problems));
                }
                PortProtocol::Unsupported(name) => problems.push(unsupported(service, port, at, name)),
            }
        }
        problems.extend(backends::complaints(service, slices));
    }
    problems.sort_unstable();
    problems.dedup();
    let rank = (service.created.unwrap_or(i64::MAX), service.name.clone());
    ServicePlan {
        rank,
        ports,
        problems,
    }
}

fn plan_port(
    place: &backends::Place<'_>,
    protocol: Protocol,
    vips: &[Addr],
    problems: &mut Vec<Problem>,
) -> Vec<Arc<PlannedPort>> {
    let service = place.service;
    let mode = place.mode();
    let plan = |&addr: &Addr| {
        Arc::new(PlannedPort {
            key: VipKey {
                addr,
                port: place.port.port,
                protocol,
            },
            owner: service.name.clone(),
            port_name: place.port.name.clone(),
            mode,
            hash_inputs: service.hash_inputs.get().copied().unwrap_or_default(),
            backends: backends::backends(place, addr.family(), problems),
        })
    };
    let mut vips = vips.to_vec();
    vips.sort_unstable();
    vips.dedup();
    vips.iter().map(plan).collect()
}

fn found_before(service: &ServiceSpec, slices: &[&EndpointSliceSpec]) -> Vec<Problem> {
    let settings = [
        service.vips.problem(),
        service.mode.problem(),
        service.hash_inputs.problem(),
        service.weights.problem(),
    ];
    let of_slices = slices.iter().flat_map(|slice| &slice.problems);
    settings
        .into_iter()
        .flatten()
        .chain(&service.problems)
        .chain(of_slices)
        .cloned()
        .collect()
}

fn refused_vip(service: &ServiceSpec, vip: Addr) -> Problem {
    let message =
        format!("{vip} is a source address of mode nat (--snat-address) and cannot be a VIP as well");
    Problem::error(message, "give the Service another address").about(service.object())
}

fn unsupported(service: &ServiceSpec, port: &PortSpec, at: usize, protocol: &str) -> Problem {
    let message = format!(
        "port {} is {protocol}, which is not balanced; the other ports are",
        port.port
    );
    Problem::warning(message, "use TCP or UDP, or reach this port without Maglane")
        .about(service.object())
        .field(format!("spec.ports[{at}].protocol"))
}

impl ServicePlan {
    /// Ports that came out as in `before` are the same `Arc`s.
    #[must_use]
    pub fn sharing(mut self, before: &ServicePlan) -> ServicePlan {
        for port in &mut self.ports {
            if let Some(old) = before.ports.iter().find(|old| *old == port) {
                *port = Arc::clone(old);
            }
        }
        self
    }
}

impl Plan {
    pub fn merge<'p>(services: impl Iterator<Item = &'p ServicePlan>) -> Plan {
        let mut order: Vec<&ServicePlan> = services.collect();
        order.sort_by(|a, b| a.rank.cmp(&b.rank));
        let mut holders: BTreeMap<VipKey, &Arc<PlannedPort>> = BTreeMap::new();
        let mut problems: Vec<Problem> = vec![];
        for service in order {
            problems.extend(service.problems.iter().cloned());
            for port in &service.ports {
                match holders.get(&port.key) {
                    None => drop(holders.insert(port.key, port)),
                    Some(holder) => problems.push(rival(port, holder)),
                }
            }
        }
        problems.sort_unstable();
        problems.dedup();
        Plan {
            ports: holders.into_values().cloned().collect(),
            problems,
        }
    }
}

fn rival(port: &PlannedPort, holder: &PlannedPort) -> Problem {
    let object = crate::model::ObjectRef {
        kind: crate::model::ObjectKind::Service,
        name: port.owner.clone(),
    };
    let (message, remedy) = if port.owner == holder.owner {
        (
            format!("{} is listed twice; the first entry holds", port.key),
            "remove one of the two entries",
        )
    } else {
        let message = format!(
            "{} is held by Service {}, which is older or comes first",
            port.key, holder.owner
        );
        (message, "give one of the two another address or port")
    };
    Problem::error(message, remedy).about(object)
}
