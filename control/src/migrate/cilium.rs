//! Cilium: CiliumLoadBalancerIPPool, in both versions and with its older `cidrs`, becomes a pool.

use serde::Deserialize;
use serde_json::Value;

use super::fields::Fields;
use super::{Migration, not_known, not_yet, objects, place, pools, taken};
use crate::crd::{AddressPoolSpec, LabelSelector, ServiceAllocation};
use crate::problem::Problem;

const PROJECT: &str = "Cilium";

/// Objects of Cilium.
pub fn cilium(text: &str) -> Migration {
    let mut migration = Migration::default();
    for object in objects(text, &mut migration) {
        let at = place(&object);
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let ours = version
            .split_once('/')
            .is_some_and(|(group, _)| group == "cilium.io");
        let kind = object["kind"].as_str().filter(|_| ours).unwrap_or_default();
        match kind {
            "CiliumLoadBalancerIPPool" => pool(object, &mut migration, &at),
            "CiliumL2AnnouncementPolicy" => migration.add(not_yet(PROJECT, "L2Advertisement"), &at),
            "CiliumBGPAdvertisement" => migration.add(not_yet(PROJECT, "BgpAdvertisement"), &at),
            kind if kind.starts_with("CiliumBGP") => migration.add(not_yet(PROJECT, "BgpPeer"), &at),
            _ => migration.add(not_known(PROJECT), &at),
        }
    }
    pools::finish(migration)
}

fn pool(mut object: Value, migration: &mut Migration, at: &str) {
    let old = object["apiVersion"] == "cilium.io/v2alpha1";
    let Some(metadata) = pools::metadata(&mut object, migration, at) else {
        return;
    };
    let mut fields = Fields::new(migration, at, "spec", taken(&mut object, "spec"));
    let mut spec = AddressPoolSpec::new(blocks("blocks", &mut fields));
    spec.addresses.extend(blocks("cidrs", &mut fields));
    spec.allow_first_last_ips = first_last(&mut fields, old);
    spec.disabled = fields.take("disabled").unwrap_or_default();
    let selector: LabelSelector = fields.take("serviceSelector").unwrap_or_default();
    if selector != LabelSelector::default() {
        spec.service_allocation = Some(ServiceAllocation {
            service_selectors: vec![selector],
            ..ServiceAllocation::default()
        });
    }
    pools::say_strict(&spec, PROJECT, &mut fields, "serviceSelector");
    fields.finish();
    pools::add(migration, at, metadata, spec);
    let mut top = Fields::new(migration, at, "", object);
    top.ignore(&["apiVersion", "kind", "metadata", "spec", "status"]);
    top.finish();
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    cidr: Option<String>,
    start: Option<String>,
    stop: Option<String>,
}

fn blocks(name: &str, fields: &mut Fields<'_>) -> Vec<String> {
    let blocks: Vec<Block> = fields.take(name).unwrap_or_default();
    let texts = blocks.into_iter().map(|block| match block {
        Block {
            cidr: Some(cidr),
            start: None,
            stop: None,
        } => cidr,
        Block {
            cidr: None,
            start: Some(start),
            stop: None,
        } => start,
        Block {
            cidr: None,
            start: Some(start),
            stop: Some(stop),
        } => format!("{start}-{stop}"),
        // No range at all; the text says so when it is read.
        Block { cidr, start, stop } => [cidr, start, stop]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" and "),
    });
    let texts = texts.collect();
    pools::usable(texts, name, fields)
}

/// `Yes` or `No`. Absent meant no up to Cilium 1.15 and means yes since 1.16.
fn first_last(fields: &mut Fields<'_>, old: bool) -> bool {
    match fields.take::<String>("allowFirstLastIPs").as_deref() {
        Some("Yes") => true,
        Some("No") => false,
        Some(other) => {
            fields.error(
                "allowFirstLastIPs",
                &format!("{other:?} is unknown; write Yes or No"),
            );
            true
        }
        None => {
            if old {
                let problem = Problem::note(
                    "is absent, which means Yes since Cilium 1.16 and No before; it becomes true",
                    "set spec.allowFirstLastIPs: false, if these addresses must not be given away",
                );
                fields.report("allowFirstLastIPs", problem);
            }
            true
        }
    }
}
