//! One stage: traffic through one VIP in one forwarding mode, a drain and a new backend on the way.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Interrupted;
use super::clients::Client;
use super::screen::{Picture, Row, Screen};
use crate::balancer::wait_serving;
use crate::load::Report;
use crate::manifests::{EndpointState, Service};
use crate::rig::{Dual, Host, Rig, RigError, plan};

const FLOWS: usize = 1000;
/// Backends at the beginning; one more joins later.
const FIRST: u8 = 4;
const DRAINED: u8 = 2;
const JOINING: u8 = 5;
const TICK: Duration = Duration::from_millis(250);
/// After this a drained backend must not get a new connection.
const SETTLED: Duration = Duration::from_millis(700);

#[derive(Debug, Clone)]
pub struct Stage {
    pub mode: &'static str,
    pub vip: u8,
    pub length: Duration,
}

/// What came of the stages.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub requests: u64,
    pub failures: u64,
    /// The worst stage's flows on the busiest backend over the mean.
    pub spread: f64,
    /// New connections that a drained backend got all the same.
    pub late: u64,
}

impl Outcome {
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.spread = self.spread.max(other.spread);
        self.late += other.late;
    }

    pub fn good(&self) -> bool {
        self.failures == 0 && self.late == 0 && self.requests > 0
    }

    pub fn line(&self, drops: &[(String, u64)]) -> String {
        let total: u64 = drops.iter().map(|(_, n)| n).sum();
        let reasons: Vec<String> = drops.iter().map(|(name, n)| format!("{name} {n}")).collect();
        let reasons = if reasons.is_empty() {
            String::new()
        } else {
            format!(" ({})", reasons.join(", "))
        };
        format!(
            "demo: {}, {} requests, {} failures, {} new connections to a drained backend, spread max/mean {:.3}, \
             {total} packets dropped{reasons}",
            if self.good() { "ok" } else { "FAILED" },
            self.requests,
            self.failures,
            self.late,
            self.spread
        )
    }
}

struct Clients {
    flows: Client,
    udp: Client,
    fresh: Client,
}

impl Stage {
    fn service(&self) -> Service {
        Service::standard(&format!("web-{}", self.mode), self.vip, self.mode, FIRST)
    }

    pub fn write_manifest(&self, folder: &Path) -> Result<(), RigError> {
        let manifests = folder.join("manifests");
        std::fs::create_dir_all(&manifests).map_err(|error| RigError::file(&manifests, error))?;
        self.service().write(&manifests).map(drop)
    }

    pub fn run(
        &self,
        rig: &Rig,
        folder: &Path,
        screen: &mut Screen,
        interrupted: &Interrupted,
    ) -> anyhow::Result<Outcome> {
        let vip = plan::vip(self.vip);
        screen.note(&format!("mode {}: VIPs {} and {}", self.mode, vip.v4, vip.v6));
        greet(rig, vip, screen)?;
        let mut clients = start(rig, vip)?;
        clients.flows.wait_ready()?;
        screen.note(&format!(
            "{FLOWS} HTTP flows are open, UDP runs, 100 new connections a second"
        ));
        let mut states = Vec::from([EndpointState::Ready; FIRST as usize]);
        let start = Instant::now();
        let mut settled = None;
        let mut changes = [
            (self.length.mul_f64(0.3), DRAINED),
            (self.length.mul_f64(0.6), JOINING),
        ]
        .into_iter();
        let mut next = changes.next();
        while start.elapsed() < self.length && !interrupted.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            if let Some((_, backend)) = next.filter(|(at, _)| start.elapsed() >= *at) {
                screen.note(&self.change(folder, &mut states, backend)?);
                next = changes.next();
            }
            if settled.is_none() && start.elapsed() >= self.length.mul_f64(0.3) + SETTLED {
                settled = Some(connections(&clients.fresh.latest(), DRAINED));
            }
            screen.show(&self.picture(&clients, &states, start.elapsed()));
        }
        Ok(end(clients, settled))
    }

    /// Drains or adds a backend in the manifest and says so.
    fn change(
        &self,
        folder: &Path,
        states: &mut Vec<EndpointState>,
        backend: u8,
    ) -> Result<String, RigError> {
        let slot = usize::from(backend) - 1;
        let told = if slot < states.len() {
            states[slot] = EndpointState::Terminating;
            format!("b{backend} drains: its flows stay, new ones go elsewhere")
        } else {
            states.push(EndpointState::Ready);
            format!("b{backend} joins")
        };
        let mut service = self.service();
        service.endpoints = (1..)
            .zip(states.iter())
            .map(|(n, state)| crate::manifests::Endpoint {
                address: plan::backend(n),
                state: *state,
            })
            .collect();
        service.write(&folder.join("manifests"))?;
        Ok(told)
    }

    fn picture(&self, clients: &Clients, states: &[EndpointState], elapsed: Duration) -> Picture {
        let [flows, udp, fresh] = [&clients.flows, &clients.udp, &clients.fresh].map(Client::latest);
        let of = |report: &Report, name: &str| report.backends.get(name).map_or(0, |b| b.answers);
        let rows = (1..).zip(states).map(|(n, state)| {
            let name = Host::Backend(n).to_string();
            Row {
                flows: flows.backends.get(&name).map_or(0, |b| b.flows),
                udp: of(&udp, &name),
                fresh: of(&fresh, &name),
                draining: *state != EndpointState::Ready,
                name,
            }
        });
        Picture {
            mode: self.mode,
            elapsed,
            rows: rows.collect(),
            requests: flows.requests + udp.requests + fresh.requests,
            failures: flows.failures + flows.mismatches + udp.failures + fresh.failures,
            p99_us: flows.latency_p99_us,
            spread: flows.spread,
        }
    }
}

