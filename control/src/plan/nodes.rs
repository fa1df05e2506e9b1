//! `maglane.io/backends: nodes`: the nodes themselves, on the Service's node port.

use std::collections::BTreeSet;

use maglane_shared::addr::{Addr, Family};

use super::backends::Place;
use super::{PlannedBackend, Surroundings};
use crate::health::ProbeTarget;
use crate::model::{
    BackendKind, EndpointSliceSpec, NodeKey, NodeSpec, Readiness, ServiceKind, ServiceSpec, TrafficPolicy,
    Uid,
};
use crate::problem::Problem;

/// By address. With `externalTrafficPolicy: Local` a node without a ready endpoint drops what it gets, so such
/// a node drains; and so does one whose health check node port does not say 200, unless that is true of all.
pub(super) fn nodes(place: &Place<'_>, family: Family, problems: &mut Vec<Problem>) -> Vec<PlannedBackend> {
    let Some(port) = place.port.node_port else {
        problems.push(without_node_port(place));
        return vec![];
    };
    let (service, down) = (place.service, place.around.down);
    let local = serving(service, place.slices);
    let asked = health_port(service);
    let healthy = |addr: Addr| asked.is_none_or(|port| !down.contains(&ProbeTarget { addr, port }));
    let fits = |node: &NodeSpec| node.usable && local.as_ref().is_none_or(|local| local.contains(&key(node)));
    let ours: Vec<(Addr, &NodeSpec)> = of_cluster(service, place.around)
        .filter_map(|node| Some((address(node, family)?, node)))
        .collect();
    let mut fitting = ours.iter().filter(|(_, node)| fits(node)).peekable();
    let panic = fitting.peek().is_some() && !fitting.any(|(addr, _)| healthy(*addr));
    problems.extend(asked.filter(|_| panic).map(|port| nobody_healthy(service, port)));
    let plan = |(addr, node): &(Addr, &NodeSpec)| PlannedBackend {
        addr: *addr,
        port,
        uid: Uid::of(&node.name.name),
        weight: u16::from(fits(node) && (panic || healthy(*addr))),
    };
    let mut backends: Vec<PlannedBackend> = ours.iter().map(plan).collect();
    backends.sort_unstable();
    backends.dedup_by_key(|backend| backend.addr);
    backends
}

/// Whom to ask for a Service: the nodes that could be its backends, on their addresses of these families.
pub(super) fn probes(
    service: &ServiceSpec,
    slices: &[(&EndpointSliceSpec, u16)],
    around: Surroundings<'_>,
    families: &BTreeSet<Family>,
) -> BTreeSet<ProbeTarget> {
    let by_nodes = match service.backends.get().copied().unwrap_or_default() {
        BackendKind::Nodes => health_port(service),
        BackendKind::Pods => None,
    };
    let Some((port, local)) = by_nodes.zip(serving(service, slices)) else {
        return BTreeSet::new();
    };
    let nodes = of_cluster(service, around).filter(|node| node.usable && local.contains(&key(node)));
    let addresses = nodes.flat_map(|node| families.iter().filter_map(|family| address(node, *family)));
    addresses.map(|addr| ProbeTarget { addr, port }).collect()
}

/// `spec.healthCheckNodePort` of a Service that may have one.
pub(super) fn health_port(service: &ServiceSpec) -> Option<u16> {
    match (service.kind, service.external_policy) {
        (ServiceKind::LoadBalancer, TrafficPolicy::Local) => service.health_check_node_port,
        (ServiceKind::LoadBalancer | ServiceKind::ClusterIp | ServiceKind::NodePort, _) => None,
    }
}

fn of_cluster<'s>(service: &ServiceSpec, around: Surroundings<'s>) -> impl Iterator<Item = &'s NodeSpec> {
    let cluster = service.name.cluster;
    let nodes = around.nodes.iter().copied();
    nodes.filter(move |node| node.name.cluster == cluster)
}

fn address(node: &NodeSpec, family: Family) -> Option<Addr> {
    node.addresses
        .iter()
        .copied()
        .find(|addr| addr.family() == family)
}

fn key(node: &NodeSpec) -> NodeKey {
    NodeKey::of(&node.name.name)
}

/// The nodes with a ready endpoint, where that matters.
fn serving(service: &ServiceSpec, slices: &[(&EndpointSliceSpec, u16)]) -> Option<BTreeSet<NodeKey>> {
    match service.external_policy {
        TrafficPolicy::Cluster => None,
        TrafficPolicy::Local => {
            let ends = slices.iter().flat_map(|(slice, _)| &slice.endpoints);
            let ready = ends.filter(|endpoint| endpoint.readiness == Readiness::Ready);
            Some(ready.filter_map(|endpoint| endpoint.node).collect())
        }
    }
}

fn without_node_port(place: &Place<'_>) -> Problem {
    let message = format!("port {} has no node port to send packets to", place.port.port);
    let remedy = "let the Service be of type NodePort or LoadBalancer with allocateLoadBalancerNodePorts, or remove \
                  the annotation maglane.io/backends";
    let field = format!("spec.ports[{}].nodePort", place.at);
    Problem::error(message, remedy)
        .about(place.service.object())
        .field(field)
}

fn nobody_healthy(service: &ServiceSpec, port: u16) -> Problem {
    let message = format!("no node answers 200 on health check node port {port}, so all stay backends");
    let remedy = "look at kube-proxy on the nodes, and whether this node may connect to that port of theirs";
    Problem::warning(message, remedy)
        .about(service.object())
        .field("spec.healthCheckNodePort")
}
