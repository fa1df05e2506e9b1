//! Clients that hold the balancer to its word: which backend answered, what was lost, what moved.

pub mod connects;
pub mod flows;
pub mod http;
pub mod report;
pub mod udp;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use report::{Event, Report};

/// What all load clients share.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// Source addresses, used in turn; empty leaves the choice to the kernel.
    pub sources: Vec<IpAddr>,
    /// How long one connect or one answer may take.
    pub timeout: Duration,
    /// Between two progress reports.
    pub progress: Duration,
}

impl Target {
    pub(crate) fn source(&self, index: usize) -> Option<SocketAddr> {
        let count = self.sources.len();
        (count > 0).then(|| SocketAddr::new(self.sources[index % count], 0))
    }
}

/// Raises the limit of open files to the hard limit: every flow is one.
pub fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The interval between two requests of one flow; a rate of 0 means back to back.
#[must_use]
pub fn interval(rate: f64) -> Duration {
    if rate > 0.0 {
        Duration::from_secs_f64(1.0 / rate)
    } else {
        Duration::ZERO
    }
}

/// Spreads the first requests of many flows over one interval, so that they never march in step.
pub(crate) fn phase(index: usize, count: usize, interval: Duration) -> Duration {
    interval.mul_f64(index as f64 / count.max(1) as f64)
}
