//! What an announced route says about itself: communities (RFC 1997, RFC 8092, RFC 4360), MED and
//! LOCAL_PREF (RFC 4271 §5.1), AS-path prepending, link bandwidth (RFC 10005 §2), and its next hop
//! (RFC 4271 §5.1.3, RFC 2545 §3, RFC 8950 §4).
//!
//! Sets are ordered, so that equal routes are equal values and share UPDATEs.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use rustbgpd_wire as codec;
use serde::{Deserialize, Serialize};

use super::open::AS_TRANS;
use crate::error::ParseCommunityError;

/// A standard community, `65001:100` (RFC 1997).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Community(pub u32);

impl Community {
    pub const NO_EXPORT: Community = Community(codec::COMMUNITY_NO_EXPORT);
    pub const NO_ADVERTISE: Community = Community(codec::COMMUNITY_NO_ADVERTISE);
    /// Asks the peer to prefer any other path (RFC 8326 §3). FRR ignores it unless configured.
    pub const GRACEFUL_SHUTDOWN: Community = Community(codec::COMMUNITY_GRACEFUL_SHUTDOWN);
    /// Forbids keeping the route as long-lived stale (RFC 9494 §4.7): a dead VIP must go.
    pub const NO_LLGR: Community = Community(codec::COMMUNITY_NO_LLGR);
}

/// A large community, `65001:1:2` (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LargeCommunity(pub u32, pub u32, pub u32);

/// An extended community as its eight octets in one integer (RFC 4360 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExtendedCommunity(pub u64);

impl ExtendedCommunity {
    /// The weight of this path for weighted ECMP, in bytes a second; an AS number of four octets does
    /// not fit and becomes AS_TRANS.
    pub fn link_bandwidth(asn: u32, bytes_per_second: f32) -> Self {
        let asn = u16::try_from(asn).unwrap_or(AS_TRANS);
        ExtendedCommunity(codec::ExtendedCommunity::link_bandwidth(asn, bytes_per_second).as_u64())
    }
}

/// What the caller wants said about a prefix; the session adds origin, AS path and next hop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attributes {
    /// Extra copies of our AS number in the path; external sessions only.
    pub prepend: u8,
    pub med: Option<u32>,
    /// Internal sessions only, where absence means 100.
    pub local_pref: Option<u32>,
    pub communities: BTreeSet<Community>,
    pub large_communities: BTreeSet<LargeCommunity>,
    pub extended_communities: BTreeSet<ExtendedCommunity>,
}

impl Attributes {
    /// The least a VIP route carries: no long-lived stale retention.
    pub fn vip() -> Self {
        Attributes {
            communities: BTreeSet::from([Community::NO_LLGR]),
            ..Attributes::default()
        }
    }
}

/// Where the peer is to send packets for a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NextHop {
    V4(Ipv4Addr),
    V6 {
        /// Global, or link-local on a link-local session (16 octets on the wire).
        address: Ipv6Addr,
        /// Sent beside a global address (32 octets), where the peer shares the link.
        link_local: Option<Ipv6Addr>,
    },
}

/// Everything two prefixes must have in common to share an UPDATE.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    pub attributes: Arc<Attributes>,
    pub next_hop: NextHop,
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff)
    }
}

impl FromStr for Community {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Option<Vec<u16>> = text.split(':').map(|part| part.parse().ok()).collect();
        match parts.as_deref() {
            Some([high, low]) => Ok(Community(u32::from(*high) << 16 | u32::from(*low))),
            Some(_) | None => Err(ParseCommunityError::Standard(text.to_owned())),
        }
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.0, self.1, self.2)
    }
}

impl FromStr for LargeCommunity {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
        match parts.as_deref() {
            Some([a, b, c]) => Ok(LargeCommunity(*a, *b, *c)),
            Some(_) | None => Err(ParseCommunityError::Large(text.to_owned())),
        }
    }
}
