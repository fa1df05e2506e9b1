//! What the server adds to objects and what it refuses: the parts of the real rules that Maglane meets.

mod assign;
mod definition;
mod event;
mod numbers;
mod service;

use serde_json::{Value, json};

use super::kinds::Resource;
use super::object::ObjectKey;
use super::store::State;
use crate::cluster::refusal::{Cause, Refusal};
use crate::cluster::target::Target;

pub(super) use numbers::Numbers;

/// Fills in defaults and checks the object; `old` is none for a new one.
///
/// # Errors
/// 422 with every field that is wrong.
pub(super) fn admit(
    state: &State,
    resource: &Resource,
    target: &Target,
    old: Option<&Value>,
    new: &mut Value,
) -> Result<(), Refusal> {
    let mut causes = name_causes(new);
    match resource.kind.as_str() {
        "Service" => causes.extend(service::admit(state, old, new)),
        "Event" => causes.extend(event::causes(old, new)),
        "Namespace" => namespace(new),
        "Lease" => causes.extend(lease_causes(new)),
        "CustomResourceDefinition" => causes.extend(definition::admit(new)),
        _ => {}
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid(&resource.kind, target, &causes))
    }
}

/// Follows a write: kinds come and go with their definitions, numbers with their Services, and what is in a
/// namespace goes with it.
pub(super) fn settled(state: &mut State, resource: &Resource, key: &ObjectKey, value: Option<&Value>) {
    match (resource.kind.as_str(), value) {
        ("CustomResourceDefinition", Some(definition)) => definition::serve(state, definition),
        ("CustomResourceDefinition", None) => state.forget(&key.name),
        ("Service", value) => state.numbers.settle(key, value),
        ("Namespace", None) => empty_namespace(state, &key.name),
        (_, _) => {}
    }
}

fn name_causes(object: &Value) -> Vec<Cause> {
    let name = &object["metadata"]["name"];
    let text = name.as_str().unwrap_or_default();
    // Roles and their bindings may be named with colons; that is all of the path segment rule.
    let legal = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || ".-:".contains(character)
    };
    let edges = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let good =
        text.len() <= 253 && text.chars().all(legal) && text.starts_with(edges) && text.ends_with(edges);
    if good {
        Vec::new()
    } else {
        let why =
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'";
        vec![Cause::invalid("metadata.name", name, why)]
    }
}

fn namespace(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    if object["spec"]["finalizers"].is_null() {
        object["spec"]["finalizers"] = json!(["kubernetes"]);
    }
    if object["status"]["phase"].is_null() {
        object["status"]["phase"] = json!("Active");
    }
}

fn lease_causes(object: &Value) -> Vec<Cause> {
    let seconds = &object["spec"]["leaseDurationSeconds"];
    match seconds.as_i64() {
        Some(seconds) if seconds > 0 => Vec::new(),
        None if seconds.is_null() => Vec::new(),
        Some(_) | None => vec![Cause::invalid(
            "spec.leaseDurationSeconds",
            seconds,
            "must be greater than 0",
        )],
    }
}

fn empty_namespace(state: &mut State, namespace: &str) {
    let resources: Vec<_> = state.resources().cloned().collect();
    for resource in resources {
        let inside: Vec<_> = state
            .all(&resource)
            .filter(|object| object.key.namespace == namespace)
            .cloned()
            .collect();
        for object in inside {
            state.remove(&resource, &object.key, object.value(&resource));
            settled(state, &resource, &object.key, None);
        }
    }
}
