//! `maglane.io/backends: nodes`: the nodes themselves, on the Service's node port.

use std::collections::BTreeSet;

use maglane_shared::addr::Family;

use super::PlannedBackend;
use super::backends::Place;
use crate::model::{NodeKey, NodeSpec, Readiness, TrafficPolicy, Uid};
use crate::problem::Problem;

/// By address. With `externalTrafficPolicy: Local` a node without a ready endpoint drops what it gets, so such
/// a node drains.
pub(super) fn nodes(place: &Place<'_>, family: Family, problems: &mut Vec<Problem>) -> Vec<PlannedBackend> {
    let Some(port) = place.port.node_port else {
        let message = format!("port {} has no node port to send packets to", place.port.port);
        let remedy = "let the Service be of type NodePort or LoadBalancer with allocateLoadBalancerNodePorts, \
                      or remove the annotation maglane.io/backends";
        let field = format!("spec.ports[{}].nodePort", place.at);
        problems.push(
            Problem::error(message, remedy)
                .about(place.service.object())
                .field(field),
        );
        return vec![];
    };
    let serving = serving_nodes(place);
    let cluster = place.service.name.cluster;
    let ours = place
        .around
        .nodes
        .iter()
        .filter(|node| node.name.cluster == cluster);
    let plan = |node: &&NodeSpec| {
        let addr = *node.addresses.iter().find(|addr| addr.family() == family)?;
        let usable = node.usable
            && match place.service.external_policy {
                TrafficPolicy::Cluster => true,
                TrafficPolicy::Local => serving.contains(&NodeKey::of(&node.name.name)),
            };
        Some(PlannedBackend {
            addr,
            port,
            uid: Uid::of(&node.name.name),
            weight: u16::from(usable),
        })
    };
    let mut backends: Vec<PlannedBackend> = ours.filter_map(plan).collect();
    backends.sort_unstable();
    backends.dedup_by_key(|backend| backend.addr);
    backends
}

fn serving_nodes(place: &Place<'_>) -> BTreeSet<NodeKey> {
    let ends = place.slices.iter().flat_map(|(slice, _)| &slice.endpoints);
    ends.filter(|endpoint| endpoint.readiness == Readiness::Ready)
        .filter_map(|endpoint| endpoint.node)
        .collect()
}
