//! `BgpAdvertisement`: which addresses BgpPeers are told of, and with what attributes. Everything that MetalLB's
//! BGPAdvertisement takes, in its spelling.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::announce::{AnnounceStatus, bounded, community, scope};
use super::selector::LabelSelector;
use super::{Read, bad_field};
use crate::convert::Announces;
use crate::model::{AnnounceSpec, BgpAdvertisementSpec as Advertisement, CommunityRef};
use crate::problem::Problem;

/// Which addresses, to whom, and what is said of them. An empty list selects all.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "maglane.io",
    version = "v1alpha1",
    kind = "BgpAdvertisement",
    plural = "bgpadvertisements",
    shortname = "bgpadv",
    category = "maglane",
    status = "AnnounceStatus",
    derive = "PartialEq",
    doc = "Addresses to announce by BGP.",
    printcolumn(name = "Pools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(name = "Peers", type_ = "string", json_path = ".spec.peers"),
    printcolumn(
        name = "Communities",
        type_ = "string",
        json_path = ".spec.communities",
        priority = "1"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 || ((!has(self.aggregationLength) || self.aggregationLength == 32) && (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))",
    "an advertisement with serviceSelectors cannot aggregate: the aggregate would be about other Services, too"
))]
pub struct BgpAdvertisementSpec {
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
    /// IPv4 addresses are announced in prefixes of this length, where those are within the pool.
    #[serde(default = "whole_v4")]
    #[schemars(range(min = 1, max = 32))]
    pub aggregation_length: i32,
    /// Likewise IPv6 addresses.
    #[serde(default = "whole_v6", rename = "aggregationLengthV6")]
    #[schemars(range(min = 1, max = 128))]
    pub aggregation_length_v6: i32,
    /// LOCAL_PREF, for peers of our own AS; routers prefer the highest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295i64))]
    pub local_pref: Option<i64>,
    /// MULTI_EXIT_DISC; routers prefer the lowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295i64))]
    pub med: Option<i64>,
    /// More copies of our AS number in the path, for peers of another AS.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub prepend: i32,
    /// 65001:100, large:65001:1:2, no-export, or a name that a Community object gives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub communities: Vec<String>,
    /// Link bandwidth of this path in Mbit/s, for routers that weigh equal paths by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub link_bandwidth_mbps: Option<i32>,
    /// BgpPeers by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub peers: Vec<String>,
    /// Nodes that announce; any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub node_selectors: Vec<LabelSelector>,
    /// Services whose addresses are meant; any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub service_selectors: Vec<LabelSelector>,
}

const fn whole_v4() -> i32 {
    32
}

const fn whole_v6() -> i32 {
    128
}

impl Announces for BgpAdvertisement {
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
        let communities = communities(&spec.communities, &mut problems);
        let mut number = |field, number: Option<i64>| {
            number.map(|number| bounded(field, number, (0, u32::MAX), &mut problems))
        };
        let (local_pref, med) = (number("localPref", spec.local_pref), number("med", spec.med));
        let link_bandwidth = number("linkBandwidthMbps", spec.link_bandwidth_mbps.map(i64::from));
        let mut small = |field, number: i32, bounds| bounded(field, i64::from(number), bounds, &mut problems);
        let advertisement = Advertisement {
            scope,
            aggregation_v4: small("aggregationLength", spec.aggregation_length, (1, 32)),
            aggregation_v6: small("aggregationLengthV6", spec.aggregation_length_v6, (1, 128)),
            local_pref,
            med,
            prepend: small("prepend", spec.prepend, (0, 10)),
            communities,
            peers: spec.peers.iter().map(|name| name.as_str().into()).collect(),
            link_bandwidth,
        };
        let aggregates = advertisement.aggregation_v4 < 32 || advertisement.aggregation_v6 < 128;
        if aggregates && !spec.service_selectors.is_empty() {
            let text = "excludes serviceSelectors: the aggregate would be about other Services, too; remove one of \
                        the two";
            problems.push(bad_field("spec.aggregationLength".to_owned(), text));
        }
        Read::new(AnnounceSpec::BgpAdvertisement(advertisement), problems)
    }
}

fn communities(texts: &[String], problems: &mut Vec<Problem>) -> Vec<CommunityRef> {
    let mut good = vec![];
    for (at, text) in texts.iter().enumerate() {
        match community(text) {
            None => good.push(CommunityRef::Name(text.as_str().into())),
            Some(Ok(value)) => good.push(CommunityRef::Value(value)),
            Some(Err(error)) => problems.push(bad_field(format!("spec.communities[{at}]"), &error)),
        }
    }
    good
}
