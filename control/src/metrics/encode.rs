//! The families, one function a subject.

use std::fmt;
use std::sync::Arc;

use maglane_shared::counters::{Counter, Counters, DropReason};
use maglane_shared::service::BackendState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{InterfaceFigures, Scrape, SocketFigures, Totals};
use crate::compile::CompiledPort;
use crate::event::Source;
use crate::problem::Severity;

type Labels = Vec<(&'static str, String)>;

/// What a family's samples are.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// One family: its head, then its samples.
fn family(
    out: &mut DescriptorEncoder<'_>,
    kind: Kind,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (Labels, f64)>,
) -> fmt::Result {
    let metric_type = match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    // The encoder ends the help text with a full stop of its own.
    let mut metric = out.encode_descriptor(name, help, None, metric_type)?;
    for (labels, value) in samples {
        match (kind, labels.is_empty()) {
            (Kind::Counter, false) => {
                metric
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, f64>(&value, None)?;
            }
            (Kind::Counter, true) => metric.encode_counter::<NoLabelSet, _, f64>(&value, None)?,
            (Kind::Gauge, false) => metric.encode_family(&labels)?.encode_gauge(&value)?,
            (Kind::Gauge, true) => metric.encode_gauge(&value)?,
        }
    }
    Ok(())
}

impl Collector for Scrape {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        self.process(out)?;
        self.table(out)?;
        self.services(out)?;
        self.backends(out)?;
        self.workers(out)?;
        self.drops(out)?;
        self.sockets(out)?;
        self.steering(out)
    }
}

/// Of a service or backend: name, help, kind, what to show.
type FlowFamily = (&'static str, &'static str, Kind, fn(&Totals) -> u64);

const FLOW_FAMILIES: [FlowFamily; 4] = [
    ("packets", "Packets from clients", Kind::Counter, |t| t.packets),
    (
        "bytes",
        "Bytes from clients, Ethernet header included",
        Kind::Counter,
        |t| t.bytes,
    ),
    ("flows", "New flows", Kind::Counter, |t| t.new_flows),
    (
        "active_flows",
        "Flows in the workers' flow tables",
        Kind::Gauge,
        |t| t.active_flows,
    ),
];

type WorkerFamily = (&'static str, &'static str, Kind, fn(&Counters) -> &Counter);

const WORKER_FAMILIES: [WorkerFamily; 15] = [
    ("rx_packets", "Frames received", Kind::Counter, |c| &c.rx_packets),
    ("rx_bytes", "Bytes received", Kind::Counter, |c| &c.rx_bytes),
    (
        "tx_packets",
        "Frames handed to a transmit ring",
        Kind::Counter,
        |c| &c.tx_packets,
    ),
    (
        "tx_bytes",
        "Bytes handed to a transmit ring",
        Kind::Counter,
        |c| &c.tx_bytes,
    ),
    (
        "replies",
        "Of the sent frames, answers made here: echo replies and ICMP errors",
        Kind::Counter,
        |c| &c.replies,
    ),
    ("passed", "Frames left to the kernel", Kind::Counter, |c| {
        &c.passed
    }),
    ("flow_hits", "Packets of a known flow", Kind::Counter, |c| {
        &c.flow_hits
    }),
    ("flow_misses", "Packets of no known flow", Kind::Counter, |c| {
        &c.flow_misses
    }),
    ("flow_inserts", "Flows remembered", Kind::Counter, |c| {
        &c.flow_inserts
    }),
    (
        "flow_evictions",
        "Flows forgotten to make room",
        Kind::Counter,
        |c| &c.flow_evictions,
    ),
    (
        "flow_expirations",
        "Flows forgotten because they were idle",
        Kind::Counter,
        |c| &c.flow_expirations,
    ),
    ("flow_entries", "Flows in the flow table", Kind::Gauge, |c| {
        &c.flow_entries
    }),
    ("nat_entries", "Translated flows", Kind::Gauge, |c| &c.nat_entries),
    (
        "sleeps",
        "Times the worker slept for want of packets",
        Kind::Counter,
        |c| &c.sleeps,
    ),
    (
        "longest_gap_microseconds",
        "Longest time between two turns of the loop",
        Kind::Gauge,
        |c| &c.longest_gap_us,
    ),
];

/// Of [`Counters::batch_sizes`].
const BATCHES: [&str; 8] = ["1", "2-3", "4-7", "8-15", "16-31", "32-63", "64-127", "128+"];

