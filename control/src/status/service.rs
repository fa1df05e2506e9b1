//! A Service's status: `loadBalancer.ingress` and the chain of conditions.

use maglane_shared::addr::Addr;
use serde_json::{Value, json};

use super::settings::settings;
use super::{ADDRESS_ALLOCATED, ANNOUNCED, Announced, BACKENDS_USABLE, Condition, PROGRAMMED, Truth};
use crate::ipam::Answer;
use crate::model::{PortProtocol, ServiceSpec};

/// What the gates after the first depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates {
    /// Ports that are served, and those of them that have a backend for new flows.
    pub ports: usize,
    pub usable_ports: usize,
    /// Do all workers run a table with it, and come its packets to them?
    pub programmed: bool,
    pub announced: Announced,
}

/// The status that the Service should have.
pub fn service_body(spec: &ServiceSpec, answer: &Answer, gates: Gates) -> Value {
    let addresses: Vec<Addr> = answer.addrs().collect();
    let conditions = [
        settings(spec),
        allocated(answer),
        backends(&addresses, &gates),
        programmed(&addresses, &gates),
        announced(&addresses, &gates),
    ];
    let ingress: Vec<Value> = addresses.iter().map(|addr| ingress(*addr, spec)).collect();
    let load_balancer = if ingress.is_empty() {
        json!({})
    } else {
        json!({ "ingress": ingress })
    };
    json!({ "status": { "loadBalancer": load_balancer, "conditions": conditions } })
}

/// KEP-1860: packets to the address come with it still in place. A port that is not balanced has an error.
fn ingress(addr: Addr, spec: &ServiceSpec) -> Value {
    let unsupported = |protocol: &PortProtocol| match protocol {
        PortProtocol::Balanced(_) => None,
        PortProtocol::Unsupported(name) => Some(name.clone()),
    };
    let errors: Vec<Value> = spec
        .ports
        .iter()
        .filter_map(|port| {
            let protocol = unsupported(&port.protocol)?;
            Some(
                json!({ "port": port.port, "protocol": protocol, "error": "maglane.io/UnsupportedProtocol" }),
            )
        })
        .collect();
    let mut entry = json!({ "ip": addr.to_string(), "ipMode": "VIP" });
    if !errors.is_empty() {
        entry["ports"] = Value::Array(errors);
    }
    entry
}

pub(super) fn condition(
    kind: &str,
    holds: impl Into<Truth>,
    reason: &str,
    message: impl Into<Box<str>>,
) -> Condition {
    Condition {
        kind: kind.into(),
        status: holds.into(),
        reason: reason.into(),
        message: message.into(),
    }
}

fn allocated(answer: &Answer) -> Condition {
    let holds = answer.reason.is_none() && !answer.addresses.is_empty();
    condition(ADDRESS_ALLOCATED, holds, answer.reason_name(), answer.message())
}

fn backends(addresses: &[Addr], gates: &Gates) -> Condition {
    let Gates {
        ports, usable_ports, ..
    } = *gates;
    if addresses.is_empty() {
        return condition(
            BACKENDS_USABLE,
            Truth::Unknown,
            "NoAddress",
            "nothing is served without an address",
        );
    }
    if ports == 0 {
        let message = "no port of it can be balanced: only TCP and UDP are";
        return condition(BACKENDS_USABLE, false, "NoBalancedPort", message);
    }
    if usable_ports == 0 {
        let message = "no endpoint takes new connections; look at the readiness of its pods";
        return condition(BACKENDS_USABLE, false, "NoUsableBackends", message);
    }
    if usable_ports < ports {
        let message = "some ports have no endpoint that takes new connections; look at the names of the ports and \
                       the families of the EndpointSlices";
        return condition(BACKENDS_USABLE, false, "PortsWithoutBackends", message);
    }
    condition(
        BACKENDS_USABLE,
        true,
        "BackendsUsable",
        "every port has endpoints for new connections",
    )
}

fn announced(addresses: &[Addr], gates: &Gates) -> Condition {
    if addresses.is_empty() {
        let message = "nothing is announced without an address";
        return condition(ANNOUNCED, false, "NoAddress", message);
    }
    let Announced {
        holds,
        reason,
        message,
    } = &gates.announced;
    condition(ANNOUNCED, *holds, reason, message.clone())
}

fn programmed(addresses: &[Addr], gates: &Gates) -> Condition {
    match (addresses.is_empty(), gates.programmed) {
        (true, _) => condition(
            PROGRAMMED,
            false,
            "NoAddress",
            "nothing is served without an address",
        ),
        (false, true) => condition(
            PROGRAMMED,
            true,
            "Programmed",
            "every worker of the node that writes this runs a table with it",
        ),
        (false, false) => condition(
            PROGRAMMED,
            false,
            "Pending",
            "not every worker of the node that writes this runs a table with it yet",
        ),
    }
}
