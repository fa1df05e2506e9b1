//! Pools and Services for tests, in a line each, and a cluster that writes answers back as the daemon does.

use std::collections::{BTreeMap, BTreeSet};

use maglane_shared::addr::{Addr, Family};

use super::*;
use crate::model::ObjectName;
use crate::testing::{addr, protocol};

/// For everyone; `ranges` joined by commas.
pub fn pool(name: &str, ranges: &str) -> Pool {
    let ranges = ranges
        .split(',')
        .map(|range| Range::parse(range, Ends::Included).unwrap());
    Pool {
        name: name.into(),
        ranges: ranges.collect(),
        auto_assign: true,
        strict: true,
        ..Pool::default()
    }
}

/// `10.0.0.0/28` for namespace `a`.
pub fn pool_for(namespace: &str, name: &str, ranges: &str) -> Pool {
    Pool {
        namespaces: [namespace.into()].into_iter().collect(),
        ..pool(name, ranges)
    }
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect()
}

pub fn selector(key: &str, value: &str) -> Selector {
    let value = [value.into()].into_iter().collect();
    Selector(vec![(key.into(), Requirement::In(value))])
}

pub fn full_name(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    ObjectName::new(namespace, name)
}

/// An IPv4 Service with TCP port 80; `name` or `namespace/name`.
pub fn request(name: &str) -> Request {
    Request {
        name: full_name(name),
        created: None,
        labels: Labels::new(),
        class: Class::Ours,
        families: vec![Family::V4],
        policy: FamilyPolicy::SingleStack,
        asked: Asked::Nothing,
        pool: None,
        sharing: None,
        ports: ports(&[80]),
        backends: BackendKey::Cluster,
        held: vec![],
        disruption: Disruption::Refused,
    }
}

pub fn dual(name: &str, policy: FamilyPolicy) -> Request {
    Request {
        families: vec![Family::V4, Family::V6],
        policy,
        ..request(name)
    }
}

pub fn ports(numbers: &[u16]) -> BTreeSet<(crate::model::PortProtocol, u16)> {
    numbers.iter().map(|port| (protocol("TCP"), *port)).collect()
}

impl Request {
    pub fn created(mut self, created: i64) -> Request {
        self.created = Some(created);
        self
    }

    pub fn asking(mut self, addresses: &str) -> Request {
        self.asked = Asked::Addresses(addresses.split(',').map(addr).collect());
        self
    }

    pub fn asking_pool(mut self, pool: &str) -> Request {
        self.pool = Some(pool.into());
        self
    }

    pub fn holding(mut self, addresses: &str) -> Request {
        let held = |text| Held {
            addr: addr(text),
            pool: None,
        };
        self.held = addresses.split(',').map(held).collect();
        self
    }

    pub fn sharing(mut self, key: &str, port: u16) -> Request {
        self.sharing = Some(Sharing {
            key: key.into(),
            namespaces: Namespaces::None,
            different_pods: false,
        });
        self.ports = ports(&[port]);
        self
    }
}

pub fn reservation(name: &str, service: &str, addresses: &str) -> Reservation {
    let service = full_name(service);
    Reservation {
        name: ObjectName::new(&service.namespace, name),
        created: None,
        service,
        addresses: addresses
            .split(',')
            .filter(|text| !text.is_empty())
            .map(addr)
            .collect(),
        kept: vec![],
    }
}

/// All there is, and the allocator's memory: the statuses.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pub pools: Vec<Pool>,
    pub reservations: Vec<Reservation>,
    pub namespaces: BTreeMap<Box<str>, Labels>,
    pub requests: Vec<Request>,
}

impl Cluster {
    pub fn new(pools: Vec<Pool>, requests: Vec<Request>) -> Cluster {
        Cluster {
            pools,
            requests,
            ..Cluster::default()
        }
    }

    pub fn allocate(&self) -> Allocation {
        allocate(&Snapshot {
            pools: self.pools.iter().collect(),
            reservations: self.reservations.iter().collect(),
            namespaces: &self.namespaces,
            requests: self.requests.iter().collect(),
        })
    }

    /// Writes the answers of these Services to their statuses.
    pub fn write(&mut self, allocation: &Allocation, of: impl Fn(&ObjectName) -> bool) {
        for request in self.requests.iter_mut().filter(|request| of(&request.name)) {
            if let Some(answer) = allocation.services.get(&request.name) {
                let held = answer.addresses.iter().map(|assigned| Held {
                    addr: assigned.addr,
                    pool: assigned.pool.clone(),
                });
                request.held = held.collect();
            }
        }
        for reservation in &mut self.reservations {
            reservation
                .kept
                .clone_from(&allocation.reservations[&reservation.name].kept);
        }
    }

    /// Allocates and writes everything back.
    pub fn settle(&mut self) -> Allocation {
        let allocation = self.allocate();
        self.write(&allocation, |_| true);
        allocation
    }

    pub fn service(&mut self, name: &str) -> &mut Request {
        let name = full_name(name);
        self.requests
            .iter_mut()
            .find(|request| request.name == name)
            .unwrap()
    }

    pub fn delete(&mut self, name: &str) {
        let name = full_name(name);
        self.requests.retain(|request| request.name != name);
    }
}

impl Allocation {
    /// `10.0.0.1,2001:db8::1`
    pub fn of(&self, service: &str) -> String {
        let addresses: Vec<String> = self
            .answer(service)
            .addrs()
            .map(|addr| addr.to_string())
            .collect();
        addresses.join(",")
    }

    pub fn reason_of(&self, service: &str) -> &'static str {
        self.answer(service).reason_name()
    }

    pub fn answer(&self, service: &str) -> &Answer {
        &self.services[&full_name(service)]
    }

    /// By address, who has it.
    pub fn holders(&self) -> BTreeMap<Addr, Vec<&ObjectName>> {
        let mut holders: BTreeMap<Addr, Vec<&ObjectName>> = BTreeMap::new();
        for (name, answer) in &self.services {
            for addr in answer.addrs() {
                holders.entry(addr).or_default().push(name);
            }
        }
        holders
    }
}
