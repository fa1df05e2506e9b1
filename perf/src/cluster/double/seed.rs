//! What a cluster holds when it is new.

use serde_json::{Value, json};

use super::store::State;
use super::write::Write;
use crate::cluster::target::{Params, Target};

/// Puts the first objects in place; a restart would find them.
pub(super) fn plant(state: &mut State) {
    for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        create(
            state,
            "/api/v1/namespaces",
            "",
            json!({ "kind": "Namespace", "metadata": { "name": namespace } }),
        );
    }
    let service = json!({
        "kind": "Service",
        "metadata": { "name": "kubernetes" },
        "spec": { "clusterIP": "10.96.0.1", "ports": [{ "name": "https", "port": 443, "targetPort": 6443 }] },
    });
    create(state, "/api/v1/namespaces/default/services", "", service);
    let everything = json!({
        "kind": "ClusterRole",
        "metadata": { "name": "cluster-admin" },
        "rules": [{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }],
    });
    create(
        state,
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "rbac.authorization.k8s.io/",
        everything,
    );
}

/// The objects are ours: none is refused.
fn create(state: &mut State, path: &str, group: &str, mut object: Value) {
    object["apiVersion"] = json!(format!("{group}v1"));
    let target = Target::parse(path).unwrap_or_default();
    let Ok(resource) = state.resource(&target) else {
        return;
    };
    let write = Write {
        resource: &resource,
        target,
        params: &Params::default(),
        manager: "kube-apiserver".to_owned(),
    };
    let planted = write.create(state, object);
    debug_assert!(planted.is_ok(), "a first object was refused");
}
