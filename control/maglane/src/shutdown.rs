//! The way out: forward on while routers take their traffic elsewhere; then un-steer, drain, stop, detach. From
//! un-steering on, packets for VIPs go to the kernel.
//!
//! After SIGKILL nobody runs this, and nothing is left all the same: the bpf_link dies with its last
//! descriptor, the lock with the process; the admin socket's file is replaced by the next start.

use std::fmt;
use std::time::{Duration, Instant};

use maglane_shared::counters::Counter;
use maglane_xsk::SteerSet;

use crate::engine::{Crew, Engine};

/// Longest wait for packets already in the rings.
const DRAIN: Duration = Duration::from_millis(250);
/// Rings are empty when nothing was received for this long: several of a worker's turns, a sleep included.
const QUIET: Duration = Duration::from_millis(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What the process did, in one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub uptime: Duration,
    pub received: u64,
    pub sent: u64,
    pub passed: u64,
    pub dropped: u64,
    /// Packet buffers that are in no place, or in two; anything but 0 is a bug.
    pub frames_astray: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            uptime,
            received,
            sent,
            passed,
            dropped,
            frames_astray,
        } = self;
        write!(
            f,
            "stopped after {:.1} s: {received} packets received, {sent} sent, {passed} passed, {dropped} dropped",
            uptime.as_secs_f64()
        )?;
        if *frames_astray > 0 {
            write!(f, ", {frames_astray} packet buffers astray")
        } else {
            Ok(())
        }
    }
}

/// How the wait for traffic to go ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ebb {
    Quiet,
    TimeIsUp,
    Insisted,
}

impl fmt::Display for Ebb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ebb::Quiet => "traffic has gone elsewhere",
            Ebb::TimeIsUp => "traffic still comes, but time is up",
            Ebb::Insisted => "ended early",
        })
    }
}

/// One look at the rate.
const WINDOW: Duration = Duration::from_millis(100);
/// So many quiet windows in a row: routers take up to 100 ms to change their routes.
const QUIET_WINDOWS: u32 = 3;
/// Packets in a window that are no traffic: strays, scans, a neighbour's chatter.
const CHATTER: u64 = 2;

/// Waits, forwarding, until traffic has fallen to a hundredth of what it was.
pub fn forward_on(engine: &Engine, limit: Duration, insists: impl Fn() -> bool) -> Ebb {
    let start = Instant::now();
    let (mut last, mut most, mut quiet) = (totals(engine).received, 0, 0);
    while quiet < QUIET_WINDOWS {
        if insists() {
            return Ebb::Insisted;
        }
        if start.elapsed() >= limit {
            return Ebb::TimeIsUp;
        }
        std::thread::sleep(WINDOW);
        let received = totals(engine).received;
        let gained = received - last;
        (last, most) = (received, gained.max(most));
        quiet = if gained <= CHATTER.max(most / 100) {
            quiet + 1
        } else {
            0
        };
    }
    Ebb::Quiet
}

/// Stops the packet path in order. The control loop must have ended: nobody else steers or publishes.
pub fn stop(engine: &Engine, crew: Crew, uptime: Duration) -> Summary {
    if let Err(error) = engine.steer(&SteerSet::default()) {
        tracing::warn!("stopping: {error:#}; detaching at once");
        engine.detach();
    }
    drain(engine);
    engine.stop_workers();
    let queues = crew.join();
    engine.detach();
    let census = queues.iter().map(|queue| queue.census());
    let frames_astray = census
        .map(|census| census.total.abs_diff(census.sum()) as u64)
        .sum();
    Summary {
        uptime,
        frames_astray,
        ..totals(engine)
    }
}

/// Waits until no worker receives any more.
fn drain(engine: &Engine) {
    let start = Instant::now();
    let (mut last, mut since) = (totals(engine).received, start);
    while since.elapsed() < QUIET && start.elapsed() < DRAIN {
        std::thread::sleep(LOOK_EVERY);
        let received = totals(engine).received;
        if received != last {
            (last, since) = (received, Instant::now());
        }
    }
}

fn totals(engine: &Engine) -> Summary {
    let sum = |pick: fn(&maglane_shared::counters::Counters) -> &Counter| {
        engine
            .watches
            .iter()
            .map(|watch| pick(&watch.counters).get())
            .sum()
    };
    Summary {
        received: sum(|c| &c.rx_packets),
        sent: sum(|c| &c.tx_packets),
        passed: sum(|c| &c.passed),
        dropped: engine.watches.iter().map(|watch| watch.counters.dropped()).sum(),
        ..Summary::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_one_line_and_speaks_of_lost_buffers_only_when_there_are_some() {
        let summary = Summary {
            uptime: Duration::from_millis(1250),
            received: 9,
            sent: 7,
            ..Summary::default()
        };
        let text = "stopped after 1.2 s: 9 packets received, 7 sent, 0 passed, 0 dropped";
        assert_eq!(summary.to_string(), text);
        let astray = Summary {
            frames_astray: 1,
            ..summary
        };
        assert_eq!(astray.to_string(), format!("{text}, 1 packet buffers astray"));
    }
}
