//! Which endpoints serve a port, and in what state: KEP-1669 (terminating endpoints), EndpointSlices merged.

use std::collections::{BTreeMap, BTreeSet};

use maglane_shared::addr::{Addr, Family};
use maglane_shared::service::ForwardingMode;

use super::faces::Face;
use super::{PlanSettings, PlannedBackend, Surroundings, nodes};
use crate::model::{
    BackendKind, EndpointSliceSpec, EndpointSpec, NodeKey, PortProtocol, PortSpec, Readiness, ServiceSpec,
    SlicePort,
};
use crate::problem::Problem;

/// A port of a Service and what is needed to plan it.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub service: &'p ServiceSpec,
    pub port: &'p PortSpec,
    /// Index in `spec.ports`.
    pub at: usize,
    /// With the weight of their clusters.
    pub slices: &'p [(&'p EndpointSliceSpec, u16)],
    pub settings: &'p PlanSettings,
    pub around: Surroundings<'p>,
}

/// An endpoint with the port it listens on for the Service's port.
#[derive(Clone, Copy)]
struct Candidate<'p> {
    endpoint: &'p EndpointSpec,
    port: u16,
    /// Of its cluster.
    weight: u16,
}

impl Place<'_> {
    pub fn mode(&self) -> ForwardingMode {
        self.service.mode.get().copied().unwrap_or(self.settings.mode)
    }

    fn warn(&self, message: String, remedy: &str) -> Problem {
        Problem::warning(message, remedy)
            .about(self.service.object())
            .field(format!("spec.ports[{}]", self.at))
    }
}

/// The backends of one VIP's port, by address. All endpoints are there: those that take no new flows drain.
pub(super) fn backends(
    place: &Place<'_>,
    face: &Face,
    mode: ForwardingMode,
    problems: &mut Vec<Problem>,
) -> Vec<PlannedBackend> {
    match place.service.backends.get().copied().unwrap_or_default() {
        BackendKind::Pods => pods(place, face, mode, problems),
        BackendKind::Nodes => nodes::nodes(place, face.addr.family(), problems),
    }
}

fn pods(
    place: &Place<'_>,
    face: &Face,
    mode: ForwardingMode,
    problems: &mut Vec<Problem>,
) -> Vec<PlannedBackend> {
    let mut candidates = of_family(place, face.addr.family(), mode, problems);
    if face.local_only {
        let node = place.settings.node.as_deref().map(NodeKey::of);
        candidates.retain(|_, c| c.endpoint.node.is_some() && c.endpoint.node == node);
    }
    let ports: BTreeSet<u16> = candidates.values().map(|c| c.port).collect();
    problems.extend(port_complaint(place, mode, &ports));
    let usable = usable(place, &candidates);
    let weights = place.service.weights.get();
    let plan = |candidate: &Candidate<'_>| {
        let Candidate {
            endpoint,
            port,
            weight,
        } = *candidate;
        let wanted = weights
            .and_then(|weights| weights.get(&endpoint.addr))
            .copied()
            .unwrap_or(1);
        PlannedBackend {
            addr: endpoint.addr,
            port,
            uid: endpoint.uid,
            weight: if usable(candidate) {
                wanted.saturating_mul(weight)
            } else {
                0
            },
        }
    };
    candidates.values().map(plan).collect()
}

/// Who takes new flows: the ready, else those that go away but still serve (KEP-1669); of the ready only those
/// for this node's zone, if every one of them says whom it is for and one says this zone (KEP-2433).
fn usable<'u>(
    place: &Place<'u>,
    candidates: &BTreeMap<Addr, Candidate<'_>>,
) -> impl Fn(&Candidate<'_>) -> bool + use<'u> {
    let ready = || {
        candidates
            .values()
            .filter(|c| c.endpoint.readiness == Readiness::Ready && c.weight > 0)
    };
    let anybody_ready = ready().next().is_some();
    let hinted = ready().all(|c| !c.endpoint.zones.is_empty());
    let for_zone = |c: &Candidate<'_>, zone: &str| c.endpoint.zones.iter().any(|z| **z == *zone);
    let zone = place
        .around
        .zone(place.settings)
        .filter(|zone| hinted && ready().any(|c| for_zone(c, zone)))
        .map(str::to_owned);
    move |c| match c.endpoint.readiness {
        Readiness::Ready => zone.as_deref().is_none_or(|zone| for_zone(c, zone)),
        Readiness::ServingTerminating => !anybody_ready,
        Readiness::NotReady => false,
    }
}

/// Ready endpoints of the Service's own cluster.
pub(super) fn ready_here(place: &Place<'_>) -> usize {
    let own = |slice: &EndpointSliceSpec| slice.name.cluster == place.service.name.cluster;
    let slices = place
        .slices
        .iter()
        .filter(|(slice, _)| own(slice) && port_in(place.port, slice).is_some());
    let ends = slices.flat_map(|(slice, _)| &slice.endpoints);
    let ready = ends.filter(|endpoint| endpoint.readiness == Readiness::Ready);
    ready.map(|endpoint| endpoint.addr).collect::<BTreeSet<_>>().len()
}

/// The endpoints that can serve VIPs of a family. Tunnels carry either family in either; they prefer their own,
/// lest a dual-stack pod counts twice.
fn of_family<'p>(
    place: &Place<'p>,
    family: Family,
    mode: ForwardingMode,
    problems: &mut Vec<Problem>,
) -> BTreeMap<Addr, Candidate<'p>> {
    let all = candidates(place);
    let (own, other): (BTreeMap<_, _>, BTreeMap<_, _>) =
        all.into_iter().partition(|(addr, _)| addr.family() == family);
    if !own.is_empty() || other.is_empty() {
        return own;
    }
    match mode {
        ForwardingMode::Ipip | ForwardingMode::Gue => other,
        ForwardingMode::Nat | ForwardingMode::Dnat | ForwardingMode::L2Dsr => {
            let (vip, ends) = match family {
                Family::V4 => ("IPv4", "IPv6"),
                Family::V6 => ("IPv6", "IPv4"),
            };
            let message = format!("the {vip} VIP has only {ends} endpoints, which mode {mode} cannot reach");
            let remedy = "give the Service an EndpointSlice of that family, or use mode ipip or gue";
            problems.push(place.warn(message, remedy));
            own
        }
    }
}

