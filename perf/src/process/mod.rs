//! Child processes that end with their guard, with their output kept line by line.

mod lines;

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;

pub use nix::sys::signal::Signal;

use crate::rig::RigError;
use lines::Lines;

const GRACE: Duration = Duration::from_secs(3);

/// A running child. Dropping it sends SIGTERM and, after 3 s, SIGKILL.
#[derive(Debug)]
pub struct Guard {
    label: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// A child that has ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
}

impl Guard {
    /// # Errors
    /// When the program can't be started.
    pub fn spawn(label: &str, mut command: Command) -> Result<Self, RigError> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| RigError::Spawn {
            what: label.to_owned(),
            source,
        })?;
        let stdout = Lines::follow(child.stdout.take());
        let stderr = Lines::follow(child.stderr.take());
        Ok(Self {
            label: label.to_owned(),
            child,
            stdout,
            stderr,
        })
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.snapshot()
    }

    /// Standard error so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.snapshot()
    }

    /// Waits for the first line of standard output or standard error that contains `text`.
    ///
    /// # Errors
    /// When the process ends first, or the time is over.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> Result<String, RigError> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait().ok().flatten();
            for lines in [&self.stdout, &self.stderr] {
                if let Some(line) = lines.find(text, ended.is_some()) {
                    return Ok(line);
                }
            }
            if let Some(status) = ended {
                return Err(self.ended(status));
            }
            if start.elapsed() > limit {
                let what = format!("the line `{text}` from {}", self.label);
                return Err(RigError::Timeout { what, after: limit });
            }
            self.stdout.wait(Duration::from_millis(10));
        }
    }

    /// True while the process runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal; a process that has ended already is no error.
    pub fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`; it is then ended.
    pub fn finish(mut self, limit: Duration) -> Result<Finished, RigError> {
        let Some(status) = self.wait_exit(limit) else {
            return Err(RigError::Timeout {
                what: format!("the end of {}", self.label),
                after: limit,
            });
        };
        Ok(self.finished(status))
    }

    /// Asks the process to end (SIGTERM), then makes it (SIGKILL) when `limit` is over.
    #[must_use]
    pub fn stop(mut self, limit: Duration) -> Option<Finished> {
        let status = self.end(Signal::SIGTERM, limit)?;
        Some(self.finished(status))
    }

    /// SIGKILL, at once.
    pub fn kill(mut self) {
        self.end(Signal::SIGKILL, GRACE);
    }

    fn end(&mut self, signal: Signal, limit: Duration) -> Option<ExitStatus> {
        if self.running() {
            self.signal(Signal::SIGCONT);
            self.signal(signal);
        }
        self.wait_exit(limit).or_else(|| {
            let _ = self.child.kill();
            self.child.wait().ok()
        })
    }

    fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if start.elapsed() > limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn finished(&self, status: ExitStatus) -> Finished {
        Finished {
            status,
            stdout: self.stdout.to_end(),
            stderr: self.stderr.to_end(),
        }
    }

    fn ended(&self, status: ExitStatus) -> RigError {
        let mut tail = self.stderr.to_end();
        tail.extend(self.stdout.to_end());
        let skip = tail.len().saturating_sub(8);
        RigError::Ended {
            label: self.label.clone(),
            status: status.to_string(),
            tail: tail[skip..].join(" | "),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end(Signal::SIGTERM, GRACE);
    }
}

/// Where `maglane-rig` is: `$MAGLANE_RIG`, or beside the running program, or one level above `deps/`.
///
/// # Errors
/// When it is in none of these places.
pub fn rig_binary() -> Result<PathBuf, RigError> {
    binary("maglane-rig", "MAGLANE_RIG")
        .ok_or_else(|| RigError::NoBinary(this_program().display().to_string()))
}

/// Where the `maglane` binary is, found as [`rig_binary`] is (`$MAGLANE_BIN`).
#[must_use]
pub fn maglane_binary() -> Option<PathBuf> {
    binary("maglane", "MAGLANE_BIN")
}

fn this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_default()
}

fn binary(name: &str, variable: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    let program = this_program();
    let folders = [
        program.parent(),
        program.parent().and_then(std::path::Path::parent),
    ];
    folders
        .into_iter()
        .flatten()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Guard {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Guard::spawn("sh", command).unwrap()
    }

    #[test]
    fn lines_are_seen_and_kept() {
        let mut guard = sh("echo one; echo two >&2; sleep 5");
        assert_eq!(guard.wait_for("one", GRACE).unwrap(), "one");
        assert_eq!(guard.wait_for("two", GRACE).unwrap(), "two");
        assert!(guard.running());
        guard.kill();
    }

    #[test]
    fn an_early_end_is_told_with_its_last_words() {
        let err = sh("echo why >&2; exit 3").wait_for("ready", GRACE).unwrap_err();
        assert!(err.to_string().contains("why"), "{err}");
    }

    #[test]
    fn stop_lets_a_process_finish_its_sentence() {
        let mut guard = sh("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
        guard.wait_for("ready", GRACE).unwrap();
        let finished = guard.stop(GRACE).unwrap();
        assert!(finished.status.success());
        assert_eq!(finished.stdout, ["ready", "bye"]);
    }
}
