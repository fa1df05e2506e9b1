//! A handle on one network namespace: commands, scripts and guarded processes inside it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::CloneFlags;

use super::RigError;
use crate::process::Guard;

/// A namespace that this rig made. Cheap to clone; dropping a handle removes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn new(name: String) -> Self {
        Self { name }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run `program` inside; `ip netns exec` replaces itself, so the child's pid is
    /// the program's own.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs to the end and gives standard output.
    ///
    /// # Errors
    /// When the program can't be started or exits with anything but 0.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String, RigError> {
        let mut command = self.command(program);
        output_of(
            command.args(args),
            &format!("{program} {}", args.join(" ")),
            &self.name,
        )
    }

    /// Runs a shell script that stops at the first failure.
    ///
    /// # Errors
    /// As [`Namespace::run`].
    pub fn script(&self, script: &str) -> Result<String, RigError> {
        output_of(self.command("sh").args(["-euc", script]), script, &self.name)
    }

    /// Starts a process that ends when the guard is dropped.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn<S: AsRef<OsStr>>(
        &self,
        label: &str,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Guard, RigError> {
        let mut command = self.command(program);
        command.args(args);
        Guard::spawn(&format!("{label} in {}", self.name), command)
    }

    /// Runs `work` on a thread of its own inside the namespace: sockets it opens belong there for good.
    ///
    /// # Errors
    /// When the namespace is gone or can't be entered.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, RigError> {
        let path = Path::new("/var/run/netns").join(&self.name);
        let file = std::fs::File::open(&path).map_err(|error| RigError::file(&path, error))?;
        let entered = std::thread::scope(|scope| {
            let thread = scope.spawn(|| nix::sched::setns(file, CloneFlags::CLONE_NEWNET).map(|()| work()));
            thread.join()
        });
        match entered {
            Ok(outcome) => outcome.map_err(|errno| RigError::file(&path, errno.into())),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Starts `maglane-rig` with these arguments.
    ///
    /// # Errors
    /// When the binary is missing or can't be started.
    pub fn rig_tool(&self, label: &str, args: &[&str]) -> Result<Guard, RigError> {
        self.spawn(label, crate::process::rig_binary()?, args)
    }
}

pub(crate) fn output_of(command: &mut Command, what: &str, namespace: &str) -> Result<String, RigError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| RigError::Spawn {
            what: what.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(RigError::Command {
        what: what.to_owned(),
        namespace: namespace.to_owned(),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
