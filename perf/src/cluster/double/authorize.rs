//! Who may do what: RBAC, from the roles and bindings that are stored.

use serde_json::Value;

use super::store::State;
use crate::cluster::User;
use crate::cluster::target::{Target, Verb};

/// What everybody may read, as `system:public-info-viewer` says.
const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];
/// What users may read besides, as `system:discovery` says.
const DISCOVERY: &[&str] = &["/api", "/apis", "/openapi"];

/// True when the user may do this to the target.
pub(super) fn may(state: &State, user: Option<&User>, verb: Verb, target: &Target) -> bool {
    let Some(user) = user else { return false };
    if is_master(user) {
        return true;
    }
    let allows = |rule: &Value| allows(rule, verb, target);
    let cluster_wide = objects(state, "clusterrolebindings", "")
        .iter()
        .filter(|binding| names(binding, user))
        .any(|binding| rules(state, binding, "").iter().any(allows));
    cluster_wide
        || (!target.namespace.is_empty()
            && objects(state, "rolebindings", &target.namespace)
                .iter()
                .filter(|binding| names(binding, user))
                .any(|binding| rules(state, binding, &target.namespace).iter().any(allows)))
}

/// True when the user may read a path that names no resource.
pub(super) fn may_read(user: Option<&User>, path: &str) -> bool {
    let below = |root: &str| path == root || path.starts_with(&format!("{root}/"));
    PUBLIC.iter().any(|root| below(root)) || user.is_some() && DISCOVERY.iter().any(|root| below(root))
}

fn is_master(user: &User) -> bool {
    user.group.as_deref() == Some("system:masters")
}

fn objects(state: &State, plural: &str, namespace: &str) -> Vec<Value> {
    let resource = state.resource(&Target {
        group: "rbac.authorization.k8s.io".to_owned(),
        version: "v1".to_owned(),
        resource: plural.to_owned(),
        ..Target::default()
    });
    let Ok(resource) = resource else {
        return Vec::new();
    };
    let all = state.all(&resource);
    all.filter(|object| object.key.namespace == namespace)
        .map(|object| object.value(&resource))
        .collect()
}

fn names(binding: &Value, user: &User) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let subjects = binding["subjects"].as_array().into_iter().flatten();
    subjects.into_iter().any(|subject| {
        let name = text(&subject["name"]);
        match subject["kind"].as_str() {
            Some("User") => name == user.name,
            Some("Group") => user.groups().contains(&name.as_str()),
            Some("ServiceAccount") => {
                user.name == format!("system:serviceaccount:{}:{name}", text(&subject["namespace"]))
            }
            Some(_) | None => false,
        }
    })
}

/// The rules of the role that a binding refers to.
fn rules(state: &State, binding: &Value, namespace: &str) -> Vec<Value> {
    let role = &binding["roleRef"];
    let (plural, namespace) = if role["kind"] == "Role" {
        ("roles", namespace)
    } else {
        ("clusterroles", "")
    };
    objects(state, plural, namespace)
        .iter()
        .filter(|object| object["metadata"]["name"] == role["name"])
        .flat_map(|object| object["rules"].as_array().cloned().unwrap_or_default())
        .collect()
}

fn allows(rule: &Value, verb: Verb, target: &Target) -> bool {
    let lists = |field: &str, wanted: &str| {
        let values = rule[field].as_array().into_iter().flatten();
        values.into_iter().any(|value| value == wanted || value == "*")
    };
    let named = rule["resourceNames"].as_array().is_none_or(Vec::is_empty)
        || target
            .name
            .as_deref()
            .is_some_and(|name| verb != Verb::Create && lists("resourceNames", name));
    lists("verbs", verb.as_str())
        && lists("apiGroups", &target.group)
        && lists("resources", &target.full_resource())
        && named
}
