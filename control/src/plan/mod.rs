//! Objects -> what to balance: VIP ports with mode, hash inputs and backends. Pure; the same objects give the
//! same plan, in whatever order they came.
//!
//! Each Service is planned by itself ([`plan_service`]), so that a change costs one Service; [`Plan::merge`]
//! then settles who gets a VIP port that several claim: the older, else the first by namespace and name.

mod backends;
mod faces;
mod nodes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use maglane_shared::addr::{Addr, Protocol, VipKey};
use maglane_shared::flow::HashInputs;
use maglane_shared::service::{BackendState, ForwardingMode};
use serde::{Deserialize, Serialize};

use crate::health::ProbeTarget;
use crate::model::{
    ClusterId, EndpointSliceSpec, NodeSpec, ObjectName, OnRemoval, PortProtocol, PortSpec, ServiceSpec, Uid,
};
use crate::problem::Problem;
use crate::store::Store;

use faces::Face;
pub use faces::is_ours;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSettings {
    /// `--mode`.
    pub mode: ForwardingMode,
    /// `--snat-address`: never a VIP.
    pub snat: BTreeSet<Addr>,
    pub serve: Serve,
    /// `--load-balancer-class`.
    pub class: Box<str>,
    /// `--default-class`: Services of type LoadBalancer that name no class are ours too.
    pub default_class: bool,
    /// `--node-name`.
    pub node: Option<Box<str>>,
    /// `--cluster-name` and the names of `--cluster`, by [`ClusterId`].
    pub clusters: BTreeMap<ClusterId, Box<str>>,
}

/// `--serve`: what besides load balancers' addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serve {
    pub node_port: bool,
    pub cluster_ip: bool,
    /// Anybody who may create a Service could take over any address (CVE-2020-8554), hence only on request.
    pub external_ip: bool,
}

/// What else than a Service and its slices its plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'s> {
    /// Addresses of this node.
    pub local: &'s BTreeSet<Addr>,
    pub nodes: &'s [&'s NodeSpec],
    /// Health check node ports that do not answer 200.
    pub down: &'s BTreeSet<ProbeTarget>,
    pub others: Others,
}

/// How far the other clusters' endpoints count for a Service with a failover threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// Not at all, and never have.
    #[default]
    Away,
    /// They take new flows.
    Joined,
    /// They keep the flows they have.
    Leaving,
}

impl Surroundings<'_> {
    /// Of this node, by its Node object.
    fn zone(&self, settings: &PlanSettings) -> Option<&str> {
        let name = settings.node.as_deref()?;
        let own = |node: &&&NodeSpec| &*node.name.name == name && !node.name.cluster.is_remote();
        self.nodes.iter().find(own)?.zone.as_deref()
    }
}

/// One backend of one VIP port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlannedBackend {
    pub addr: Addr,
    pub port: u16,
    /// Of the pod; another pod is another backend.
    pub uid: Uid,
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
    pub reach: Reach,
    pub mode: ForwardingMode,
    pub hash_inputs: HashInputs,
    /// How long, in seconds, a client stays with its backend.
    pub affinity: Option<u32>,
    /// Who may connect; `None` = everybody.
    pub source_ranges: Option<Arc<[IpNet]>>,
    pub on_removal: OnRemoval,
    /// Seconds.
    pub tcp_timeout: Option<u32>,
    pub udp_timeout: Option<u32>,
    pub mss: Option<u16>,
    pub mtu: Option<u16>,
    /// By address, each once.
    pub backends: Vec<PlannedBackend>,
}

/// How much of the key's address is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// All of it: a VIP.
    Address,
    /// This port alone: a node port on an address of this node.
    Port,
}

/// What one Service asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// Rank among rivals: age, then name.
    rank: (i64, ObjectName),
    pub ports: Vec<Arc<PlannedPort>>,
    pub problems: Vec<Problem>,
    /// Ready endpoints of its own cluster, of the port that has fewest.
    pub ready_here: usize,
    /// Health check node ports that decide about its backends.
    pub probes: BTreeSet<ProbeTarget>,
    /// On which port this node says whether it has backends for it.
    pub health_port: Option<u16>,
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
pub fn plan(store: &Store, settings: &PlanSettings, local: &BTreeSet<Addr>) -> Plan {
    let nodes: Vec<&NodeSpec> = store.nodes().collect();
    let surroundings = Surroundings {
        local,
        nodes: &nodes,
        down: &BTreeSet::new(),
        others: Others::default(),
    };
    let here = store
        .services()
        .filter(|service| !service.name.cluster.is_remote());
    let services: Vec<ServicePlan> = here
        .map(|service| plan_service(service, store, settings, surroundings))
        .collect();
    Plan::merge(services.iter())
}

