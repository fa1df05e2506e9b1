//! Runs cases one after the other, each in a namespace, and names all that failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use maglane_perf::cluster::{Client, Cluster, ClusterError, Heard, Watch};
use serde_json::{Value, json};

pub const SOON: Duration = Duration::from_secs(20);

pub type Case = (&'static str, fn(&Stage<'_>));

/// What a case works with.
pub struct Stage<'a> {
    pub cluster: &'a Cluster,
    pub namespace: String,
}

pub fn run(cluster: &Cluster, cases: &[Case]) {
    let mut failed = Vec::new();
    for (name, case) in cases {
        let start = Instant::now();
        let namespace = name.replace('_', "-").chars().take(60).collect::<String>();
        let namespace = namespace.trim_end_matches('-').to_owned();
        let stage = Stage { cluster, namespace };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            stage.make_namespace();
            case(&stage);
        }));
        let healed = cluster.heal();
        let good = outcome.is_ok() && healed.is_ok();
        let verdict = if good { "ok" } else { "FAILED" };
        eprintln!("{}: {name}: {verdict} in {:?}", cluster.name(), start.elapsed());
        if !good {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "{}: {failed:?}", cluster.name());
}

impl Stage<'_> {
    pub fn client(&self) -> &Client {
        self.cluster.client()
    }

    /// The path of a core resource in this case's namespace.
    pub fn core(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.namespace)
    }

    pub fn group(&self, group: &str, rest: &str) -> String {
        format!("/apis/{group}/v1/namespaces/{}/{rest}", self.namespace)
    }

    pub fn make_namespace(&self) {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.namespace },
        });
        let made = self.client().create("/api/v1/namespaces", &namespace);
        assert!(made.is_ok() || code(&made) == 409, "{made:?}");
    }

    pub fn config_map(&self, name: &str, value: &str) -> Value {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "value": value },
        });
        good(self.client().create(&self.core("configmaps"), &object))
    }

    /// A Service of type LoadBalancer with one port.
    pub fn service(&self, name: &str, spec: &Value) -> Value {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }], "selector": { "app": name } },
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        object
    }
}

pub fn good(outcome: Result<Value, ClusterError>) -> Value {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// The status of a refusal; 0 for anything else.
pub fn code(outcome: &Result<Value, ClusterError>) -> u16 {
    outcome.as_ref().err().and_then(ClusterError::code).unwrap_or(0)
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

pub fn version(object: &Value) -> u64 {
    text(&object["metadata"]["resourceVersion"])
        .parse()
        .unwrap_or_else(|error| panic!("{object}: {error}"))
}

pub fn names(list: &Value) -> Vec<String> {
    let items = list["items"]
        .as_array()
        .unwrap_or_else(|| panic!("no list: {list}"));
    items
        .iter()
        .map(|item| text(&item["metadata"]["name"]).to_owned())
        .collect()
}

/// The next event, which has to be of this kind and about this name.
pub fn expect(watch: &Watch, kind: &str, name: &str) -> Value {
    let heard = watch.next(SOON);
    assert_eq!(heard.kind(), kind, "{heard:?}");
    assert_eq!(heard.object()["metadata"]["name"], name, "{heard:?}");
    heard.object().clone()
}

/// The watch is refused or ended with 410, the way a client has to understand as "list again".
pub fn expect_expired(opened: Result<Watch, ClusterError>) {
    match opened {
        Err(error) => assert_eq!(error.code(), Some(410), "{error}"),
        Ok(watch) => {
            let heard = watch.next(SOON);
            assert_eq!(heard.kind(), "ERROR", "{heard:?}");
            assert_eq!(heard.object()["code"], 410, "{heard:?}");
            assert_eq!(heard.object()["reason"], "Expired", "{heard:?}");
            assert_eq!(watch.next(SOON), Heard::End);
        }
    }
}
