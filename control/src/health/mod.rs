//! Health check node ports (KEP-3836): who is asked, what follows from the answers, who asks. For Services with
//! `externalTrafficPolicy: Local`, kube-proxy answers 200 there while its node has a ready endpoint.
//!
//! `machine` judges and is pure; `prober` asks, over plain HTTP, and knows nothing of the API server: a node
//! whose packets would be lost is found out while the API server is away, too.

mod machine;
mod prober;

use std::fmt;
use std::net::SocketAddr;

use maglane_shared::addr::Addr;
use serde::{Deserialize, Serialize};

use crate::model::ObjectName;

pub use prober::{Prober, Timing};

/// A health check node port on one address of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProbeTarget {
    pub addr: Addr,
    pub port: u16,
}

impl ProbeTarget {
    fn socket(self) -> SocketAddr {
        SocketAddr::new(self.addr.ip(), self.port)
    }
}

impl fmt::Display for ProbeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket().fmt(f)
    }
}

/// What the answers of a while come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Up,
    Down,
}

/// What this node itself says on a health check node port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthAnswer {
    pub service: ObjectName,
    /// That can be used; without one the answer is 503.
    pub endpoints: usize,
}
