//! The numbers that Services get: cluster addresses and node ports, none twice.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::cluster::double::object::ObjectKey;

const FIRST_PORT: u16 = 30_000;
const LAST_PORT: u16 = 32_767;
/// Above the addresses that clusters give their own services.
const FIRST_HOST: u32 = 100;
/// Of 10.96.0.0/12.
const HOSTS: u32 = (1 << 20) - FIRST_HOST - 1;

/// Addresses are handed out in a circle of a million; ports are kept track of, as there are few.
#[derive(Debug, Default)]
pub(in crate::cluster::double) struct Numbers {
    hosts: AtomicU32,
    ports: BTreeMap<u16, ObjectKey>,
}

impl Numbers {
    /// The next cluster address of both families.
    pub fn addresses(&self) -> (Ipv4Addr, Ipv6Addr) {
        let host = FIRST_HOST + self.hosts.fetch_add(1, Ordering::Relaxed) % HOSTS;
        let v4 = Ipv4Addr::from_bits(Ipv4Addr::new(10, 96, 0, 0).to_bits() + host);
        let v6 = Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, (host >> 16) as u16, host as u16);
        (v4, v6)
    }

    /// A node port that nobody has, nor this object's other ports.
    pub fn free_port(&self, taken: &[u16]) -> Option<u16> {
        (FIRST_PORT..=LAST_PORT).find(|port| !self.ports.contains_key(port) && !taken.contains(port))
    }

    /// True when another object has it.
    pub fn is_others(&self, port: u16, key: &ObjectKey) -> bool {
        self.ports.get(&port).is_some_and(|holder| holder != key)
    }

    /// The ports that an object has from now on.
    pub fn settle(&mut self, key: &ObjectKey, service: Option<&Value>) {
        self.ports.retain(|_, holder| holder != key);
        for port in service.map(node_ports).unwrap_or_default() {
            self.ports.insert(port, key.clone());
        }
    }
}

/// The node ports of a Service, the health check's too.
pub(super) fn node_ports(service: &Value) -> Vec<u16> {
    let spec = &service["spec"];
    let ports = spec["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| &port["nodePort"]);
    ports
        .chain([&spec["healthCheckNodePort"]])
        .filter_map(Value::as_u64)
        .filter_map(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0)
        .collect()
}
