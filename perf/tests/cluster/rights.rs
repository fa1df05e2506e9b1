//! Who may do what: users by certificate, roles and bindings.

use maglane_perf::cluster::User;
use serde_json::json;

use crate::stage::{Case, Stage, code, good, names};

pub const CASES: &[Case] = &[
    ("a_user_may_nothing_until_bound", a_user_may_nothing_until_bound),
    ("a_role_may_name_its_objects", a_role_may_name_its_objects),
    (
        "the_log_counts_what_a_user_wrote",
        the_log_counts_what_a_user_wrote,
    ),
];

/// Waits for an authoriser that learns of a role a moment after its answer.
fn until_allowed(what: &str, allowed: impl Fn() -> bool) {
    let waited = maglane_perf::wait::wait_until(what, crate::stage::SOON, &allowed);
    waited.unwrap_or_else(|error| panic!("{error}"));
}

fn a_user_may_nothing_until_bound(stage: &Stage<'_>) {
    let user = User::service_account(&stage.namespace, "agent");
    let client = stage.cluster.client_as(&user).unwrap();
    let outcome = client.get("/api/v1/services");
    assert_eq!(code(&outcome), 403);
    let message = outcome.unwrap_err().to_string();
    let expected = format!(
        "services is forbidden: User \"{}\" cannot list resource \"services\" in API group \"\" at the cluster scope",
        user.name
    );
    assert!(message.ends_with(&expected), "{message}");
    stage
        .client()
        .apply_all("", &format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: cases-{ns}}}\nrules:\n\
             - {{apiGroups: [\"\"], resources: [services], verbs: [get, list, watch]}}\n\
             - {{apiGroups: [\"\"], resources: [services/status], verbs: [patch]}}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: cases-{ns}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cases-{ns}}}\nsubjects:\n\
             - {{kind: ServiceAccount, name: agent, namespace: {ns}}}\n",
            ns = stage.namespace
        ))
        .unwrap_or_else(|error| panic!("{error}"));
    until_allowed("the right to list", || client.get("/api/v1/services").is_ok());
    let object = stage.service("web", &json!({}));
    good(stage.client().create(&stage.core("services"), &object));
    let patch = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } } });
    good(client.merge(&format!("{}/status", stage.core("services/web")), &patch));
    assert_eq!(
        code(&client.merge(&stage.core("services/web"), &patch)),
        403,
        "the object itself is not theirs"
    );
    assert_eq!(code(&client.get(&stage.core("secrets"))), 403);
    good(client.get("/version"));
}

fn a_role_may_name_its_objects(stage: &Stage<'_>) {
    let user = User::named("somebody");
    let client = stage.cluster.client_as(&user).unwrap();
    stage
        .client()
        .apply_all(
            &stage.namespace,
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: own}\nrules:\n\
             - {apiGroups: [\"\"], resources: [secrets], resourceNames: [mine], verbs: [get]}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: own}\n\
             roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: own}\nsubjects:\n\
             - {kind: User, name: somebody, apiGroup: rbac.authorization.k8s.io}\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {name: other}\n",
        )
        .unwrap_or_else(|error| panic!("{error}"));
    until_allowed("the right to get one", || {
        client.get(&stage.core("secrets/mine")).is_ok()
    });
    assert_eq!(code(&client.get(&stage.core("secrets/other"))), 403);
    assert_eq!(code(&client.get(&stage.core("secrets"))), 403);
}

fn the_log_counts_what_a_user_wrote(stage: &Stage<'_>) {
    let client = stage.cluster.client_as(&User::admin()).unwrap();
    let mark = stage.cluster.log().mark();
    stage.config_map("past-the-door", "x");
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } });
    good(client.create(&stage.core("configmaps"), &object));
    assert_eq!(
        names(&good(client.get(&stage.core("configmaps")))),
        ["a", "past-the-door"]
    );
    assert_eq!(code(&client.create(&stage.core("configmaps"), &object)), 409);
    let writes = stage.cluster.log().writes("admin", mark);
    let codes: Vec<u16> = writes.iter().map(|entry| entry.code).collect();
    assert_eq!(codes, [201, 409]);
    assert_eq!(writes[0].target.resource, "configmaps");
    assert_eq!(stage.cluster.log().since(mark).len(), 3);
}
