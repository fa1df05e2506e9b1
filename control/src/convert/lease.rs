//! Lease (coordination.k8s.io/v1) of a node -> [`NodeLease`].

use k8s_openapi::api::coordination::v1::Lease;

use super::{Converted, Misfit, Origin};
use crate::l2::{FACTS, LEASE_PREFIX, NodeFacts, NodeLease};
use crate::problem::Problem;

pub(crate) fn node_lease(lease: Lease, origin: Origin<'_>) -> Result<Converted<NodeLease>, Misfit> {
    let Some(node) = origin.object.name.name.strip_prefix(LEASE_PREFIX) else {
        let message = "has the label of a node's lease, but not its name";
        let remedy = format!("leases of nodes are called {LEASE_PREFIX}<node>; take the label off others");
        return Ok(origin.leave(Problem::note(message, remedy)));
    };
    let annotations = lease.metadata.annotations.unwrap_or_default();
    let facts = match annotations.get(FACTS) {
        Some(text) => serde_json::from_str(text).map_err(|error| Misfit {
            field: format!("metadata.annotations[{FACTS}]"),
            message: error.to_string(),
        })?,
        // Nothing is known of it, so it owns nothing.
        None => NodeFacts::default(),
    };
    let spec = lease.spec.unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    Ok(Converted::Object(Box::new(NodeLease {
        node: node.into(),
        holder: spec.holder_identity.unwrap_or_default().into(),
        seconds: u32::try_from(seconds).unwrap_or_default(),
        renewed: spec.renew_time.map_or(0, |time| time.0.as_microsecond()),
        facts,
    })))
}
