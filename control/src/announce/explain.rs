//! Why a Service is announced, or not. Names as MetalLB has them, where it has them.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::ObjectName;

/// The first that holds, in the order of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    NoMatchingAdvertisement,
    NotOwner,
    NodeLabeledExcludeBalancers,
    NodeNetworkUnavailable,
    Draining,
    NoPeer,
    NoEndpoints,
    Pending,
    /// Announced nevertheless.
    ConflictingAdvertisements,
    Announced,
}

impl Reason {
    /// One CamelCase word that stays the same between versions.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::NoMatchingAdvertisement => "NoMatchingAdvertisement",
            Reason::NotOwner => "NotOwner",
            Reason::NodeLabeledExcludeBalancers => "NodeLabeledExcludeBalancers",
            Reason::NodeNetworkUnavailable => "NodeNetworkUnavailable",
            Reason::Draining => "Draining",
            Reason::NoPeer => "NoPeer",
            Reason::NoEndpoints => "NoEndpoints",
            Reason::Pending => "Pending",
            Reason::ConflictingAdvertisements => "ConflictingAdvertisements",
            Reason::Announced => "Announced",
        }
    }

    pub const fn is_announced(self) -> bool {
        match self {
            Reason::ConflictingAdvertisements | Reason::Announced => true,
            Reason::NoMatchingAdvertisement
            | Reason::NotOwner
            | Reason::NodeLabeledExcludeBalancers
            | Reason::NodeNetworkUnavailable
            | Reason::Draining
            | Reason::NoPeer
            | Reason::NoEndpoints
            | Reason::Pending => false,
        }
    }
}

/// What it is, and what to do about it.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NoMatchingAdvertisement => {
                "no BgpAdvertisement is about its addresses; write one, or widen its selectors"
            }
            Reason::NotOwner => "the advertisements about its addresses are for other nodes",
            Reason::NodeLabeledExcludeBalancers => {
                "the node is labelled node.kubernetes.io/exclude-from-external-load-balancers"
            }
            Reason::NodeNetworkUnavailable => "the node's condition NetworkUnavailable is True",
            Reason::Draining => "the node is being drained",
            Reason::NoPeer => {
                "no BgpPeer on the node takes routes of its advertisements; look at their peers, nodeSelectors and \
                 families"
            }
            Reason::NoEndpoints => "no endpoint takes new connections; look at the readiness of its pods",
            Reason::Pending => "not every worker runs a table with it yet",
            Reason::ConflictingAdvertisements => {
                "advertisements contradict each other about the same prefix; the most preferred value holds"
            }
            Reason::Announced => "announced",
        })
    }
}

/// Of one Service, on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The worst of its addresses.
    pub reason: Reason,
    /// BgpPeers that are to be told of any of its addresses.
    pub peers: BTreeSet<ObjectName>,
}

impl Verdict {
    pub fn of(reason: Reason) -> Verdict {
        Verdict {
            reason,
            peers: BTreeSet::new(),
        }
    }
}
