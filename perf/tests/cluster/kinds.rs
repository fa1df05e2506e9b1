//! The rules of kinds: Services' numbers and what may not change, Events' fields, kinds from definitions.

use serde_json::{Value, json};

use crate::stage::{Case, Stage, code, expect, good, names, text, version};

pub const CASES: &[Case] = &[
    (
        "services_get_what_they_leave_out",
        services_get_what_they_leave_out,
    ),
    (
        "services_of_two_families_get_two_addresses",
        services_of_two_families_get_two_addresses,
    ),
    ("a_class_is_chosen_once", a_class_is_chosen_once),
    ("what_a_type_had_goes_with_it", what_a_type_had_goes_with_it),
    (
        "local_services_get_a_health_check_port",
        local_services_get_a_health_check_port,
    ),
    ("slices_count_their_generations", slices_count_their_generations),
    (
        "nodes_keep_the_status_they_come_with",
        nodes_keep_the_status_they_come_with,
    ),
    ("events_have_to_be_whole", events_have_to_be_whole),
    ("a_definition_makes_a_kind", a_definition_makes_a_kind),
];

fn create_service(stage: &Stage<'_>, name: &str, spec: &Value) -> Value {
    good(
        stage
            .client()
            .create(&stage.core("services"), &stage.service(name, spec)),
    )
}

fn services_get_what_they_leave_out(stage: &Stage<'_>) {
    let web = create_service(stage, "web", &json!({}));
    let spec = &web["spec"];
    assert!(text(&spec["clusterIP"]).starts_with("10."), "{spec}");
    assert_eq!(spec["clusterIPs"], json!([spec["clusterIP"]]));
    assert_eq!(
        (&spec["ipFamilies"], &spec["ipFamilyPolicy"]),
        (&json!(["IPv4"]), &json!("SingleStack"))
    );
    assert_eq!(spec["ports"][0]["protocol"], "TCP");
    assert_eq!(spec["ports"][0]["targetPort"], 80);
    let port = spec["ports"][0]["nodePort"].as_u64().unwrap();
    assert!((30_000..=32_767).contains(&port), "{spec}");
    for (field, value) in [
        ("sessionAffinity", json!("None")),
        ("internalTrafficPolicy", json!("Cluster")),
        ("externalTrafficPolicy", json!("Cluster")),
        ("allocateLoadBalancerNodePorts", json!(true)),
    ] {
        assert_eq!(spec[field], value, "{field}");
    }
    let other = create_service(stage, "other", &json!({ "allocateLoadBalancerNodePorts": false }));
    assert_ne!(other["spec"]["clusterIP"], spec["clusterIP"]);
    assert!(other["spec"]["ports"][0].get("nodePort").is_none(), "{other}");
    let portless = stage.client().create(
        &stage.core("services"),
        &stage.service("x", &json!({ "ports": [] })),
    );
    assert_eq!(code(&portless), 422);
    let taken = json!({ "ports": [{ "port": 80, "nodePort": port }] });
    let taken = stage
        .client()
        .create(&stage.core("services"), &stage.service("y", &taken));
    assert_eq!(code(&taken), 422, "a node port belongs to one Service");
}

