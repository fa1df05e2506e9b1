//! Everything the controller wants done, as values; one match in the binary performs them, in order.

use std::collections::{BTreeMap, BTreeSet};

use maglane_shared::addr::{Addr, VipKey};
use maglane_shared::next_hop::PortIndex;
use maglane_shared::table::Generation;
use serde::{Deserialize, Serialize};

use crate::announce::BgpPlan;
use crate::health::{HealthAnswer, ProbeTarget};
use crate::problem::Problem;
use crate::status::{SessionWrite, StatusWrite, UserEvent};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Hand [`crate::step::Controller::table`] to the workers; it has this generation.
    Publish(Generation),
    /// Make every interface steer exactly this, then answer [`crate::event::Event::Steered`] (or `SteerFailed`).
    Steer(SteerPlan),
    /// Make the BGP sessions exactly these, with these routes; [`crate::event::Event::BgpSession`] tells what comes
    /// of it.
    AnnounceBgp(BgpPlan),
    /// Put these questions to the kernel ([`crate::netlink::Netlink::resolve`]).
    ResolveNeighbors(Vec<NeighborRef>),
    /// Ask these health check node ports and nobody else, again and again; verdicts are [`crate::event::Event::NodeHealth`].
    Probe(BTreeSet<ProbeTarget>),
    /// Answer on these ports of this node and no others, by port.
    AnswerHealth(BTreeMap<u16, HealthAnswer>),
    /// Write these to the own cluster, as long as this process may.
    WriteStatus(Vec<StatusWrite>),
    /// Write these of this node to the own cluster, creating or deleting them, whoever may write the rest.
    WriteSessions(Vec<SessionWrite>),
    /// Show these to users.
    Tell(Vec<UserEvent>),
    /// Problems that are new, and those that are gone.
    Report {
        appeared: Vec<Problem>,
        cleared: Vec<Problem>,
    },
}

/// A neighbour on one of our interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NeighborRef {
    #[serde(with = "crate::event::port_index")]
    pub port: PortIndex,
    /// The kernel's index of that interface.
    pub interface: u32,
    pub addr: Addr,
    pub question: Question,
}

/// What the kernel is to ask for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Nothing is known: who has the address?
    Resolve,
    /// A MAC address is known: is it still there?
    Confirm,
    /// The MAC address known does not answer: who has the address now?
    Anew,
}

/// Inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpan {
    pub first: u16,
    pub last: u16,
}

/// The whole wanted set: what goes to our sockets, everything else to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteerPlan {
    /// Grows by one with each plan; the answer repeats it.
    pub revision: u64,
    /// Everything to these addresses.
    pub vips: BTreeSet<Addr>,
    /// These ports of addresses that are not ours as a whole.
    pub endpoints: BTreeSet<VipKey>,
    /// Replies to translated flows.
    pub nat_returns: BTreeMap<Addr, PortSpan>,
    /// What `dnat` backends send from these endpoints.
    pub dnat_returns: BTreeSet<VipKey>,
    /// Addresses of this node: what `dnat` backends send to them is the kernel's.
    pub local: BTreeSet<Addr>,
}

impl SteerPlan {
    /// Does it want the same, whatever its revision?
    pub fn same_set(&self, other: &SteerPlan) -> bool {
        let SteerPlan {
            revision: _,
            vips,
            endpoints,
            nat_returns,
            dnat_returns,
            local,
        } = self;
        (vips, endpoints, nat_returns) == (&other.vips, &other.endpoints, &other.nat_returns)
            && (dnat_returns, local) == (&other.dnat_returns, &other.local)
    }
}
