//! Services: defaults, cluster addresses and node ports, and what may not change.

use serde_json::{Value, json};

use super::assign;
use crate::cluster::double::store::State;
use crate::cluster::refusal::Cause;

pub(super) const BALANCED: &[&str] = &["LoadBalancer"];
const WITH_NODE_PORTS: &[&str] = &["LoadBalancer", "NodePort"];

pub(super) fn admit(state: &State, old: Option<&Value>, new: &mut Value) -> Vec<Cause> {
    defaults(new);
    if let Some(old) = old {
        keep_numbers(old, new);
        drop_what_the_type_had(old, new);
    }
    status(new);
    let mut causes = causes(old, new);
    if causes.is_empty() && !is(new, &["ExternalName"]) {
        assign::addresses(state, new);
        causes.extend(assign::ports(state, new));
    }
    causes
}

pub(super) fn is(service: &Value, types: &[&str]) -> bool {
    service["spec"]["type"]
        .as_str()
        .is_some_and(|own| types.contains(&own))
}

fn set_default(place: &mut Value, field: &str, value: Value) {
    if place[field].is_null() {
        place[field] = value;
    }
}

fn defaults(new: &mut Value) {
    let spec = &mut new["spec"];
    set_default(spec, "type", json!("ClusterIP"));
    set_default(spec, "sessionAffinity", json!("None"));
    if spec["sessionAffinity"] == "ClientIP" && spec["sessionAffinityConfig"].is_null() {
        spec["sessionAffinityConfig"] = json!({ "clientIP": { "timeoutSeconds": 10800 } });
    }
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        set_default(port, "protocol", json!("TCP"));
        let number = port["port"].clone();
        set_default(port, "targetPort", number);
    }
    if !is(new, &["ExternalName"]) {
        set_default(&mut new["spec"], "internalTrafficPolicy", json!("Cluster"));
    }
    if is(new, WITH_NODE_PORTS) {
        set_default(&mut new["spec"], "externalTrafficPolicy", json!("Cluster"));
    }
    if is(new, BALANCED) {
        set_default(&mut new["spec"], "allocateLoadBalancerNodePorts", json!(true));
    }
}

/// An update that leaves them out means the old ones.
fn keep_numbers(old: &Value, new: &mut Value) {
    if is(old, &["ExternalName"]) != is(new, &["ExternalName"]) {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let kept = old["spec"][field].clone();
        if new["spec"][field].is_null() && !kept.is_null() {
            new["spec"][field] = kept;
        }
    }
    if is(old, WITH_NODE_PORTS) && is(new, WITH_NODE_PORTS) {
        keep_node_ports(old, new);
    }
}

fn keep_node_ports(old: &Value, new: &mut Value) {
    let had = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
        let same = |had: &&Value| had["port"] == port["port"] && had["protocol"] == port["protocol"];
        if port["nodePort"].is_null()
            && let Some(number) = had.iter().find(same).map(|had| had["nodePort"].clone())
            && !number.is_null()
        {
            port["nodePort"] = number;
        }
    }
    let check = old["spec"]["healthCheckNodePort"].clone();
    if is(new, BALANCED) && new["spec"]["externalTrafficPolicy"] == "Local" && !check.is_null() {
        set_default(&mut new["spec"], "healthCheckNodePort", check);
    }
}

/// A type's own fields go with the type, unless they were changed in the same breath.
fn drop_what_the_type_had(old: &Value, new: &mut Value) {
    let own: [(&[&str], &[&str]); 2] = [
        (
            BALANCED,
            &[
                "loadBalancerClass",
                "allocateLoadBalancerNodePorts",
                "healthCheckNodePort",
            ],
        ),
        (WITH_NODE_PORTS, &["externalTrafficPolicy"]),
    ];
    for (types, fields) in own {
        if !is(old, types) || is(new, types) {
            continue;
        }
        for field in fields {
            if new["spec"][*field] == old["spec"][*field]
                && let Some(spec) = new["spec"].as_object_mut()
            {
                spec.remove(*field);
            }
        }
    }
    if is(old, WITH_NODE_PORTS) && !is(new, WITH_NODE_PORTS) {
        for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
        }
    }
}

fn status(new: &mut Value) {
    if !is(new, BALANCED) || new["status"]["loadBalancer"].is_null() {
        new["status"]["loadBalancer"] = json!({});
    }
    let ingress = new["status"]["loadBalancer"]["ingress"].as_array_mut();
    for entry in ingress
        .into_iter()
        .flatten()
        .filter(|entry| !entry["ip"].is_null())
    {
        set_default(entry, "ipMode", json!("VIP"));
    }
    // Reading a field by index makes it null; the real server writes none.
    if let Some(balancer) = new["status"]["loadBalancer"].as_object_mut() {
        balancer.retain(|_, value| !value.is_null());
    }
}

fn causes(old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let spec = &new["spec"];
    let mut causes = Vec::new();
    let headless = spec["clusterIP"] == "None";
    if spec["ports"].as_array().is_none_or(Vec::is_empty) && !headless && !is(new, &["ExternalName"]) {
        causes.push(Cause::required("spec.ports"));
    }
    let class = &spec["loadBalancerClass"];
    if !class.is_null() && !is(new, BALANCED) {
        let why = "may only be used when `type` is 'LoadBalancer'";
        causes.push(Cause::new(
            "FieldValueForbidden",
            "spec.loadBalancerClass",
            format!("Forbidden: {why}"),
        ));
    }
    if let Some(old) = old.filter(|old| is(old, BALANCED) && is(new, BALANCED))
        && old["spec"]["loadBalancerClass"] != *class
    {
        causes.push(Cause::invalid(
            "spec.loadBalancerClass",
            class,
            "may not change once set",
        ));
    }
    if let Some(old) = old.filter(|old| !is(old, &["ExternalName"]) && !is(new, &["ExternalName"]))
        && !old["spec"]["clusterIP"].is_null()
        && old["spec"]["clusterIP"] != spec["clusterIP"]
    {
        causes.push(Cause::invalid(
            "spec.clusterIPs[0]",
            &spec["clusterIP"],
            "may not change once set",
        ));
    }
    causes.extend(ingress_causes(new));
    causes
}

fn ingress_causes(new: &Value) -> Vec<Cause> {
    let entries = new["status"]["loadBalancer"]["ingress"]
        .as_array()
        .into_iter()
        .flatten();
    entries
        .enumerate()
        .filter_map(|(at, entry)| {
            let ip = entry["ip"].as_str()?;
            let bad = ip.parse::<std::net::IpAddr>().is_err();
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            bad.then(|| Cause::invalid(format!("status.loadBalancer.ingress[{at}].ip"), &entry["ip"], why))
        })
        .collect()
}
