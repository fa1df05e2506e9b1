//! What a load client saw, and the arithmetic of it. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// What the kernel said, or `TimedOut` when it said nothing in time.
    Connect(ErrorKind),
    Reset,
    Timeout,
    /// An answer that is not HTTP, or not 200.
    Garbled,
}

/// Counts of one backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerBackend {
    /// Flows whose first answer came from it.
    pub flows: u64,
    pub answers: u64,
    /// Flows that broke while they were its own.
    pub lost_flows: u64,
    /// Flows that were its own and came back, after a break, to another backend.
    pub moved_flows: u64,
}

/// The report of a whole run, or of a run so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    pub seconds: f64,
    pub flows: u64,
    pub established: u64,
    pub connect_failures: u64,
    pub requests: u64,
    pub answers: u64,
    /// Requests without a right answer: resets, timeouts, garbled answers, failed connects.
    pub failures: u64,
    pub resets: u64,
    pub timeouts: u64,
    pub garbled: u64,
    /// The failed connects by the kernel's word for it.
    pub connect_errors: BTreeMap<String, u64>,
    /// Answers by another backend than the flow's own: on one connection, or for UDP on one socket.
    pub mismatches: u64,
    /// Flows that broke and came back to another backend.
    pub moved: u64,
    pub bytes: u64,
    /// Busiest backend's flows over the mean of all that got any.
    pub spread: f64,
    pub latency_p50_us: u64,
    pub latency_p99_us: u64,
    pub latency_max_us: u64,
    pub backends: BTreeMap<String, PerBackend>,
}

impl Report {
    /// True when every flow was established and every request answered by the right backend.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.failures == 0 && self.mismatches == 0 && self.moved == 0 && self.established == self.flows
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} s: {} of {} flows, {} requests, {} failures ({} connects, {} resets, {} timeouts, {} garbled), \
             {} mismatches, {} moved, spread {:.3}, p50 {} us, p99 {} us;",
            self.seconds,
            self.established,
            self.flows,
            self.requests,
            self.failures,
            self.connect_failures,
            self.resets,
            self.timeouts,
            self.garbled,
            self.mismatches,
            self.moved,
            self.spread,
            self.latency_p50_us,
            self.latency_p99_us
        )?;
        for (error, count) in &self.connect_errors {
            write!(f, " connect: {error} {count};")?;
        }
        for (name, b) in &self.backends {
            write!(f, " {name}: {} flows {} answers", b.flows, b.answers)?;
        }
        Ok(())
    }
}

/// One line of a client's output.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// Every flow is established (or has failed to).
    Ready(Report),
    /// Once a second.
    Progress(Report),
    /// The last line.
    Report(Report),
}

impl Event {
    /// The line as printed: JSON, or words that begin with `ready`, `progress` or `report`.
    #[must_use]
    pub fn line(&self, json: bool) -> String {
        if json {
            return serde_json::to_string(self).unwrap_or_default();
        }
        match self {
            Self::Ready(r) => format!("ready {r}"),
            Self::Progress(r) => format!("progress {r}"),
            Self::Report(r) => format!("report {r}"),
        }
    }

    /// The report in the last line of a client's JSON output.
    #[must_use]
    pub fn last_report(lines: &[String]) -> Option<Report> {
        lines
            .iter()
            .rev()
            .find_map(|line| match serde_json::from_str(line) {
                Ok(Self::Report(report)) => Some(report),
                Ok(Self::Ready(_) | Self::Progress(_)) | Err(_) => None,
            })
    }
}

/// Collects what the flows of one client see.
#[derive(Debug)]
pub struct Tally {
    report: Report,
    latency: Histogram<u64>,
}

impl Tally {
    #[must_use]
    pub fn new(flows: u64) -> Self {
        let latency = Histogram::new_with_max(60_000_000, 3).unwrap_or_else(|_| unreachable_bounds());
        Self {
            report: Report {
                flows,
                ..Report::default()
            },
            latency,
        }
    }

    pub fn established(&mut self) {
        self.report.established += 1;
    }

