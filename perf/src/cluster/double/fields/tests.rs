use serde_json::{Value, json};

use super::set::{decode, encode};
use super::{Key, Listing, Manager, Operation, Shape, apply, differs, track};

fn shape() -> Shape {
    let mut shape = Shape::of_objects();
    shape.at("status.conditions").listing = Listing::keyed(&["type"]);
    shape.at("spec.selector").atomic = true;
    shape.at("spec.ports").listing = Listing::Keyed(vec![
        Key {
            name: "port".to_owned(),
            default: None,
        },
        Key {
            name: "protocol".to_owned(),
            default: Some("TCP".into()),
        },
    ]);
    shape
}

fn manager(name: &str, operation: Operation) -> Manager {
    Manager {
        name: name.to_owned(),
        operation,
        subresource: None,
        api_version: "v1".to_owned(),
    }
}

fn applied(live: &Value, config: &Value, name: &str) -> Value {
    apply(live, config, &shape(), &manager(name, Operation::Apply), false)
        .unwrap_or_else(|refusal| panic!("{}", refusal.message))
}

fn owned_by(object: &Value, name: &str) -> Value {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let own = entries.into_iter().find(|entry| entry["manager"] == name);
    own.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

fn condition(kind: &str, status: &str) -> Value {
    json!({ "status": { "conditions": [{ "type": kind, "status": status }] } })
}

#[test]
fn two_managers_keep_their_own_conditions_of_one_list() {
    let first = applied(&json!({}), &condition("Ready", "True"), "a");
    let both = applied(&first, &condition("Announced", "False"), "b");
    assert_eq!(both["status"]["conditions"].as_array().unwrap().len(), 2);
    assert_eq!(
        owned_by(&both, "b"),
        json!({ "f:status": { "f:conditions": { "k:{\"type\":\"Announced\"}": {
            ".": {}, "f:type": {}, "f:status": {},
        } } } })
    );
    let again = applied(&both, &condition("Announced", "True"), "b");
    assert_eq!(
        again["status"]["conditions"][0],
        json!({ "type": "Ready", "status": "True" })
    );
    assert_eq!(again["status"]["conditions"][1]["status"], "True");
}

#[test]
fn a_field_of_another_manager_is_a_conflict_unless_it_is_equal_or_forced() {
    let live = applied(&json!({}), &json!({ "spec": { "a": 1, "b": 2 } }), "first");
    let equal = applied(&live, &json!({ "spec": { "a": 1 } }), "second");
    assert_eq!(
        owned_by(&equal, "first"),
        json!({ "f:spec": { "f:a": {}, "f:b": {} } })
    );
    assert_eq!(owned_by(&equal, "second"), json!({ "f:spec": { "f:a": {} } }));
    let config = json!({ "spec": { "b": 3 } });
    let second = manager("second", Operation::Apply);
    let refusal = apply(&live, &config, &shape(), &second, false).unwrap_err();
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (
            409,
            "Apply failed with 1 conflict: conflict with \"first\": .spec.b"
        )
    );
    let forced = apply(&live, &config, &shape(), &second, true).unwrap();
    assert_eq!(forced["spec"]["b"], 3);
    assert_eq!(owned_by(&forced, "first"), json!({ "f:spec": { "f:a": {} } }));
}

#[test]
fn what_is_applied_no_more_goes_unless_somebody_else_has_it() {
    let mut config = condition("Ready", "True");
    config["metadata"] = json!({ "labels": { "x": "1", "y": "2" } });
    let live = applied(&json!({}), &config, "a");
    let shared = applied(&live, &json!({ "metadata": { "labels": { "x": "1" } } }), "b");
    let left = applied(&shared, &json!({ "metadata": { "name": "n" } }), "a");
    assert_eq!(left["metadata"]["labels"], json!({ "x": "1" }));
    assert_eq!(left["status"], Value::Null);
    assert_eq!(owned_by(&left, "a"), Value::Null);
}

#[test]
fn an_item_that_others_add_to_outlives_its_first_manager() {
    let live = applied(&json!({}), &condition("Ready", "True"), "a");
    let mut extended = live.clone();
    extended["status"]["conditions"][0]["message"] = json!("by b");
    track(
        &live,
        &mut extended,
        &shape(),
        &manager("b", Operation::Update),
        |_| true,
    );
    let left = applied(&extended, &json!({}), "a");
    assert_eq!(
        left["status"]["conditions"],
        json!([{ "type": "Ready", "message": "by b" }])
    );
}

