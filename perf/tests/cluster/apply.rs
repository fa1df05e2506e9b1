//! Server-side apply: owners, conflicts, and what goes when it is applied no more.

use maglane_perf::cluster::APPLY_PATCH;
use serde_json::{Value, json};

use crate::stage::{Case, Stage, code, good, text, version};

pub const CASES: &[Case] = &[
    ("apply_creates_and_changes", apply_creates_and_changes),
    ("a_rival_for_the_status_is_named", a_rival_for_the_status_is_named),
    ("conditions_are_owned_one_by_one", conditions_are_owned_one_by_one),
    ("what_is_applied_no_more_goes", what_is_applied_no_more_goes),
    ("an_update_is_an_owner_too", an_update_is_an_owner_too),
    (
        "applying_the_same_again_writes_nothing",
        applying_the_same_again_writes_nothing,
    ),
];

fn ingress(ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
        "status": { "loadBalancer": { "ingress": [{ "ip": ip, "ipMode": "VIP" }] } },
    })
}

fn condition(kind: &str, status: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
        "status": { "conditions": [{
            "type": kind, "status": status, "reason": "Test", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }] },
    })
}

fn owner<'a>(object: &'a Value, name: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    entries
        .iter()
        .find(|entry| entry["manager"] == name)
        .unwrap_or_else(|| panic!("{name} owns nothing of {object}"))
}

fn made(stage: &Stage<'_>) -> String {
    let object = stage.service("web", &json!({}));
    good(stage.client().create(&stage.core("services"), &object));
    format!("{}/status", stage.core("services/web"))
}

fn apply_creates_and_changes(stage: &Stage<'_>) {
    let path = stage.core("configmaps/a");
    let object = |value: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "value": value } });
    let made = good(stage.client().apply(&path, "first", &object("1")));
    let entry = owner(&made, "first");
    assert_eq!(
        (&entry["operation"], &entry["fieldsType"]),
        (&json!("Apply"), &json!("FieldsV1"))
    );
    assert_eq!(entry["fieldsV1"], json!({ "f:data": { "f:value": {} } }));
    let changed = good(stage.client().apply(&path, "first", &object("2")));
    assert_eq!(changed["data"]["value"], "2");
    assert_eq!(changed["metadata"]["uid"], made["metadata"]["uid"]);
    let nameless = Some((APPLY_PATCH, object("3").to_string()));
    assert_eq!(
        stage.client().request("PATCH", &path, nameless).unwrap().code,
        422
    );
}

fn a_rival_for_the_status_is_named(stage: &Stage<'_>) {
    let path = made(stage);
    let first = good(stage.client().apply(&path, "maglane", &ingress("192.0.2.1")));
    assert_eq!(owner(&first, "maglane")["subresource"], "status");
    let refused = format!("{path}?fieldManager=rival");
    let body = ingress("192.0.2.2").to_string();
    let reply = stage
        .client()
        .request("PATCH", &refused, Some((APPLY_PATCH, body.clone())))
        .unwrap();
    assert_eq!(reply.code, 409);
    let status = reply.json();
    assert_eq!(status["reason"], "Conflict");
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"maglane\" with subresource \"status\": \
         .status.loadBalancer.ingress"
    );
    assert_eq!(
        status["details"]["causes"],
        json!([{
            "reason": "FieldManagerConflict",
            "message": "conflict with \"maglane\" with subresource \"status\"",
            "field": ".status.loadBalancer.ingress",
        }])
    );
    let forced = format!("{path}?fieldManager=rival&force=true");
    let reply = stage
        .client()
        .request("PATCH", &forced, Some((APPLY_PATCH, body)))
        .unwrap();
    assert_eq!(
        reply.json()["status"]["loadBalancer"]["ingress"][0]["ip"],
        "192.0.2.2"
    );
    assert_eq!(
        code(&stage.client().apply(&path, "maglane", &ingress("192.0.2.1"))),
        409
    );
}

fn conditions_are_owned_one_by_one(stage: &Stage<'_>) {
    let path = made(stage);
    good(
        stage
            .client()
            .apply(&path, "maglane", &condition("maglane.io/Programmed", "True")),
    );
    let both = good(
        stage
            .client()
            .apply(&path, "other", &condition("example.com/Seen", "False")),
    );
    let conditions = both["status"]["conditions"].as_array().unwrap();
    let kinds: Vec<&str> = conditions
        .iter()
        .map(|condition| text(&condition["type"]))
        .collect();
    assert_eq!(kinds, ["maglane.io/Programmed", "example.com/Seen"]);
    let fields = owner(&both, "other")["fieldsV1"].to_string();
    assert!(
        fields.contains(r#"k:{\"type\":\"example.com/Seen\"}"#) && !fields.contains("Programmed"),
        "{fields}"
    );
    let refused = stage
        .client()
        .apply(&path, "other", &condition("maglane.io/Programmed", "False"));
    let message = refused.unwrap_err().to_string();
    assert!(
        message.ends_with(r#".status.conditions[type="maglane.io/Programmed"].status"#),
        "{message}"
    );
}

fn what_is_applied_no_more_goes(stage: &Stage<'_>) {
    let path = made(stage);
    let mut all = ingress("192.0.2.1");
    all["status"]["conditions"] = condition("maglane.io/Programmed", "True")["status"]["conditions"].clone();
    good(stage.client().apply(&path, "maglane", &all));
    let less = good(
        stage
            .client()
            .apply(&path, "maglane", &condition("maglane.io/Programmed", "True")),
    );
    assert_eq!(less["status"]["loadBalancer"], json!({}));
    assert_eq!(less["status"]["conditions"][0]["status"], "True");
    let none = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" }, "status": {} });
    let empty = good(stage.client().apply(&path, "maglane", &none));
    assert!(empty["status"].get("conditions").is_none(), "{empty}");
    assert_eq!(empty["spec"]["ports"][0]["port"], 80, "the rest stays");
}

fn an_update_is_an_owner_too(stage: &Stage<'_>) {
    let path = made(stage);
    good(stage.client().merge(
        &format!("{path}?fieldManager=kubectl-edit"),
        &json!({
            "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.7" }] } },
        }),
    ));
    let refused = stage.client().apply(&path, "maglane", &ingress("192.0.2.1"));
    assert_eq!(code(&refused), 409);
    let message = refused.unwrap_err().to_string();
    let expected = "conflict with \"kubectl-edit\" with subresource \"status\" using v1: .status";
    assert!(message.contains(expected), "{message}");
    let equal = good(stage.client().apply(&path, "maglane", &ingress("192.0.2.7")));
    owner(&equal, "kubectl-edit");
    owner(&equal, "maglane");
}

fn applying_the_same_again_writes_nothing(stage: &Stage<'_>) {
    let path = made(stage);
    let first = good(stage.client().apply(&path, "maglane", &ingress("192.0.2.1")));
    for _ in 0..3 {
        let again = good(stage.client().apply(&path, "maglane", &ingress("192.0.2.1")));
        assert_eq!(version(&again), version(&first));
    }
}
