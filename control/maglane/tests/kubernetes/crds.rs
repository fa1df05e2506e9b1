//! What a server's own validation makes of pools and reservations, good ones and bad ones.

use maglane_perf::cluster::{Choice, Cluster, JSON};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::world::deploy;

fn pool(spec: Value) -> Value {
    object("AddressPool", spec)
}

fn reservation(spec: Value) -> Value {
    object("AddressReservation", spec)
}

fn object(kind: &str, spec: Value) -> Value {
    json!({ "apiVersion": "maglane.io/v1alpha1", "kind": kind, "metadata": { "name": "tried" }, "spec": spec })
}

fn good() -> Vec<Value> {
    vec![
        pool(
            json!({ "addresses": ["192.0.2.0/24", "192.0.2.10-192.0.2.20", "2001:db8::/120", "198.51.100.1"] }),
        ),
        pool(json!({ "addresses": ["192.0.2.1 - 192.0.2.2"], "autoAssign": false, "avoidBuggyIPs": true })),
        pool(json!({
            "addresses": ["2001:db8::1-2001:db8::f"],
            "serviceAllocation": {
                "priority": 5, "namespaces": ["shop"],
                "serviceSelectors": [{ "matchLabels": { "tier": "gold" } }],
            },
        })),
        reservation(json!({ "serviceName": "web", "addresses": ["192.0.2.1", "2001:db8::1"] })),
    ]
}

fn bad() -> Vec<Value> {
    let addresses = |text: &str| pool(json!({ "addresses": [text] }));
    let mut bad: Vec<Value> = [
        "",
        "web",
        "192.0.2.0/33",
        "192.0.2.300",
        "192.0.2.1-",
        "192.0.2.1-2001:db8::1",
        "192.0.2.1/24-192.0.2.9",
        "2001:db8::/129",
        "192.0.2.0/24; drop",
    ]
    .map(addresses)
    .into();
    bad.extend([
        pool(json!({ "addresses": [] })),
        pool(json!({})),
        pool(json!({ "addresses": ["192.0.2.1"], "serviceAllocation": { "priority": -1 } })),
        pool(json!({ "addresses": ["192.0.2.1"], "serviceAllocation": { "namespaces": ["Not A Name"] } })),
        pool(json!({ "addresses": ["192.0.2.1"], "autoAsign": true })),
        pool(json!({ "addresses": vec!["192.0.2.1"; 257] })),
        reservation(json!({ "serviceName": "web", "addresses": ["192.0.2.0/24"] })),
        reservation(json!({ "addresses": ["192.0.2.1"] })),
    ]);
    bad
}

/// The server's status code and words.
fn tried(cluster: &Cluster, object: &Value) -> (u16, String) {
    let path = cluster.client().path_of("default", object).unwrap();
    let collection = path.trim_end_matches("/tried");
    let path = format!("{collection}?fieldManager=test&fieldValidation=Strict&dryRun=All");
    let content = Some((JSON, object.to_string()));
    let reply = cluster.client().request("POST", &path, content).unwrap();
    (reply.code, reply.json()["message"].to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_takes_good_objects_and_refuses_bad_ones() {
    let started = block_in_place(|| Cluster::builder().choice(Choice::Real).start());
    let Some(cluster) = crate::found(started) else {
        return eprintln!("skipped: no kube-apiserver is found; set KUBEBUILDER_ASSETS");
    };
    block_in_place(|| {
        deploy(cluster.client());
        let (good, bad) = (good(), bad());
        for object in &good {
            let (code, message) = tried(&cluster, object);
            assert!(code == 201, "{object}: {code} {message}");
        }
        for object in &bad {
            let (code, message) = tried(&cluster, object);
            assert!(matches!(code, 400 | 422), "{object} is taken: {code} {message}");
        }
        eprintln!(
            "{}: {} good objects taken, {} bad ones refused",
            cluster.name(),
            good.len(),
            bad.len()
        );
    });
}
