//! MetalLB's configuration before it had objects (up to 0.12): the key `config` of a ConfigMap, or
//! `configInline` of its Helm values.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};

use super::fields::Fields;
use super::metallb::{PROJECT, announced};
use super::{Migration, not_yet, pools};
use crate::crd::AddressPoolSpec;
use crate::problem::Problem;

const KEYS: [&str; 5] = [
    "address-pools",
    "bfd-profiles",
    "bgp-communities",
    "peer-autodiscovery",
    "peers",
];

/// Whether the object is such a configuration; if so, migrates it.
pub(super) fn config(object: &Value, place: &str, migration: &mut Migration) -> bool {
    if object["kind"] == "ConfigMap" {
        let Some(text) = object["data"]["config"].as_str() else {
            return false;
        };
        match serde_saphyr::from_str::<Value>(text) {
            Ok(config) => migrate(config, place, migration),
            Err(error) => {
                let problem = Problem::error(
                    format!("is not YAML: {}", error.without_snippet()),
                    "correct it and migrate again",
                );
                migration.add(problem.field("data.config"), place);
            }
        }
        return true;
    }
    if object["configInline"].is_object() {
        migrate(object["configInline"].clone(), "configInline", migration);
        return true;
    }
    let bare = object
        .as_object()
        .is_some_and(|object| KEYS.iter().any(|key| object.contains_key(*key)));
    if bare {
        migrate(object.clone(), "config", migration);
    }
    bare
}

fn migrate(config: Value, place: &str, migration: &mut Migration) {
    let mut fields = Fields::new(migration, place, "", config);
    let pools: Vec<Value> = fields.take("address-pools").unwrap_or_default();
    let peers: Vec<Value> = fields.take("peers").unwrap_or_default();
    let profiles: Vec<Value> = fields.take("bfd-profiles").unwrap_or_default();
    let communities: Map<String, Value> = fields.take("bgp-communities").unwrap_or_default();
    let name = |value: &Value, key: &str| value[key].as_str().unwrap_or("without name").to_owned();
    for (at, peer) in peers.iter().enumerate() {
        let place = format!("peers[{at}] ({})", name(peer, "peer-address"));
        fields.report(&place, not_yet(PROJECT, "BgpPeer"));
    }
    for (at, profile) in profiles.iter().enumerate() {
        let place = format!("bfd-profiles[{at}] ({})", name(profile, "name"));
        fields.report(&place, not_yet(PROJECT, "BfdProfile"));
    }
    for community in communities.keys() {
        fields.report(
            &format!("bgp-communities.{community}"),
            not_yet(PROJECT, "BgpAdvertisement"),
        );
    }
    fields.finish();
    for (at, value) in pools.into_iter().enumerate() {
        pool(value, &format!("{place}: address-pools[{at}]"), migration);
    }
}

fn pool(value: Value, place: &str, migration: &mut Migration) {
    let mut fields = Fields::new(migration, place, "", value);
    let name: String = fields.take("name").unwrap_or_default();
    let ours = object_name(&name);
    if ours != name {
        let problem = Problem::warning(
            format!("{name:?} cannot be the name of an object and becomes {ours:?}"),
            "correct the annotations of Services that ask for it",
        );
        fields.report("name", problem);
    }
    let addresses = fields.take("addresses").unwrap_or_default();
    let mut spec = AddressPoolSpec::new(pools::usable(addresses, "addresses", &mut fields));
    spec.auto_assign = fields.take("auto-assign").unwrap_or(spec.auto_assign);
    spec.avoid_buggy_ips = fields.take("avoid-buggy-ips").unwrap_or(spec.avoid_buggy_ips);
    announced(&mut fields, "bgp-advertisements");
    fields.finish();
    let metadata = ObjectMeta {
        name: Some(ours),
        ..ObjectMeta::default()
    };
    pools::add(migration, place, metadata, spec);
}

/// Lower case, digits and dashes, as RFC 1123 wants it.
fn object_name(name: &str) -> String {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(allowed).take(253).collect();
    match name.trim_matches('-') {
        "" => "pool".to_owned(),
        name => name.to_owned(),
    }
}
