//! Layer-2 mode: who answers ARP and neighbour discovery for a virtual address. Pure.
//!
//! ```text
//!  leases (one a node) ─► view: who is alive ─┐
//!  policy: where a VIP may be announced ──────┼─► election: one owner a VIP ─► step ─► Effect::AnnounceL2
//!  our interfaces' networks ──────────────────┘        schedule: when to say so unasked
//! ```
//!
//! Every node works out the same owner from the same leases; nobody asks anybody. What makes a wrong answer
//! impossible past a lost lease is not here but in the workers' fence (`maglane_shared::owned`).

mod election;
mod lease;
mod policy;
mod schedule;
mod view;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use election::{Candidate, Choice, NoOwner, choose};
pub use lease::{NodeFacts, NodeLease, Standing, Subnets};
pub use policy::{Interfaces, L2Policy, Nodes, policies};
pub use schedule::Schedule;
pub use view::{Renewals, View};
pub(crate) use view::{Right, right};

/// On every node's lease.
pub const LEASE_LABEL: &str = "maglane.io/node-lease";
/// The annotation with its [`NodeFacts`].
pub const FACTS: &str = "maglane.io/facts";
/// A node's lease is called so, and the node's name.
pub const LEASE_PREFIX: &str = "maglane-node-";

/// How long a node must have held its lease before it takes addresses from others.
pub const SETTLE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct L2Settings {
    pub coverage: Coverage,
    pub peers: Peers,
    pub on_api_loss: OnApiLoss,
    /// Between two unasked announcements of an address that has not moved; `None` = none.
    pub refresh: Option<Duration>,
}

impl Default for L2Settings {
    fn default() -> L2Settings {
        L2Settings {
            coverage: Coverage::Advertised,
            peers: Peers::Alone,
            on_api_loss: OnApiLoss::Fence,
            refresh: Some(Duration::from_secs(60)),
        }
    }
}

/// `--l2`: which addresses are announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coverage {
    /// Those that an L2Advertisement covers.
    #[default]
    Advertised,
    /// Every load balancer's.
    All,
}

/// Who else may own an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peers {
    /// Nobody: without a cluster this node is all there is.
    #[default]
    Alone,
    /// The nodes with a fresh lease.
    Leases,
}

/// `--l2-on-api-loss`: what an owner does that cannot renew its lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnApiLoss {
    /// Falls silent when the lease runs out: others take over, never two at a time.
    #[default]
    Fence,
    /// Goes on: an outage of the API darkens nothing. Cut off alone, it answers beside the new owner; behind
    /// Maglev that costs no connection.
    Keep,
}
