//! GET and LIST: single objects, pages of one state, selectors, versions, discovery.

use serde_json::json;

use crate::stage::{Case, Stage, code, good, names, text, version};

pub const CASES: &[Case] = &[
    (
        "objects_are_stored_with_their_metadata",
        objects_are_stored_with_their_metadata,
    ),
    ("what_is_not_there_is_not_found", what_is_not_there_is_not_found),
    ("pages_show_one_state", pages_show_one_state),
    ("selectors_choose", selectors_choose),
    ("lists_name_their_version", lists_name_their_version),
    ("kinds_are_discovered", kinds_are_discovered),
];

fn objects_are_stored_with_their_metadata(stage: &Stage<'_>) {
    let made = stage.config_map("one", "x");
    let metadata = &made["metadata"];
    assert_eq!(text(&metadata["uid"]).len(), 36, "{made}");
    assert!(text(&metadata["creationTimestamp"]).ends_with('Z'), "{made}");
    assert_eq!(metadata["namespace"], json!(stage.namespace));
    assert_eq!(metadata["managedFields"][0]["operation"], "Update", "{made}");
    let again = good(stage.client().get(&stage.core("configmaps/one")));
    assert_eq!(again, made);
    assert_eq!(
        (&again["kind"], &again["apiVersion"]),
        (&json!("ConfigMap"), &json!("v1"))
    );
}

fn what_is_not_there_is_not_found(stage: &Stage<'_>) {
    for path in [
        stage.core("services/none"),
        "/apis/none.example/v1/things".to_owned(),
    ] {
        let reply = stage.client().request("GET", &path, None).unwrap();
        assert_eq!(reply.code, 404, "{path}");
    }
    let status = stage
        .client()
        .request("GET", &stage.core("services/none"), None)
        .unwrap()
        .json();
    assert_eq!(status["message"], "services \"none\" not found");
    assert_eq!(
        (&status["reason"], &status["status"]),
        (&json!("NotFound"), &json!("Failure"))
    );
    assert_eq!(status["details"], json!({ "name": "none", "kind": "services" }));
    let nowhere = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } });
    let outcome = stage
        .client()
        .create("/api/v1/namespaces/none/configmaps", &nowhere);
    assert_eq!(code(&outcome), 404);
    assert!(
        outcome
            .unwrap_err()
            .to_string()
            .ends_with("namespaces \"none\" not found")
    );
    assert_eq!(code(&stage.client().delete(&stage.core("configmaps/none"))), 404);
}

fn pages_show_one_state(stage: &Stage<'_>) {
    for name in ["a", "b", "c", "d", "e"] {
        stage.config_map(name, "x");
    }
    let path = stage.core("configmaps");
    let first = good(stage.client().get(&format!("{path}?limit=2")));
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    good(stage.client().delete(&stage.core("configmaps/d")));
    stage.config_map("ca", "x");
    let mut token = text(&first["metadata"]["continue"]).to_owned();
    let mut rest = Vec::new();
    while !token.is_empty() {
        let page = good(stage.client().get(&format!("{path}?limit=2&continue={token}")));
        assert_eq!(version(&page), version(&first), "all pages are of one version");
        rest.extend(names(&page));
        token = page["metadata"]["continue"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
    }
    assert_eq!(rest, ["c", "d", "e"]);
    assert_eq!(
        names(&good(stage.client().get(&path))),
        ["a", "b", "c", "ca", "e"]
    );
    assert_eq!(
        code(&stage.client().get(&format!("{path}?limit=2&continue=%2Fbad"))),
        400
    );
}

fn selectors_choose(stage: &Stage<'_>) {
    for (name, tier) in [("a", "front"), ("b", "back"), ("c", "")] {
        let mut object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
        if !tier.is_empty() {
            object["metadata"]["labels"] = json!({ "tier": tier });
        }
        good(stage.client().create(&stage.core("configmaps"), &object));
    }
    for (selector, expected) in [
        ("labelSelector=tier%3Dfront", vec!["a"]),
        ("labelSelector=tier%20in%20(front%2Cback)", vec!["a", "b"]),
        ("labelSelector=tier!%3Dfront", vec!["b", "c"]),
        ("labelSelector=!tier", vec!["c"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
    ] {
        let list = good(
            stage
                .client()
                .get(&format!("{}?{selector}", stage.core("configmaps"))),
        );
        assert_eq!(names(&list), expected, "{selector}");
    }
    let unknown = stage.client().get(&format!(
        "{}?fieldSelector=data.value%3Dx",
        stage.core("configmaps")
    ));
    assert_eq!(code(&unknown), 400);
}

fn lists_name_their_version(stage: &Stage<'_>) {
    let made = stage.config_map("a", "x");
    let list = good(stage.client().get(&stage.core("configmaps")));
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("ConfigMapList"), &json!("v1"))
    );
    assert!(version(&list) >= version(&made), "{list}");
    assert_eq!(
        list["items"][0].get("kind"),
        None,
        "items of built-in lists have no kind"
    );
    let future = format!("{}?resourceVersion=99999999", stage.core("configmaps"));
    assert_eq!(code(&stage.client().get(&future)), 504);
    let cached = good(
        stage
            .client()
            .get(&format!("{}?resourceVersion=0", stage.core("configmaps"))),
    );
    assert_eq!(names(&cached), ["a"]);
}

fn kinds_are_discovered(stage: &Stage<'_>) {
    let services = stage.client().discover("v1", "Service").unwrap();
    assert_eq!(
        (services.plural.as_str(), services.namespaced),
        ("services", true)
    );
    let nodes = stage.client().discover("v1", "Node").unwrap();
    assert_eq!((nodes.plural.as_str(), nodes.namespaced), ("nodes", false));
    let leases = stage
        .client()
        .discover("coordination.k8s.io/v1", "Lease")
        .unwrap();
    assert_eq!(
        leases.path("a", "b"),
        "/apis/coordination.k8s.io/v1/namespaces/a/leases/b"
    );
    let made = stage.client().apply_all(
        &stage.namespace,
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first}\n---\napiVersion: v1\nkind: Secret\nmetadata:\n  \
         name: second\nstringData: {a: b}\n",
    );
    assert_eq!(made.unwrap().len(), 2);
    assert_eq!(
        names(&good(stage.client().get(&stage.core("configmaps")))),
        ["first"]
    );
}
