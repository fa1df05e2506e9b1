//! A rig with servers, tunnel ends and a running balancer; says what happened when a test fails.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use maglane_perf::balancer::wait_serving;
use maglane_perf::manifests::{Port, Service};
use maglane_perf::rig::RigBuilder;
use maglane_perf::{Balancer, Guard, ReturnPath, Rig};
use tempfile::TempDir;

/// For what takes milliseconds on an idle machine.
pub const SOON: Duration = Duration::from_secs(60);

/// The VIP of services for iperf3 with one backend, beside the usual one of a mode.
pub const IPERF_PORT: u16 = 5201;

pub struct Stage {
    // Fields are dropped in this order: the balancer before the servers before the network.
    pub balancer: Option<Balancer>,
    guards: Vec<Guard>,
    pub rig: Rig,
    pub folder: TempDir,
}

/// Says one line that `cargo test` does not swallow.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Namespaces need root; says so once a test when there is none.
pub fn may_run(test: &str) -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !root {
        say(&format!("skipped: {test}: network namespaces need root"));
    }
    root
}

impl Stage {
    /// Lays `builder` out, starts servers on all backends and a balancer with these services, and waits until
    /// each answers to `c1`.
    pub fn start(builder: RigBuilder, services: &[Service], flags: &[&str]) -> Stage {
        let rig = builder
            .build()
            .unwrap_or_else(|error| panic!("lay out the rig: {error}"));
        let guards = rig
            .serve_all()
            .unwrap_or_else(|error| panic!("start the servers: {error}"));
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("manifests")).unwrap();
        let mut stage = Stage {
            balancer: None,
            guards,
            rig,
            folder,
        };
        stage.prepare_backends(services);
        services.iter().for_each(|service| stage.write(service));
        stage.launch(flags);
        services.iter().for_each(|service| stage.wait_served(service));
        stage
    }

    /// Loopback VIPs, tunnel ends and return routes, as the modes of the services want them.
    fn prepare_backends(&mut self, services: &[Service]) {
        let direct = |service: &&Service| matches!(service.mode.as_str(), "l2-dsr" | "ipip" | "gue");
        for vip in services.iter().filter(direct).flat_map(|service| &service.vips) {
            self.rig.own_vip(*vip).unwrap();
        }
        if services
            .iter()
            .any(|service| matches!(service.mode.as_str(), "ipip" | "gue"))
        {
            for backend in 1..=self.rig.spec().backends {
                let guard = self.rig.decapsulate(backend).unwrap();
                self.guards.push(guard);
            }
        }
        if services.iter().any(|service| service.mode == "dnat") {
            self.rig.return_path(ReturnPath::Balancer(1)).unwrap();
        }
    }

    /// Starts `maglane run`, at the beginning or again.
    pub fn launch(&mut self, flags: &[&str]) {
        match Balancer::start(&self.rig, 1, self.folder.path(), flags) {
            Ok(balancer) => self.balancer = Some(balancer),
            Err(error) => panic!("start maglane: {error}"),
        }
    }

    pub fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    pub fn write(&self, service: &Service) {
        service.write(&self.manifests()).unwrap();
    }

    pub fn keep(&mut self, guard: Guard) {
        self.guards.push(guard);
    }

    /// A connection from `c1` to every TCP port of the service succeeds, except to those of iperf3, which would
    /// count it as a test.
    pub fn wait_served(&self, service: &Service) {
        let ports = service
            .ports
            .iter()
            .filter(|port| port.protocol == "TCP" && port.port != IPERF_PORT);
        for port in ports {
            for vip in &service.vips {
                let target = SocketAddr::new(*vip, port.port);
                self.check(wait_serving(&self.rig.ns("c1"), target, SOON));
            }
        }
    }

    pub fn balancer(&self) -> &Balancer {
        self.balancer
            .as_ref()
            .unwrap_or_else(|| panic!("the balancer is not running"))
    }

    pub fn status(&self) -> serde_json::Value {
        self.check(self.balancer().ask("status"))
    }

    /// The value, or a panic with the error and everything one would look at first.
    #[track_caller]
    pub fn check<T, E: std::fmt::Display>(&self, outcome: Result<T, E>) -> T {
        outcome.unwrap_or_else(|error| panic!("{error}\n{}", self.story()))
    }

    #[track_caller]
    pub fn assert(&self, holds: bool, what: impl FnOnce() -> String) {
        assert!(holds, "{}\n{}", what(), self.story());
    }

    /// Status, services, backends and the balancer's last words.
    pub fn story(&self) -> String {
        let Some(balancer) = &self.balancer else {
            return "no balancer runs".to_owned();
        };
        let mut text = String::new();
        for question in ["status", "backends"] {
            let answer = balancer.table(question).unwrap_or_else(|error| error.to_string());
            let _ = writeln!(text, "--- maglane {question}\n{answer}");
        }
        let words = balancer.guard.stderr();
        let _ = writeln!(
            text,
            "--- last words\n{}",
            words[words.len().saturating_sub(25)..].join("\n")
        );
        text
    }
}

/// `maglane_perf`'s usual service in this mode: VIP `vip`, four backends.
pub fn web(mode: &str, vip: u8) -> Service {
    Service::standard(&format!("web-{mode}"), vip, mode, 4)
}

/// One backend, one port for iperf3's TCP and UDP, VIP `vip`.
pub fn iperf(mode: &str, vip: u8) -> Service {
    let port = |name: &str, protocol| Port {
        name: name.to_owned(),
        protocol,
        port: IPERF_PORT,
        target: IPERF_PORT,
    };
    let mut service = Service::standard(&format!("iperf-{mode}"), vip, mode, 1);
    service.ports = vec![port("tcp", "TCP"), port("udp", "UDP")];
    service
}

pub fn family(vip: IpAddr) -> &'static str {
    if vip.is_ipv4() { "v4" } else { "v6" }
}

/// `http://ADDRESS:80/path`.
pub fn url(address: IpAddr, path: &str) -> String {
    format!("http://{}{path}", SocketAddr::new(address, 80))
}
