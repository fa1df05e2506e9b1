//! What is balanced and to where: ids that are never reused, forwarding modes, backends.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Identity of one VIP port for the life of the process. The slot indexes dense arrays and is reused;
/// the pair never is, so whatever remembers an id of a removed VIP finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceId {
    pub slot: u32,
    pub epoch: u32,
}

/// Identity of one backend of one service for the life of the process; as [`ServiceId`], never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BackendId {
    pub slot: u32,
    pub epoch: u32,
}

/// How a packet for a VIP reaches its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardingMode {
    /// Destination and source are rewritten; replies come back through this node.
    #[default]
    Nat,
    /// The destination is rewritten, the client's address kept; backends route through this node.
    Dnat,
    /// Only the MAC address changes; the backend owns the VIP and answers the client directly.
    L2Dsr,
    /// IP in IP (RFC 2003, RFC 2473, RFC 4213); the backend decapsulates and answers directly.
    Ipip,
    /// Generic UDP Encapsulation, variant 1: IP directly in UDP (draft-ietf-intarea-gue-09 §3.2).
    Gue,
}

impl ForwardingMode {
    pub const ALL: [ForwardingMode; 5] = [
        ForwardingMode::Nat,
        ForwardingMode::Dnat,
        ForwardingMode::L2Dsr,
        ForwardingMode::Ipip,
        ForwardingMode::Gue,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            ForwardingMode::Nat => "nat",
            ForwardingMode::Dnat => "dnat",
            ForwardingMode::L2Dsr => "l2-dsr",
            ForwardingMode::Ipip => "ipip",
            ForwardingMode::Gue => "gue",
        }
    }
}

impl fmt::Display for ForwardingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ForwardingMode {
    type Err = UnknownMode;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == s)
            .ok_or_else(|| UnknownMode(s.to_owned()))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a forwarding mode: use nat, dnat, l2-dsr, ipip or gue")]
pub struct UnknownMode(String);

/// How much of its address a VIP port has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VipKind {
    /// The address is virtual and all ours: we answer its pings, and what comes for other ports ends here.
    #[default]
    Address,
    /// This port alone is ours (a node port); the address is the node's, and so is all else that comes to it.
    Endpoint,
}

/// What a backend may still receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendState {
    /// New and established flows.
    Active,
    /// Established flows only: weight 0, not ready, or terminating.
    Draining,
}

/// The UDP port of GUE (IANA `gue`).
pub const GUE_PORT: u16 = 6080;
