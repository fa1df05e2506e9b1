//! `L2Advertisement`: addresses that one node at a time answers ARP and neighbour solicitations for. Everything
//! that MetalLB's L2Advertisement takes, in its spelling.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Read;
use super::announce::{AnnounceStatus, bounded, scope};
use super::selector::LabelSelector;
use crate::convert::Announces;
use crate::model::{AnnounceSpec, L2AdvertisementSpec as Advertisement, OnApiLoss};

/// Which addresses, on which nodes and interfaces. An empty list selects all.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "maglane.io",
    version = "v1alpha1",
    kind = "L2Advertisement",
    plural = "l2advertisements",
    shortname = "l2adv",
    category = "maglane",
    status = "AnnounceStatus",
    derive = "PartialEq",
    doc = "Addresses to answer ARP and neighbour solicitations for.",
    printcolumn(name = "Pools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(name = "Interfaces", type_ = "string", json_path = ".spec.interfaces"),
    printcolumn(
        name = "OnApiLoss",
        type_ = "string",
        json_path = ".spec.onApiLoss",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct L2AdvertisementSpec {
    /// AddressPools by name.
    #[serde(default, rename = "ipAddressPools", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub ip_address_pools: Vec<String>,
    /// AddressPools by label.
    #[serde(
        default,
        rename = "ipAddressPoolSelectors",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 16))]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes that may answer; any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub node_selectors: Vec<LabelSelector>,
    /// Services whose addresses are meant; any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub service_selectors: Vec<LabelSelector>,
    /// Interfaces to answer on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 15), regex(pattern = "^[^/ ]+$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub interfaces: Vec<String>,
    /// What the node that has an address does when it loses the API server: fence stops answering when its lease
    /// ends, keep goes on, so that two nodes may answer for a while.
    #[serde(default)]
    pub on_api_loss: ApiLoss,
    /// How many seconds a node must have been able to take an address before it takes it from another one.
    #[serde(default = "settle")]
    #[schemars(range(min = 0, max = 3600))]
    pub settle: i32,
    /// Seconds between two unsolicited announcements of an address; 0: only when it is taken.
    #[serde(default = "announce_interval")]
    #[schemars(range(min = 0, max = 3600))]
    pub announce_interval: i32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApiLoss {
    #[default]
    Fence,
    Keep,
}

const fn settle() -> i32 {
    10
}

const fn announce_interval() -> i32 {
    60
}

impl Announces for L2Advertisement {
    type Status = AnnounceStatus;

    fn status(&self) -> &Option<AnnounceStatus> {
        &self.status
    }

    fn spec(&self) -> Read<AnnounceSpec> {
        let spec = &self.spec;
        let mut problems = vec![];
        let lists = [
            &*spec.ip_address_pool_selectors,
            &spec.service_selectors,
            &spec.node_selectors,
        ];
        let scope = scope(&spec.ip_address_pools, lists, &mut problems);
        let mut seconds = |field, number: i32| bounded(field, i64::from(number), (0, 3600), &mut problems);
        let advertisement = Advertisement {
            scope,
            interfaces: spec.interfaces.iter().map(|name| name.as_str().into()).collect(),
            on_api_loss: match spec.on_api_loss {
                ApiLoss::Fence => OnApiLoss::Fence,
                ApiLoss::Keep => OnApiLoss::Keep,
            },
            settle: seconds("settle", spec.settle),
            announce_interval: seconds("announceInterval", spec.announce_interval),
        };
        Read::new(AnnounceSpec::L2Advertisement(advertisement), problems)
    }
}
