//! Captures on both sides of the balancer and of direct answers, and its own counters held to their sum.

use std::time::Duration;

use maglane_perf::capture::Capture;
use maglane_perf::check::{Summary, check_file};
use maglane_perf::wait::wait_until;
use serde_json::Value;

use crate::stage::{SOON, Stage, say};

/// Captures at the switch ports that face the balancer (in its own namespace tcpdump sees nothing of what the
/// program redirects) and at the one where direct answers reach the router.
pub struct Sides {
    captures: Vec<Capture>,
}

impl Sides {
    pub fn start(stage: &Stage) -> Sides {
        let ports = ["front-lb1", "back-lb1", "back-r"];
        let capture = |port: &&str| {
            let file = stage.folder.path().join(format!("{port}.pcap"));
            stage.check(Capture::start(&stage.rig.ns("sw"), port, &file, ""))
        };
        Sides {
            captures: ports.iter().map(capture).collect(),
        }
    }

    /// Ends the captures and holds every frame to its checksums; gives the number of TCP resets.
    #[track_caller]
    pub fn finish(self, stage: &Stage) -> Seen {
        let mut seen = Seen::default();
        for capture in self.captures {
            let captured = capture.stop();
            let summary = stage.check(check_file(&captured.file).map_err(|error| format!("{error:#}")));
            let name = captured.file.display().to_string();
            stage.assert(summary.good(), || format!("{name}: {summary}"));
            seen.add(&summary, captured.dropped);
            let _ = std::fs::remove_file(&captured.file);
        }
        seen
    }
}

/// What the captures hold together.
#[derive(Debug, Default)]
pub struct Seen {
    pub frames: u64,
    pub verified: u64,
    pub resets: u64,
    /// Frames that tcpdump was too slow for.
    pub missed: u64,
}

impl Seen {
    fn add(&mut self, summary: &Summary, missed: u64) {
        self.frames += summary.frames;
        self.verified += summary.verified;
        self.resets += summary.tcp_resets;
        self.missed += missed;
    }
}

/// Sums over all workers: received, and sent + passed + dropped.
pub fn books(status: &Value) -> (u64, u64) {
    let workers = status["workers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let sum = |key: &str| {
        workers
            .iter()
            .filter_map(|worker| worker[key].as_u64())
            .sum::<u64>()
    };
    (
        sum("rx_packets"),
        sum("tx_packets") + sum("passed") + sum("dropped"),
    )
}

/// Waits until every received frame is accounted for; a frame between two counters is not lost.
#[track_caller]
pub fn balanced(stage: &Stage) -> u64 {
    let mut last = (0, 1);
    let outcome = wait_until("rx = tx + pass + drops", SOON, || {
        last = books(&stage.status());
        last.0 == last.1 && last.0 > 0
    });
    stage
        .check(outcome.map_err(|error| format!("{error}: received {} but accounted for {}", last.0, last.1)));
    last.0
}

/// Stops the balancer, which then counts its packet buffers: every one must be back in its place.
#[track_caller]
pub fn conserved(mut stage: Stage) {
    let balancer = stage.balancer.take().ok_or("no balancer runs");
    let end = stage.check(balancer).guard.stop(SOON);
    let end = stage.check(end.ok_or("the balancer did not end"));
    let words = end.stderr.join("\n");
    let told = words.contains("stopped after") && !words.contains("astray");
    assert!(end.status.success() && told, "{}: {words}", end.status);
    say("ok stopped with every packet buffer in its place");
}

/// Packets a worker received, by worker.
pub fn received(status: &Value) -> Vec<u64> {
    let workers = status["workers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    workers
        .iter()
        .filter_map(|worker| worker["rx_packets"].as_u64())
        .collect()
}

/// For people: `1.234 s` and megabits a second.
pub fn rate(bytes: u64, took: Duration) -> String {
    let mbits = bytes as f64 * 8e-6 / took.as_secs_f64().max(1e-6);
    format!("{} ms, {mbits:.0} Mbit/s", took.as_millis())
}
