//! `/api`, `/apis` and the resource lists below them: what clients find kinds with.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kinds::{Resource, Scope, Status};
use super::store::State;
use crate::cluster::refusal::Refusal;

/// # Errors
/// 404 for a path that is no part of discovery, or a group that is not served.
pub(super) fn answer(state: &State, path: &str) -> Result<Value, Refusal> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["api"] => Ok(json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })),
        ["apis"] => Ok(json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": groups(state).iter().map(|(name, version)| group(name, version)).collect::<Value>(),
        })),
        ["api", version] => resources(state, "", version),
        ["apis", name] => groups(state)
            .iter()
            .find(|(group, _)| group == name)
            .map(|(name, version)| {
                let mut group = group(name, version);
                group["kind"] = json!("APIGroup");
                group["apiVersion"] = json!("v1");
                group
            })
            .ok_or_else(Refusal::no_such_resource),
        ["apis", group, version] => resources(state, group, version),
        _ => Err(Refusal::no_such_resource()),
    }
}

fn groups(state: &State) -> BTreeSet<(String, String)> {
    state
        .resources()
        .filter(|resource| !resource.group.is_empty())
        .map(|resource| (resource.group.clone(), resource.version.clone()))
        .collect()
}

fn group(name: &str, version: &str) -> Value {
    let version = json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    json!({ "name": name, "versions": [version], "preferredVersion": version })
}

fn resources(state: &State, group: &str, version: &str) -> Result<Value, Refusal> {
    let mut inside: Vec<_> = state
        .resources()
        .filter(|resource| resource.group == group && resource.version == version)
        .collect();
    inside.sort_by(|a, b| a.plural.cmp(&b.plural));
    let Some(first) = inside.first() else {
        return Err(Refusal::no_such_resource());
    };
    Ok(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": first.api_version(),
        "resources": inside.iter().flat_map(|resource| entries(resource)).collect::<Value>(),
    }))
}

fn entries(resource: &Resource) -> Vec<Value> {
    let entry = |name: &str, verbs: &[&str]| {
        json!({
            "name": name,
            "singularName": resource.kind.to_lowercase(),
            "namespaced": resource.scope == Scope::Namespaced,
            "kind": resource.kind,
            "verbs": verbs,
        })
    };
    let all = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    let mut object = entry(&resource.plural, &all);
    object["shortNames"] = json!(resource.short_names);
    let status = (resource.status == Status::Apart).then(|| {
        entry(
            &format!("{}/status", resource.plural),
            &["get", "patch", "update"],
        )
    });
    [object].into_iter().chain(status).collect()
}
