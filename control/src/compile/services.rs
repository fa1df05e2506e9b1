//! Bringing the compiled ports in line with the plan: first everything goes that must, then what stays is
//! updated, then newcomers come, so that limits hit the newest.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use maglane_shared::addr::{Addr, Protocol, VipKey};
use maglane_shared::next_hop::RouteTable;
use maglane_shared::policy::{AffinityTimeout, IdleTimeout, Policy, Removal, SourceRanges};
use maglane_shared::service::{BackendId, ServiceId, VipKind};
use maglane_shared::table::{BackendEntry, Generation, ServiceEntry};

use super::tables::{Origin, identity};
use super::{Changed, CompiledPort, Compiler, NO_WAY, Refused};
use crate::model::OnRemoval;
use crate::plan::{PlannedBackend, PlannedPort, Reach};

/// Members a Maglev table can number.
const MAX_MEMBERS: usize = u16::MAX as usize;

/// Where and when ids are given out.
#[derive(Clone, Copy)]
pub(super) struct Issue<'r> {
    routes: &'r RouteTable,
    epoch: u32,
}

impl Compiler {
    pub(super) fn update_services(
        &mut self,
        ports: &[Arc<PlannedPort>],
        routes: &RouteTable,
        generation: Generation,
    ) -> Changed {
        // Below 2^32 publications this is the generation itself; 0 would mean vacant.
        let issue = Issue {
            routes,
            epoch: (generation.0 as u32).max(1),
        };
        if let Some(swapped) = self.swapped(ports) {
            return self.swap(ports, swapped, issue);
        }
        self.given = ports.to_vec();
        if self.update_all(ports, issue) {
            Changed::Ports
        } else {
            Changed::Nothing
        }
    }

    /// Says whether any entry changed.
    fn update_all(&mut self, ports: &[Arc<PlannedPort>], issue: Issue<'_>) -> bool {
        let planned: BTreeMap<VipKey, &Arc<PlannedPort>> =
            ports.iter().map(|port| (port.key, port)).collect();
        let mut changed = self.remove_gone(&planned);
        let (stay, come): (Vec<_>, Vec<_>) = planned
            .into_values()
            .partition(|port| self.ports.contains_key(&port.key));
        let waiting = self.refused.backends > 0;
        let stay: Vec<_> = stay
            .into_iter()
            .filter(|port| waiting || self.is_other(port))
            .collect();
        self.refused = Refused::default();
        for port in &stay {
            self.release_backends(port);
        }
        for port in stay {
            let id = self.ports[&port.key].entry.id;
            self.put(port, id, issue);
            changed = true;
        }
        for port in come {
            match self.service_slots.take() {
                Some(slot) => {
                    self.put(
                        port,
                        ServiceId {
                            slot,
                            epoch: issue.epoch,
                        },
                        issue,
                    );
                    changed = true;
                }
                None => self.refused.services.push(port.key),
            }
        }
        changed
    }

    pub(super) fn is_other(&self, port: &Arc<PlannedPort>) -> bool {
        let held = &self.ports[&port.key].planned;
        !Arc::ptr_eq(held, port) && held != port
    }

    /// A port goes with its key, and also when another Service or another mode takes it over: the flows that
    /// workers remember would mean something else.
    fn remove_gone(&mut self, planned: &BTreeMap<VipKey, &Arc<PlannedPort>>) -> bool {
        let (backends, service_slots, backend_slots) = (
            &mut self.backends,
            &mut self.service_slots,
            &mut self.backend_slots,
        );
        let before = self.ports.len();
        self.ports.retain(|key, held| {
            let stays = planned
                .get(key)
                .is_some_and(|port| port.owner == held.planned.owner && port.mode == held.planned.mode);
            if !stays {
                service_slots.give_back(held.entry.id.slot);
                for id in held.entry.backends.iter() {
                    backends.set(id.slot, BackendEntry::VACANT);
                    backend_slots.give_back(id.slot);
                }
            }
            stays
        });
        self.ports.len() != before
    }

