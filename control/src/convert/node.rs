//! Node (v1) -> [`NodeSpec`].

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;

use super::{Converted, Misfit, Origin, address};
use crate::model::NodeSpec;

const ZONE: &str = "topology.kubernetes.io/zone";
/// The cluster autoscaler is about to remove it (KEP-3836).
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

pub(crate) fn node(node: Node, origin: Origin<'_>) -> Result<Converted<NodeSpec>, Misfit> {
    let status = node.status.unwrap_or_default();
    let internal = status
        .addresses
        .iter()
        .flatten()
        .filter(|a| a.type_ == "InternalIP");
    let read = |(at, a): (usize, &k8s_openapi::api::core::v1::NodeAddress)| {
        address(&a.address, || format!("status.addresses[{at}]"))
    };
    let holds = |kind: &str| {
        let mut all = status.conditions.iter().flatten();
        all.any(|condition| condition.type_ == kind && condition.status == "True")
    };
    let labels = node.metadata.labels.unwrap_or_default();
    let spec = node.spec.unwrap_or_default();
    let leaving = spec
        .taints
        .iter()
        .flatten()
        .any(|taint| taint.key == TO_BE_DELETED);
    let pod_ranges = spec.pod_cidrs.iter().flatten().enumerate();
    Ok(Converted::Object(Box::new(NodeSpec {
        name: origin.object.name.clone(),
        addresses: internal.enumerate().map(read).collect::<Result<_, _>>()?,
        network_unavailable: holds("NetworkUnavailable"),
        zone: labels.get(ZONE).map(|zone| zone.as_str().into()),
        pod_ranges: pod_ranges.map(pod_range).collect::<Result<_, _>>()?,
        usable: holds("Ready") && !leaving && !labels.contains_key(NodeSpec::EXCLUDED),
        labels: labels
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect(),
    })))
}

fn pod_range((at, text): (usize, &String)) -> Result<IpNet, Misfit> {
    text.parse().map_err(|_| Misfit {
        field: format!("spec.podCIDRs[{at}]"),
        message: format!("{text:?} is no range of addresses; write ADDRESS/LENGTH"),
    })
}
