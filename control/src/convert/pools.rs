//! AddressPool and AddressReservation (maglane.io/v1alpha1), Namespace (v1) -> the crate's own types.

use k8s_openapi::api::core::v1::Namespace;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Converted, Misfit, Origin};
use crate::crd::{AddressPool, AddressReservation, Read};
use crate::ipam::Reservation;
use crate::model::{NamespaceSpec, Observed, PoolSpec, ReservationSpec};
use crate::problem::Problem;

pub(crate) fn namespace(
    namespace: Namespace,
    origin: Origin<'_>,
) -> Result<Converted<NamespaceSpec>, Misfit> {
    let labels = namespace.metadata.labels.into_iter().flatten();
    Ok(Converted::Object(Box::new(NamespaceSpec {
        name: origin.object.name.clone(),
        labels: labels.map(|(key, value)| (key.into(), value.into())).collect(),
    })))
}

pub(crate) fn pool(object: AddressPool, origin: Origin<'_>) -> Result<Converted<PoolSpec>, Misfit> {
    let read = object.pool();
    let labels = object.metadata.labels.clone().into_iter().flatten();
    let labels = labels.map(|(key, value)| (key.into(), value.into()));
    let observed = observed(&object.status);
    good(read, origin, |pool, problems| PoolSpec {
        name: origin.object.name.clone(),
        labels: labels.collect(),
        pool,
        generation: object.metadata.generation,
        observed,
        problems,
    })
}

pub(crate) fn reservation(
    object: AddressReservation,
    origin: Origin<'_>,
) -> Result<Converted<ReservationSpec>, Misfit> {
    let read = object.reservation();
    let observed = observed(&object.status);
    good(read, origin, |reservation, problems| ReservationSpec {
        reservation: Reservation {
            name: origin.object.name.clone(),
            service: origin.object.name.sibling(&reservation.service.name),
            ..reservation
        },
        generation: object.metadata.generation,
        observed,
        problems,
    })
}

/// A field in error fails the object: its last good state holds.
pub(super) fn good<T, S>(
    read: Read<T>,
    origin: Origin<'_>,
    make: impl FnOnce(T, Vec<Problem>) -> S,
) -> Result<Converted<S>, Misfit> {
    let problems: Vec<Problem> = read
        .problems
        .into_iter()
        .map(|problem| origin.about(problem))
        .collect();
    match read.value {
        Some(value) => Ok(Converted::Object(Box::new(make(value, problems)))),
        None => {
            let first = problems.into_iter().next();
            Err(first.map_or_else(
                || Misfit {
                    field: String::new(),
                    message: "cannot be used".to_owned(),
                },
                |problem| Misfit {
                    field: problem.field,
                    message: format!("{}; {}", problem.message, problem.remedy),
                },
            ))
        }
    }
}

/// A status as it would be written, the times of its conditions apart.
pub(super) fn observed<T: Serialize>(status: &Option<T>) -> Observed {
    let mut status = status
        .as_ref()
        .and_then(|status| serde_json::to_value(status).ok())
        .unwrap_or_default();
    let mut observed = Observed::default();
    let conditions = status.pointer_mut("/conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        let Value::Object(condition) = condition else {
            continue;
        };
        let since = condition.remove("lastTransitionTime");
        let kind = condition.get("type").and_then(Value::as_str);
        if let (Some(kind), Some(Value::String(since))) = (kind, since) {
            observed.since.insert(kind.into(), since.into());
        }
    }
    observed.body = json!({ "status": status });
    observed
}
