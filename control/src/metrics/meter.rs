//! Counters of services and backends live in slots that are given out again: who takes a slot over starts at
//! zero all the same, because what it held before is remembered here and taken off.

use std::collections::HashMap;
use std::sync::Arc;

use maglane_shared::counters::{Counters, FlowStats};
use maglane_shared::service::{BackendId, ServiceId};

use crate::catalog::Catalog;

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

/// By slot: the holder's epoch and what the slot had counted before it.
type Starts = HashMap<u32, (u32, Totals)>;

/// Reads counters by id.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    services: Starts,
    backends: Starts,
}

impl Meter {
    /// Takes note of who is new. Call with each publication, before the table is handed over.
    pub fn adopt(&mut self, catalog: &Catalog, workers: &[Arc<Counters>]) {
        for port in catalog.ports.iter() {
            let id = port.entry.id;
            adopt(&mut self.services, id.slot, id.epoch, || service_sum(id, workers));
            for &id in port.entry.backends.iter() {
                adopt(&mut self.backends, id.slot, id.epoch, || backend_sum(id, workers));
            }
        }
    }

    pub fn service(&self, id: ServiceId, workers: &[Arc<Counters>]) -> Totals {
        service_sum(id, workers).since(start(&self.services, id.slot, id.epoch))
    }

    pub fn backend(&self, id: BackendId, workers: &[Arc<Counters>]) -> Totals {
        backend_sum(id, workers).since(start(&self.backends, id.slot, id.epoch))
    }
}

fn adopt(starts: &mut Starts, slot: u32, epoch: u32, sum: impl Fn() -> Totals) {
    match starts.get(&slot) {
        Some((holder, _)) if *holder == epoch => {}
        Some(_) | None => drop(starts.insert(slot, (epoch, sum()))),
    }
}

fn start(starts: &Starts, slot: u32, epoch: u32) -> Totals {
    starts
        .get(&slot)
        .filter(|(holder, _)| *holder == epoch)
        .map_or(Totals::default(), |(_, start)| *start)
}

fn service_sum(id: ServiceId, workers: &[Arc<Counters>]) -> Totals {
    Totals::sum(workers.iter().map(|counters| counters.service(id)))
}

fn backend_sum(id: BackendId, workers: &[Arc<Counters>]) -> Totals {
    Totals::sum(workers.iter().map(|counters| counters.backend(id)))
}
