//! `AddressReservation`: addresses kept for one Service of the namespace, also while that does not exist.

use kube::{CustomResource, KubeSchema, ResourceExt};
use maglane_shared::addr::Addr;
use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::{Read, bad_field};
use crate::convert::vip;
use crate::ipam::Reservation;
use crate::model::ObjectName;

/// Which addresses, and for which Service.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "maglane.io",
    version = "v1alpha1",
    kind = "AddressReservation",
    plural = "addressreservations",
    shortname = "ares",
    category = "maglane",
    namespaced,
    status = "AddressReservationStatus",
    derive = "PartialEq",
    doc = "Addresses kept for a Service of type LoadBalancer, also while that does not exist.",
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.serviceName"),
    printcolumn(name = "Addresses", type_ = "string", json_path = ".status.addresses"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.serviceName == oldSelf.serviceName", "serviceName cannot be changed"))]
pub struct AddressReservationSpec {
    /// The Service, in the namespace of the reservation.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub service_name: String,
    /// The addresses; when empty, those that the Service has, or had last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 2, max = 45)))]
    #[x_kube(
        validation = ("self.all(a, isIP(a))", "must be IP addresses without prefix length"),
        merge_strategy = ListMerge::Set
    )]
    pub addresses: Vec<String>,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressReservationStatus {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 45)))]
    pub addresses: Vec<String>,
    /// Ready: every address is kept for the Service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl AddressReservation {
    /// For the allocator. What an older status says and cannot be read is forgotten.
    pub fn reservation(&self) -> Read<Reservation> {
        let mut problems = vec![];
        let mut addresses = vec![];
        for (at, text) in self.spec.addresses.iter().enumerate() {
            match vip(text) {
                Ok(addr) => addresses.push(addr),
                Err(error) => problems.push(bad_field(format!("spec.addresses[{at}]"), &error)),
            }
        }
        if self.spec.service_name.is_empty() {
            problems.push(bad_field(
                "spec.serviceName".to_owned(),
                "is empty; name the Service",
            ));
        }
        let namespace = self.namespace().unwrap_or_else(|| "default".to_owned());
        let status = self.status.as_ref();
        let kept = status.into_iter().flat_map(|status| &status.addresses);
        let reservation = Reservation {
            name: ObjectName::new(&namespace, &self.name_any()),
            created: self
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0.as_second()),
            service: ObjectName::new(&namespace, &self.spec.service_name),
            addresses,
            kept: kept.filter_map(|text| text.parse::<Addr>().ok()).collect(),
        };
        Read::new(reservation, problems)
    }
}
