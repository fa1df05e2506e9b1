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