/// Shows what a person would type, over both families.
fn greet(rig: &Rig, vip: Dual, screen: &mut Screen) -> anyhow::Result<()> {
    let client = rig.ns("c1");
    for address in vip.both() {
        let target = SocketAddr::new(address, 80);
        wait_serving(&client, target, Duration::from_secs(10))?;
        let host = if address.is_ipv6() {
            format!("[{address}]")
        } else {
            address.to_string()
        };
        let url = format!("http://{host}/");
        let answer = client.run("curl", &["-s", "-m", "5", "-g", &url])?;
        screen.note(&format!("curl {url} -> {}", answer.trim()));
    }
    Ok(())
}

fn start(rig: &Rig, vip: Dual) -> Result<Clients, RigError> {
    let (v4, v6) = (vip.v4, vip.v6);
    let flows = Client::start(
        &rig.ns("c1"),
        &format!("flows --target {v4}:80 --flows {FLOWS} --rate 1 --seconds 3600"),
    )?;
    let udp = Client::start(
        &rig.ns("c2"),
        &format!("udp --target [{v6}]:5353 --flows 100 --rate 5 --seconds 3600 --timeout 1000"),
    )?;
    let fresh = Client::start(
        &rig.ns("c2"),
        &format!("connects --target [{v6}]:80 --count 1000000 --rate 100 --concurrency 4"),
    )?;
    Ok(Clients { flows, udp, fresh })
}

fn connections(report: &Report, backend: u8) -> u64 {
    report
        .backends
        .get(&Host::Backend(backend).to_string())
        .map_or(0, |b| b.answers)
}

fn end(clients: Clients, settled: Option<u64>) -> Outcome {
    let spread = clients.flows.latest().spread;
    let [flows, udp, fresh] = [clients.flows, clients.udp, clients.fresh].map(Client::stop);
    // UDP flows of a drained backend move to another at once, by design: only losses count there.
    Outcome {
        requests: flows.requests + udp.requests + fresh.requests,
        failures: flows.failures + flows.mismatches + udp.failures + fresh.failures,
        spread,
        late: settled.map_or(0, |before| connections(&fresh, DRAINED).saturating_sub(before)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_needs_traffic_and_no_fault() {
        let mut outcome = Outcome::default();
        assert!(!outcome.good());
        outcome.add(&Outcome {
            requests: 10,
            failures: 0,
            spread: 1.1,
            late: 0,
        });
        assert!(outcome.good());
        let line = outcome.line(&[("no_route".to_owned(), 3)]);
        assert!(line.starts_with("demo: ok, 10 requests, 0 failures"), "{line}");
        assert!(line.ends_with("3 packets dropped (no_route 3)"), "{line}");
        outcome.add(&Outcome {
            requests: 1,
            failures: 0,
            spread: 1.0,
            late: 1,
        });
        assert!(!outcome.good());
    }
}
