//! `deploy/crds/` holds what the Rust types say. `UPDATE=1 cargo test -p maglane-control --test crds` rewrites it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use maglane_control::crd::definitions;

const HEAD: &str =
    "# Generated from control/src/crd by `UPDATE=1 cargo test -p maglane-control --test crds`.\n";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds")
}

#[test]
fn the_definitions_in_deploy_are_those_of_the_types() {
    let mut names = BTreeSet::new();
    for definition in definitions() {
        let name = format!("{}.yaml", definition.spec.names.plural);
        let wanted = format!("{HEAD}{}", serde_saphyr::to_string(&definition).unwrap());
        let path = folder().join(&name);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &wanted).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "deploy/crds/{name} is stale; run this test with UPDATE=1"
        );
        names.insert(name);
    }
    let files = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.collect();
    assert_eq!(files, names, "deploy/crds has files of no kind, or lacks one");
}

#[test]
fn the_generated_yaml_reads_back_as_the_same_definition() {
    for definition in definitions() {
        let text = serde_saphyr::to_string(&definition).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(value, serde_json::to_value(&definition).unwrap());
    }
}
