//! Node, objects and served addresses in, sessions with routes out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use maglane_shared::addr::Addr;

use super::attributes::Advertisements;
use super::explain::{Reason, Verdict};
use super::plan::PeerPlan;
use super::{peers, routes};
use crate::ipam::Labels;
use crate::model::{
    AnnounceObject, BfdProfileSpec, CommunityValue, NodeSpec, ObjectName, PoolSpec, ServiceSpec,
};
use crate::problem::Problem;

/// The node that announces.
#[derive(Clone, Copy, Debug)]
pub struct Node<'s> {
    pub name: &'s str,
    /// Its object; without one it has no labels.
    pub spec: Option<&'s NodeSpec>,
    /// For BgpPeers that name none.
    pub router_id: Ipv4Addr,
}

static NO_LABELS: Labels = Labels::new();

impl<'s> Node<'s> {
    pub(super) fn labels(&self) -> &'s Labels {
        self.spec.map_or(&NO_LABELS, |spec| &spec.labels)
    }

    /// Why it may announce nothing at all. A cordon is no reason.
    pub(super) fn barred(&self) -> Option<Reason> {
        let spec = self.spec?;
        if spec.is_excluded() {
            return Some(Reason::NodeLabeledExcludeBalancers);
        }
        spec.network_unavailable.then_some(Reason::NodeNetworkUnavailable)
    }
}

/// How far an address has come on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its packets are steered, every worker has its backends.
    Ready,
    Pending,
    NoEndpoints,
}

/// A Service with the load balancer addresses that are served here.
#[derive(Clone, Debug)]
pub struct Candidate<'s> {
    pub service: &'s ServiceSpec,
    pub addrs: Vec<(Addr, Standing)>,
}

/// All that counts.
#[derive(Clone, Debug)]
pub struct Situation<'s> {
    pub node: Node<'s>,
    pub objects: Vec<&'s AnnounceObject>,
    pub pools: Vec<&'s PoolSpec>,
    pub candidates: Vec<Candidate<'s>>,
    /// For how long the node has been draining.
    pub draining: Option<Duration>,
}

/// What names stood for that are no longer defined: deleting a profile or a community that is in use changes
/// nothing but that it is complained about.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub(super) profiles: BTreeMap<Box<str>, BfdProfileSpec>,
    pub(super) communities: BTreeMap<Box<str>, CommunityValue>,
}

#[derive(Clone, Debug)]
pub struct Decision {
    pub peers: BTreeMap<ObjectName, PeerPlan>,
    /// Addresses that any route is there for.
    pub announced: BTreeSet<Addr>,
    pub verdicts: BTreeMap<ObjectName, Verdict>,
    /// Of Services that are not served: nothing can be about them, or it may yet.
    pub at_least: Reason,
    pub problems: Vec<Problem>,
}

/// What is to be announced. The same situation gives the same decision.
pub fn decide(situation: &Situation<'_>, memory: &mut Memory) -> Decision {
    let mut problems = vec![];
    let advertisements = Advertisements::new(situation, memory, &mut problems);
    let mut decision = Decision {
        peers: BTreeMap::new(),
        announced: BTreeSet::new(),
        verdicts: BTreeMap::new(),
        at_least: match advertisements.0.is_empty() {
            true => Reason::NoMatchingAdvertisement,
            false => Reason::Pending,
        },
        problems,
    };
    decision.peers = peers::peers(situation, memory, &advertisements, &mut decision.problems);
    routes::fill(situation, &advertisements, &mut decision);
    decision.problems.sort_unstable();
    decision.problems.dedup();
    decision
}