/// Plans one Service with its slices, in any order.
pub fn plan_service(
    service: &ServiceSpec,
    store: &Store,
    settings: &PlanSettings,
    around: Surroundings<'_>,
) -> ServicePlan {
    let slices = slices(service, store, settings, around);
    let mut problems: Vec<Problem> = service
        .setting_problems()
        .chain(&service.problems)
        .cloned()
        .collect();
    problems.extend(
        slices
            .iter()
            .flat_map(|(slice, _)| slice.problems.iter().cloned()),
    );
    let faces = faces::faces(
        service,
        settings,
        store.granted(&service.name),
        around.local,
        &mut problems,
    );
    let mut ports = vec![];
    let mut ready_here = usize::MAX;
    for (at, port) in service.ports.iter().enumerate().filter(|_| !faces.is_empty()) {
        let place = backends::Place {
            service,
            port,
            at,
            slices: &slices,
            settings,
            around,
        };
        match &port.protocol {
            PortProtocol::Balanced(protocol) => {
                ready_here = ready_here.min(backends::ready_here(&place));
                ports.extend(plan_port(&place, *protocol, &faces, &mut problems));
            }
            PortProtocol::Unsupported(name) => problems.push(unsupported(service, port, at, name)),
        }
    }
    if !faces.is_empty() {
        problems.extend(backends::complaints(service, &slices));
    }
    let families = faces.iter().map(|face| face.addr.family()).collect();
    problems.sort_unstable();
    problems.dedup();
    ServicePlan {
        rank: (service.created.unwrap_or(i64::MAX), service.name.clone()),
        ports,
        problems,
        ready_here,
        probes: nodes::probes(service, &slices, around, &families),
        health_port: nodes::health_port(service).filter(|_| settings.serve.node_port),
    }
}

/// The slices that count, each with the weight of its cluster.
fn slices<'p>(
    service: &ServiceSpec,
    store: &'p Store,
    settings: &PlanSettings,
    around: Surroundings<'_>,
) -> Vec<(&'p EndpointSliceSpec, u16)> {
    let global = store.global(service);
    let weight = |cluster: ClusterId| {
        let weights = global.map(|global| &global.weights);
        let name = settings.clusters.get(&cluster);
        let weight = weights
            .zip(name)
            .and_then(|(weights, name)| weights.get(name).copied());
        weight.unwrap_or(1)
    };
    let own = store.slices_of(&service.name).into_iter();
    let mut slices: Vec<_> = own.map(|slice| (slice, weight(service.name.cluster))).collect();
    let tiered = global.is_some_and(|global| global.failover_threshold.is_some());
    let share = match around.others {
        _ if !tiered => Some(1),
        Others::Away => None,
        Others::Joined => Some(1),
        Others::Leaving => Some(0),
    };
    if let Some(share) = share {
        for sibling in store.siblings(service) {
            let theirs = store.slices_of(&sibling.name).into_iter();
            let weight = weight(sibling.name.cluster) * share;
            slices.extend(theirs.map(|slice| (slice, weight)));
        }
    }
    slices
}

fn plan_port(
    place: &backends::Place<'_>,
    protocol: Protocol,
    faces: &[Face],
    problems: &mut Vec<Problem>,
) -> Vec<Arc<PlannedPort>> {
    let service = place.service;
    let mut ports = vec![];
    for face in faces {
        let Some(port) = face.port(place.port) else {
            continue;
        };
        let key = VipKey {
            addr: face.addr,
            port,
            protocol,
        };
        let mode = face.mode(place.mode());
        ports.push(Arc::new(PlannedPort {
            key,
            owner: service.name.clone(),
            port_name: place.port.name.clone(),
            reach: face.reach,
            mode,
            hash_inputs: service.hash_inputs.get().copied().unwrap_or_default(),
            affinity: service.affinity,
            source_ranges: service
                .source_ranges
                .as_deref()
                .filter(|_| face.guarded)
                .map(Into::into),
            on_removal: service.on_removal.get().copied().unwrap_or_default(),
            tcp_timeout: service.tcp_timeout.get().copied(),
            udp_timeout: service.udp_timeout.get().copied(),
            mss: service.mss.get().copied(),
            mtu: service.mtu.get().copied(),
            backends: backends::backends(place, face, mode, problems),
        }));
    }
    ports
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
    #[must_use]
    pub fn with_ports(self, ports: Vec<Arc<PlannedPort>>) -> ServicePlan {
        ServicePlan { ports, ..self }
    }

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

/// A port as it was planned and as it is, by the same Service with the same key.
#[derive(Clone, Debug)]
pub struct Swap {
    pub old: Arc<PlannedPort>,
    pub new: Arc<PlannedPort>,
}

impl ServicePlan {
    /// The ports that came out otherwise than in `before`, when nothing else is news that rivals or
    /// complaints could depend on.
    pub fn swaps(&self, before: &ServicePlan) -> Option<Vec<Swap>> {
        let same = self.rank == before.rank
            && self.problems == before.problems
            && self.ports.len() == before.ports.len();
        let pairs = before.ports.iter().zip(&self.ports).enumerate();
        let differ = pairs.filter(|(_, (old, new))| !Arc::ptr_eq(old, new));
        let swap = |(at, (old, new)): (usize, (&Arc<PlannedPort>, &Arc<PlannedPort>))| {
            // Of a port that is listed twice the first entry holds.
            let first = before.ports[..at].iter().all(|port| port.key != old.key);
            let same = (old.key, old.reach, old.mode) == (new.key, new.reach, new.mode);
            let (old, new) = (Arc::clone(old), Arc::clone(new));
            (first && same).then_some(Swap { old, new })
        };
        if same { differ.map(swap).collect() } else { None }
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
