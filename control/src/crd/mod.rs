//! Our own kinds, group `maglane.io`, one file a kind: what users write, checked, and what they read back.
//!
//! The manifests in `deploy/crds/` are generated from here. The API server checks fields and rules; whatever
//! reaches us past it (an older schema, a manifest directory) is checked again when it is read, with one
//! [`Problem`] for each bad field. Integers are signed: the API server warns of unsigned formats.

#[expect(clippy::duplicated_attributes, reason = "columns share types")]
mod address_pool;
#[expect(clippy::duplicated_attributes, reason = "columns share types")]
mod address_reservation;
mod announce;
#[expect(clippy::duplicated_attributes, reason = "columns share types")]
mod bfd_profile;
#[expect(clippy::duplicated_attributes, reason = "columns share types")]
mod bgp_advertisement;
#[expect(clippy::duplicated_attributes, reason = "columns share types")]
mod bgp_peer;
#[expect(clippy::duplicated_attributes, reason = "columns share types")]
mod bgp_session_state;
mod community;
mod condition;
mod duration;
#[expect(clippy::duplicated_attributes, reason = "columns share types")]
mod l2_advertisement;
mod selector;
#[cfg(test)]
mod tests;

pub use address_pool::{AddressPool, AddressPoolSpec, AddressPoolStatus, FamilyCounts, ServiceAllocation};
pub use address_reservation::{AddressReservation, AddressReservationSpec, AddressReservationStatus};
pub use announce::AnnounceStatus;
pub use bfd_profile::{BfdProfile, BfdProfileSpec};
pub use bgp_advertisement::{BgpAdvertisement, BgpAdvertisementSpec};
pub use bgp_peer::{
    AddressFamily, BgpPeer, BgpPeerSpec, BgpRole, DrainPreference, DynamicAsn, NextHops, SecretName,
};
pub use bgp_session_state::{BgpSessionState, BgpSessionStateSpec, BgpSessionStateStatus};
pub use community::{Community, CommunitySpec, NamedCommunity};
pub use condition::{Condition, ConditionStatus};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
pub use l2_advertisement::{L2Advertisement, L2AdvertisementSpec};
pub use selector::{LabelRequirement, LabelSelector, Operator};

use crate::problem::{Problem, Severity};

/// Every definition, for `deploy/crds/`.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        AddressPool::crd(),
        AddressReservation::crd(),
        BgpPeer::crd(),
        BgpAdvertisement::crd(),
        BfdProfile::crd(),
        Community::crd(),
        L2Advertisement::crd(),
        BgpSessionState::crd(),
    ]
}

/// An object that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<T> {
    /// `None` where a field is in error: the object's last good state holds.
    pub value: Option<T>,
    /// One for each bad field, without the object.
    pub problems: Vec<Problem>,
}

impl<T> Read<T> {
    fn new(value: T, problems: Vec<Problem>) -> Read<T> {
        Read::of(Some(value), problems)
    }

    /// `None` has its problem.
    fn of(value: Option<T>, problems: Vec<Problem>) -> Read<T> {
        let good = problems.iter().all(|problem| match problem.severity {
            Severity::Error => false,
            Severity::Warning | Severity::Note => true,
        });
        Read {
            value: value.filter(|_| good),
            problems,
        }
    }
}

/// An error about a field, from a text that says what to do after its semicolon.
fn bad_field(field: String, text: &str) -> Problem {
    let (message, remedy) = text.split_once("; ").unwrap_or((text, "correct it"));
    Problem::error(message, format!("{remedy}; until then the last good state holds")).field(field)
}
