use serde_json::{Value, json};

use super::*;
use crate::ipam::{Disruption, Pool, Requirement};

fn pool(spec: Value) -> Read<Pool> {
    let object = json!({
        "apiVersion": "maglane.io/v1alpha1",
        "kind": "AddressPool",
        "metadata": { "name": "public", "creationTimestamp": "2026-01-02T03:04:05Z" },
        "spec": spec,
    });
    serde_json::from_value::<AddressPool>(object).unwrap().pool()
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_pool_that_says_only_addresses_is_for_everyone() {
    let read = pool(json!({ "addresses": ["192.0.2.0/24", "2001:db8::/64"] }));
    assert_eq!(read.problems, []);
    let pool = read.value.unwrap();
    assert_eq!((pool.name.as_ref(), pool.created), ("public", Some(1767323045)));
    assert_eq!(pool.ranges.len(), 2);
    assert!(pool.auto_assign && pool.strict && !pool.is_pinned() && !pool.disabled && !pool.avoid_buggy_ips);
    assert_eq!(pool.disruption, Disruption::Refused);
}

#[test]
fn every_setting_of_a_pool_is_carried_over() {
    let read = pool(json!({
        "addresses": ["192.0.2.0/24"],
        "autoAssign": false,
        "avoidBuggyIPs": true,
        "allowFirstLastIPs": false,
        "disabled": true,
        "serviceAllocation": {
            "priority": 7,
            "strict": false,
            "namespaces": ["a"],
            "namespaceSelectors": [{ "matchLabels": { "tier": "gold" } }],
            "serviceSelectors": [{ "matchExpressions": [{ "key": "app", "operator": "NotIn", "values": ["x"] }] }],
        },
    }));
    let pool = read.value.unwrap();
    assert!(!pool.auto_assign && !pool.strict && pool.disabled && pool.avoid_buggy_ips && pool.is_pinned());
    assert_eq!(pool.ranges[0].to_string(), "192.0.2.1-192.0.2.254");
    assert_eq!(pool.priority, 7);
    assert!(pool.namespaces.contains("a"));
    let value = |value: &str| [value.into()].into_iter().collect();
    assert_eq!(
        pool.namespace_selectors[0].0,
        [("tier".into(), Requirement::In(value("gold")))]
    );
    assert_eq!(
        pool.service_selectors[0].0,
        [("app".into(), Requirement::NotIn(value("x")))]
    );
}

#[test]
fn each_bad_field_of_a_pool_is_one_problem_and_the_last_good_state_holds() {
    let read = pool(json!({
        "addresses": ["192.0.2.0/24", "web", "192.0.2.9-192.0.2.1"],
        "serviceAllocation": {
            "priority": -1,
            "namespaceSelectors": [{ "matchExpressions": [{ "key": "a", "operator": "In" }] }],
            "serviceSelectors": [{}, { "matchExpressions": [{ "key": "a", "operator": "Exists", "values": ["b"] }] }],
        },
    }));
    assert_eq!(read.value, None);
    let fields: Vec<&str> = read
        .problems
        .iter()
        .map(|problem| problem.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.addresses[1]",
            "spec.addresses[2]",
            "spec.serviceAllocation.priority",
            "spec.serviceAllocation.namespaceSelectors[0].matchExpressions[0].values",
            "spec.serviceAllocation.serviceSelectors[1].matchExpressions[0].values",
        ]
    );
    for problem in &read.problems {
        assert!(
            problem.remedy.contains("until then the last good state holds"),
            "{problem}"
        );
    }
    assert_eq!(texts(&pool(json!({ "addresses": [] })).problems).len(), 1);
}

