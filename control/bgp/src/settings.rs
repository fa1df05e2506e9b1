//! What one BGP session is to be: checked once, then trusted.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::error::SettingsError;
use crate::wire::{Families, Role};

/// Which AS numbers the peer may claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerAs {
    Exact(u32),
    /// Ours: an internal session.
    Internal,
    /// Any but ours.
    External,
}

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opening {
    /// We dial; nobody need reach port 179 here.
    Active,
    /// We dial, and take a connection the peer opens.
    Both,
    /// We only wait for the peer.
    Passive,
}

/// Next hops other than the session's own address. Never guessed: a family whose next hop is neither
/// here nor the session's own is not announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHops {
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
    /// Sent beside a global IPv6 next hop, for peers that want the 32-octet form (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
}

/// IPv4 routes with IPv6 next hops (RFC 8950).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtendedNextHop {
    Off,
    Offer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSettings {
    pub local_as: u32,
    /// Our BGP identifier: any non-zero number unique among the peer's neighbours (RFC 6286 §2.1).
    pub router_id: Ipv4Addr,
    pub peer_as: PeerAs,
    /// Proposed hold time in seconds: 0 (no keepalives), or at least 3.
    pub hold_seconds: u16,
    /// Seconds between keepalives; never more than a third of the agreed hold time, which is the default.
    pub keepalive_seconds: Option<u16>,
    /// The longest rest between two dials in seconds; it grows to that from one.
    pub connect_seconds: u16,
    pub families: Families,
    pub extended_next_hop: ExtendedNextHop,
    pub next_hops: NextHops,
    pub role: Option<Role>,
    pub opening: Opening,
}

impl SessionSettings {
    /// An active external session with the defaults of this crate.
    pub fn new(local_as: u32, router_id: Ipv4Addr, peer_as: PeerAs, families: Families) -> Self {
        SessionSettings {
            local_as,
            router_id,
            peer_as,
            hold_seconds: 90,
            keepalive_seconds: None,
            connect_seconds: 10,
            families,
            extended_next_hop: ExtendedNextHop::Off,
            next_hops: NextHops::default(),
            role: None,
            opening: Opening::Active,
        }
    }

    /// Says what is wrong, and what to write instead.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.local_as == 0 || self.peer_as == PeerAs::Exact(0) {
            return Err(SettingsError::AsZero);
        }
        if self.router_id.is_unspecified() {
            return Err(SettingsError::RouterId);
        }
        if matches!(self.hold_seconds, 1 | 2) {
            return Err(SettingsError::HoldTime(self.hold_seconds));
        }
        if self.connect_seconds == 0 || self.keepalive_seconds == Some(0) {
            return Err(SettingsError::ZeroTime);
        }
        if self.families.is_empty() {
            return Err(SettingsError::NoFamily);
        }
        if self
            .next_hops
            .link_local
            .is_some_and(|address| !address.is_unicast_link_local())
        {
            return Err(SettingsError::LinkLocal);
        }
        Ok(())
    }
}