fn services_of_two_families_get_two_addresses(stage: &Stage<'_>) {
    let both = create_service(stage, "both", &json!({ "ipFamilyPolicy": "PreferDualStack" }));
    assert_eq!(both["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert!(text(&both["spec"]["clusterIPs"][1]).contains(':'), "{both}");
    let second = create_service(stage, "second", &json!({ "ipFamilies": ["IPv6"] }));
    assert!(text(&second["spec"]["clusterIP"]).contains(':'), "{second}");
    let headless = json!({ "type": "ClusterIP", "clusterIP": "None" });
    let headless = create_service(stage, "headless", &headless);
    let gone = good(stage.client().delete(&stage.core("services/second")));
    assert_eq!(gone["kind"], "Service", "its last words are the answer");
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
}

fn a_class_is_chosen_once(stage: &Stage<'_>) {
    let class = json!({ "loadBalancerClass": "maglane.io/maglane" });
    create_service(stage, "web", &class);
    let path = stage.core("services/web");
    let outcome = stage
        .client()
        .merge(&path, &json!({ "spec": { "loadBalancerClass": "other.io/x" } }));
    assert_eq!(code(&outcome), 422);
    assert!(
        outcome
            .unwrap_err()
            .to_string()
            .contains("spec.loadBalancerClass")
    );
    let internal = json!({ "type": "ClusterIP", "loadBalancerClass": "maglane.io/maglane" });
    let outcome = stage
        .client()
        .create(&stage.core("services"), &stage.service("in", &internal));
    assert_eq!(code(&outcome), 422);
    let moved = stage.client().merge(
        &path,
        &json!({ "spec": { "clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"] } }),
    );
    assert_eq!(code(&moved), 422, "the cluster address stays");
}

fn what_a_type_had_goes_with_it(stage: &Stage<'_>) {
    create_service(
        stage,
        "web",
        &json!({ "loadBalancerClass": "maglane.io/maglane" }),
    );
    let path = stage.core("services/web");
    let address = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } } });
    good(stage.client().merge(&format!("{path}/status"), &address));
    let before = good(stage.client().get(&path));
    let kept = good(
        stage
            .client()
            .merge(&path, &json!({ "spec": { "type": "NodePort" } })),
    );
    assert_eq!(
        kept["spec"]["ports"][0]["nodePort"],
        before["spec"]["ports"][0]["nodePort"]
    );
    assert!(kept["spec"].get("loadBalancerClass").is_none(), "{kept}");
    assert_eq!(kept["status"]["loadBalancer"], json!({}));
    let plain = good(
        stage
            .client()
            .merge(&path, &json!({ "spec": { "type": "ClusterIP" } })),
    );
    assert!(plain["spec"]["ports"][0].get("nodePort").is_none(), "{plain}");
    assert!(plain["spec"].get("externalTrafficPolicy").is_none(), "{plain}");
    assert_eq!(plain["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    let again = good(
        stage
            .client()
            .merge(&path, &json!({ "spec": { "type": "LoadBalancer" } })),
    );
    assert!(again["spec"]["ports"][0]["nodePort"].is_u64(), "{again}");
}

fn local_services_get_a_health_check_port(stage: &Stage<'_>) {
    let local = create_service(stage, "web", &json!({ "externalTrafficPolicy": "Local" }));
    assert!(local["spec"]["healthCheckNodePort"].is_u64(), "{local}");
    let affine = create_service(stage, "affine", &json!({ "sessionAffinity": "ClientIP" }));
    assert_eq!(
        affine["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
        10_800
    );
}

fn slices_count_their_generations(stage: &Stage<'_>) {
    let slices = stage.group("discovery.k8s.io", "endpointslices");
    let made = good(stage.client().create(
        &slices,
        &json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
            "ports": [{ "name": "", "port": 80, "protocol": "TCP" }],
            "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": { "ready": true } }],
        }),
    ));
    assert_eq!(made["metadata"]["generation"], 1);
    let patch = json!({ "endpoints": [{ "addresses": ["10.0.0.2"], "conditions": { "ready": false } }] });
    let changed = good(stage.client().merge(&format!("{slices}/web-1"), &patch));
    assert_eq!(changed["metadata"]["generation"], 2);
    assert_eq!(changed["endpoints"].as_array().unwrap().len(), 1);
}

fn nodes_keep_the_status_they_come_with(stage: &Stage<'_>) {
    let address = json!([{ "type": "InternalIP", "address": "192.0.2.10" }]);
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "node-of-the-cases" },
        "status": { "addresses": address },
    });
    let made = good(stage.client().create("/api/v1/nodes", &node));
    assert_eq!(made["status"]["addresses"], address);
    good(stage.client().delete("/api/v1/nodes/node-of-the-cases"));
}