#[test]
fn a_misspelt_consent_is_a_warning_and_counts_as_refusal() {
    let mut object = AddressPool::new("p", AddressPoolSpec::new(vec!["192.0.2.0/24".to_owned()]));
    let mut annotate = |value: &str| {
        let annotation = ("maglane.io/allow-disruption".to_owned(), value.to_owned());
        object.metadata.annotations = Some([annotation].into_iter().collect());
        object.pool()
    };
    let read = annotate("yes");
    assert_eq!(
        (read.value.unwrap().disruption, read.problems.len()),
        (Disruption::Refused, 1)
    );
    let read = annotate("true");
    assert_eq!(
        (read.value.unwrap().disruption, read.problems.len()),
        (Disruption::Allowed, 0)
    );
}

fn reservation(spec: Value, status: Value) -> AddressReservation {
    let object = json!({
        "apiVersion": "maglane.io/v1alpha1",
        "kind": "AddressReservation",
        "metadata": { "name": "keep", "namespace": "shop" },
        "spec": spec,
        "status": status,
    });
    serde_json::from_value(object).unwrap()
}

#[test]
fn a_reservation_is_for_a_service_of_its_own_namespace() {
    let object = reservation(
        json!({ "serviceName": "web", "addresses": ["192.0.2.7"] }),
        json!({ "addresses": ["192.0.2.8", "nonsense"] }),
    );
    let read = object.reservation();
    assert_eq!(read.problems, []);
    let read = read.value.unwrap();
    assert_eq!(
        (read.name.to_string(), read.service.to_string()),
        ("shop/keep".into(), "shop/web".into())
    );
    assert_eq!((read.addresses.len(), read.kept.len()), (1, 1));
    let bad = reservation(
        json!({ "serviceName": "web", "addresses": ["192.0.2.7/32", "::1"] }),
        json!({}),
    );
    let fields: Vec<String> = bad
        .reservation()
        .problems
        .into_iter()
        .map(|problem| problem.field)
        .collect();
    assert_eq!(fields, ["spec.addresses[0]", "spec.addresses[1]"]);
}

/// Walks a schema; `visit` gets the path and the node.
fn walk(path: &str, node: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, node);
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), child, visit);
    }
    for inner in ["items", "additionalProperties"] {
        if node[inner].is_object() {
            walk(&format!("{path}.{inner}"), &node[inner], visit);
        }
    }
}

#[test]
fn every_list_and_text_is_bounded_and_no_format_is_unsigned() {
    for definition in definitions() {
        let definition = serde_json::to_value(&definition).unwrap();
        for version in definition["spec"]["versions"].as_array().unwrap() {
            walk("", &version["schema"]["openAPIV3Schema"], &mut |path, node| {
                // The API server bounds these itself.
                if [".apiVersion", ".kind", ".metadata"].contains(&path) {
                    return;
                }
                let format = node["format"].as_str().unwrap_or_default();
                assert!(!format.starts_with("uint"), "{path}: {format}");
                let bounded = match node["type"].as_str() {
                    Some("string") => {
                        node["maxLength"].is_u64() || node["enum"].is_array() || format == "date-time"
                    }
                    Some("array") => node["maxItems"].is_u64(),
                    Some("object") => node["properties"].is_object() || node["maxProperties"].is_u64(),
                    Some("integer" | "boolean") => true,
                    other => panic!("{path}: {other:?} is not structural"),
                };
                assert!(bounded, "{path} has no bound: {node}");
            });
        }
    }
}

fn announce_fields<T: crate::convert::Announces + serde::de::DeserializeOwned>(
    kind: &str,
    spec: Value,
) -> Vec<String> {
    let object = json!({
        "apiVersion": "maglane.io/v1alpha1", "kind": kind, "metadata": { "name": "a", "generation": 3 }, "spec": spec,
    });
    let read = serde_json::from_value::<T>(object).unwrap().spec();
    assert_eq!(
        read.value.is_none(),
        !read.problems.is_empty(),
        "{:?}",
        read.problems
    );
    for problem in &read.problems {
        assert!(
            problem.remedy.contains("until then the last good state holds")
                && !problem.remedy.starts_with("correct it;"),
            "{problem}"
        );
    }
    read.problems.into_iter().map(|problem| problem.field).collect()
}

