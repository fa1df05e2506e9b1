//! The numbers of one Service: a cluster address a family, node ports, a health check's port.

use serde_json::{Value, json};

use super::numbers::node_ports;
use super::service::{BALANCED, is};
use crate::cluster::double::object::ObjectKey;
use crate::cluster::double::store::State;
use crate::cluster::refusal::Cause;

/// Families, their policy and the cluster addresses, where they are not given.
pub(super) fn addresses(state: &State, new: &mut Value) {
    let spec = &mut new["spec"];
    let headless = spec["clusterIP"] == "None" || spec["clusterIPs"][0] == "None";
    let selects = spec["selector"]
        .as_object()
        .is_some_and(|selector| !selector.is_empty());
    if spec["ipFamilyPolicy"].is_null() {
        let both = (headless && !selects) || spec["ipFamilies"].as_array().is_some_and(|own| own.len() > 1);
        spec["ipFamilyPolicy"] = json!(if both { "RequireDualStack" } else { "SingleStack" });
    }
    let mut families: Vec<String> = spec["ipFamilies"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|family| family.as_str().map(str::to_owned))
        .collect();
    if families.is_empty() {
        let v6 = spec["clusterIP"]
            .as_str()
            .is_some_and(|address| address.contains(':'));
        families.push(if v6 { "IPv6" } else { "IPv4" }.to_owned());
    }
    if spec["ipFamilyPolicy"] == "SingleStack" {
        families.truncate(1);
    } else if let [only] = families.as_slice() {
        families.push(if only == "IPv4" { "IPv6" } else { "IPv4" }.to_owned());
    }
    let given = spec["clusterIPs"].as_array().map_or(0, Vec::len);
    if headless {
        spec["clusterIPs"] = json!(["None"]);
    } else if given != families.len() {
        spec["clusterIPs"] = allocated(state, spec, &families);
    }
    spec["ipFamilies"] = json!(families);
    spec["clusterIP"] = spec["clusterIPs"][0].clone();
}

/// An address a family; the first may be given.
fn allocated(state: &State, spec: &Value, families: &[String]) -> Value {
    let (v4, v6) = state.numbers.addresses();
    let fresh = families.iter().map(|family| match family.as_str() {
        "IPv4" => json!(v4),
        _ => json!(v6),
    });
    let mut addresses: Vec<Value> = fresh.collect();
    let given = [&spec["clusterIPs"][0], &spec["clusterIP"]];
    if let Some(given) = given.into_iter().find(|given| given.is_string()) {
        addresses[0] = given.clone();
    }
    json!(addresses)
}

/// Node ports, where the type has them and they are not given.
pub(super) fn ports(state: &State, new: &mut Value) -> Vec<Cause> {
    let text = |field: &str| new["metadata"][field].as_str().unwrap_or_default().to_owned();
    let key = ObjectKey {
        namespace: text("namespace"),
        name: text("name"),
    };
    let mut taken = node_ports(new);
    let clash = taken.iter().find(|port| state.numbers.is_others(**port, &key));
    if let Some(port) = clash {
        let why = "provided port is already allocated";
        return vec![Cause::invalid("spec.ports[0].nodePort", &json!(port), why)];
    }
    let wanted =
        is(new, &["NodePort"]) || is(new, BALANCED) && new["spec"]["allocateLoadBalancerNodePorts"] == true;
    let check = is(new, BALANCED) && new["spec"]["externalTrafficPolicy"] == "Local";
    let mut take = |place: &mut Value, field: &str| {
        if !place[field].is_null() {
            return true;
        }
        let port = state.numbers.free_port(&taken);
        taken.extend(port);
        place[field] = json!(port);
        port.is_some()
    };
    let ports = new["spec"]["ports"].as_array_mut();
    let enough = !wanted || ports.into_iter().flatten().all(|port| take(port, "nodePort"));
    if enough && (!check || take(&mut new["spec"], "healthCheckNodePort")) {
        return Vec::new();
    }
    let why = "failed to allocate a nodePort: range is full";
    vec![Cause::new("InternalError", "spec.ports[0].nodePort", why)]
}
