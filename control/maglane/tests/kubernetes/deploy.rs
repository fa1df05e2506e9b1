//! What `deploy/` holds, as a server takes it: in thought, then for real, and a second time without a change.

use std::path::PathBuf;

use maglane_perf::cluster::{APPLY_PATCH, Choice, Cluster};
use serde_json::Value;
use tokio::task::block_in_place;

use crate::world::objects;

/// In the order in which they are applied.
const FOLDERS: [&str; 2] = ["manifests", "crds"];

fn files() -> Vec<PathBuf> {
    let deploy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let mut files: Vec<PathBuf> = FOLDERS
        .iter()
        .flat_map(|folder| std::fs::read_dir(deploy.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    // The namespace is needed by all others.
    files.sort_by_key(|path| (!path.ends_with("manifests/namespace.yaml"), path.clone()));
    files
}

/// Every object of every file.
fn all() -> Vec<Value> {
    let read = |path: PathBuf| objects(&std::fs::read_to_string(&path).unwrap());
    files().into_iter().flat_map(read).collect()
}

/// Applies an object and gives the answer; warnings of the server are failures.
fn apply(cluster: &Cluster, object: &Value, more: &str) -> Value {
    let path = cluster.client().path_of("maglane-system", object).unwrap();
    let path = format!("{path}?fieldManager=deploy&fieldValidation=Strict{more}");
    let content = Some((APPLY_PATCH, object.to_string()));
    let reply = cluster.client().request("PATCH", &path, content).unwrap();
    let name = format!("{} {}{more}", object["kind"], object["metadata"]["name"]);
    assert!(matches!(reply.code, 200 | 201), "{name}: {}", reply.json());
    assert_eq!(reply.headers.get("warning"), None, "{name}");
    reply.json()
}

pub fn everything_is_accepted_without_a_warning(cluster: &Cluster) {
    let objects = all();
    assert!(
        objects.iter().any(|object| object["kind"] == "DaemonSet"),
        "the DaemonSet is missing"
    );
    let namespace = &objects[0];
    assert_eq!(namespace["kind"], "Namespace");
    apply(cluster, namespace, "");
    let mut versions = vec![];
    for object in &objects {
        apply(cluster, object, "&dryRun=All");
        versions.push(apply(cluster, object, "")["metadata"]["resourceVersion"].clone());
    }
    for (object, version) in objects.iter().zip(versions) {
        let again = apply(cluster, object, "");
        // A server establishes CRDs in its own time; that is not our doing.
        if object["kind"] != "CustomResourceDefinition" {
            assert_eq!(
                again["metadata"]["resourceVersion"], version,
                "{}",
                object["kind"]
            );
        }
    }
    eprintln!(
        "{}: {} objects of deploy/ accepted",
        cluster.name(),
        objects.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deploy_is_accepted_by_a_real_server() {
    let started = block_in_place(|| Cluster::builder().choice(Choice::Real).start());
    match crate::found(started) {
        Some(cluster) => block_in_place(|| everything_is_accepted_without_a_warning(&cluster)),
        None => eprintln!("skipped: no kube-apiserver is found; set KUBEBUILDER_ASSETS"),
    }
}
