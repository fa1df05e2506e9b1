//! Our own kinds, group `maglane.io`, one file a kind: what users write, checked, and what they read back.
//!
//! The manifests in `deploy/crds/` are generated from here. The API server checks fields and rules; whatever
//! reaches us past it (an older schema, a manifest directory) is checked again when it is read, with one
//! [`Problem`] for each bad field. Integers are signed: the API server warns of unsigned formats.

#[expect(clippy::duplicated_attributes, reason = "columns share types")]
mod address_pool;
#[expect(clippy::duplicated_attributes, reason = "columns share types")]
mod address_reservation;
mod condition;
mod selector;
#[cfg(test)]
mod tests;

pub use address_pool::{AddressPool, AddressPoolSpec, AddressPoolStatus, FamilyCounts, ServiceAllocation};
pub use address_reservation::{AddressReservation, AddressReservationSpec, AddressReservationStatus};
pub use condition::{Condition, ConditionStatus};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
pub use selector::{LabelRequirement, LabelSelector, Operator};

use crate::problem::{Problem, Severity};

/// Every definition, for `deploy/crds/`.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![AddressPool::crd(), AddressReservation::crd()]
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
        let good = problems.iter().all(|problem| match problem.severity {
            Severity::Error => false,
            Severity::Warning | Severity::Note => true,
        });
        Read {
            value: good.then_some(value),
            problems,
        }
    }
}

/// An error about a field, from a text that says what to do after its semicolon.
fn bad_field(field: String, text: &str) -> Problem {
    let (message, remedy) = text.split_once("; ").unwrap_or((text, "correct it"));
    Problem::error(message, format!("{remedy}; until then the last good state holds")).field(field)
}
