//! What one Service asks for, and what an AddressReservation keeps.

use std::collections::BTreeSet;

use maglane_shared::addr::{Addr, Family};
use serde::{Deserialize, Serialize};

use super::reason::Reason;
use super::selector::Labels;
use crate::model::{ObjectName, PortProtocol};

/// Who looks after a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    Ours,
    /// Another balancer's: it gets nothing here, and what it has is nobody else's.
    Other,
}

/// `spec.ipFamilyPolicy`.
#[expect(clippy::enum_variant_names, reason = "Kubernetes calls them so")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FamilyPolicy {
    SingleStack,
    PreferDualStack,
    RequireDualStack,
}

/// Whether addresses may be taken back from those who have them (`maglane.io/allow-disruption`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disruption {
    #[default]
    Refused,
    Allowed,
}

/// The addresses that a Service names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    #[default]
    Nothing,
    /// These, and no others.
    Addresses(Vec<Addr>),
    /// Something that cannot be read. What it has it keeps; it gets nothing until this is corrected.
    Invalid(Box<str>),
}

/// The namespaces that a Service shares its address with, beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Namespaces {
    #[default]
    None,
    Named(BTreeSet<Box<str>>),
    All,
}

impl Namespaces {
    pub fn holds(&self, namespace: &str) -> bool {
        match self {
            Namespaces::None => false,
            Namespaces::Named(names) => names.contains(namespace),
            Namespaces::All => true,
        }
    }
}

/// Consent to share an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sharing {
    /// Never empty; who has the same may share.
    pub key: Box<str>,
    pub namespaces: Namespaces,
    /// With `externalTrafficPolicy: Local`, also with Services that select other pods.
    pub different_pods: bool,
}

/// What `externalTrafficPolicy` makes of a Service's backends: two Services on one address must agree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BackendKey {
    Cluster,
    /// The pod selector as text; empty without one.
    Local(Box<str>),
}

/// An address in a Service's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub addr: Addr,
    /// The pool it came from, where that is known: its consent to disruption counts after it has shrunk.
    pub pool: Option<Box<str>>,
}

/// One Service of type LoadBalancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub name: ObjectName,
    /// Unix seconds; the older goes first. `None` is younger than all.
    pub created: Option<i64>,
    pub labels: Labels,
    pub class: Class,
    /// `spec.ipFamilies`: the first is preferred. Never empty.
    pub families: Vec<Family>,
    pub policy: FamilyPolicy,
    pub asked: Asked,
    pub pool: Option<Box<str>>,
    pub sharing: Option<Sharing>,
    pub ports: BTreeSet<(PortProtocol, u16)>,
    pub backends: BackendKey,
    pub held: Vec<Held>,
    pub disruption: Disruption,
}

impl Request {
    /// Age, then name.
    pub(super) fn rank(&self) -> (i64, &ObjectName) {
        (self.created.unwrap_or(i64::MAX), &self.name)
    }

    /// The families that it may have addresses of.
    pub(super) fn families(&self) -> &[Family] {
        let count = match self.policy {
            FamilyPolicy::SingleStack => 1,
            FamilyPolicy::PreferDualStack | FamilyPolicy::RequireDualStack => 2,
        };
        &self.families[..self.families.len().min(count)]
    }

    /// The families it wants an address of, the preferred one first; or what is wrong with the wish.
    ///
    /// Addresses that are named are all that it gets, as with Cilium; they are one of each family, as with
    /// MetalLB, except that `PreferDualStack` may name one alone.
    pub(super) fn wish(&self) -> Result<Vec<Family>, Reason> {
        let families = self.families();
        if families.is_empty() {
            let detail = "spec.ipFamilies is empty; name IPv4 or IPv6".into();
            return Err(Reason::InvalidRequest { detail });
        }
        let addresses = match &self.asked {
            Asked::Nothing => return Ok(families.to_vec()),
            Asked::Invalid(detail) => {
                return Err(Reason::InvalidRequest {
                    detail: detail.clone(),
                });
            }
            Asked::Addresses(addresses) => addresses,
        };
        let count = |family: Family| addresses.iter().filter(|addr| addr.family() == family).count();
        let asked: Vec<Family> = families
            .iter()
            .copied()
            .filter(|family| count(*family) == 1)
            .collect();
        let enough = match self.policy {
            FamilyPolicy::PreferDualStack => !asked.is_empty(),
            FamilyPolicy::SingleStack | FamilyPolicy::RequireDualStack => asked.len() == families.len(),
        };
        match enough && asked.len() == addresses.len() {
            true => Ok(asked),
            false => Err(Reason::FamilyMismatch),
        }
    }

    /// Whether these two may be on one address, ports aside. Both sides must want it.
    pub(super) fn may_share(&self, other: &Request) -> bool {
        let (Some(mine), Some(theirs)) = (&self.sharing, &other.sharing) else {
            return false;
        };
        let same_namespace = self.name.namespace == other.name.namespace;
        let consent = same_namespace
            || (mine.namespaces.holds(&other.name.namespace)
                && theirs.namespaces.holds(&self.name.namespace));
        let backends = match (&self.backends, &other.backends) {
            (BackendKey::Cluster, BackendKey::Cluster) => true,
            (BackendKey::Local(a), BackendKey::Local(b)) => {
                (a == b && !a.is_empty()) || (mine.different_pods && theirs.different_pods)
            }
            (BackendKey::Cluster, BackendKey::Local(_)) | (BackendKey::Local(_), BackendKey::Cluster) => {
                false
            }
        };
        mine.key == theirs.key && consent && backends
    }

    /// Whether sharing looks the same from any third Service.
    pub(super) fn shares_alike(&self, other: &Request) -> bool {
        self.name.namespace == other.name.namespace
            && self.sharing == other.sharing
            && self.backends == other.backends
    }
}

/// Addresses kept for one Service, whether it exists or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Of the AddressReservation.
    pub name: ObjectName,
    /// Unix seconds; of two that claim one address the older has it.
    pub created: Option<i64>,
    /// In the reservation's namespace.
    pub service: ObjectName,
    /// These addresses; empty: whatever the Service has, or had last.
    pub addresses: Vec<Addr>,
    /// What its status says is kept.
    pub kept: Vec<Addr>,
}

impl Reservation {
    pub(super) fn age(&self) -> (i64, &ObjectName) {
        (self.created.unwrap_or(i64::MAX), &self.name)
    }
}
