//! `AddressPool`: addresses to give to Services of type LoadBalancer, and to whom. It takes what MetalLB's
//! IPAddressPool and Cilium's CiliumLoadBalancerIPPool take, in MetalLB's spelling where both have it.

use kube::{CustomResource, KubeSchema, ResourceExt};
use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::selector::LabelSelector;
use super::{Read, bad_field};
use crate::ipam::{Counts, Ends, Pool, Range, ask};
use crate::problem::Problem;

/// Which addresses, and who may have them.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "maglane.io",
    version = "v1alpha1",
    kind = "AddressPool",
    plural = "addresspools",
    shortname = "apool",
    category = "maglane",
    status = "AddressPoolStatus",
    derive = "PartialEq",
    doc = "Addresses for Services of type LoadBalancer.",
    printcolumn(name = "Auto", type_ = "boolean", json_path = ".spec.autoAssign"),
    printcolumn(name = "Addresses", type_ = "string", json_path = ".spec.addresses"),
    printcolumn(name = "Used", type_ = "integer", json_path = ".status.assigned"),
    printcolumn(name = "Free", type_ = "integer", json_path = ".status.available"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AddressPoolSpec {
    /// CIDR blocks (192.0.2.0/24), ranges (192.0.2.10-192.0.2.20) and single addresses, IPv4 and IPv6, in the
    /// order in which they are given away.
    #[schemars(
        length(min = 1, max = 256),
        inner(
            length(min = 2, max = 91),
            regex(pattern = "^[0-9A-Fa-f:.]+(/[0-9]{1,3}|[ ]*-[ ]*[0-9A-Fa-f:.]+)?$")
        )
    )]
    #[x_kube(
        validation = (
            "self.all(a, a.contains('/') ? isCIDR(a) : a.split('-').all(end, isIP(end.trim())))",
            "must be CIDR blocks, ranges FIRST-LAST or addresses"
        ),
        validation = (
            "self.all(a, !a.contains('-') || a.contains(':') != a.contains('.'))",
            "both ends of a range must be of one family"
        )
    )]
    pub addresses: Vec<String>,
    /// Whether Services that ask for no pool and no address get one from here.
    #[serde(default = "yes")]
    pub auto_assign: bool,
    /// Leaves out IPv4 addresses that end in .0 or .255, which old equipment takes for something else.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// Whether the first and the last address of each CIDR block count.
    #[serde(default = "yes", rename = "allowFirstLastIPs")]
    pub allow_first_last_ips: bool,
    /// Services keep the addresses they have; no new ones are given.
    #[serde(default)]
    pub disabled: bool,
    /// Who the addresses are for; all Services when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
}

/// Who a pool is for: Services that fulfil both the namespace half and the Service half; an absent half means
/// all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Of several pools for a Service the one with the lowest number comes first; 0 comes last.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub priority: i32,
    /// Whether these Services are kept from pools that are for everyone, also when this one is exhausted.
    #[serde(default = "yes")]
    pub strict: bool,
    /// Namespaces by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub namespaces: Vec<String>,
    /// Namespaces by label; any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services by label; any of these. The labels io.kubernetes.service.namespace and
    /// io.kubernetes.service.name stand for where a Service is and what it is called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub service_selectors: Vec<LabelSelector>,
}

impl Default for ServiceAllocation {
    fn default() -> ServiceAllocation {
        ServiceAllocation {
            priority: 0,
            strict: yes(),
            namespaces: vec![],
            namespace_selectors: vec![],
            service_selectors: vec![],
        }
    }
}

impl AddressPoolSpec {
    /// For everyone, everything else as by default.
    pub fn new(addresses: Vec<String>) -> AddressPoolSpec {
        AddressPoolSpec {
            addresses,
            auto_assign: yes(),
            avoid_buggy_ips: false,
            allow_first_last_ips: yes(),
            disabled: false,
            service_allocation: None,
        }
    }
}

const fn yes() -> bool {
    true
}

/// How the pool is used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressPoolStatus {
    /// Addresses that Services have.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub assigned: i64,
    /// Addresses that can still be given; 9223372036854775807 stands for that many and more.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub available: i64,
    #[serde(default)]
    pub ipv4: FamilyCounts,
    #[serde(default)]
    pub ipv6: FamilyCounts,
    /// Ready: it gives addresses. DisruptionRefused: Services keep addresses that it no longer gives them.
    /// Overlapping: nodes, pods or cluster IPs have addresses of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Addresses of one family; 9223372036854775807 stands for that many and more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FamilyCounts {
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub total: i64,
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub assigned: i64,
    /// Kept by AddressReservations for Services that do not have them.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub reserved: i64,
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub available: i64,
}

impl From<Counts> for FamilyCounts {
    fn from(counts: Counts) -> FamilyCounts {
        let shown = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        FamilyCounts {
            total: shown(counts.total),
            assigned: shown(counts.assigned),
            reserved: shown(counts.reserved),
            available: shown(counts.available),
        }
    }
}

impl AddressPool {
    /// For the allocator.
    pub fn pool(&self) -> Read<Pool> {
        let spec = &self.spec;
        let (disruption, mut problems) = ask::disruption(self.metadata.annotations.as_ref());
        let ranges = ranges(spec, &mut problems);
        let everyone = ServiceAllocation::default();
        let who = spec.service_allocation.as_ref().unwrap_or(&everyone);
        let field = "spec.serviceAllocation";
        let priority = u32::try_from(who.priority).unwrap_or_else(|_| {
            let text = format!("{} is negative; write 0 or more", who.priority);
            problems.push(bad_field(format!("{field}.priority"), &text));
            0
        });
        let mut selectors = |name: &str, selectors: &[LabelSelector]| {
            let all = selectors.iter().enumerate();
            all.map(|(at, selector)| selector.selector(&format!("{field}.{name}[{at}]"), &mut problems))
                .collect()
        };
        let pool = Pool {
            name: self.name_any().into(),
            created: self
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0.as_second()),
            ranges,
            auto_assign: spec.auto_assign,
            avoid_buggy_ips: spec.avoid_buggy_ips,
            disabled: spec.disabled,
            priority,
            strict: who.strict,
            namespaces: who.namespaces.iter().map(|name| name.as_str().into()).collect(),
            namespace_selectors: selectors("namespaceSelectors", &who.namespace_selectors),
            service_selectors: selectors("serviceSelectors", &who.service_selectors),
            disruption,
        };
        Read::new(pool, problems)
    }
}

fn ranges(spec: &AddressPoolSpec, problems: &mut Vec<Problem>) -> Vec<Range> {
    if spec.addresses.is_empty() {
        problems.push(bad_field(
            "spec.addresses".to_owned(),
            "is empty; list at least one range",
        ));
    }
    let ends = if spec.allow_first_last_ips {
        Ends::Included
    } else {
        Ends::Excluded
    };
    let mut good = vec![];
    for (at, text) in spec.addresses.iter().enumerate() {
        match Range::parse(text, ends) {
            Ok(range) => good.push(range),
            Err(error) => problems.push(bad_field(format!("spec.addresses[{at}]"), &error.to_string())),
        }
    }
    good
}
