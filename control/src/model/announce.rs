//! The objects that decide who is told of which addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use maglane_bgp::bfd::Timers;
use maglane_bgp::driver::Distance;
use maglane_bgp::settings::{ExtendedNextHop, NextHops, Opening, PeerAs};
use maglane_bgp::wire::{Community, Families, LargeCommunity, Role};
use maglane_shared::addr::Addr;
use serde::{Deserialize, Serialize};

use super::{ObjectKind, ObjectName, ObjectRef, Observed};
use crate::announce::{Bring, Neighbor, PasswordSource};
use crate::ipam::{Labels, Selector};
use crate::problem::Problem;

/// One such object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnounceObject {
    pub name: ObjectName,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    pub spec: AnnounceSpec,
    pub observed: Observed,
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnnounceSpec {
    BgpPeer(Box<BgpPeerSpec>),
    BgpAdvertisement(BgpAdvertisementSpec),
    BfdProfile(BfdProfileSpec),
    Community(CommunitySpec),
    L2Advertisement(L2AdvertisementSpec),
}

impl AnnounceObject {
    pub fn object(&self) -> ObjectRef {
        let kind = match &self.spec {
            AnnounceSpec::BgpPeer(_) => ObjectKind::BgpPeer,
            AnnounceSpec::BgpAdvertisement(_) => ObjectKind::BgpAdvertisement,
            AnnounceSpec::BfdProfile(_) => ObjectKind::BfdProfile,
            AnnounceSpec::Community(_) => ObjectKind::Community,
            AnnounceSpec::L2Advertisement(_) => ObjectKind::L2Advertisement,
        };
        ObjectRef {
            kind,
            name: self.name.clone(),
        }
    }
}

/// A router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpPeerSpec {
    pub local_as: u32,
    pub peer_as: PeerAs,
    pub neighbor: Neighbor,
    /// Interface or VRF to bind to.
    pub device: Option<Box<str>>,
    pub source: Option<IpAddr>,
    /// Seconds.
    pub hold: u16,
    pub keepalive: Option<u16>,
    pub connect: u16,
    /// `None`: derived from the node.
    pub router_id: Option<Ipv4Addr>,
    /// Any of them; empty: every node.
    pub nodes: Vec<Selector>,
    pub password: Option<PasswordSource>,
    pub bfd_profile: Option<Box<str>>,
    pub distance: Distance,
    pub opening: Opening,
    /// `None`: the family of the session's own addresses; both where it has no address.
    pub families: Option<Families>,
    pub extended_next_hop: ExtendedNextHop,
    pub next_hops: NextHops,
    pub role: Option<Role>,
    pub drain: Option<DrainSpec>,
}

/// How routes are made unattractive before they are withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainSpec {
    /// For how many seconds.
    pub seconds: u16,
    /// Community GRACEFUL_SHUTDOWN, and LOCAL_PREF 0 on internal sessions (RFC 8326 §4).
    pub graceful_shutdown: bool,
    /// More copies of our AS number.
    pub prepend: u8,
}

/// Which addresses an advertisement is about, and on which nodes it holds. What is empty selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Pools by name, or by label: any of these.
    pub pools: BTreeSet<Box<str>>,
    pub pool_selectors: Vec<Selector>,
    pub services: Vec<Selector>,
    pub nodes: Vec<Selector>,
}

impl Scope {
    /// `pool` is where the address is from, with its labels.
    pub fn covers_pool(&self, pool: Option<(&str, &Labels)>) -> bool {
        if self.pools.is_empty() && self.pool_selectors.is_empty() {
            return true;
        }
        pool.is_some_and(|(name, labels)| {
            self.pools.contains(name) || self.pool_selectors.iter().any(|s| s.selects_labels(labels))
        })
    }

    /// `value_of` gives the value of a Service's label.
    pub fn covers_service<'l>(&self, value_of: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.services.is_empty() || self.services.iter().any(|selector| selector.selects(&value_of))
    }

    pub fn covers_node(&self, labels: &Labels) -> bool {
        any(&self.nodes, labels)
    }
}

/// Does any of them select these labels, or are there none?
fn any(selectors: &[Selector], labels: &Labels) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.selects_labels(labels))
}

impl BgpPeerSpec {
    pub fn covers_node(&self, labels: &Labels) -> bool {
        any(&self.nodes, labels)
    }
}

/// What is said to routers about addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpAdvertisementSpec {
    pub scope: Scope,
    /// Prefix lengths; 32 and 128 announce each address by itself.
    pub aggregation_v4: u8,
    pub aggregation_v6: u8,
    pub local_pref: Option<u32>,
    pub med: Option<u32>,
    pub prepend: u8,
    pub communities: Vec<CommunityRef>,
    /// BgpPeers; empty: all.
    pub peers: BTreeSet<Box<str>>,
    /// Mbit/s, for weighted ECMP.
    pub link_bandwidth: Option<u32>,
}

impl BgpAdvertisementSpec {
    pub fn aggregation(&self, addr: Addr) -> u8 {
        match addr.ip() {
            IpAddr::V4(_) => self.aggregation_v4,
            IpAddr::V6(_) => self.aggregation_v6,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommunityRef {
    Value(CommunityValue),
    /// By its name in a Community object.
    Name(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommunityValue {
    Standard(Community),
    Large(LargeCommunity),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdProfileSpec {
    pub timers: Timers,
    /// Of packets over several hops.
    pub min_ttl: u8,
    pub bring: Bring,
    pub hold_up_ms: u32,
}

/// Names for communities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommunitySpec {
    pub communities: BTreeMap<Box<str>, CommunityValue>,
}

/// Addresses to answer ARP and neighbour solicitations for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct L2AdvertisementSpec {
    pub scope: Scope,
    /// On these; empty: on all.
    pub interfaces: BTreeSet<Box<str>>,
}
