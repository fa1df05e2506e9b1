//! Address pools as the allocator sees them, and which Services they are for.

use std::collections::{BTreeMap, BTreeSet};

use maglane_shared::addr::{Addr, Family};
use serde::{Deserialize, Serialize};

use super::range::{Range, RangeMap, confuses_firmware};
use super::request::{Disruption, Request};
use super::selector::{Labels, Selector};

/// Cilium lets selectors see these two as labels of every Service.
const NAMESPACE_LABEL: &str = "io.kubernetes.service.namespace";
const NAME_LABEL: &str = "io.kubernetes.service.name";

/// One pool: the union of MetalLB's and Cilium's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    pub name: Box<str>,
    /// Unix seconds; of two pools that overlap the older goes on. `None` is younger than all.
    pub created: Option<i64>,
    /// In the order of allocation; each address of them may be given away.
    pub ranges: Vec<Range>,
    /// Gives addresses to Services that ask for no pool and no address.
    pub auto_assign: bool,
    /// No address that ends in .0 or .255.
    pub avoid_buggy_ips: bool,
    /// Keeps what it gave, gives nothing more.
    pub disabled: bool,
    /// Lower comes first, 0 last.
    pub priority: u32,
    /// Services that it selects take no address from pools that select nobody.
    pub strict: bool,
    /// By name or by label; both empty: all namespaces.
    pub namespaces: BTreeSet<Box<str>>,
    pub namespace_selectors: Vec<Selector>,
    /// Any of them; empty: all Services.
    pub service_selectors: Vec<Selector>,
    /// Whether it may take back addresses that it no longer covers.
    pub disruption: Disruption,
}

impl Pool {
    /// Pools are considered by age, then name.
    pub(super) fn age(&self) -> (i64, &str) {
        (self.created.unwrap_or(i64::MAX), &self.name)
    }

    /// Whether it names Services or namespaces instead of being for everyone.
    pub fn is_pinned(&self) -> bool {
        !(self.namespaces.is_empty()
            && self.namespace_selectors.is_empty()
            && self.service_selectors.is_empty())
    }

    /// `labels` are those of the namespace, `None` while it is unknown: then only its name can match.
    pub fn admits_namespace(&self, namespace: &str, labels: Option<&Labels>) -> bool {
        let by_label = |labels: &Labels| {
            let value = |key: &str| labels.get(key).map(|value| &**value);
            self.namespace_selectors
                .iter()
                .any(|selector| selector.selects(value))
        };
        (self.namespaces.is_empty() && self.namespace_selectors.is_empty())
            || self.namespaces.contains(namespace)
            || labels.is_some_and(by_label)
    }

    pub fn admits_service(&self, request: &Request) -> bool {
        let value = |key: &str| match key {
            NAMESPACE_LABEL => Some(&*request.name.namespace),
            NAME_LABEL => Some(&*request.name.name),
            key => request.labels.get(key).map(|value| &**value),
        };
        self.service_selectors.is_empty()
            || self
                .service_selectors
                .iter()
                .any(|selector| selector.selects(value))
    }

    pub fn admits(&self, request: &Request, namespaces: &BTreeMap<Box<str>, Labels>) -> bool {
        let namespace = &request.name.namespace;
        self.admits_namespace(namespace, namespaces.get(namespace)) && self.admits_service(request)
    }
}

/// A pool's addresses: its ranges without what they have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Space {
    v4: Vec<Range>,
    v6: Vec<Range>,
    index: RangeMap<()>,
    avoid_buggy_ips: bool,
}

impl Space {
    pub fn of(pool: &Pool) -> Space {
        let mut space = Space {
            avoid_buggy_ips: pool.avoid_buggy_ips,
            ..Space::default()
        };
        for range in &pool.ranges {
            let parts = space.index.claim(*range, ());
            match range.family() {
                Family::V4 => space.v4.extend(parts),
                Family::V6 => space.v6.extend(parts),
            }
        }
        space
    }

    /// In listed order.
    pub fn ranges(&self, family: Family) -> &[Range] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    pub fn has(&self, family: Family) -> bool {
        !self.ranges(family).is_empty()
    }

    /// Whether an address of its ranges may be given away.
    pub fn usable(&self, addr: Addr) -> bool {
        !(self.avoid_buggy_ips && confuses_firmware(addr))
    }

    pub fn holds(&self, addr: Addr) -> bool {
        self.index.get(addr).is_some() && self.usable(addr)
    }

    pub fn size(&self, family: Family) -> u128 {
        let size = |range: &Range| match self.avoid_buggy_ips {
            true => range.size() - range.confusing(),
            false => range.size(),
        };
        self.ranges(family).iter().map(size).sum()
    }
}
