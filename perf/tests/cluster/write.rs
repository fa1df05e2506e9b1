//! Writes: what is refused, who wins, what the server fills in.

use maglane_perf::cluster::{JSON_PATCH, Reply};
use serde_json::{Value, json};

use crate::stage::{Case, Stage, code, good, text, version};

pub const CASES: &[Case] = &[
    ("a_stale_write_is_a_conflict", a_stale_write_is_a_conflict),
    (
        "a_lease_is_renewed_by_version_only",
        a_lease_is_renewed_by_version_only,
    ),
    (
        "status_and_object_are_written_apart",
        status_and_object_are_written_apart,
    ),
    (
        "a_write_that_changes_nothing_is_none",
        a_write_that_changes_nothing_is_none,
    ),
    ("finalizers_keep_an_object", finalizers_keep_an_object),
    ("a_dry_run_stores_nothing", a_dry_run_stores_nothing),
    ("nonsense_is_refused", nonsense_is_refused),
    ("deleting_knows_preconditions", deleting_knows_preconditions),
    (
        "json_patches_test_before_they_change",
        json_patches_test_before_they_change,
    ),
];

fn a_stale_write_is_a_conflict(stage: &Stage<'_>) {
    let made = stage.config_map("a", "1");
    let path = stage.core("configmaps/a");
    let mut newer = made.clone();
    newer["data"]["value"] = json!("2");
    good(stage.client().replace(&path, &newer));
    let outcome = stage.client().replace(&path, &newer);
    assert_eq!(code(&outcome), 409);
    let message = outcome.unwrap_err().to_string();
    assert!(
        message.contains("Operation cannot be fulfilled on configmaps \"a\": the object has been modified"),
        "{message}"
    );
    let patch = json!({ "metadata": { "resourceVersion": made["metadata"]["resourceVersion"] }, "data": { "value": "3" } });
    assert_eq!(code(&stage.client().merge(&path, &patch)), 409);
    let again = stage.client().create(
        &stage.core("configmaps"),
        &json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" },
        }),
    );
    assert_eq!(code(&again), 409);
    assert!(
        again
            .unwrap_err()
            .to_string()
            .ends_with("configmaps \"a\" already exists")
    );
}

fn a_lease_is_renewed_by_version_only(stage: &Stage<'_>) {
    let leases = stage.group("coordination.k8s.io", "leases");
    let path = format!("{leases}/election");
    let made = good(stage.client().create(
        &leases,
        &json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "election" },
            "spec": {
                "holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 0,
                "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z",
            },
        }),
    ));
    let mut taken = made.clone();
    taken["spec"]["holderIdentity"] = json!("b");
    let stored = good(stage.client().replace(&path, &taken));
    assert_eq!(stored["spec"]["holderIdentity"], "b");
    taken["spec"]["holderIdentity"] = json!("c");
    assert_eq!(
        code(&stage.client().replace(&path, &taken)),
        409,
        "both had seen the same version"
    );
    let mut blind = stored.clone();
    blind["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    assert_eq!(
        code(&stage.client().replace(&path, &blind)),
        422,
        "a version must be named"
    );
    let mut wrong = stored;
    wrong["spec"]["leaseDurationSeconds"] = json!(0);
    assert_eq!(code(&stage.client().replace(&path, &wrong)), 422);
}

fn status_and_object_are_written_apart(stage: &Stage<'_>) {
    let mut object = stage.service("web", &json!({}));
    object["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } });
    let made = good(stage.client().create(&stage.core("services"), &object));
    assert_eq!(
        made["status"]["loadBalancer"],
        json!({}),
        "a new object has no status"
    );
    let path = stage.core("services/web");
    let patch = json!({
        "metadata": { "labels": { "a": "b" } },
        "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.9" }] } },
    });
    let whole = good(stage.client().merge(&path, &patch));
    assert_eq!(whole["status"]["loadBalancer"], json!({}));
    assert_eq!(whole["metadata"]["labels"]["a"], "b");
    let patch = json!({
        "spec": { "ports": [{ "port": 81 }] },
        "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.9" }] } },
    });
    let status = good(stage.client().merge(&format!("{path}/status"), &patch));
    assert_eq!(status["spec"]["ports"][0]["port"], 80);
    assert_eq!(
        status["status"]["loadBalancer"]["ingress"],
        json!([{ "ip": "192.0.2.9", "ipMode": "VIP" }])
    );
    let bad = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "nonsense" }] } } });
    assert_eq!(code(&stage.client().merge(&format!("{path}/status"), &bad)), 422);
    let none = stage.config_map("plain", "x");
    let path = format!("{}/status", stage.core("configmaps/plain"));
    assert_eq!(
        code(&stage.client().merge(&path, &json!({ "data": none["data"] }))),
        404
    );
}

