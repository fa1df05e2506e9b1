//! A cluster with a few objects, and what the controller would know of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use maglane_control::event::Event;
use maglane_control::kube::{Access, Cluster as Followed, ClusterSource, Origin, StreamSettings};
use maglane_control::model::{ClusterId, EndpointSliceSpec};
use maglane_control::problem::Problem;
use maglane_perf::cluster::{Client, Cluster, User};
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::Instant;

pub const DEADLINE: Duration = Duration::from_secs(60);
pub const NAMESPACE: &str = "maglane-system";

pub fn user() -> User {
    User::service_account(NAMESPACE, "maglane")
}

/// The documents of a YAML file.
pub fn objects(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    all.into_iter().filter(|object| !object.is_null()).collect()
}

/// What `deploy/` puts into a cluster before the pods.
pub fn deploy(client: &Client) {
    for path in [
        "manifests/namespace.yaml",
        "manifests/rbac.yaml",
        "crds/addresspools.yaml",
        "crds/addressreservations.yaml",
        "crds/bgpsessionstates.yaml",
    ] {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        let text = std::fs::read_to_string(root.join(path)).unwrap();
        client
            .apply_all("default", &text)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

pub fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80, "protocol": "TCP"}]},
    })
}

/// With as many endpoints.
pub fn slice(name: &str, endpoints: usize) -> Value {
    let endpoint = |n: usize| json!({"addresses": [format!("10.1.{}.{}", n / 250, n % 250 + 1)]});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "maglane-test",
        }},
        "addressType": "IPv4",
        "ports": [{"port": 80, "protocol": "TCP"}],
        "endpoints": (0..endpoints).map(endpoint).collect::<Vec<_>>(),
    })
}

pub fn apply(cluster: &Cluster, object: &Value) {
    block_in_place(|| cluster.client().apply_object("default", object)).unwrap_or_else(|e| panic!("{e}"));
}

pub fn delete(cluster: &Cluster, path: &str) {
    block_in_place(|| cluster.client().delete(path)).unwrap_or_else(|e| panic!("{e}"));
}

/// The product's way to the cluster.
pub async fn access(cluster: &Cluster) -> Arc<Access> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, cluster.kubeconfig(&user()).unwrap()).unwrap();
    let flag = "--kubeconfig".to_owned();
    Arc::new(Access::open(Origin::File { flag, path }).await.unwrap())
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} for {what}"),
    }
}

/// What the controller would know.
pub struct World {
    source: ClusterSource,
    pub services: BTreeSet<String>,
    pub slices: BTreeMap<String, EndpointSliceSpec>,
    pub problems: Vec<Problem>,
    pub synced: bool,
    pub deletions: usize,
    /// Objects told.
    pub told: usize,
}

impl World {
    /// In a cluster that has three Services, one of them with endpoints.
    pub async fn start(cluster: &Cluster) -> World {
        block_in_place(|| deploy(cluster.client()));
        for name in ["web", "api", "mail"] {
            apply(cluster, &service(name));
        }
        apply(cluster, &slice("web-1", 3));
        let mut world = World::follow(cluster).await;
        world.until("the first picture", |w| w.synced).await;
        assert_eq!(world.problems, []);
        assert!(
            ["web", "api", "mail"]
                .iter()
                .all(|name| world.services.contains(*name))
        );
        assert_eq!(world.endpoints("web-1"), 3);
        world
    }

    pub async fn follow(cluster: &Cluster) -> World {
        let place = "kubernetes".to_owned();
        let followed = Followed {
            id: ClusterId::OWN,
            place,
        };
        let settings = StreamSettings::default();
        World {
            source: ClusterSource::start(access(cluster).await, followed, settings, []),
            services: BTreeSet::new(),
            slices: BTreeMap::new(),
            problems: vec![],
            synced: false,
            deletions: 0,
            told: 0,
        }
    }

    pub fn endpoints(&self, slice: &str) -> usize {
        self.slices.get(slice).map_or(0, |slice| slice.endpoints.len())
    }

    /// Takes events until this holds; says how long that took.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) -> Duration {
        let begun = Instant::now();
        within(what, async {
            while !holds(self) {
                let events = self.source.next().await;
                events.into_iter().for_each(|event| self.take(event));
            }
        })
        .await;
        begun.elapsed()
    }

    fn take(&mut self, event: Event) {
        self.told += 1;
        if let Event::ServiceApplied(spec) = event {
            self.services.insert(spec.name.name.to_string());
        } else if let Event::SliceApplied(spec) = event {
            self.slices.insert(spec.name.name.to_string(), *spec);
        } else if let Event::ServiceDeleted(name) = event {
            self.deletions += 1;
            assert!(self.services.remove(&*name.name), "{name} was not there");
        } else if let Event::SliceDeleted(name) = event {
            self.deletions += 1;
            assert!(self.slices.remove(&*name.name).is_some(), "{name} was not there");
        } else if let Event::SourceSynced(_) = event {
            self.synced = true;
            self.told -= 1;
        } else if let Event::SourceProblems { problems, .. } = event {
            self.problems = problems;
            self.told -= 1;
        }
    }

    /// From the moment at which the change is sent to its event.
    pub async fn changes_arrive_at_once(&mut self, cluster: &Cluster) {
        let mut took = vec![];
        for endpoints in 4..104 {
            let client = cluster.client().clone();
            let object = slice("web-1", endpoints);
            let write = tokio::task::spawn_blocking(move || client.apply_object("default", &object));
            took.push(
                self.until("the change", |w| w.endpoints("web-1") == endpoints)
                    .await,
            );
            write.await.unwrap().unwrap();
        }
        took.sort_unstable();
        eprintln!("change sent to event: p50 {:?}, p99 {:?}", took[50], took[98]);
        // Of a debug build on a busy machine.
        assert!(took[98] < Duration::from_secs(1), "{:?}", took[98]);
        assert_eq!(self.deletions, 0);
    }
}
