//! Checked settings: what the flags say, once they agree with each other. Nothing here asks the kernel;
//! [`crate::preflight`] does, and refuses what the node cannot give.

mod checks;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use maglane_control::plan::Serve;
use maglane_shared::flow::HashKey;
use maglane_shared::service::ForwardingMode;

use crate::cli::run::{ControlArgs, LogArgs, RunArgs};
use crate::cli::values::{
    AutoOr, Choice, ClusterSource, Cores, Kubeconfig, OffOr, Ports, UnknownPort, Wait, XdpMode,
};

pub use checks::core_count;

/// Two flags that contradict each other, or a value that cannot work.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {value}: {problem}; {remedy}")]
pub struct SettingsError {
    pub flag: &'static str,
    pub value: String,
    pub problem: String,
    pub remedy: String,
}

impl SettingsError {
    pub fn new(
        flag: &'static str,
        value: impl ToString,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        SettingsError {
            flag,
            value: value.to_string(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// Everything `maglane run` was told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Unique, 1 to 32; the position is the interface's `PortIndex`.
    pub interfaces: Vec<String>,
    pub xdp_mode: XdpMode,
    pub force_attach: bool,
    pub workers: WorkerSettings,
    pub sockets: SocketSettings,
    pub manifests: Option<PathBuf>,
    pub kubernetes: KubernetesSettings,
    pub balance: BalanceSettings,
    pub nat: NatSettings,
    pub tunnels: TunnelSettings,
    pub flows: FlowSettings,
    pub control: ControlArgs,
    pub log: LogArgs,
}

#[derive(Clone, Debug)]
pub struct WorkerSettings {
    pub count: AutoOr<u16>,
    pub cores: Cores,
    pub batch_size: u16,
    pub wait: Wait,
    pub spin: Duration,
}

#[derive(Clone, Debug)]
pub struct SocketSettings {
    pub zero_copy: Choice,
    pub huge_pages: Choice,
    /// Microseconds a call and packets.
    pub busy_poll: Option<(u32, u32)>,
    pub frames: AutoOr<u32>,
    pub chunk_size: AutoOr<u32>,
    pub rx_ring: u32,
    pub tx_ring: u32,
}

#[derive(Clone, Debug)]
pub struct BalanceSettings {
    pub mode: ForwardingMode,
    pub maglev_table_size: Option<u32>,
    pub hash_key: HashKey,
    pub max_services: u32,
    pub max_backends: u32,
    pub unknown_port: UnknownPort,
    pub icmp_rate: u32,
    pub icmp_source_rate: u32,
}

/// Clusters, and what is taken from them.
#[derive(Clone, Debug)]
pub struct KubernetesSettings {
    pub own: Option<Kubeconfig>,
    pub cluster_name: String,
    /// Unique names; the position gives the `ClusterId`.
    pub others: Vec<ClusterSource>,
    pub node_name: String,
    pub namespace: String,
    pub lease_duration: Duration,
    pub class: String,
    pub default_class: bool,
    pub serve: Serve,
    pub max_removal_percent: u8,
    pub state_dir: Option<PathBuf>,
    pub record: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct NatSettings {
    /// As given; empty = choose from the served interfaces.
    pub addresses: Vec<IpAddr>,
    pub ports: Ports,
    pub node_ports: Ports,
}

#[derive(Clone, Copy, Debug)]
pub struct TunnelSettings {
    pub ipip_v4: Ipv4Net,
    pub ipip_v6: Ipv6Net,
    /// As given; `None` = the first source address of the family.
    pub gue_v4: Option<Ipv4Addr>,
    pub gue_v6: Option<Ipv6Addr>,
}

#[derive(Clone, Copy, Debug)]
pub struct FlowSettings {
    pub table_size: u32,
    pub fragment_table_size: u32,
    pub tcp_syn: Duration,
    pub tcp_established: Duration,
    pub tcp_closing: Duration,
    pub tcp_closed: Duration,
    pub udp: Duration,
}

impl Settings {
    /// Checks each flag against the others. Reads the file of `--hash-key @FILE`, nothing else.
    pub fn check(args: RunArgs) -> Result<Settings, SettingsError> {
        let RunArgs {
            interfaces,
            workers,
            xdp,
            balance,
            kubernetes,
            nat,
            tunnels,
            flows,
            control,
            log,
        } = args;
        let settings = Settings {
            interfaces: checks::interfaces(interfaces.interface)?,
            xdp_mode: interfaces.xdp_mode,
            force_attach: interfaces.force_attach,
            workers: WorkerSettings {
                count: workers.workers,
                cores: workers.cores,
                batch_size: workers.batch_size,
                wait: workers.wait,
                spin: Duration::from_micros(u64::from(workers.spin_us)),
            },
            sockets: SocketSettings {
                zero_copy: xdp.zero_copy,
                huge_pages: xdp.huge_pages,
                busy_poll: match xdp.busy_poll {
                    OffOr::Off => None,
                    OffOr::Fixed(usecs) => Some((usecs, xdp.busy_poll_budget)),
                },
                frames: xdp.frames,
                chunk_size: xdp.chunk_size,
                rx_ring: xdp.rx_ring,
                tx_ring: xdp.tx_ring,
            },
            manifests: balance.manifests.map(checks::manifests).transpose()?,
            kubernetes: checks::kubernetes(kubernetes)?,
            balance: BalanceSettings {
                mode: balance.mode,
                maglev_table_size: checks::maglev(balance.maglev_table_size)?,
                hash_key: checks::hash_key(balance.hash_key)?,
                max_services: balance.max_services,
                max_backends: balance.max_backends,
                unknown_port: balance.unknown_port,
                icmp_rate: balance.icmp_rate,
                icmp_source_rate: balance.icmp_source_rate,
            },
            nat: NatSettings {
                addresses: checks::snat_addresses(nat.snat_address)?,
                ports: nat.snat_ports,
                node_ports: nat.node_ports,
            },
            tunnels: checks::tunnels(tunnels)?,
            flows: FlowSettings {
                table_size: flows.flow_table_size,
                fragment_table_size: flows.fragment_table_size,
                tcp_syn: flows.tcp_syn_timeout,
                tcp_established: flows.tcp_established_timeout,
                tcp_closing: flows.tcp_closing_timeout,
                tcp_closed: flows.tcp_closed_timeout,
                udp: flows.udp_timeout,
            },
            control,
            log,
        };
        settings.cross_check()?;
        Ok(settings)
    }

    fn cross_check(&self) -> Result<(), SettingsError> {
        if self.manifests.is_none() && self.kubernetes.own.is_none() {
            let remedy = "name one of them, or both";
            let problem = "is missing, and so is --manifests: there is nothing to serve";
            return Err(SettingsError::new("--kubeconfig", "", problem, remedy));
        }
        let (ports, node_ports) = (self.nat.ports, self.nat.node_ports);
        if ports.overlaps(node_ports) {
            let problem = format!("overlaps the node ports {node_ports} (--node-ports)");
            let remedy = "choose ports outside them, as the default 16384-29999 is";
            return Err(SettingsError::new("--snat-ports", ports, problem, remedy));
        }
        if let (AutoOr::Fixed(workers), Cores::List(cores)) = (self.workers.count, &self.workers.cores) {
            checks::core_count(cores, usize::from(workers))?;
        }
        if let AutoOr::Fixed(size) = self.sockets.chunk_size
            && !matches!(size, 2048 | 4096)
        {
            let remedy = "write 2048, 4096 or auto";
            return Err(SettingsError::new(
                "--chunk-size",
                size,
                "is not a chunk size of AF_XDP",
                remedy,
            ));
        }
        let least = 2 * self.sockets.rx_ring * self.interfaces.len() as u32;
        match self.sockets.frames {
            AutoOr::Fixed(frames) if frames < least => {
                let problem = format!(
                    "is below {least}, twice --rx-ring for each interface, so receiving could starve"
                );
                Err(SettingsError::new(
                    "--frames",
                    frames,
                    problem,
                    "raise it or lower --rx-ring",
                ))
            }
            AutoOr::Fixed(_) | AutoOr::Auto => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use maglane_shared::maglev;

    use super::*;
    use crate::cli::{Cli, Command};

    fn check(extra: &[&str]) -> Result<Settings, SettingsError> {
        let dir = std::env::temp_dir();
        let base = [
            "maglane",
            "run",
            "--interface",
            "eth0,eth1",
            "--manifests",
            dir.to_str().unwrap(),
        ];
        let cli = Cli::try_parse_from(base.iter().chain(extra)).unwrap_or_else(|error| panic!("{error}"));
        let Command::Run(args) = cli.command else {
            panic!("{cli:?}")
        };
        Settings::check(*args)
    }

    #[test]
    fn the_defaults_agree_with_each_other() {
        let settings = check(&[]).unwrap();
        assert_eq!(settings.interfaces, ["eth0", "eth1"]);
        assert_eq!(settings.workers.count, AutoOr::Auto);
        assert_eq!(
            settings.nat.ports,
            Ports {
                first: 16_384,
                last: 29_999
            }
        );
    }

    #[test]
    fn each_contradiction_names_flag_value_and_remedy() {
        for (args, flag, value) in [
            (
                &["--snat-ports", "29000-30000"][..],
                "--snat-ports",
                "29000-30000",
            ),
            (&["--cores", "1,1", "--workers", "2"], "--cores", "1,1"),
            (&["--cores", "1-3", "--workers", "2"], "--cores", "1,2,3"),
            (&["--frames", "1000"], "--frames", "1000"),
            (&["--chunk-size", "1500"], "--chunk-size", "1500"),
            (&["--maglev-table-size", "1000"], "--maglev-table-size", "1000"),
            (
                &["--maglev-table-size", "655373"],
                "--maglev-table-size",
                "655373",
            ),
            (&["--snat-address", "127.0.0.1"], "--snat-address", "127.0.0.1"),
            (
                &["--snat-address", "10.0.0.1,10.0.0.1"],
                "--snat-address",
                "10.0.0.1",
            ),
            (&["--ipip-source-v6", "ff02::/64"], "--ipip-source-v6", "ff02::"),
            (
                &["--hash-key", "@/nonexistent/key"],
                "--hash-key",
                "@/nonexistent/key",
            ),
        ] {
            let error = check(args).unwrap_err();
            assert_eq!((error.flag, error.value.as_str()), (flag, value));
            assert!(error.remedy.len() > 8, "{error}");
        }
    }

    #[test]
    fn primes_are_told_from_others() {
        for prime in maglev::SIZES {
            assert!(checks::is_prime(prime), "{prime}");
        }
        for composite in [0, 1, 2, 4, 9, 1001, 65_535] {
            assert!(!checks::is_prime(composite), "{composite}");
        }
    }
}
