//! Laying a rig out: limits checked first, then namespaces, settings, cables, addresses and routes.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Rig, RigError, Shape, Spec, layout, settings};
use crate::wait::wait_until;

/// What to lay out; the defaults are 2 clients, 1 balancer with 2 queues, 4 backends.
#[derive(Debug, Clone)]
pub struct RigBuilder {
    spec: Spec,
    static_routes: bool,
}

impl Default for RigBuilder {
    fn default() -> Self {
        let spec = Spec {
            run_id: fresh_run_id(),
            queues: 2,
            clients: 2,
            balancers: 1,
            backends: 4,
            shape: Shape::TwoArmed,
        };
        Self {
            spec,
            static_routes: true,
        }
    }
}

impl RigBuilder {
    /// Receive and transmit queues of each balancer interface (1..=16).
    #[must_use]
    pub fn queues(mut self, queues: u16) -> Self {
        self.spec.queues = queues;
        self
    }

    #[must_use]
    pub fn clients(mut self, clients: u8) -> Self {
        self.spec.clients = clients;
        self
    }

    /// Balancers lb1..lbN; the router spreads the VIPs over them (ECMP) when there are several.
    #[must_use]
    pub fn balancers(mut self, balancers: u8) -> Self {
        self.spec.balancers = balancers;
        self
    }

    #[must_use]
    pub fn backends(mut self, backends: u8) -> Self {
        self.spec.backends = backends;
        self
    }

    #[must_use]
    pub fn shape(mut self, shape: Shape) -> Self {
        self.spec.shape = shape;
        self
    }

    /// A name for this run, part of every namespace name; letters and digits, at most 12.
    #[must_use]
    pub fn run_id(mut self, run_id: &str) -> Self {
        run_id.clone_into(&mut self.spec.run_id);
        self
    }

    /// Leave the router without routes to the VIPs: BGP will bring them.
    #[must_use]
    pub fn without_vip_routes(mut self) -> Self {
        self.static_routes = false;
        self
    }

    /// Lays the network out and waits until every link is up.
    ///
    /// # Errors
    /// When not root, when a number is out of range, when a tool is missing or the kernel refuses.
    pub fn build(self) -> Result<Rig, RigError> {
        self.check()?;
        let rig = Rig {
            spec: self.spec,
            keep: false,
        };
        ip_batch(&layout::namespaces(&rig.spec))?;
        for host in rig.spec.hosts() {
            rig.on(host).script(&settings::sysctls(host))?;
        }
        ip_batch(&layout::links(&rig.spec))?;
        for host in rig.spec.hosts() {
            rig.on(host).script(&layout::configure(&rig.spec, host))?;
        }
        if self.static_routes {
            let all: Vec<u8> = (1..=rig.spec.balancers).collect();
            rig.vip_next_hops(&all)?;
        }
        wait_links(&rig)?;
        Ok(rig)
    }

    fn check(&self) -> Result<(), RigError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(RigError::NotRoot);
        }
        for (tool, package) in [("ip", "iproute2"), ("ethtool", "ethtool")] {
            Command::new(tool)
                .arg("--version")
                .output()
                .map_err(|_| RigError::MissingTool { tool, package })?;
        }
        let spec = &self.spec;
        in_range("queues", spec.queues.into(), 1, 16)?;
        in_range("clients", spec.clients.into(), 1, 64)?;
        in_range("balancers", spec.balancers.into(), 1, 64)?;
        in_range("backends", spec.backends.into(), 1, 140)?;
        in_range("length of the run id", spec.run_id.len(), 1, 12)
    }
}

pub(crate) fn in_range(what: &'static str, got: usize, low: usize, high: usize) -> Result<(), RigError> {
    if (low..=high).contains(&got) {
        Ok(())
    } else {
        Err(RigError::Range { what, got, low, high })
    }
}

fn wait_links(rig: &Rig) -> Result<(), RigError> {
    for host in rig.spec.hosts() {
        let namespace = rig.on(host);
        let up = || {
            namespace
                .run("ip", &["-br", "link"])
                .is_ok_and(|text| !text.contains("DOWN"))
        };
        wait_until(&format!("every link of {host} up"), Duration::from_secs(5), up)?;
    }
    Ok(())
}

fn fresh_run_id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{:x}x{:x}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

fn ip_batch(lines: &str) -> Result<(), RigError> {
    let what = "ip -batch -".to_owned();
    let spawn = |source| RigError::Spawn {
        what: what.clone(),
        source,
    };
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(spawn)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.as_bytes()).map_err(spawn)?;
    }
    let output = child.wait_with_output().map_err(spawn)?;
    if output.status.success() {
        return Ok(());
    }
    Err(RigError::Command {
        what,
        namespace: "of the machine".to_owned(),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
