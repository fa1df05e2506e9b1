//! Responses from the catalog and the counters.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use maglane_shared::counters::{Counters, DropReason, FlowRecord};
use maglane_shared::service::{BackendId, BackendState, ServiceId};

use super::{
    BackendRow, DEFAULT_FLOWS, DropRow, FlowFilter, FlowReport, FlowRow, InterfaceRow, ServiceRow, SourceRow,
    StatusReport, UpdateRow, WorkerRow,
};
use crate::catalog::Catalog;
use crate::compile::CompiledPort;
use crate::metrics::{InterfaceFigures, Meter, UpdateTimes, WorkerFigures};
use crate::plan::PlannedBackend;
use crate::problem::Problem;

/// What [`status`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct Status<'s> {
    pub catalog: &'s Catalog,
    pub workers: &'s [WorkerFigures],
    pub interfaces: &'s [InterfaceFigures],
    pub updates: &'s UpdateTimes,
    pub version: &'s str,
    pub uptime: Duration,
}

pub fn status(of: Status<'_>) -> StatusReport {
    let Status {
        catalog,
        workers,
        interfaces,
        updates,
        version,
        uptime,
    } = of;
    StatusReport {
        version: version.to_owned(),
        uptime_seconds: uptime.as_secs_f64(),
        generation: catalog.generation.0,
        running_generation: workers
            .iter()
            .map(|w| w.vitals.generation().0)
            .min()
            .unwrap_or_default(),
        services: catalog.ports.len(),
        backends: catalog.backends().count(),
        steered_vips: catalog.steered.vips.len(),
        table_updates: updates
            .counts()
            .into_iter()
            .map(|(within_us, count)| UpdateRow { within_us, count })
            .collect(),
        sources: catalog
            .sources
            .iter()
            .map(|(source, synced)| SourceRow {
                source: *source,
                synced: *synced,
            })
            .collect(),
        workers: (0u16..)
            .zip(workers)
            .map(|(worker, figures)| worker_row(worker, figures))
            .collect(),
        interfaces: interfaces.iter().map(interface_row).collect(),
        drops: drops(workers),
        problems: catalog.problems.clone(),
    }
}

fn worker_row(worker: u16, figures: &WorkerFigures) -> WorkerRow {
    let counters = &figures.counters;
    let (busy, idle) = (counters.busy_turns.get(), counters.idle_turns.get());
    WorkerRow {
        worker,
        generation: figures.vitals.generation().0,
        rx_packets: counters.rx_packets.get(),
        tx_packets: counters.tx_packets.get(),
        passed: counters.passed.get(),
        dropped: counters.dropped(),
        flows: counters.flow_entries.get(),
        idle: idle as f64 / (busy + idle).max(1) as f64,
        longest_gap_us: counters.longest_gap_us.get(),
    }
}

fn interface_row(figures: &InterfaceFigures) -> InterfaceRow {
    InterfaceRow {
        interface: figures.interface.clone(),
        mode: figures.mode.clone(),
        redirected: figures.redirected,
        passed: figures.passed + figures.passed_no_socket + figures.passed_fragment,
    }
}

/// The most frequent first.
fn drops(workers: &[WorkerFigures]) -> Vec<DropRow> {
    let count = |reason: DropReason| -> u64 {
        workers
            .iter()
            .map(|worker| worker.counters.drops[reason as usize].get())
            .sum()
    };
    let mut rows: Vec<DropRow> = DropReason::ALL
        .iter()
        .map(|reason| DropRow {
            reason: reason.label().to_owned(),
            packets: count(*reason),
            help: reason.help().to_owned(),
        })
        .filter(|row| row.packets > 0)
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.packets));
    rows
}

pub fn services(catalog: &Catalog, meter: &Meter, counters: &[Arc<Counters>]) -> Vec<ServiceRow> {
    let row = |port: &Arc<CompiledPort>| {
        let totals = meter.service(port.entry.id, counters);
        let active = port
            .backends
            .iter()
            .filter(|b| b.state() == BackendState::Active)
            .count();
        ServiceRow {
            service: port.planned.owner.clone(),
            port_name: port.planned.port_name.to_string(),
            vip: port.planned.key,
            mode: port.planned.mode,
            hash_inputs: port.planned.hash_inputs,
            steered: catalog.steered.vips.contains(&port.planned.key.addr),
            active_backends: active,
            draining_backends: port.backends.len() - active,
            table_rows: port.entry.maglev.len(),
            packets: totals.packets,
            bytes: totals.bytes,
            new_flows: totals.new_flows,
            active_flows: totals.active_flows,
        }
    };
    catalog.ports.iter().map(row).collect()
}

pub fn backends(catalog: &Catalog, meter: &Meter, counters: &[Arc<Counters>]) -> Vec<BackendRow> {
    catalog
        .ports
        .iter()
        .flat_map(|port| backends_of(port, meter, counters))
        .collect()
}

fn backends_of(port: &CompiledPort, meter: &Meter, counters: &[Arc<Counters>]) -> Vec<BackendRow> {
    let mut rows_of = vec![0usize; port.backends.len()];
    for row in port.entry.maglev.rows() {
        rows_of[usize::from(row)] += 1;
    }
    let all = port.entry.maglev.len().max(1);
    let row = |((id, backend), rows): ((BackendId, &PlannedBackend), usize)| {
        let totals = meter.backend(id, counters);
        BackendRow {
            service: port.planned.owner.clone(),
            vip: port.planned.key,
            backend: backend.addr,
            port: backend.port,
            state: backend.state(),
            weight: backend.weight,
            share: rows as f64 / all as f64,
            packets: totals.packets,
            bytes: totals.bytes,
            new_flows: totals.new_flows,
            active_flows: totals.active_flows,
        }
    };
    port.members().zip(rows_of).map(row).collect()
}

/// The flows that match, with names for their ids; those of services or backends that are gone are left out.
pub fn flows(
    catalog: &Catalog,
    records: impl IntoIterator<Item = FlowRecord>,
    filter: &FlowFilter,
) -> FlowReport {
    let ports: HashMap<ServiceId, &CompiledPort> = catalog
        .ports
        .iter()
        .map(|port| (port.entry.id, &**port))
        .collect();
    let backends: HashMap<BackendId, &PlannedBackend> =
        catalog.backends().map(|(_, id, b)| (id, b)).collect();
    let limit = if filter.limit == 0 {
        DEFAULT_FLOWS
    } else {
        filter.limit
    };
    let mut report = FlowReport::default();
    for record in records {
        let (Some(port), Some(backend)) = (ports.get(&record.service), backends.get(&record.backend)) else {
            continue;
        };
        if !filter.matches(&record, &port.planned.key, backend.addr) {
            continue;
        }
        report.matching += 1;
        if report.flows.len() < limit {
            report.flows.push(flow_row(&record, port, backend));
        }
    }
    report
}

fn flow_row(record: &FlowRecord, port: &CompiledPort, backend: &PlannedBackend) -> FlowRow {
    FlowRow {
        worker: record.worker,
        service: port.planned.owner.clone(),
        vip: port.planned.key,
        client: record.client,
        client_port: record.client_port,
        backend: backend.addr,
        backend_port: backend.port,
        nat_port: record.nat.map(|(_, port)| port),
        state: record.state.name().to_owned(),
        idle_ms: record.idle_ms,
    }
}

pub fn errors(catalog: &Catalog) -> Vec<Problem> {
    catalog.problems.clone()
}
