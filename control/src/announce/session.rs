//! What the sessions have come to, as the shell tells it.

use std::net::IpAddr;

use maglane_bgp::fsm::State;
use maglane_bgp::peer::Counters;
use maglane_bgp::rib::Unsendable;
use maglane_bgp::wire::Families;
use maglane_bgp::{bfd, fsm};
use serde::{Deserialize, Serialize};

use crate::model::ObjectName;

/// One BGP session. Told when anything but the counters has changed; never for the counters alone, or recordings
/// and statuses would grow with every keepalive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpSession {
    /// The BgpPeer.
    pub peer: ObjectName,
    pub state: State,
    /// Our address on the session, and whom we talk to; while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<IpAddr>,
    /// Agreed on; none without a session.
    pub families: Families,
    /// Prefixes that the peer was told and that hold.
    pub told: usize,
    pub unsendable: Unsendable,
    /// The revision of the newest [`super::BgpPlan`] that the peer has been told of this session in full: TCP has
    /// taken every update and withdrawal. `None` without a session, or while something is still to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<u64>,
    /// Why the peer is told no routes though it could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// Also why it cannot begin: no password, no such interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Box<str>>,
    pub counters: Counters,
}

impl BgpSession {
    pub fn is_established(&self) -> bool {
        self.state == fsm::State::Established
    }
}

/// The shell's own reasons not to tell routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Withheld {
    /// BFD is not up, or not for long enough.
    Bfd,
    /// A worker, its sockets or the steering program does not do its work.
    Workers,
}

/// One BFD session; told when its state changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdSession {
    /// The BgpPeer.
    pub peer: ObjectName,
    pub state: bfd::State,
    /// Why it is not up, in words; empty when it is.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub diagnostic: Box<str>,
}
