//! What goes into the state machine and what comes out (RFC 4271 §8.1 names the events).

use std::fmt;

use maglane_shared::addr::Family;
use serde::{Deserialize, Serialize};

use super::negotiate::Negotiated;
use crate::wire::{Inspection, Message, Notification};

/// Which end opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// We dialed.
    Outgoing,
    /// The peer dialed.
    Incoming,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Outgoing, Side::Incoming];

    pub const fn other(self) -> Side {
        match self {
            Side::Outgoing => Side::Incoming,
            Side::Incoming => Side::Outgoing,
        }
    }
}

/// The six states of RFC 4271 §8.2.2; with two connections, the furthest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Idle,
    Connect,
    Active,
    OpenSent,
    OpenConfirm,
    Established,
}

/// Why we end a session on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Administrative Shutdown with a text for the peer's log (RFC 9003).
    Shutdown(String),
    /// Administrative Reset with a text: the session comes back.
    Reset(String),
    PeerRemoved,
    ConfigurationChanged,
    /// RFC 9384.
    BfdDown,
}

impl StopReason {
    pub(super) fn notification(&self) -> Notification {
        match self {
            StopReason::Shutdown(text) => Notification::admin_shutdown(text),
            StopReason::Reset(text) => Notification::admin_reset(text),
            StopReason::PeerRemoved => Notification::peer_deconfigured(),
            StopReason::ConfigurationChanged => Notification::configuration_change(),
            StopReason::BfdDown => Notification::bfd_down(),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Input {
    Start,
    Stop(StopReason),
    /// The path changed for the better (link up, new key): dial now rather than at the next retry.
    Hurry,
    /// The dial succeeded, or the peer's connection was accepted.
    Connected(Side),
    DialFailed,
    /// The connection is gone without our asking.
    Closed(Side),
    /// A message, or the NOTIFICATION a malformed one deserves.
    Heard(Side, Result<Message, Notification>),
    /// The peer's TCP took some of our bytes.
    Progress(Side),
    /// [`Fsm::deadline`] has come.
    Timer,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Dial,
    AbortDial,
    /// Keep the connection just reported as accepted.
    Adopt,
    /// Turn away the connection just reported as accepted, saying this.
    Refuse(Notification),
    Send(Side, Message),
    Close(Side),
    Up(Side, Negotiated),
    /// The Established session is over; its [`Output::Ended`] follows in the same step.
    Down,
    /// A connection ended, Established or not.
    Ended(EndReason),
    Update(Inspection),
    Refresh(Family),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    Sent(Notification),
    Received(Notification),
    /// TCP ended without a NOTIFICATION.
    ConnectionLost,
    /// Nobody answered our dial.
    Unanswered,
}

impl EndReason {
    /// Whether to rest, refusing the peer as well (RFC 4271 §8.1.1). Not after a Cease: two speakers
    /// that each refuse the other while they rest might never meet.
    pub(super) fn is_protocol_error(&self) -> bool {
        match self {
            EndReason::Sent(notification) | EndReason::Received(notification) => !notification.is_cease(),
            EndReason::ConnectionLost | EndReason::Unanswered => false,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndReason::Sent(notification) => write!(f, "we ended it: {notification}"),
            EndReason::Received(notification) => write!(f, "the peer ended it: {notification}"),
            EndReason::ConnectionLost => f.write_str("TCP connection lost"),
            EndReason::Unanswered => f.write_str(
                "no answer to our dial: is the address right, the port open, the TCP MD5 key the same?",
            ),
        }
    }
}
