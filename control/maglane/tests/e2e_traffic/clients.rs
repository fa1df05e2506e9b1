//! The clients: curl, iperf3, ping and `maglane-rig`'s load, each with a generous limit.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use maglane_perf::Guard;
use maglane_perf::load::{Event, Report};
use maglane_perf::wait::wait_until;

use crate::stage::{IPERF_PORT, SOON, Stage, url};

/// For a whole client run.
const LIMIT: Duration = Duration::from_secs(300);

/// A `maglane-rig` load client that runs until told to stop.
pub struct Running {
    guard: Guard,
}

impl Running {
    pub fn start(stage: &Stage, host: &str, line: &str) -> Running {
        let words: Vec<&str> = line.split(' ').chain(["--json", "--progress", "250"]).collect();
        let guard = stage.check(
            stage
                .rig
                .ns(host)
                .rig_tool(&format!("{} of {host}", words[0]), &words),
        );
        Running { guard }
    }

    /// The newest report.
    pub fn now(&self) -> Report {
        let lines = self.guard.stdout();
        let newest = lines
            .iter()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok());
        match newest {
            Some(Event::Ready(report) | Event::Progress(report) | Event::Report(report)) => report,
            None => Report::default(),
        }
    }

    /// Waits until the newest report satisfies `condition`.
    #[track_caller]
    pub fn wait(&self, stage: &Stage, what: &str, mut condition: impl FnMut(&Report) -> bool) {
        let outcome = wait_until(what, SOON * 2, || condition(&self.now()));
        stage.check(outcome.map_err(|error| format!("{error}\nclient: {}", self.now())));
    }

    /// Until all flows are open.
    pub fn wait_ready(&mut self, stage: &Stage) {
        stage.check(self.guard.wait_for("\"event\":\"ready\"", SOON * 2));
    }

    /// Until every flow has been answered `rounds` more times on average.
    #[track_caller]
    pub fn wait_answers(&self, stage: &Stage, rounds: u64) {
        let before = self.now();
        let want = before.answers + rounds * before.flows;
        self.wait(stage, "further answers", |report| report.answers >= want);
    }

    pub fn stop(self, stage: &Stage) -> Report {
        let finished = self.guard.stop(SOON);
        let report = finished.and_then(|end| Event::last_report(&end.stdout));
        stage.check(report.ok_or("the client ended without a report"))
    }
}

/// A `maglane-rig` load client from start to end.
pub fn load(stage: &Stage, host: &str, line: &str) -> Report {
    let running = Running::start(stage, host, line);
    let finished = stage.check(running.guard.finish(LIMIT));
    let report = Event::last_report(&finished.stdout);
    stage.check(report.ok_or_else(|| format!("{line}: no report: {:?}", finished.stderr)))
}

/// `count` new connections, one page each; all must be answered.
#[track_caller]
pub fn connects(stage: &Stage, host: &str, target: SocketAddr, count: usize) -> Report {
    let line = format!("connects --target {target} --count {count} --concurrency 8 --timeout 30000");
    let report = load(stage, host, &line);
    stage.assert(report.clean(), || {
        format!("connects from {host} to {target}: {report}")
    });
    report
}

/// A page by curl; gives the body.
#[track_caller]
pub fn curl(stage: &Stage, host: &str, address: IpAddr) -> String {
    let url = url(address, "/");
    stage.check(
        stage
            .rig
            .ns(host)
            .run("curl", &["-sS", "-g", "-f", "-m", "30", &url]),
    )
}

/// A download's SHA-256, by curl and sha256sum, and how long it took.
#[track_caller]
pub fn download(stage: &Stage, host: &str, address: IpAddr, bytes: u64) -> (String, Duration) {
    let url = url(address, &format!("/bytes/{bytes}"));
    let folder = stage.folder.path().display();
    // The status of a pipe is its last command's: curl's own goes through a file.
    let script = format!(
        "(curl -sS -g -f -m 280 '{url}'; echo $? > {folder}/curl) | sha256sum; test $(cat {folder}/curl) = 0"
    );
    let begin = Instant::now();
    let text = stage.check(stage.rig.ns(host).script(&script));
    (
        text.split(' ').next().unwrap_or_default().to_owned(),
        begin.elapsed(),
    )
}

/// An iperf3 server on `b1` for this address, until the stage ends.
pub fn iperf_server(stage: &mut Stage, bind: IpAddr) {
    let bind = bind.to_string();
    let port = IPERF_PORT.to_string();
    let args = ["-s", "--forceflush", "-p", &port, "-B", &bind];
    let mut guard = stage.check(stage.rig.ns("b1").spawn("iperf3", "iperf3", args));
    stage.check(guard.wait_for("Server listening", SOON));
    stage.keep(guard);
}

/// iperf3 from `c1`; gives its JSON report's `end`. On a stalled machine the datagram that opens a UDP test may
/// be lost, or nothing be read before the end: tried three times.
#[track_caller]
pub fn iperf(stage: &Stage, address: IpAddr, more: &[&str]) -> serde_json::Value {
    let (address, port) = (address.to_string(), IPERF_PORT.to_string());
    let mut args = vec![
        "60",
        "iperf3",
        "-J",
        "--connect-timeout",
        "20000",
        "-c",
        &address,
        "-p",
        &port,
    ];
    args.extend(more);
    let mut told = Vec::new();
    for _ in 0..3 {
        match stage.rig.ns("c1").run("timeout", &args) {
            Ok(text) => {
                let mut report: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                let end = report["end"].take();
                if end["sum_received"]["bytes"].as_u64() > Some(0) {
                    return end;
                }
                told.push(text);
            }
            Err(error) => told.push(error.to_string()),
        }
    }
    panic!(
        "iperf3 to {address} {more:?}: {}\n{}",
        told.join("\n"),
        stage.story()
    )
}