/// Every endpoint once. Where slices disagree about an address, the readiest word counts, then the lowest port.
fn candidates<'p>(place: &Place<'p>) -> BTreeMap<Addr, Candidate<'p>> {
    let mut all: BTreeMap<Addr, Candidate<'p>> = BTreeMap::new();
    for (slice, weight) in place.slices {
        let Some(port) = port_in(place.port, slice) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            let candidate = Candidate {
                endpoint,
                port,
                weight: *weight,
            };
            let rank = |c: &Candidate<'_>| (c.endpoint.readiness, c.port, c.endpoint.uid);
            all.entry(endpoint.addr)
                .and_modify(|held| {
                    if rank(&candidate) < rank(held) {
                        *held = candidate;
                    }
                })
                .or_insert(candidate);
        }
    }
    all
}

/// Where the slice's endpoints listen for the Service's port: by name and protocol.
fn port_in(port: &PortSpec, slice: &EndpointSliceSpec) -> Option<u16> {
    let every = port.target.unwrap_or(port.port);
    let Some(ports) = &slice.ports else {
        return Some(every);
    };
    let named = ports
        .iter()
        .find(|p| p.name == port.name && p.protocol == port.protocol)?;
    Some(named.port.unwrap_or(every))
}

/// Only NAT can change a port.
fn port_complaint(place: &Place<'_>, mode: ForwardingMode, ports: &BTreeSet<u16>) -> Option<Problem> {
    let other = *ports.iter().find(|port| **port != place.port.port)?;
    match mode {
        ForwardingMode::Nat | ForwardingMode::Dnat => None,
        mode @ (ForwardingMode::L2Dsr | ForwardingMode::Ipip | ForwardingMode::Gue) => {
            let port = place.port.port;
            let message =
                format!("mode {mode} keeps the port: backends get {port}, but their slice says {other}");
            Some(place.warn(
                message,
                "let backends listen on the Service's port, or use mode nat or dnat",
            ))
        }
    }
}

/// What is odd about a Service's slices as a whole.
pub(super) fn complaints(service: &ServiceSpec, slices: &[(&EndpointSliceSpec, u16)]) -> Vec<Problem> {
    if slices.is_empty() {
        let message = "no EndpointSlice names this Service, so it has no backends";
        let remedy = format!(
            "label its slices kubernetes.io/service-name: {}",
            service.name.name
        );
        return vec![Problem::warning(message, remedy).about(service.object())];
    }
    let mut problems: Vec<Problem> = vec![];
    for (at, port) in service.ports.iter().enumerate() {
        match port.protocol {
            PortProtocol::Balanced(_) => problems.extend(unmatched(service, port, at, slices)),
            PortProtocol::Unsupported(_) => {}
        }
    }
    problems.extend(unknown_weights(service, slices));
    problems
}

fn unmatched(
    service: &ServiceSpec,
    port: &PortSpec,
    at: usize,
    slices: &[(&EndpointSliceSpec, u16)],
) -> Option<Problem> {
    if slices
        .iter()
        .any(|(slice, _)| slice.endpoints.is_empty() || port_in(port, slice).is_some())
    {
        return None;
    }
    let listed: BTreeSet<&str> = slices
        .iter()
        .flat_map(|(slice, _)| slice.ports.iter().flatten())
        .map(|p: &SlicePort| &*p.name)
        .collect();
    let message = format!(
        "no EndpointSlice has a port named {:?} of its protocol, only {listed:?}",
        port.name
    );
    let remedy = "name the ports of Service and EndpointSlice alike";
    let field = format!("spec.ports[{at}].name");
    Some(
        Problem::warning(message, remedy)
            .about(service.object())
            .field(field),
    )
}

fn unknown_weights(service: &ServiceSpec, slices: &[(&EndpointSliceSpec, u16)]) -> Option<Problem> {
    let weights = service.weights.get()?;
    let known: BTreeSet<Addr> = slices
        .iter()
        .flat_map(|(slice, _)| &slice.endpoints)
        .map(|e| e.addr)
        .collect();
    let unknown: Vec<String> = weights
        .keys()
        .filter(|addr| !known.contains(addr))
        .map(Addr::to_string)
        .collect();
    (!unknown.is_empty()).then(|| {
        let message = format!("no endpoint has the address {}", unknown.join(", "));
        Problem::note(message, "remove it from the list, unless it will come back")
            .about(service.object())
            .field("metadata.annotations[maglane.io/weights]")
    })
}