fn events_have_to_be_whole(stage: &Stage<'_>) {
    let events = stage.group("events.k8s.io", "events");
    let event = |name: &str| {
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": name },
            "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "IPAllocated",
            "action": "Allocate", "note": "192.0.2.1", "reportingController": "maglane.io/maglane",
            "reportingInstance": "node-1",
            "regarding": { "kind": "Service", "apiVersion": "v1", "name": "web", "namespace": stage.namespace },
        })
    };
    good(stage.client().create(&events, &event("good")));
    let chosen = good(
        stage
            .client()
            .get(&format!("{events}?fieldSelector=reason%3DIPAllocated")),
    );
    assert_eq!(names(&chosen), ["good"]);
    for field in [
        "eventTime",
        "reportingController",
        "reportingInstance",
        "action",
        "reason",
    ] {
        let mut event = event("bad");
        event.as_object_mut().unwrap().remove(field);
        assert_eq!(code(&stage.client().create(&events, &event)), 422, "{field}");
    }
    let mut long = event("long");
    long["note"] = json!("x".repeat(1025));
    assert_eq!(code(&stage.client().create(&events, &long)), 422);
    let mut strange = event("strange");
    strange["type"] = json!("Odd");
    assert_eq!(code(&stage.client().create(&events, &strange)), 422);
    let path = format!("{events}/good");
    assert_eq!(
        code(&stage.client().merge(&path, &json!({ "note": "another" }))),
        422,
        "a note stays"
    );
    let series = |count: u32| json!({ "series": { "count": count, "lastObservedTime": "2026-01-01T00:00:00.000000Z" } });
    assert_eq!(code(&stage.client().merge(&path, &series(1))), 422);
    assert_eq!(
        good(stage.client().merge(&path, &series(2)))["series"]["count"],
        2
    );
    let mut wide = event("wide");
    wide["regarding"].as_object_mut().unwrap().remove("namespace");
    assert_eq!(
        code(&stage.client().create(&events, &wide)),
        422,
        "its place is the namespace default"
    );
}

fn definition() -> Value {
    let condition = json!({
        "type": "object", "required": ["type", "status"],
        "properties": {
            "type": { "type": "string" }, "status": { "type": "string" },
            "lastTransitionTime": { "type": "string", "format": "date-time" },
        },
    });
    let status = json!({ "type": "object", "properties": {
        "used": { "type": "integer" },
        "conditions": {
            "type": "array", "items": condition,
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
        },
    } });
    let spec = json!({ "type": "object", "properties": {
        "addresses": { "type": "array", "items": { "type": "string" } },
    } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "pools.cases.maglane.io" },
        "spec": {
            "group": "cases.maglane.io", "scope": "Cluster",
            "names": { "plural": "pools", "kind": "Pool", "shortNames": ["pl"] },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": spec, "status": status,
                } } },
            }],
        },
    })
}

fn pool(addresses: &[&str]) -> Value {
    json!({
        "apiVersion": "cases.maglane.io/v1", "kind": "Pool", "metadata": { "name": "p" },
        "spec": { "addresses": addresses }, "status": { "used": 7 },
    })
}

fn a_definition_makes_a_kind(stage: &Stage<'_>) {
    let client = stage.client();
    good(client.apply_object("", &definition()));
    let found = client.discover("cases.maglane.io/v1", "Pool").unwrap();
    let (all, path) = (found.path("", ""), found.path("", "p"));
    let made = good(client.create(&all, &pool(&["192.0.2.0/24"])));
    assert_eq!(made["metadata"]["generation"], 1);
    assert!(
        made.get("status").is_none(),
        "the status is written apart: {made}"
    );
    let list = good(client.get(&all));
    assert_eq!(
        list["items"][0]["kind"], "Pool",
        "items of custom lists have their kind"
    );
    let watch = client
        .watch(&format!("{all}?watch=1&resourceVersion={}", version(&list)))
        .unwrap();
    let mut status = pool(&[]);
    status.as_object_mut().unwrap().remove("spec");
    status["status"]["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
    let told = good(client.apply(&format!("{path}/status"), "maglane", &status));
    assert_eq!(
        (&told["status"]["used"], &told["metadata"]["generation"]),
        (&json!(7), &json!(1))
    );
    assert_eq!(expect(&watch, "MODIFIED", "p"), told);
    status["status"]["conditions"] = json!([{ "type": "Seen", "status": "True" }]);
    let both = good(client.apply(&format!("{path}/status"), "other", &status));
    assert_eq!(both["status"]["conditions"].as_array().unwrap().len(), 2);
    let wanted = good(client.merge(&path, &json!({ "spec": { "addresses": ["198.51.100.0/24"] } })));
    assert_eq!(wanted["metadata"]["generation"], 2);
    assert_eq!(wanted["status"]["used"], 7);
    let mut blind = wanted;
    blind["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    assert_eq!(
        code(&client.replace(&path, &blind)),
        422,
        "a version must be named"
    );
    good(client.delete(&path));
    good(client.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/pools.cases.maglane.io"));
}
