//! Which core and priority everything runs at: programs by `taskset` and `chrt`, NAPI as pinned kernel threads.

use std::fmt;
use std::process::Command;

use crate::rig::{Namespace, output_of};

/// Real-time priorities: whoever frees a ring goes before whoever fills it.
pub const GENERATOR_PRIORITY: u8 = 10;
const NAPI_PRIORITY: u8 = 20;
pub const DEVICE_PRIORITY: u8 = 30;

#[derive(Debug, Clone, Copy)]
pub struct Cores {
    pub generator: usize,
    pub device: usize,
}

/// Where the kernel's receive work (NAPI) of the device runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// On the device's core, as a thread below the device's priority: one core does everything.
    OneCore,
    /// In the generator's context on the other core: the device's core is left to the program.
    Split,
}

impl Placement {
    /// How long a program should look for packets before it sleeps, microseconds: not at all where that
    /// keeps NAPI from bringing any.
    pub fn spin_us(self) -> u32 {
        match self {
            Self::OneCore => 0,
            Self::Split => 50,
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneCore => "one-core",
            Self::Split => "split",
        })
    }
}

/// Gives the interface's NAPI a kernel thread of its own on a core.
pub fn napi_thread(namespace: &Namespace, interface: &str, core: usize) -> anyhow::Result<()> {
    let before = napi_threads(interface);
    namespace.script(&format!("echo 1 > /sys/class/net/{interface}/threaded"))?;
    let new: Vec<u32> = napi_threads(interface)
        .into_iter()
        .filter(|pid| !before.contains(pid))
        .collect();
    anyhow::ensure!(
        new.len() == 1,
        "{} new NAPI threads for {interface}, not 1",
        new.len()
    );
    let pid = new[0].to_string();
    let priority = NAPI_PRIORITY.to_string();
    output_of(
        Command::new("taskset").args(["-pc", &core.to_string(), &pid]),
        "taskset",
        interface,
    )?;
    output_of(
        Command::new("chrt").args(["-f", "-p", &priority, &pid]),
        "chrt",
        interface,
    )?;
    Ok(())
}

pub fn on_core(core: usize, priority: u8) -> [String; 6] {
    [
        "taskset",
        "-c",
        &core.to_string(),
        "chrt",
        "-f",
        &priority.to_string(),
    ]
    .map(str::to_owned)
}

/// Kernel threads that do NAPI for interfaces of this name, whatever the namespace.
fn napi_threads(interface: &str) -> Vec<u32> {
    let prefix = format!("napi/{interface}-");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with(&prefix))
    })
    .collect()
}