type SocketFamily = (&'static str, &'static str, fn(&SocketFigures) -> u64);

const SOCKET_FAMILIES: [SocketFamily; 6] = [
    (
        "rx_dropped",
        "Frames the kernel dropped before the receive ring",
        |s| s.rx_dropped,
    ),
    ("rx_invalid", "Receive descriptors the kernel refused", |s| {
        s.rx_invalid
    }),
    (
        "rx_ring_full",
        "Frames dropped because the receive ring was full",
        |s| s.rx_ring_full,
    ),
    ("fill_ring_empty", "Times the kernel found no free frame", |s| {
        s.fill_ring_empty
    }),
    ("tx_invalid", "Transmit descriptors the kernel refused", |s| {
        s.tx_invalid
    }),
    ("tx_ring_empty", "Times the kernel found nothing to send", |s| {
        s.tx_ring_empty
    }),
];

impl Scrape {
    fn process(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let build = vec![("version", self.version.to_owned())];
        family(
            out,
            Kind::Gauge,
            "build_info",
            "Always 1",
            [(build, 1.0)].into_iter(),
        )?;
        let uptime = self.uptime.as_secs_f64();
        family(
            out,
            Kind::Gauge,
            "uptime_seconds",
            "Time since start",
            [(vec![], uptime)].into_iter(),
        )?;
        let synced = [Source::Manifests, Source::Kernel].into_iter().map(|source| {
            let name = match source {
                Source::Manifests => "manifests",
                Source::Kernel => "kernel",
            };
            (
                vec![("source", name.to_owned())],
                f64::from(u8::from(self.catalog.synced.contains(&source))),
            )
        });
        family(
            out,
            Kind::Gauge,
            "source_synced",
            "Has the source told all it had at its start",
            synced,
        )?;
        let problems = [Severity::Error, Severity::Warning, Severity::Note]
            .into_iter()
            .map(|severity| {
                let count = self
                    .catalog
                    .problems
                    .iter()
                    .filter(|p| p.severity == severity)
                    .count();
                (vec![("severity", severity.name().to_owned())], count as f64)
            });
        family(
            out,
            Kind::Gauge,
            "problems",
            "What `maglane status` lists as wrong",
            problems,
        )
    }

    fn table(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let newest = [(vec![], self.catalog.generation.0 as f64)].into_iter();
        family(
            out,
            Kind::Gauge,
            "table_generation",
            "Newest table published",
            newest,
        )?;
        let steered = [(vec![], self.catalog.steered.len() as f64)].into_iter();
        family(
            out,
            Kind::Gauge,
            "steered_vips",
            "Virtual addresses whose packets come to the workers",
            steered,
        )
    }

