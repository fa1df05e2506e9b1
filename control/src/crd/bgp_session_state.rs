//! `BgpSessionState`: what a node's BGP session with a BgpPeer has come to; written by that node, named
//! `<node>-<peer>`. Nobody reads it but people.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::condition::Condition;

/// Which session.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "maglane.io",
    version = "v1alpha1",
    kind = "BgpSessionState",
    plural = "bgpsessionstates",
    shortname = "bgpss",
    category = "maglane",
    status = "BgpSessionStateStatus",
    derive = "PartialEq",
    doc = "State of a BGP session, as the node that has it sees it.",
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node"),
    printcolumn(name = "Peer", type_ = "string", json_path = ".spec.peer"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "BFD", type_ = "string", json_path = ".status.bfd"),
    printcolumn(name = "Prefixes", type_ = "integer", json_path = ".status.prefixes"),
    printcolumn(
        name = "Since",
        type_ = "date",
        json_path = ".status.conditions[?(@.type==\"Established\")].lastTransitionTime"
    ),
    printcolumn(
        name = "Error",
        type_ = "string",
        json_path = ".status.lastError",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct BgpSessionStateSpec {
    #[schemars(length(min = 1, max = 253))]
    pub node: String,
    /// The BgpPeer.
    #[schemars(length(min = 1, max = 253))]
    pub peer: String,
}

/// As of the last change of state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BgpSessionStateStatus {
    /// Idle, Connect, Active, OpenSent, OpenConfirm or Established (RFC 4271).
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub state: String,
    /// AdminDown, Down, Init or Up (RFC 5880); empty without BFD.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 16))]
    pub bfd: String,
    /// Our address on the session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 45))]
    pub local_address: String,
    /// Prefixes that the router was told.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub prefixes: i64,
    /// Prefixes that it cannot be told: of a family that it does not take, or without a next hop.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub unsendable: i64,
    /// How often the session came up, and went down, since this process began.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub sessions_up: i64,
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub sessions_down: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub last_error: String,
    /// Established, since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
