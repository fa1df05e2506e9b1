//! What is served: VIP ports and their backends.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use maglane_shared::counters::Counters;
use maglane_shared::service::BackendState;
use prometheus_client::encoding::DescriptorEncoder;

use super::encode::{Labels, counter, gauge};
use super::{Scrape, Totals};
use crate::compile::CompiledPort;

/// Name, help, what to show.
type Family = (&'static str, &'static str, fn(&Totals) -> u64);

const COUNTERS: [Family; 3] = [
    ("packets", "Packets from clients", |t| t.packets),
    ("bytes", "Bytes from clients, Ethernet header included", |t| {
        t.bytes
    }),
    ("flows", "New flows", |t| t.new_flows),
];

impl Scrape {
    pub(super) fn services(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let workers = self.counters();
        let total = |port: &Arc<CompiledPort>| (labels(port), self.meter.service(port.entry.id, &workers));
        totals(
            out,
            "service",
            &self.catalog.ports.iter().map(total).collect::<Vec<_>>(),
        )?;
        let by_state = self.catalog.ports.iter().flat_map(|port| {
            [
                (BackendState::Active, "active"),
                (BackendState::Draining, "draining"),
            ]
            .map(|(state, name)| {
                let count = port
                    .backends
                    .iter()
                    .filter(|backend| backend.state() == state)
                    .count();
                (with(labels(port), "state", name), count as f64)
            })
        });
        gauge(out, "service_backends", "Backends by state", by_state)
    }

    pub(super) fn backends(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let workers = self.counters();
        let all = self.catalog.backends().map(|(port, id, backend)| {
            let endpoint = SocketAddr::new(backend.addr.ip(), backend.port).to_string();
            (
                with(labels(port), "backend", &endpoint),
                self.meter.backend(id, &workers),
            )
        });
        totals(out, "backend", &all.collect::<Vec<_>>())
    }

    fn counters(&self) -> Vec<Arc<Counters>> {
        self.workers
            .iter()
            .map(|worker| Arc::clone(&worker.counters))
            .collect()
    }
}

fn totals(out: &mut DescriptorEncoder<'_>, what: &str, all: &[(Labels, Totals)]) -> fmt::Result {
    for (name, help, pick) in COUNTERS {
        let samples = all
            .iter()
            .map(|(labels, totals)| (labels.clone(), pick(totals) as f64));
        counter(out, &format!("{what}_{name}"), help, samples)?;
    }
    let active = all
        .iter()
        .map(|(labels, totals)| (labels.clone(), totals.active_flows as f64));
    gauge(
        out,
        &format!("{what}_active_flows"),
        "Flows in the workers' flow tables",
        active,
    )
}

fn labels(port: &CompiledPort) -> Labels {
    let planned = &port.planned;
    vec![
        ("namespace", planned.owner.namespace.to_string()),
        ("service", planned.owner.name.to_string()),
        ("vip", planned.key.addr.to_string()),
        ("port", planned.key.port.to_string()),
        ("protocol", planned.key.protocol.to_string()),
    ]
}

fn with(mut labels: Labels, name: &'static str, value: &str) -> Labels {
    labels.push((name, value.to_owned()));
    labels
}
