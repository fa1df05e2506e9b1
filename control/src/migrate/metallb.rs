//! MetalLB: IPAddressPool and the older AddressPool become pools; its ConfigMap goes to `config_inline`.

use serde_json::Value;

use super::fields::Fields;
use super::{Migration, config_inline, not_known, not_yet, objects, place, pools, taken};
use crate::crd::{AddressPoolSpec, ServiceAllocation};

pub(super) const PROJECT: &str = "MetalLB";

/// Objects of MetalLB, its ConfigMap, or Helm values with `configInline`.
pub fn metallb(text: &str) -> Migration {
    let mut migration = Migration::default();
    for object in objects(text, &mut migration) {
        let at = place(&object);
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let kind = object["kind"].as_str().unwrap_or_default();
        match (group, kind) {
            ("metallb.io", "IPAddressPool" | "AddressPool") => pool(object, &mut migration, &at),
            ("metallb.io", "L2Advertisement") => migration.add(not_yet(PROJECT, "L2Advertisement"), &at),
            ("metallb.io", "BGPPeer") => migration.add(not_yet(PROJECT, "BgpPeer"), &at),
            ("metallb.io", "BGPAdvertisement" | "Community") => {
                migration.add(not_yet(PROJECT, "BgpAdvertisement"), &at);
            }
            ("metallb.io", "BFDProfile") => migration.add(not_yet(PROJECT, "BfdProfile"), &at),
            ("", "ConfigMap" | "") if config_inline::config(&object, &at, &mut migration) => {}
            (_, "") => migration.add(not_known(PROJECT), "an object without kind"),
            _ => migration.add(not_known(PROJECT), &at),
        }
    }
    pools::finish(migration)
}

fn pool(mut object: Value, migration: &mut Migration, at: &str) {
    let Some(metadata) = pools::metadata(&mut object, migration, at) else {
        return;
    };
    let spec = pool_spec(taken(&mut object, "spec"), migration, at);
    pools::add(migration, at, metadata, spec);
    let mut top = Fields::new(migration, at, "", object);
    top.ignore(&["apiVersion", "kind", "metadata", "spec", "status"]);
    top.finish();
}

fn pool_spec(spec: Value, migration: &mut Migration, at: &str) -> AddressPoolSpec {
    let mut fields = Fields::new(migration, at, "spec", spec);
    let addresses = fields.take("addresses").unwrap_or_default();
    let mut ours = AddressPoolSpec::new(pools::usable(addresses, "addresses", &mut fields));
    ours.auto_assign = fields.take("autoAssign").unwrap_or(ours.auto_assign);
    ours.avoid_buggy_ips = fields.take("avoidBuggyIPs").unwrap_or(ours.avoid_buggy_ips);
    announced(&mut fields, "bgpAdvertisements");
    ours.service_allocation = allocation(&mut fields);
    pools::say_strict(&ours, PROJECT, &mut fields, "serviceAllocation");
    fields.finish();
    ours
}

/// How the addresses of an older pool were announced: settings of the pool then, objects of their own now.
pub(super) fn announced(fields: &mut Fields<'_>, advertisements: &str) {
    match fields.take::<String>("protocol").as_deref() {
        Some("layer2") => fields.report("protocol", not_yet(PROJECT, "L2Advertisement")),
        Some("bgp") => fields.report("protocol", not_yet(PROJECT, "BgpAdvertisement")),
        Some(other) => fields.error("protocol", &format!("{other:?} is unknown; write layer2 or bgp")),
        None => {}
    }
    let listed: Vec<Value> = fields.take(advertisements).unwrap_or_default();
    for at in 0..listed.len() {
        fields.report(
            &format!("{advertisements}[{at}]"),
            not_yet(PROJECT, "BgpAdvertisement"),
        );
    }
}

fn allocation(fields: &mut Fields<'_>) -> Option<ServiceAllocation> {
    let mut who = fields.section("serviceAllocation");
    let ours = ServiceAllocation {
        priority: who.take("priority").unwrap_or_default(),
        namespaces: who.take("namespaces").unwrap_or_default(),
        namespace_selectors: who.take("namespaceSelectors").unwrap_or_default(),
        service_selectors: who.take("serviceSelectors").unwrap_or_default(),
        ..ServiceAllocation::default()
    };
    who.finish();
    (ours != ServiceAllocation::default()).then_some(ours)
}