#[test]
fn atomic_lists_and_maps_are_one_value() {
    let config = json!({
        "spec": { "selector": { "app": "x" } },
        "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } },
    });
    let live = applied(&json!({}), &config, "a");
    assert_eq!(
        owned_by(&live, "a"),
        json!({
            "f:spec": { "f:selector": {} },
            "f:status": { "f:loadBalancer": { "f:ingress": {} } },
        })
    );
    let other = json!({ "spec": { "selector": { "tier": "y" } } });
    let refusal = apply(&live, &other, &shape(), &manager("b", Operation::Apply), false).unwrap_err();
    assert!(
        refusal.message.ends_with(": .spec.selector"),
        "{}",
        refusal.message
    );
    let forced = apply(&live, &other, &shape(), &manager("b", Operation::Apply), true).unwrap();
    assert_eq!(forced["spec"]["selector"], json!({ "tier": "y" }));
}

#[test]
fn a_key_left_to_its_default_names_the_same_item() {
    let live = json!({ "spec": { "ports": [
        { "port": 53, "protocol": "UDP" }, { "port": 53, "protocol": "TCP" },
    ] } });
    let config = json!({ "spec": { "ports": [{ "port": 53, "name": "dns" }] } });
    let merged = applied(&live, &config, "a");
    assert_eq!(merged["spec"]["ports"][0].get("name"), None);
    assert_eq!(merged["spec"]["ports"][1]["name"], "dns");
}

#[test]
fn an_update_takes_what_it_changes_and_names_itself_in_the_next_conflict() {
    let live = applied(&json!({}), &json!({ "spec": { "a": 1, "b": 2 } }), "a");
    let mut changed = live.clone();
    changed["spec"]["b"] = json!(9);
    track(
        &live,
        &mut changed,
        &shape(),
        &manager("kubectl", Operation::Update),
        |_| true,
    );
    assert_eq!(owned_by(&changed, "a"), json!({ "f:spec": { "f:a": {} } }));
    assert_eq!(owned_by(&changed, "kubectl"), json!({ "f:spec": { "f:b": {} } }));
    let config = json!({ "spec": { "a": 1, "b": 2 } });
    let refusal = apply(
        &changed,
        &config,
        &shape(),
        &manager("a", Operation::Apply),
        false,
    )
    .unwrap_err();
    assert!(
        refusal
            .message
            .contains("conflict with \"kubectl\" using v1: .spec.b"),
        "{}",
        refusal.message
    );
}

#[test]
fn removed_fields_have_no_owner() {
    let live = applied(&json!({}), &json!({ "spec": { "a": 1 } }), "a");
    let mut emptied = live.clone();
    emptied["spec"] = json!({});
    track(
        &live,
        &mut emptied,
        &shape(),
        &manager("b", Operation::Update),
        |_| true,
    );
    assert_eq!(owned_by(&emptied, "a"), Value::Null);
}

#[test]
fn an_apply_that_changes_nothing_differs_in_nothing() {
    let config = json!({ "metadata": { "name": "n" }, "spec": { "a": [1, 2], "b": {} } });
    let live = applied(&json!({ "metadata": { "name": "n" } }), &config, "a");
    assert!(!differs(&live, &applied(&live, &config, "a")));
    assert!(
        differs(&live, &applied(&live, &config, "b")),
        "a second owner is a difference"
    );
}

#[test]
fn fields_survive_their_encoding() {
    let fields = json!({
        "f:metadata": { "f:labels": { ".": {}, "f:a.b/c:d": {} }, "f:finalizers": { "v:\"x\"": {} } },
        "f:spec": { "f:ports": { "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} } } },
    });
    assert_eq!(encode(&decode(&fields)), fields);
}

#[test]
fn shapes_are_read_from_a_schema() {
    let shape = Shape::of_schema(
        &json!({ "properties": { "status": { "properties": { "conditions": {
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"], "items": { "properties": {} },
    } } } } }),
    );
    let live = apply(
        &json!({}),
        &condition("Ready", "True"),
        &shape,
        &manager("a", Operation::Apply),
        false,
    );
    assert!(owned_by(&live.unwrap(), "a").to_string().contains("Ready"));
}
