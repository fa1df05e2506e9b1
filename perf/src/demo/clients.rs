//! The demo's clients: processes whose latest report can be read while they run.

use std::time::Duration;

use crate::load::{Event, Report};
use crate::process::Guard;
use crate::rig::{Namespace, RigError};

const END: Duration = Duration::from_secs(10);

/// One running client of `maglane-rig`.
#[derive(Debug)]
pub struct Client {
    guard: Guard,
}

impl Client {
    pub fn start(namespace: &Namespace, args: &str) -> Result<Self, RigError> {
        let args: Vec<&str> = args
            .split_whitespace()
            .chain(["--json", "--progress", "250"])
            .collect();
        Ok(Self {
            guard: namespace.rig_tool(args[0], &args)?,
        })
    }

    /// Waits until every flow is open.
    pub fn wait_ready(&mut self) -> Result<(), RigError> {
        self.guard.wait_for("\"ready\"", END).map(drop)
    }

    /// What it has seen so far.
    pub fn latest(&self) -> Report {
        let line = self.guard.stdout().pop().unwrap_or_default();
        match serde_json::from_str(&line) {
            Ok(Event::Ready(report) | Event::Progress(report) | Event::Report(report)) => report,
            Err(_) => Report::default(),
        }
    }

    /// Ends it and gives its last report.
    pub fn stop(self) -> Report {
        let lines = self
            .guard
            .stop(END)
            .map(|finished| finished.stdout)
            .unwrap_or_default();
        Event::last_report(&lines).unwrap_or_default()
    }
}
