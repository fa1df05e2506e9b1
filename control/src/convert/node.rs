//! Node (v1) -> [`NodeSpec`].

use k8s_openapi::api::core::v1::Node;

use super::{Converted, Misfit, Origin, address};
use crate::model::NodeSpec;

const ZONE: &str = "topology.kubernetes.io/zone";
/// KEP-1143; MetalLB and cloud providers heed it as well.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// The cluster autoscaler is about to remove it (KEP-3836).
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

pub(crate) fn node(node: Node, origin: Origin<'_>) -> Result<Converted<NodeSpec>, Misfit> {
    let status = node.status.unwrap_or_default();
    let internal = status
        .addresses
        .into_iter()
        .flatten()
        .filter(|a| a.type_ == "InternalIP");
    let read = |(at, a): (usize, k8s_openapi::api::core::v1::NodeAddress)| {
        address(&a.address, || format!("status.addresses[{at}]"))
    };
    let holds = |name: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.any(|condition| condition.type_ == name && condition.status == "True")
    };
    let (ready, cut_off) = (holds("Ready"), holds("NetworkUnavailable"));
    let labels = node.metadata.labels.unwrap_or_default();
    let leaving = node
        .spec
        .and_then(|spec| spec.taints)
        .into_iter()
        .flatten()
        .any(|taint| taint.key == TO_BE_DELETED);
    Ok(Converted::Object(Box::new(NodeSpec {
        name: origin.object.name.clone(),
        addresses: internal.enumerate().map(read).collect::<Result<_, _>>()?,
        zone: labels.get(ZONE).map(|zone| zone.as_str().into()),
        barred: cut_off || labels.contains_key(EXCLUDED),
        usable: ready && !leaving && !labels.contains_key(EXCLUDED),
    })))
}
