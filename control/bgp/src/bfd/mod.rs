//! Bidirectional forwarding detection: packets and the session machine (RFC 5880), with the rules for
//! one hop (RFC 5881 §5) and several (RFC 5883 §2). Asynchronous mode; no echo, no authentication, and
//! demand mode only as far as a peer may ask for it.
//!
//! `(packet | timer, now) -> packet, change`: no socket, no clock, no allocation. BFD attests
//! forwarding, so [`live`], the thread around the machines, sends only while every worker's heartbeat moves.

pub mod live;
mod packet;
mod session;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

pub use packet::{Diagnostic, Malformed, PACKET_LEN, Packet, State};
pub use session::{Change, Received, Session};

use crate::error::BfdSettingsError;

/// Where control packets for a single hop go (RFC 5881 §4).
pub const SINGLE_HOP_PORT: u16 = 3784;
/// Where control packets over several hops go (RFC 5883 §5).
pub const MULTI_HOP_PORT: u16 = 4784;
/// The ports to send from; one a session (RFC 5881 §4).
pub const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

/// Microseconds since an instant of the caller's choosing, never going back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Micros(pub u64);

/// How far the peer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hops {
    /// On the link: packets arrive with TTL 255 or not at all (RFC 5881 §5).
    Single,
    /// Packets with a smaller TTL come from too far away (RFC 5883 §4).
    Multi { min_ttl: u8 },
}

/// Whether forwarding outlives this process's control part (RFC 5880 §4.1, the C bit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlPlane {
    SharesFate,
    Independent,
}

/// Who speaks first (RFC 5880 §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Active,
    /// Sends nothing before the peer does.
    Passive,
}

/// Intervals in microseconds, as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers {
    pub desired_min_tx: u32,
    pub required_min_rx: u32,
    pub detect_mult: u8,
}

impl Timers {
    /// 300 ms, three times.
    pub const DEFAULT: Timers = Timers {
        desired_min_tx: 300_000,
        required_min_rx: 300_000,
        detect_mult: 3,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub peer: IpAddr,
    pub hops: Hops,
    pub role: Role,
    pub timers: Timers,
    /// Ours; random and unlike that of every other session here.
    pub discriminator: NonZeroU32,
    pub control_plane: ControlPlane,
}

impl Timers {
    /// Says what is wrong, and what to write instead.
    pub fn check(&self) -> Result<(), BfdSettingsError> {
        if self.detect_mult == 0 {
            return Err(BfdSettingsError::Multiplier);
        }
        for interval in [self.desired_min_tx, self.required_min_rx] {
            if !(10_000..=60_000_000).contains(&interval) {
                return Err(BfdSettingsError::Interval(interval));
            }
        }
        Ok(())
    }
}

/// What the receiving socket knows about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub source: IpAddr,
    /// TTL or hop limit as received.
    pub ttl: u8,
}

/// Why a packet was not for this session (RFC 5880 §6.8.6), in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Discard {
    Malformed(Malformed),
    /// From farther than a packet of this session can come.
    Ttl,
    Source,
    /// Your Discriminator is another session's.
    Discriminator,
    /// Your Discriminator is zero though the peer claims to know us.
    DiscriminatorMissing,
    /// Authentication is not in use.
    Authenticated,
    /// Arrived on another interface than the session's.
    Interface,
}
