//! Counters of services and backends live in slots that are given out again: who takes a slot over starts at
//! zero all the same, because what it held before is remembered here and taken off.
//!
//! Whoever reads holds a copy, so copies are cheap: they share all but what changes.

use std::sync::Arc;

use maglane_shared::counters::{Counters, FlowStats};
use maglane_shared::service::{BackendId, ServiceId};

use crate::catalog::Catalog;
use crate::compile::CompiledPort;

/// Packets, bytes and flows of one service or backend, all workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub packets: u64,
    pub bytes: u64,
    pub new_flows: u64,
    pub active_flows: u64,
}

impl Totals {
    fn sum<'s>(stats: impl Iterator<Item = Option<&'s FlowStats>>) -> Totals {
        stats.flatten().fold(Totals::default(), |sum, stats| Totals {
            packets: sum.packets + stats.packets.get(),
            bytes: sum.bytes + stats.bytes.get(),
            new_flows: sum.new_flows + stats.new_flows.get(),
            active_flows: sum.active_flows.wrapping_add(stats.active_flows.get()),
        })
    }

    /// Flows of the former holder may end later: the gauge stops at zero.
    fn since(self, start: Totals) -> Totals {
        Totals {
            packets: self.packets.saturating_sub(start.packets),
            bytes: self.bytes.saturating_sub(start.bytes),
            new_flows: self.new_flows.saturating_sub(start.new_flows),
            active_flows: self.active_flows.saturating_sub(start.active_flows),
        }
    }
}

/// Slots a chunk.
const CHUNK: usize = 256;

/// The holder's epoch, and what the slot had counted before it.
type Start = (u32, Totals);

/// By slot.
#[derive(Clone, Debug, Default)]
struct Starts(Vec<Arc<[Start; CHUNK]>>);

impl Starts {
    fn adopt(&mut self, slot: u32, epoch: u32, sum: impl Fn() -> Totals) {
        let slot = slot as usize;
        while self.0.len() <= slot / CHUNK {
            self.0.push(Arc::new([Start::default(); CHUNK]));
        }
        if self.0[slot / CHUNK][slot % CHUNK].0 != epoch {
            Arc::make_mut(&mut self.0[slot / CHUNK])[slot % CHUNK] = (epoch, sum());
        }
    }

    fn of(&self, slot: u32, epoch: u32) -> Totals {
        let slot = slot as usize;
        let start = self.0.get(slot / CHUNK).map(|chunk| chunk[slot % CHUNK]);
        start
            .filter(|(holder, _)| *holder == epoch)
            .map_or(Totals::default(), |(_, start)| start)
    }
}

/// Reads counters by id.
#[derive(Clone, Debug)]
pub struct Meter {
    services: Starts,
    backends: Starts,
    /// What was taken note of last.
    known: Arc<[Arc<CompiledPort>]>,
}

impl Default for Meter {
    fn default() -> Meter {
        Meter {
            services: Starts::default(),
            backends: Starts::default(),
            known: Arc::new([]),
        }
    }
}

impl Meter {
    /// Takes note of who is new. Call with each publication, before the table is handed over.
    pub fn adopt(&mut self, catalog: &Catalog, workers: &[Arc<Counters>]) {
        let known = std::mem::replace(&mut self.known, Arc::clone(&catalog.ports));
        // Both in order of their keys: what is known is met on the way.
        let mut known = known.iter().peekable();
        for port in catalog.ports.iter() {
            while known.next_if(|old| old.planned.key < port.planned.key).is_some() {}
            let same = |old: &&Arc<CompiledPort>| {
                Arc::ptr_eq(old, port)
                    || (old.entry.id == port.entry.id
                        && Arc::ptr_eq(&old.entry.backends, &port.entry.backends))
            };
            if known.peek().filter(|old| same(old)).is_some() {
                continue;
            }
            let id = port.entry.id;
            self.services
                .adopt(id.slot, id.epoch, || service_sum(id, workers));
            for &id in port.entry.backends.iter() {
                self.backends
                    .adopt(id.slot, id.epoch, || backend_sum(id, workers));
            }
        }
    }

    pub fn service(&self, id: ServiceId, workers: &[Arc<Counters>]) -> Totals {
        service_sum(id, workers).since(self.services.of(id.slot, id.epoch))
    }

    pub fn backend(&self, id: BackendId, workers: &[Arc<Counters>]) -> Totals {
        backend_sum(id, workers).since(self.backends.of(id.slot, id.epoch))
    }
}

fn service_sum(id: ServiceId, workers: &[Arc<Counters>]) -> Totals {
    Totals::sum(workers.iter().map(|counters| counters.service(id)))
}

fn backend_sum(id: BackendId, workers: &[Arc<Counters>]) -> Totals {
    Totals::sum(workers.iter().map(|counters| counters.backend(id)))
}
