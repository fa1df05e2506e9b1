//! A real kube-apiserver with its etcd: started with throw-away certificates, stopped, killed, wiped.
//!
//! Nobody else is there: no controller-manager, no scheduler, no kubelet. EndpointSlices are written by tests.

mod flags;
mod programs;
mod scratch;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ClusterError;
use super::client::Client;
use super::ground::Ground;
use super::pki::Authority;
use crate::process::{Guard, Signal};
use scratch::Scratch;

pub(super) use programs::{Programs, find};

/// For a busy machine; on an idle one it takes 3 to 5 s.
const START: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(10);

/// What the servers are started with; the same for every start.
#[derive(Debug)]
struct Plan {
    etcd: Command,
    apiserver: Command,
    data: PathBuf,
    etcd_address: SocketAddr,
}

#[derive(Debug, Default)]
struct Running {
    etcd: Option<Guard>,
    apiserver: Option<Guard>,
}

#[derive(Debug)]
pub(super) struct Real {
    pub address: SocketAddr,
    plan: Plan,
    running: Mutex<Running>,
    /// Last: the servers are gone when it goes.
    _scratch: Scratch,
}

/// The certificates that the server trusts and shows.
#[derive(Debug)]
pub(super) struct Trust<'a> {
    /// Of servers and users.
    pub authority: &'a Authority,
    /// Of the door, which speaks for users.
    pub proxies: &'a Authority,
}

/// The name that the door's certificate has.
pub(super) const PROXY: &str = "front";

impl Real {
    pub fn start(
        ground: &Ground,
        programs: &Programs,
        address: IpAddr,
        trust: &Trust<'_>,
    ) -> Result<Self, ClusterError> {
        let scratch = Scratch::new()?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let [etcd_address, etcd_peers] = ground.free_ports(loopback)?;
        let [address] = ground.free_ports(address)?;
        let data = scratch.path("etcd");
        let plan = Plan {
            etcd: flags::etcd(programs, &data, etcd_address, etcd_peers),
            apiserver: flags::apiserver(programs, &scratch, address, etcd_address, trust)?,
            data,
            etcd_address,
        };
        let real = Self {
            address,
            plan,
            running: Mutex::default(),
            _scratch: scratch,
        };
        real.launch(ground)?;
        Ok(real)
    }

    /// Starts what is not running and waits until it can be connected to.
    pub fn launch(&self, ground: &Ground) -> Result<(), ClusterError> {
        let mut running = self.running();
        if running.etcd.is_none() {
            let etcd = ground.spawn("etcd", &self.plan.etcd)?;
            wait_listening(ground, running.etcd.insert(etcd), "etcd", self.plan.etcd_address)?;
        }
        if running.apiserver.is_none() {
            let apiserver = ground.spawn("kube-apiserver", &self.plan.apiserver)?;
            let apiserver = running.apiserver.insert(apiserver);
            wait_listening(ground, apiserver, "kube-apiserver", self.address)?;
        }
        Ok(())
    }

    /// Waits until the server says that it is ready.
    pub fn wait_ready(&self, admin: &Client) -> Result<(), ClusterError> {
        let start = Instant::now();
        let probe = admin.clone().patience(Duration::from_secs(5));
        loop {
            let answer = probe.request("GET", "/readyz", None);
            if answer.as_ref().is_ok_and(|answer| answer.code == 200) {
                return Ok(());
            }
            self.check_running(start, "the readiness of kube-apiserver")?;
            std::thread::sleep(STEP);
        }
    }

    /// SIGSTOP: connections are still taken by the kernel.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGKILL of the API server only; its data stays.
    pub fn kill(&self) {
        if let Some(apiserver) = self.running().apiserver.take() {
            apiserver.kill();
        }
    }

    /// Kills both servers and removes the data.
    pub fn wipe(&self) -> Result<(), ClusterError> {
        self.kill_all();
        let data = &self.plan.data;
        std::fs::remove_dir_all(data).map_err(ClusterError::io(data.display().to_string()))
    }

    /// What the API server printed, for a failed test.
    pub fn words(&self) -> Vec<String> {
        self.running()
            .apiserver
            .as_ref()
            .map(Guard::stderr)
            .unwrap_or_default()
    }

    fn kill_all(&self) {
        let mut running = self.running();
        let Running { etcd, apiserver } = std::mem::take(&mut *running);
        [apiserver, etcd].into_iter().flatten().for_each(Guard::kill);
    }

    fn signal(&self, signal: Signal) {
        if let Some(apiserver) = &self.running().apiserver {
            apiserver.signal(signal);
        }
    }

    fn check_running(&self, start: Instant, what: &str) -> Result<(), ClusterError> {
        match &mut self.running().apiserver {
            Some(apiserver) => check(apiserver, "kube-apiserver", start, what),
            None => Err(ClusterError::Gone),
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // SIGKILL at once: on SIGTERM the server waits a minute for its watches to end.
        self.kill_all();
    }
}

fn wait_listening(
    ground: &Ground,
    server: &mut Guard,
    label: &str,
    address: SocketAddr,
) -> Result<(), ClusterError> {
    let start = Instant::now();
    while ground.inside(move || TcpStream::connect(address).is_err())? {
        check(server, label, start, &format!("a connection to {label}"))?;
        std::thread::sleep(STEP);
    }
    Ok(())
}

fn check(server: &mut Guard, label: &str, start: Instant, what: &str) -> Result<(), ClusterError> {
    let tail = |server: &Guard| {
        let lines = server.stderr();
        lines[lines.len().saturating_sub(8)..].join(" | ")
    };
    if !server.running() {
        return Err(ClusterError::Ended {
            label: label.to_owned(),
            tail: tail(server),
        });
    }
    if start.elapsed() > START {
        return Err(ClusterError::Timeout {
            what: what.to_owned(),
            after: START,
            tail: tail(server),
        });
    }
    Ok(())
}
