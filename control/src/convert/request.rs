//! What a Service of type LoadBalancer asks the allocator for, and what its status says of it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ServiceSpec, ServiceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use maglane_shared::addr::{Addr, Family};
use serde_json::{Value, json};

use super::{Origin, policy, protocol};
use crate::ipam::{BackendKey, Class, FamilyPolicy, Held, Request, ask};
use crate::model::{Observed, PortProtocol, TrafficPolicy};
use crate::problem::Problem;
use crate::status::CONDITIONS;

/// Whether its class is ours the controller knows.
pub(super) fn request(
    meta: &ObjectMeta,
    spec: &ServiceSpec,
    held: &[Addr],
    origin: Origin<'_>,
    problems: &mut Vec<Problem>,
) -> Request {
    let none = BTreeMap::new();
    let annotations = meta.annotations.as_ref().unwrap_or(&none);
    let ask = ask::ask(
        annotations,
        spec.load_balancer_ip.as_deref().filter(|text| !text.is_empty()),
    );
    problems.extend(ask.problems.into_iter().map(|problem| origin.about(problem)));
    let labels = meta.labels.iter().flatten();
    Request {
        name: origin.object.name.clone(),
        created: meta.creation_timestamp.as_ref().map(|time| time.0.as_second()),
        labels: labels
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
            .collect(),
        class: Class::Other,
        families: families(spec),
        policy: match spec.ip_family_policy.as_deref() {
            Some("PreferDualStack") => FamilyPolicy::PreferDualStack,
            Some("RequireDualStack") => FamilyPolicy::RequireDualStack,
            Some(_) | None => FamilyPolicy::SingleStack,
        },
        asked: ask.asked,
        pool: ask.pool,
        sharing: ask.sharing,
        ports: ports(spec),
        backends: backends(spec),
        held: held
            .iter()
            .map(|addr| Held {
                addr: *addr,
                pool: ask.from_pool.clone(),
            })
            .collect(),
        disruption: ask.disruption,
    }
}

/// The API server fills the list in; a manifest without one means IPv4.
fn families(spec: &ServiceSpec) -> Vec<Family> {
    let family = |text: &String| match text.as_str() {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    };
    let families: Vec<Family> = spec.ip_families.iter().flatten().filter_map(family).collect();
    if families.is_empty() {
        vec![Family::V4]
    } else {
        families
    }
}

fn ports(spec: &ServiceSpec) -> BTreeSet<(PortProtocol, u16)> {
    let ports = spec.ports.iter().flatten();
    ports
        .filter_map(|port| Some((protocol(port.protocol.as_deref()), u16::try_from(port.port).ok()?)))
        .collect()
}

fn backends(spec: &ServiceSpec) -> BackendKey {
    match policy(spec.external_traffic_policy.as_deref()) {
        TrafficPolicy::Cluster => BackendKey::Cluster,
        TrafficPolicy::Local => {
            let pairs = spec
                .selector
                .iter()
                .flatten()
                .map(|(key, value)| format!("{key}={value}"));
            BackendKey::Local(pairs.collect::<Vec<_>>().join(",").into())
        }
    }
}

/// As far as it is ours: the ingress list and our own conditions, in the order we write them.
pub(super) fn observed(meta: &ObjectMeta, status: Option<&ServiceStatus>) -> Observed {
    let ingress = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let load_balancer = match ingress.filter(|ingress| !ingress.is_empty()) {
        Some(ingress) => json!({ "ingress": ingress }),
        None => json!({}),
    };
    let all = status
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten();
    let mut ours: Vec<_> = all
        .filter_map(|c| Some((CONDITIONS.iter().position(|kind| *kind == c.type_)?, c)))
        .collect();
    ours.sort_by_key(|(place, _)| *place);
    let conditions: Vec<Value> = ours
        .iter()
        .map(
            |(_, c)| json!({ "type": c.type_, "status": c.status, "reason": c.reason, "message": c.message }),
        )
        .collect();
    let since = |(_, c): &(usize, &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition)| {
        Some((
            c.type_.as_str().into(),
            serde_json::to_value(&c.last_transition_time)
                .ok()?
                .as_str()?
                .into(),
        ))
    };
    Observed {
        uid: meta.uid.as_deref().unwrap_or_default().into(),
        body: json!({ "status": { "loadBalancer": load_balancer, "conditions": conditions } }),
        since: ours.iter().filter_map(since).collect(),
    }
}
