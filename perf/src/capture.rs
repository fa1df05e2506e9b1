//! Captures with tcpdump, in a namespace, whole frames, known to have begun before `start` returns.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{Guard, Signal};
use crate::rig::{Namespace, RigError};

/// A running capture; dropping it ends tcpdump but may lose the last frames, so call [`Capture::stop`].
#[derive(Debug)]
pub struct Capture {
    guard: Guard,
    file: PathBuf,
}

/// tcpdump's arguments: whole frames, no delay, every frame written at once, root kept.
#[must_use]
pub fn arguments(interface: &str, file: &Path, filter: &str) -> Vec<String> {
    let file = file.display().to_string();
    let mut all: Vec<String> = [
        "-i",
        interface,
        "-s",
        "0",
        "-B",
        "65536",
        "--immediate-mode",
        "-U",
        "-n",
        "-Z",
        "root",
        "-w",
        &file,
    ]
    .map(str::to_owned)
    .to_vec();
    all.extend((!filter.is_empty()).then(|| filter.to_owned()));
    all
}

impl Capture {
    /// Begins to capture `interface` of a namespace into `file` (pcap). `filter` is tcpdump's, or empty.
    ///
    /// # Errors
    /// When tcpdump is missing, refuses, or is not listening within 10 s.
    pub fn start(
        namespace: &Namespace,
        interface: &str,
        file: &Path,
        filter: &str,
    ) -> Result<Self, RigError> {
        let arguments = arguments(interface, file, filter);
        let mut guard = namespace.spawn(&format!("tcpdump on {interface}"), "tcpdump", &arguments)?;
        guard.wait_for("listening on", Duration::from_secs(10))?;
        Ok(Self {
            guard,
            file: file.to_owned(),
        })
    }

    /// Ends the capture and gives the file; frames that tcpdump lost are told in `dropped`.
    #[must_use]
    pub fn stop(self) -> Captured {
        self.guard.signal(Signal::SIGINT);
        let ended = self.guard.finish(Duration::from_secs(5));
        let stderr = ended.map(|finished| finished.stderr).unwrap_or_default();
        Captured {
            file: self.file,
            dropped: dropped(&stderr),
        }
    }
}

/// A finished capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    pub file: PathBuf,
    /// Frames the kernel could not hand to tcpdump.
    pub dropped: u64,
}

fn dropped(stderr: &[String]) -> u64 {
    stderr
        .iter()
        .find(|line| line.ends_with("dropped by kernel"))
        .and_then(|line| line.split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_read_from_the_last_words() {
        let words = [
            "10 packets captured",
            "12 packets received by filter",
            "2 packets dropped by kernel",
        ];
        assert_eq!(dropped(&words.map(str::to_owned)), 2);
        assert_eq!(dropped(&[]), 0);
    }
}