#[test]
fn each_bad_field_of_a_peer_is_one_problem_with_its_remedy() {
    let good = json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1" });
    assert_eq!(announce_fields::<BgpPeer>("BgpPeer", good.clone()), [""; 0]);
    for (change, wanted) in [
        (json!({ "myASN": 0 }), "spec.myASN"),
        (json!({ "peerASN": 4_294_967_296i64 }), "spec.peerASN"),
        (json!({ "dynamicASN": "internal" }), "spec.dynamicASN"),
        (json!({ "peerAddress": "router" }), "spec.peerAddress"),
        (json!({ "peerAddress": "fe80::1" }), "spec.peerAddress"),
        (json!({ "peerPort": 0 }), "spec.peerPort"),
        (json!({ "holdTime": "2s" }), "spec.holdTime"),
        (json!({ "holdTime": "soon" }), "spec.holdTime"),
        (json!({ "connectTime": "0s" }), "spec.connectTime"),
        (json!({ "routerID": "::1" }), "spec.routerID"),
        (json!({ "password": "" }), "spec.password"),
        (
            json!({ "password": "a", "passwordSecret": { "name": "b" } }),
            "spec.password",
        ),
        (
            json!({ "enableGracefulRestart": true }),
            "spec.enableGracefulRestart",
        ),
        (json!({ "ttlSecurityHops": 255 }), "spec.ttlSecurityHops"),
        (
            json!({ "ttlSecurityHops": 1, "ebgpMultiHop": true }),
            "spec.ttlSecurityHops",
        ),
        (json!({ "vrf": "red", "interface": "eth0" }), "spec.vrf"),
        (
            json!({ "nextHops": { "linkLocal": "2001:db8::1" } }),
            "spec.nextHops.linkLocal",
        ),
        (json!({ "drain": { "prepend": 11 } }), "spec.drain"),
    ] {
        let mut spec = good.clone();
        spec.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        assert_eq!(announce_fields::<BgpPeer>("BgpPeer", spec), [wanted], "{change}");
    }
    let none = json!({ "myASN": 1 });
    assert_eq!(
        announce_fields::<BgpPeer>("BgpPeer", none),
        ["spec.peerASN", "spec.peerAddress"]
    );
}

#[test]
fn what_is_not_offered_or_contradicts_itself_is_refused() {
    let advertisement = |spec| announce_fields::<BgpAdvertisement>("BgpAdvertisement", spec);
    assert_eq!(advertisement(json!({})), [""; 0]);
    let aggregate = json!({ "aggregationLength": 24, "serviceSelectors": [{}] });
    assert_eq!(advertisement(aggregate), ["spec.aggregationLength"]);
    assert_eq!(
        advertisement(json!({ "communities": ["1:2", "named", "1:99999", "large:1:2"], "localPref": -1 })),
        ["spec.communities[2]", "spec.communities[3]", "spec.localPref"]
    );
    let profile = |spec| announce_fields::<BfdProfile>("BfdProfile", spec);
    assert_eq!(profile(json!({})), [""; 0]);
    assert_eq!(
        profile(json!({ "echoMode": true, "receiveInterval": 5, "detectMultiplier": 1 })),
        ["spec.echoMode", "spec.receiveInterval", "spec.detectMultiplier"]
    );
    let communities = json!({ "communities": [
        { "name": "a", "value": "1:2" }, { "name": "a", "value": "1:3" }, { "name": "b", "value": "x" },
    ] });
    assert_eq!(
        announce_fields::<Community>("Community", communities),
        ["spec.communities[1].name", "spec.communities[2].value"]
    );
    let l2 = |spec| announce_fields::<L2Advertisement>("L2Advertisement", spec);
    assert_eq!(l2(json!({ "interfaces": ["eth0"] })), [""; 0]);
}
