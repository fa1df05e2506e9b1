//! Where a virtual address may be announced: what the L2Advertisements come to for it.

use std::collections::BTreeSet;

use maglane_shared::addr::Addr;

use super::Coverage;
use crate::announce::{is_about, pool_of};
use crate::model::{AnnounceSpec, L2AdvertisementSpec, ObjectName, ServiceSpec};
use crate::store::Store;

/// One advertisement, as far as it is about one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L2Policy {
    /// For people.
    pub name: Box<str>,
    /// Its node selectors, resolved.
    pub nodes: Nodes,
    pub interfaces: Interfaces,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nodes {
    Any,
    /// By name.
    Named(BTreeSet<Box<str>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// Those that have the address's network.
    Any,
    Named(BTreeSet<Box<str>>),
}

impl L2Policy {
    /// `--l2 all`: everywhere.
    fn everywhere() -> L2Policy {
        L2Policy {
            name: "--l2 all".into(),
            nodes: Nodes::Any,
            interfaces: Interfaces::Any,
        }
    }

    pub fn allows(&self, node: &str) -> bool {
        match &self.nodes {
            Nodes::Any => true,
            Nodes::Named(names) => names.contains(node),
        }
    }
}

/// The policies for an address of a Service: the one place where L2Advertisements of the store come in. Their
/// pool, service and node selectors are resolved here, against `store`.
pub fn policies(store: &Store, service: &ServiceSpec, vip: Addr, coverage: Coverage) -> Vec<L2Policy> {
    match coverage {
        Coverage::All => vec![L2Policy::everywhere()],
        Coverage::Advertised => advertised(store, service, vip),
    }
}

fn advertised(store: &Store, service: &ServiceSpec, vip: Addr) -> Vec<L2Policy> {
    let pool = pool_of(store.pools(), service, vip);
    let mut policies = vec![];
    for object in store.announce() {
        if let AnnounceSpec::L2Advertisement(spec) = &object.spec
            && is_about(&spec.scope, service, pool)
        {
            policies.push(policy(&object.name, spec, store));
        }
    }
    policies
}

fn policy(name: &ObjectName, spec: &L2AdvertisementSpec, store: &Store) -> L2Policy {
    let nodes = store.nodes().filter(|node| spec.scope.covers_node(&node.labels));
    L2Policy {
        name: name.name.clone(),
        nodes: match spec.scope.nodes.is_empty() {
            true => Nodes::Any,
            false => Nodes::Named(nodes.map(|node| node.name.name.clone()).collect()),
        },
        interfaces: match spec.interfaces.is_empty() {
            true => Interfaces::Any,
            false => Interfaces::Named(spec.interfaces.clone()),
        },
    }
}
