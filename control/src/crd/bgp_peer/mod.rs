//! `BgpPeer`: a router to speak BGP with, on the nodes it names. Everything that MetalLB's BGPPeer takes, in its
//! spelling, and what of BGP that one leaves out.

mod read;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::announce::AnnounceStatus;
use super::selector::LabelSelector;

/// How to reach the router, and what to say about ourselves.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "maglane.io",
    version = "v1alpha1",
    kind = "BgpPeer",
    plural = "bgppeers",
    shortname = "bgpp",
    category = "maglane",
    status = "AnnounceStatus",
    derive = "PartialEq",
    doc = "A router to announce addresses to by BGP.",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "Interface", type_ = "string", json_path = ".spec.interface"),
    printcolumn(name = "ASN", type_ = "integer", json_path = ".spec.peerASN"),
    printcolumn(name = "BFD", type_ = "string", json_path = ".spec.bfdProfile"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].reason",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.peerAddress) || has(self.interface)", "needs peerAddress or interface"),
    validation = ("has(self.peerASN) != has(self.dynamicASN)", "needs one of peerASN and dynamicASN"),
    validation = ("!(has(self.password) && has(self.passwordSecret))", "takes one of password and passwordSecret"),
    validation = (
        "!(has(self.ttlSecurityHops) && has(self.ebgpMultiHop) && self.ebgpMultiHop)",
        "takes one of ttlSecurityHops and ebgpMultiHop"
    ),
    validation = ("!(has(self.interface) && has(self.vrf))", "takes one of interface and vrf"),
    validation = (
        "!has(self.holdTime) || duration(self.holdTime) == duration('0s') || duration(self.holdTime) >= duration('3s')",
        "holdTime must be 0s or at least 3s"
    ),
    validation = (
        "!has(self.keepaliveTime) || !has(self.holdTime) || duration(self.holdTime) == duration('0s') || duration(self.keepaliveTime) < duration(self.holdTime)",
        "keepaliveTime must be shorter than holdTime"
    ),
    validation = (
        "!has(self.enableGracefulRestart) || !self.enableGracefulRestart",
        "graceful restart is not offered: BGP and forwarding end together, and the router would send packets into nowhere"
    )
)]
pub struct BgpPeerSpec {
    /// Our AS number.
    #[serde(rename = "myASN")]
    #[schemars(range(min = 1, max = 4_294_967_295i64))]
    pub my_asn: i64,
    /// The router's AS number; the session is internal when it is ours.
    #[serde(default, rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295i64))]
    pub peer_asn: Option<i64>,
    /// Instead of peerASN: the router says its AS number, and it must be ours (internal) or another (external).
    #[serde(default, rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    pub dynamic_asn: Option<DynamicAsn>,
    /// The router's address. A link-local one needs interface as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45))]
    #[x_kube(validation = ("isIP(self)", "must be an IP address"))]
    pub peer_address: Option<String>,
    /// Without peerAddress: the router on this interface, whatever its address (unnumbered, by router
    /// advertisements). With it: the interface to reach it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = "^[^/ ]+$"))]
    pub interface: Option<String>,
    /// The router's TCP port.
    #[serde(default = "port")]
    #[schemars(range(min = 1, max = 65535))]
    pub peer_port: i32,
    /// Our address on the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45))]
    #[x_kube(validation = ("isIP(self)", "must be an IP address"))]
    pub source_address: Option<String>,
    /// How long either side believes in the session without hearing of the other: 0s (for ever), or 3s and more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = "^([0-9]{1,6}(h|m|s))+$"))]
    pub hold_time: Option<String>,
    /// Between two keepalives; a third of the hold time when absent, and never more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = "^([0-9]{1,6}(h|m|s))+$"))]
    pub keepalive_time: Option<String>,
    /// The longest wait between two attempts to connect; it grows to that from one second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = "^([0-9]{1,6}(h|m|s))+$"))]
    pub connect_time: Option<String>,
    /// Our BGP identifier; when absent, the first IPv4 address of the node, else a number made of its name.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 7, max = 15))]
    #[x_kube(validation = ("isIP(self) && !self.contains(':') && self != '0.0.0.0'", "must be an IPv4 address"))]
    pub router_id: Option<String>,
    /// Nodes that speak with it: any of these; every node when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub node_selectors: Vec<LabelSelector>,
    /// TCP MD5 key. Whoever may read this object reads it; passwordSecret is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 80))]
    pub password: Option<String>,
    /// A Secret with the TCP MD5 key in its key `password`, in the namespace that Maglane runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretName>,
    /// A BfdProfile: routes are told only while BFD says that the router is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub bfd_profile: Option<String>,
    /// Not offered; only false is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_graceful_restart: Option<bool>,
    /// The router may be more than one hop away.
    #[serde(default)]
    pub ebgp_multi_hop: bool,
    /// VRF device that the session is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = "^[^/ ]+$"))]
    pub vrf: Option<String>,
    /// Whether the router may open the session, too; from the router's address only.
    #[serde(default)]
    pub listen: bool,
    /// RFC 5082: takes nothing from farther away than this many hops; the router must do the same. 1: on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 254))]
    pub ttl_security_hops: Option<i32>,
    /// Address families of the routes; when empty, that of the session's addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub families: Vec<AddressFamily>,
    /// RFC 8950: IPv4 routes with IPv6 next hops. On by itself where the session is unnumbered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_next_hop: Option<bool>,
    /// Next hops other than our address on the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hops: Option<NextHops>,
    /// RFC 9234: our role towards the router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<BgpRole>,
    /// Before routes are withdrawn because this node is drained, they are made unattractive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainPreference>,
}

const fn port() -> i32 {
    179
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DynamicAsn {
    Internal,
    External,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AddressFamily {
    Ipv4,
    Ipv6,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretName {
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Addresses that routers are told to send packets to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NextHops {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 7, max = 15))]
    #[x_kube(validation = ("isIP(self) && !self.contains(':')", "must be an IPv4 address"))]
    pub ipv4: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45))]
    #[x_kube(validation = ("isIP(self) && self.contains(':')", "must be an IPv6 address"))]
    pub ipv6: Option<String>,
    /// Said beside a global IPv6 next hop, for routers that want both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45))]
    #[x_kube(validation = ("isIP(self) && self.contains(':')", "must be a link-local IPv6 address"))]
    pub link_local: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BgpRole {
    Provider,
    RouteServer,
    RouteServerClient,
    Customer,
    Peer,
}

/// What makes routes unattractive, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainPreference {
    /// Seconds until the routes are withdrawn.
    #[serde(default = "drain_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub seconds: i32,
    /// Community GRACEFUL_SHUTDOWN, with LOCAL_PREF 0 on internal sessions (RFC 8326). Routers must be told to heed it.
    #[serde(default)]
    pub graceful_shutdown: bool,
    /// More copies of our AS number in the path, on external sessions.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub prepend: i32,
}

const fn drain_seconds() -> i32 {
    10
}
