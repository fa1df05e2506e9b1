//! Removal of a run's namespaces and of the processes in them; touches nothing without the run's prefix.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{RigError, output_of};
use crate::wait::wait_until;

/// Ends every process in the namespaces `mgl-<run id>-*` and deletes these.
///
/// # Errors
/// When a namespace can't be deleted.
pub fn cleanup(run_id: &str) -> Result<usize, RigError> {
    let prefix = format!("mgl-{run_id}-");
    let own: Vec<String> = namespaces()?
        .into_iter()
        .filter(|name| name.starts_with(&prefix))
        .collect();
    for name in &own {
        end_processes(name);
    }
    for name in &own {
        let _ = wait_until("the end of its processes", Duration::from_secs(2), || {
            pids(name).is_empty()
        });
        output_of(
            Command::new("ip").args(["netns", "del", name]),
            "ip netns del",
            name,
        )?;
    }
    Ok(own.len())
}

/// Run ids of the rigs that exist on this machine.
///
/// # Errors
/// When namespaces can't be listed.
pub fn run_ids() -> Result<Vec<String>, RigError> {
    let mut ids: Vec<String> = namespaces()?
        .iter()
        .filter_map(|name| {
            name.strip_prefix("mgl-")?
                .rsplit_once('-')
                .map(|(id, _)| id.to_owned())
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn namespaces() -> Result<Vec<String>, RigError> {
    let text = output_of(
        Command::new("ip").args(["netns", "list"]),
        "ip netns list",
        "of the machine",
    )?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect())
}

fn pids(namespace: &str) -> Vec<i32> {
    let text = output_of(
        Command::new("ip").args(["netns", "pids", namespace]),
        "ip netns pids",
        namespace,
    );
    text.unwrap_or_default()
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect()
}

fn end_processes(namespace: &str) {
    for pid in pids(namespace) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
