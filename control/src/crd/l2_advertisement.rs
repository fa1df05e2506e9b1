//! `L2Advertisement`: addresses that one node at a time answers ARP and neighbour solicitations for. Everything
//! that MetalLB's L2Advertisement takes, in its spelling. How a node answers is a matter of its flags (`--l2-on-api-loss`,
//! `--l2-refresh`).

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::Read;
use super::announce::{AnnounceStatus, scope};
use super::selector::LabelSelector;
use crate::convert::Announces;
use crate::model::{AnnounceSpec, L2AdvertisementSpec as Advertisement};

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
        let advertisement = Advertisement {
            scope,
            interfaces: spec.interfaces.iter().map(|name| name.as_str().into()).collect(),
        };
        Read::new(AnnounceSpec::L2Advertisement(advertisement), problems)
    }
}