    fn services(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counters = self.counters();
        let totals: Vec<(&CompiledPort, Totals)> = self
            .catalog
            .ports
            .iter()
            .map(|port| (port, self.meter.service(port.entry.id, &counters)))
            .collect();
        for (name, help, kind, pick) in FLOW_FAMILIES {
            let samples = totals
                .iter()
                .map(|(port, totals)| (service_labels(port), pick(totals) as f64));
            family(out, kind, &format!("service_{name}"), help, samples)?;
        }
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
                let mut labels = service_labels(port);
                labels.push(("state", name.to_owned()));
                (labels, count as f64)
            })
        });
        family(
            out,
            Kind::Gauge,
            "service_backends",
            "Backends by state",
            by_state,
        )
    }

    fn backends(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counters = self.counters();
        let totals: Vec<(Labels, Totals)> = self
            .catalog
            .backends()
            .map(|(port, id, backend)| {
                let mut labels = service_labels(port);
                let endpoint = std::net::SocketAddr::new(backend.addr.ip(), backend.port);
                labels.push(("backend", endpoint.to_string()));
                (labels, self.meter.backend(id, &counters))
            })
            .collect();
        for (name, help, kind, pick) in FLOW_FAMILIES {
            let samples = totals
                .iter()
                .map(|(labels, totals)| (labels.clone(), pick(totals) as f64));
            family(out, kind, &format!("backend_{name}"), help, samples)?;
        }
        Ok(())
    }

    fn workers(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, kind, pick) in WORKER_FAMILIES {
            let samples = self
                .by_worker()
                .map(|(label, w)| (vec![label], pick(&w.counters).get() as f64));
            family(out, kind, &format!("worker_{name}"), help, samples)?;
        }
        let turns = self.by_worker().flat_map(|(label, worker)| {
            let of = |kind: &str, counter: &Counter| {
                (
                    vec![label.clone(), ("kind", kind.to_owned())],
                    counter.get() as f64,
                )
            };
            [
                of("busy", &worker.counters.busy_turns),
                of("idle", &worker.counters.idle_turns),
            ]
        });
        family(
            out,
            Kind::Counter,
            "worker_turns",
            "Turns of the loop, with packets and without",
            turns,
        )?;
        let batches = self.by_worker().flat_map(|(label, worker)| {
            let sizes = BATCHES.iter().zip(&worker.counters.batch_sizes);
            sizes
                .map(|(size, counter)| {
                    (
                        vec![label.clone(), ("packets", (*size).to_owned())],
                        counter.get() as f64,
                    )
                })
                .collect::<Vec<_>>()
        });
        family(
            out,
            Kind::Counter,
            "worker_batches",
            "Turns with packets, by their number",
            batches,
        )?;
        let beats = self
            .by_worker()
            .map(|(label, worker)| (vec![label], worker.vitals.heartbeat() as f64));
        family(
            out,
            Kind::Counter,
            "worker_heartbeats",
            "Turns of the loop",
            beats,
        )?;
        let runs = self
            .by_worker()
            .map(|(label, worker)| (vec![label], worker.vitals.generation().0 as f64));
        family(
            out,
            Kind::Gauge,
            "worker_table_generation",
            "Table that the worker runs",
            runs,
        )
    }

    fn drops(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let drops = self.by_worker().flat_map(|(label, worker)| {
            let of = |reason: &DropReason| {
                let labels = vec![label.clone(), ("reason", reason.label().to_owned())];
                (labels, worker.counters.drops[*reason as usize].get() as f64)
            };
            DropReason::ALL.iter().map(of).collect::<Vec<_>>()
        });
        family(out, Kind::Counter, "drops", "Packets dropped, by reason", drops)?;
        let reasons = DropReason::ALL.iter().map(|reason| {
            (
                vec![
                    ("reason", reason.label().to_owned()),
                    ("help", reason.help().to_owned()),
                ],
                1.0,
            )
        });
        family(
            out,
            Kind::Gauge,
            "drop_reason_info",
            "What the reasons mean",
            reasons,
        )
    }

    fn sockets(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, pick) in SOCKET_FAMILIES {
            let samples = self.by_worker().flat_map(|(label, worker)| {
                let of = |socket: &SocketFigures| {
                    (
                        vec![label.clone(), ("interface", socket.interface.clone())],
                        pick(socket) as f64,
                    )
                };
                worker.sockets.iter().map(of).collect::<Vec<_>>()
            });
            family(out, Kind::Counter, &format!("socket_{name}"), help, samples)?;
        }
        Ok(())
    }

    fn steering(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let samples = self.interfaces.iter().flat_map(|i: &InterfaceFigures| {
            [
                ("redirected", i.redirected),
                ("passed", i.passed),
                ("passed_no_socket", i.passed_no_socket),
                ("passed_fragment", i.passed_fragment),
            ]
            .map(|(verdict, count)| {
                let labels = vec![
                    ("interface", i.interface.clone()),
                    ("verdict", verdict.to_owned()),
                ];
                (labels, count as f64)
            })
        });
        family(
            out,
            Kind::Counter,
            "steering_packets",
            "Verdicts of the steering program",
            samples,
        )?;
        let modes = self.interfaces.iter().map(|i| {
            (
                vec![("interface", i.interface.clone()), ("mode", i.mode.clone())],
                1.0,
            )
        });
        family(
            out,
            Kind::Gauge,
            "steering_info",
            "How the steering program is attached",
            modes,
        )
    }

    fn counters(&self) -> Vec<Arc<Counters>> {
        self.workers
            .iter()
            .map(|worker| Arc::clone(&worker.counters))
            .collect()
    }

    fn by_worker(&self) -> impl Iterator<Item = ((&'static str, String), &super::WorkerFigures)> {
        self.workers
            .iter()
            .enumerate()
            .map(|(at, worker)| (("worker", at.to_string()), worker))
    }
}

fn service_labels(port: &CompiledPort) -> Labels {
    let planned = &port.planned;
    vec![
        ("namespace", planned.owner.namespace.to_string()),
        ("service", planned.owner.name.to_string()),
        ("vip", planned.key.addr.to_string()),
        ("port", planned.key.port.to_string()),
        ("protocol", planned.key.protocol.to_string()),
    ]
}