    pub fn request(&mut self) {
        self.report.requests += 1;
    }

    /// The flow's first answer: from now on `backend` is its own.
    pub fn assigned(&mut self, backend: &str) {
        self.backend(backend).flows += 1;
    }

    pub fn answer(&mut self, backend: &str, took: Duration, bytes: u64) {
        self.report.answers += 1;
        self.report.bytes += bytes;
        self.backend(backend).answers += 1;
        self.latency
            .saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn mismatch(&mut self) {
        self.report.mismatches += 1;
    }

    pub fn moved(&mut self, from: &str) {
        self.report.moved += 1;
        self.backend(from).moved_flows += 1;
    }

    pub fn failed(&mut self, failure: Failure, backend: Option<&str>) {
        self.report.failures += 1;
        match failure {
            Failure::Connect(error) => {
                self.report.connect_failures += 1;
                *self.report.connect_errors.entry(error.to_string()).or_default() += 1;
            }
            Failure::Reset => self.report.resets += 1,
            Failure::Timeout => self.report.timeouts += 1,
            Failure::Garbled => self.report.garbled += 1,
        }
        if let Some(name) = backend {
            self.backend(name).lost_flows += 1;
        }
    }

    #[must_use]
    pub fn report(&self, elapsed: Duration) -> Report {
        let mut report = self.report.clone();
        report.seconds = elapsed.as_secs_f64();
        report.latency_p50_us = self.latency.value_at_quantile(0.5);
        report.latency_p99_us = self.latency.value_at_quantile(0.99);
        report.latency_max_us = self.latency.max();
        report.spread = spread(report.backends.values().map(|b| b.flows));
        report
    }

    fn backend(&mut self, name: &str) -> &mut PerBackend {
        if !self.report.backends.contains_key(name) {
            self.report
                .backends
                .insert(name.to_owned(), PerBackend::default());
        }
        self.report.backends.entry(name.to_owned()).or_default()
    }
}

fn unreachable_bounds() -> Histogram<u64> {
    Histogram::new(3).unwrap_or_else(|_| panic!("three significant digits are always valid"))
}

/// Max over mean; 1 is perfect, 0 means nothing was counted.
pub fn spread(counts: impl Iterator<Item = u64>) -> f64 {
    let (mut max, mut sum, mut n) = (0, 0, 0_u64);
    for count in counts {
        max = max.max(count);
        sum += count;
        n += 1;
    }
    if sum == 0 {
        0.0
    } else {
        max as f64 * n as f64 / sum as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_max_over_mean() {
        assert!((spread([10, 10, 10].into_iter()) - 1.0).abs() < 1e-9);
        assert!((spread([30, 10, 20].into_iter()) - 1.5).abs() < 1e-9);
        assert!(spread(std::iter::empty()).abs() < 1e-9);
    }

    #[test]
    fn failures_are_the_sum_of_their_kinds() {
        let mut tally = Tally::new(3);
        for failure in [
            Failure::Connect(ErrorKind::ConnectionRefused),
            Failure::Reset,
            Failure::Timeout,
            Failure::Garbled,
        ] {
            tally.failed(failure, Some("b1"));
        }
        let report = tally.report(Duration::from_secs(1));
        assert_eq!(report.failures, 4);
        assert!(report.to_string().contains("connect: connection refused 1;"));
        assert_eq!(
            report.connect_failures + report.resets + report.timeouts + report.garbled,
            report.failures
        );
        assert_eq!(report.backends["b1"].lost_flows, 4);
        assert!(!report.clean());
    }

    #[test]
    fn the_report_survives_json() {
        let mut tally = Tally::new(1);
        tally.established();
        tally.assigned("b2");
        tally.answer("b2", Duration::from_micros(150), 7);
        let line = Event::Report(tally.report(Duration::from_secs(2))).line(true);
        let back = Event::last_report(&["noise".to_owned(), line]).unwrap();
        assert_eq!(back.backends["b2"].answers, 1);
        assert_eq!(back.latency_p50_us, 150);
        assert!(back.clean());
    }
}
