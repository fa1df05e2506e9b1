//! Parts of objects, by who may write them.

use serde_json::{Map, Value};

use super::Part;
use crate::cluster::double::kinds::{Resource, Status};

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn without(value: &mut Value, field: &str) {
    if let Some(object) = value.as_object_mut() {
        object.remove(field);
    }
}

pub(super) fn without_field(value: &mut Value, outer: &str, field: &str) {
    if let Some(value) = value.get_mut(outer) {
        without(value, field);
    }
}

/// `generateName` and five characters.
pub(super) fn generated(prefix: &str) -> Option<String> {
    let random = uuid::Uuid::new_v4().simple().to_string();
    (!prefix.is_empty()).then(|| format!("{prefix}{}", &random[..5]))
}

pub(super) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|finalizers| !finalizers.is_empty())
}

/// What a generation counts: everything but metadata and status.
pub(super) fn wants(object: &Value) -> Map<String, Value> {
    let mut fields = object.as_object().cloned().unwrap_or_default();
    fields.retain(|name, _| name != "metadata" && name != "status");
    fields
}

pub(super) fn take_over(from: &Value, to: &mut Value, field: &str) {
    match from.get(field) {
        Some(value) => to[field] = value.clone(),
        None => without(to, field),
    }
}

/// Of an applied object, what the endpoint is about: the status, or all but the status.
pub(super) fn own_part(resource: &Resource, mut config: Value, part: Part) -> Value {
    if let Some(fields) = config.as_object_mut() {
        fields.retain(|name, _| match part {
            Part::Whole => name != "status" || resource.status == Status::Inside,
            Part::Status => name == "status",
        });
    }
    config
}

/// Metadata that only the server writes.
pub(super) fn keep_system_fields(old: &Value, new: &mut Value) {
    let own = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    for field in own {
        take_over(&old["metadata"], &mut new["metadata"], field);
    }
}