fn a_write_that_changes_nothing_is_none(stage: &Stage<'_>) {
    let made = stage.config_map("a", "1");
    let path = stage.core("configmaps/a");
    let same = good(stage.client().merge(&path, &json!({ "data": { "value": "1" } })));
    assert_eq!(version(&same), version(&made));
    let same = good(stage.client().replace(&path, &made));
    assert_eq!(version(&same), version(&made));
}

fn finalizers_keep_an_object(stage: &Stage<'_>) {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "held", "finalizers": ["maglane.io/test"] },
    });
    good(stage.client().create(&stage.core("configmaps"), &object));
    let path = stage.core("configmaps/held");
    good(stage.client().delete(&path));
    let marked = good(stage.client().get(&path));
    assert!(marked["metadata"]["deletionTimestamp"].is_string(), "{marked}");
    good(
        stage
            .client()
            .merge(&path, &json!({ "metadata": { "finalizers": null } })),
    );
    assert_eq!(code(&stage.client().get(&path)), 404);
}

fn a_dry_run_stores_nothing(stage: &Stage<'_>) {
    let object = stage.service("web", &json!({}));
    let shown = good(
        stage
            .client()
            .create(&format!("{}?dryRun=All", stage.core("services")), &object),
    );
    assert_eq!(shown["spec"]["sessionAffinity"], "None", "defaults are shown");
    assert_eq!(code(&stage.client().get(&stage.core("services/web"))), 404);
}

fn nonsense_is_refused(stage: &Stage<'_>) {
    let post = |content: (&str, &str)| -> Reply {
        let (kind, body) = content;
        let body = Some((kind, body.to_owned()));
        stage
            .client()
            .request("POST", &stage.core("configmaps"), body)
            .unwrap()
    };
    let json = "application/json";
    for (body, expected) in [
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"Not Legal"}}"#,
            422,
        ),
        (r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}"#, 422),
        (
            r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}"#,
            400,
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"elsewhere"}}"#,
            400,
        ),
        ("{", 400),
    ] {
        let reply = post((json, body));
        assert_eq!(reply.code, expected, "{body}: {}", reply.json());
    }
    stage.config_map("a", "1");
    let path = stage.core("configmaps/a");
    let strange = Some(("text/plain", "x".to_owned()));
    assert_eq!(stage.client().request("PATCH", &path, strange).unwrap().code, 415);
    let other = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "b" } });
    assert_eq!(code(&stage.client().replace(&path, &other)), 400);
}

fn deleting_knows_preconditions(stage: &Stage<'_>) {
    let made = stage.config_map("a", "1");
    let path = stage.core("configmaps/a");
    let options = |uid: &Value| {
        let options = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": { "uid": uid },
        });
        Some(("application/json", options.to_string()))
    };
    let other = json!("00000000-0000-4000-8000-000000000000");
    assert_eq!(
        stage
            .client()
            .request("DELETE", &path, options(&other))
            .unwrap()
            .code,
        409
    );
    let own = &made["metadata"]["uid"];
    let reply = stage.client().request("DELETE", &path, options(own)).unwrap();
    assert_eq!(reply.code, 200);
    assert_eq!(text(&reply.json()["status"]), "Success");
    for name in ["x", "y"] {
        stage.config_map(name, "1");
    }
    good(stage.client().delete(&format!(
        "{}?fieldSelector=metadata.name%3Dx",
        stage.core("configmaps")
    )));
    assert_eq!(code(&stage.client().get(&stage.core("configmaps/x"))), 404);
    good(stage.client().get(&stage.core("configmaps/y")));
}

fn json_patches_test_before_they_change(stage: &Stage<'_>) {
    stage.config_map("a", "1");
    let path = stage.core("configmaps/a");
    let patch = |tested: &str| {
        let patch = json!([
            { "op": "test", "path": "/data/value", "value": tested },
            { "op": "replace", "path": "/data/value", "value": "2" },
        ]);
        stage
            .client()
            .request("PATCH", &path, Some((JSON_PATCH, patch.to_string())))
            .unwrap()
    };
    assert_eq!(patch("1").json()["data"]["value"], "2");
    assert!(patch("1").code >= 400, "the test no longer holds");
}
