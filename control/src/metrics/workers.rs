//! The workers: their loops, flow tables, drops and sockets.

use std::fmt;

use maglane_shared::counters::{Counters, DropReason, FramePlace};
use prometheus_client::encoding::DescriptorEncoder;

use super::encode::{Labels, counter, gauge};
use super::{Scrape, SocketFigures, WorkerFigures};

/// Name, help, what to show.
type Family<S> = (&'static str, &'static str, fn(&S) -> u64);

#[rustfmt::skip]
const COUNTERS: [Family<Counters>; 17] = [
    ("rx_packets", "Frames received", |c| c.rx_packets.get()),
    ("rx_bytes", "Bytes received", |c| c.rx_bytes.get()),
    ("tx_packets", "Frames handed to a transmit ring", |c| c.tx_packets.get()),
    ("tx_bytes", "Bytes handed to a transmit ring", |c| c.tx_bytes.get()),
    ("replies", "Of the sent frames, answers made here: echo replies, ICMP errors and TCP resets", |c| c.replies.get()),
    ("resets", "Of the replies, TCP resets of flows whose backend was removed", |c| c.resets.get()),
    ("passed", "Frames left to the kernel", |c| c.passed.get()),
    ("flow_hits", "Packets of a known flow", |c| c.flow_hits.get()),
    ("flow_misses", "Packets of no known flow", |c| c.flow_misses.get()),
    ("flow_inserts", "Flows remembered", |c| c.flow_inserts.get()),
    ("flow_evictions", "Flows forgotten to make room", |c| c.flow_evictions.get()),
    ("flow_expirations", "Flows forgotten because they were idle", |c| c.flow_expirations.get()),
    ("affinity_hits", "New flows with client affinity whose client had a backend that is still usable", |c| c.affinity_hits.get()),
    ("affinity_misses", "New flows with client affinity whose client had none, or one that is gone", |c| c.affinity_misses.get()),
    ("affinity_full", "Of the affinity misses, clients that there was no room to remember", |c| c.affinity_full.get()),
    ("bad_descriptors", "Descriptors that named a packet buffer the kernel did not hold", |c| c.bad_descriptors.get()),
    ("sleeps", "Times the worker slept for want of packets", |c| c.sleeps.get()),
];

#[rustfmt::skip]
const GAUGES: [Family<Counters>; 2] = [
    ("flow_entries", "Flows in the flow table", |c| c.flow_entries.get()),
    ("nat_entries", "Translated flows", |c| c.nat_entries.get()),
];

#[rustfmt::skip]
const SOCKETS: [Family<SocketFigures>; 6] = [
    ("rx_dropped", "Frames the kernel dropped before the receive ring", |s| s.rx_dropped),
    ("rx_invalid", "Receive descriptors the kernel refused", |s| s.rx_invalid),
    ("rx_ring_full", "Frames dropped because the receive ring was full", |s| s.rx_ring_full),
    ("fill_ring_empty", "Times the kernel found no free frame", |s| s.fill_ring_empty),
    ("tx_invalid", "Transmit descriptors the kernel refused", |s| s.tx_invalid),
    ("tx_ring_empty", "Times the kernel found nothing to send", |s| s.tx_ring_empty),
];

/// Of [`Counters::batch_sizes`].
const BATCHES: [&str; 8] = ["1", "2-3", "4-7", "8-15", "16-31", "32-63", "64-127", "128+"];

impl Scrape {
    pub(super) fn workers(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, pick) in COUNTERS {
            counter(
                out,
                &format!("worker_{name}"),
                help,
                self.each(|w| pick(&w.counters) as f64),
            )?;
        }
        for (name, help, pick) in GAUGES {
            gauge(
                out,
                &format!("worker_{name}"),
                help,
                self.each(|w| pick(&w.counters) as f64),
            )?;
        }
        let gaps = self.each(|w| w.counters.longest_gap_us.get() as f64 / 1e6);
        gauge(
            out,
            "worker_longest_gap_seconds",
            "Longest time between two turns of the loop",
            gaps,
        )?;
        let runs = self.each(|w| w.vitals.generation().0 as f64);
        gauge(out, "worker_table_generation", "Table that the worker runs", runs)?;
        let frames = self.by(|worker| {
            let count = |place: &FramePlace| worker.counters.frames[*place as usize].get();
            let label = |place: &FramePlace| vec![("place", place.label().to_owned())];
            FramePlace::ALL
                .iter()
                .map(|place| (label(place), count(place)))
                .collect()
        });
        gauge(out, "worker_frames", "Packet buffers, by where they are", frames)?;
        self.turns(out)
    }

    fn turns(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let turns = self.by(|worker| {
            let (busy, idle) = (worker.counters.busy_turns.get(), worker.counters.idle_turns.get());
            vec![
                (vec![("kind", "busy".to_owned())], busy),
                (vec![("kind", "idle".to_owned())], idle),
            ]
        });
        counter(
            out,
            "worker_turns",
            "Turns of the loop, with packets and without",
            turns,
        )?;
        let batches = self.by(|worker| {
            let sizes = BATCHES.iter().zip(&worker.counters.batch_sizes);
            sizes
                .map(|(size, count)| (vec![("packets", (*size).to_owned())], count.get()))
                .collect()
        });
        counter(
            out,
            "worker_batches",
            "Turns with packets, by their number",
            batches,
        )
    }

    pub(super) fn drops(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let label = |reason: &DropReason| ("reason", reason.label().to_owned());
        let drops = self.by(|worker| {
            let count = |reason: &DropReason| worker.counters.drops[*reason as usize].get();
            DropReason::ALL
                .iter()
                .map(|reason| (vec![label(reason)], count(reason)))
                .collect()
        });
        counter(out, "drops", "Packets dropped, by reason", drops)?;
        let reasons = DropReason::ALL.iter();
        let reasons = reasons.map(|reason| (vec![label(reason), ("help", reason.help().to_owned())], 1.0));
        gauge(out, "drop_reason_info", "What the reasons mean", reasons)
    }

    pub(super) fn sockets(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, pick) in SOCKETS {
            let samples = self.by(|worker| {
                let sockets = worker.sockets.iter();
                sockets
                    .map(|s| (vec![("interface", s.interface.clone())], pick(s)))
                    .collect()
            });
            counter(out, &format!("socket_{name}"), help, samples)?;
        }
        Ok(())
    }

    /// One sample a worker.
    fn each(&self, pick: impl Fn(&WorkerFigures) -> f64) -> impl Iterator<Item = (Labels, f64)> {
        let workers = self.workers.iter().enumerate();
        workers.map(move |(at, worker)| (vec![("worker", at.to_string())], pick(worker)))
    }

    /// Several samples a worker; its label goes before theirs.
    fn by(
        &self,
        samples: impl Fn(&WorkerFigures) -> Vec<(Labels, u64)>,
    ) -> impl Iterator<Item = (Labels, f64)> {
        let workers = self.workers.iter().enumerate();
        workers.flat_map(move |(at, worker)| {
            let label = ("worker", at.to_string());
            let with = move |(labels, count): (Labels, u64)| {
                (
                    std::iter::once(label.clone()).chain(labels).collect(),
                    count as f64,
                )
            };
            samples(worker).into_iter().map(with)
        })
    }
}