    /// Gives back the slots of the backends that a port loses.
    pub(super) fn release_backends(&mut self, port: &PlannedPort) {
        let Some(held) = self.ports.get(&port.key) else {
            return;
        };
        for (id, backend) in held.members() {
            if !port.backends.iter().any(|b| same(b, backend)) {
                self.backends.set(id.slot, BackendEntry::VACANT);
                self.backend_slots.give_back(id.slot);
            }
        }
    }

    /// Makes the entry of a port.
    pub(super) fn put(&mut self, port: &Arc<PlannedPort>, id: ServiceId, issue: Issue<'_>) {
        let members = self.admit(port, issue);
        let ids: Vec<BackendId> = members.iter().map(|(id, _)| *id).collect();
        let backends: Arc<[PlannedBackend]> = members.into_iter().map(|(_, backend)| backend).collect();
        let (maglev, origin) = self.tables.get(&backends);
        self.work.entries += 1;
        self.work.maglev_tables += usize::from(origin == Origin::Built);
        let entry = ServiceEntry {
            id,
            key: port.key,
            kind: match port.reach {
                Reach::Address => VipKind::Address,
                Reach::Port => VipKind::Endpoint,
            },
            mode: port.mode,
            hash_inputs: port.hash_inputs,
            maglev,
            backends: ids.into(),
            policy: policy(port).shared(),
        };
        let compiled = CompiledPort {
            planned: Arc::clone(port),
            entry,
            backends,
        };
        self.ports.insert(port.key, Arc::new(compiled));
    }

    /// Ids for the backends of a port, kept where it has them, in the order of their identities.
    fn admit(&mut self, port: &PlannedPort, issue: Issue<'_>) -> Vec<(BackendId, PlannedBackend)> {
        let held: BTreeMap<Addr, (BackendId, PlannedBackend)> = match self.ports.get(&port.key) {
            Some(held) => held.members().map(|(id, b)| (b.addr, (id, b.clone()))).collect(),
            None => BTreeMap::new(),
        };
        let mut members = vec![];
        for backend in &port.backends {
            let known = held
                .get(&backend.addr)
                .filter(|(_, b)| same(b, backend))
                .map(|(id, _)| *id);
            match known.or_else(|| self.new_backend(members.len(), issue)) {
                Some(id) => {
                    self.enter(id, backend, issue.routes);
                    members.push((id, backend.clone()));
                }
                None => self.refused.backends += 1,
            }
        }
        members.sort_by_cached_key(|(_, backend)| identity(backend));
        members
    }

    fn new_backend(&mut self, before: usize, issue: Issue<'_>) -> Option<BackendId> {
        if before >= MAX_MEMBERS {
            return None;
        }
        self.backend_slots.take().map(|slot| BackendId {
            slot,
            epoch: issue.epoch,
        })
    }

    fn enter(&mut self, id: BackendId, backend: &PlannedBackend, routes: &RouteTable) {
        let entry = BackendEntry {
            addr: backend.addr,
            port: backend.port,
            state: backend.state(),
            epoch: id.epoch,
            hops: routes.group_for(backend.addr).unwrap_or(NO_WAY),
        };
        self.backends.set(id.slot, entry);
    }
}

/// Is it the same backend, whatever its weight?
fn same(a: &PlannedBackend, b: &PlannedBackend) -> bool {
    (a.addr, a.port, a.uid) == (b.addr, b.port, b.uid)
}

fn policy(port: &PlannedPort) -> Policy {
    let idle = match port.key.protocol {
        Protocol::Tcp => port.tcp_timeout,
        Protocol::Udp => port.udp_timeout,
    };
    Policy {
        sources: port
            .source_ranges
            .as_ref()
            .map(|ranges| SourceRanges::new(ranges.iter().copied())),
        affinity: port.affinity.and_then(AffinityTimeout::from_secs),
        idle: idle.and_then(IdleTimeout::from_secs),
        removal: match port.on_removal {
            OnRemoval::Drain => Removal::Drain,
            OnRemoval::Move => Removal::Move,
            OnRemoval::Reset => Removal::Reset,
        },
        mss: port.mss.and_then(NonZeroU16::new),
        mtu: port.mtu.and_then(NonZeroU16::new),
    }
}
