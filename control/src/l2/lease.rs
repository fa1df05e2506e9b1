//! What a node says of itself in its lease.

use std::collections::BTreeMap;

use ipnet::IpNet;
use maglane_shared::addr::Addr;
use serde::{Deserialize, Serialize};

use super::Interfaces;

/// On-link networks by interface, of the interfaces that can answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subnets(pub BTreeMap<Box<str>, Vec<IpNet>>);

impl Subnets {
    /// The interfaces on which the address can be asked for: those allowed that have its network, or are named
    /// by the operator, who then knows better.
    pub fn holding<'s>(&'s self, vip: Addr, allowed: &'s Interfaces) -> impl Iterator<Item = &'s str> {
        let ip = vip.ip();
        self.0.iter().filter_map(move |(name, networks)| {
            let holds = match allowed {
                Interfaces::Any => networks.iter().any(|network| network.contains(&ip)),
                Interfaces::Named(names) => names.contains(name),
            };
            holds.then_some(&**name)
        })
    }
}

/// How long a node has been there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Takes no address from a settled one.
    #[default]
    New,
    Settled,
}

/// Carried in annotations of the lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    pub subnets: Subnets,
    pub standing: Standing,
}

/// A node's lease as read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLease {
    pub node: Box<str>,
    /// Which process holds it; empty once given back.
    pub holder: Box<str>,
    pub seconds: u32,
    /// `renewTime`, microseconds since 1970: only ever compared with the one before, as a sign of life.
    pub renewed: i64,
    pub facts: NodeFacts,
}
