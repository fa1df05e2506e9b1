//! Settings in the words of the packet path: one function a crate that wants them.

use std::time::Duration;

use maglane_dataplane::config as path;
use maglane_shared::addr::Addr;
use maglane_xsk::{AttachOptions, AttachWish, BusyPoll, InterfaceConfig, QueueSetConfig, Toggle};

use crate::cli::values::{Choice, UnknownPort, Wait, XdpMode};
use crate::preflight::Launch;
use crate::settings::{FlowSettings, Settings};

/// What worker `index` forwards by, and where it runs.
pub fn worker(settings: &Settings, launch: &Launch, index: u16) -> path::Config {
    path::Config {
        snat: snat(settings, launch),
        tunnels: tunnels(settings, launch),
        timeouts: timeouts(&settings.flows),
        flow_table_size: settings.flows.table_size as usize,
        fragment_capacity: settings.flows.fragment_table_size as usize,
        icmp: path::IcmpRates {
            total: settings.balance.icmp_rate,
            per_source: settings.balance.icmp_source_rate,
        },
        unknown_port: match settings.balance.unknown_port {
            UnknownPort::Drop => path::UnknownPort::Drop,
            UnknownPort::Refuse => path::UnknownPort::Refuse,
        },
        poll: path::Poll {
            wait: match settings.workers.wait {
                Wait::Busy => path::Wait::Busy,
                Wait::Adaptive => path::Wait::Adaptive {
                    spin_us: settings.workers.spin.as_micros() as u32,
                },
                Wait::Sleep => path::Wait::Sleep,
            },
            batch: usize::from(settings.workers.batch_size),
            core: launch.cores.get(usize::from(index)).copied(),
        },
    }
}

fn snat(settings: &Settings, launch: &Launch) -> path::Snat {
    let (v4, v6) = launch
        .snat_addresses
        .iter()
        .map(|ip| Addr::from(*ip))
        .partition(|addr| addr.is_v4());
    path::Snat {
        v4,
        v6,
        ports: settings.nat.ports.first..=settings.nat.ports.last,
    }
}

fn tunnels(settings: &Settings, launch: &Launch) -> path::TunnelSources {
    let given = settings.tunnels;
    let own = |v4: bool| {
        launch
            .snat_addresses
            .iter()
            .map(|ip| Addr::from(*ip))
            .find(|addr| addr.is_v4() == v4)
    };
    path::TunnelSources {
        ipip_v4: (
            std::net::IpAddr::V4(given.ipip_v4.network()).into(),
            given.ipip_v4.prefix_len(),
        ),
        ipip_v6: (
            std::net::IpAddr::V6(given.ipip_v6.network()).into(),
            given.ipip_v6.prefix_len(),
        ),
        gue_v4: given
            .gue_v4
            .map(|ip| std::net::IpAddr::V4(ip).into())
            .or_else(|| own(true)),
        gue_v6: given
            .gue_v6
            .map(|ip| std::net::IpAddr::V6(ip).into())
            .or_else(|| own(false)),
    }
}

fn timeouts(flows: &FlowSettings) -> path::Timeouts {
    // Bounded to 20 days by the command line, so they fit.
    let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    path::Timeouts {
        syn_sent: millis(flows.tcp_syn),
        established: millis(flows.tcp_established),
        closing: millis(flows.tcp_closing),
        closed: millis(flows.tcp_closed),
        datagram: millis(flows.udp),
    }
}

/// The sockets of worker `index`: queue `index` of every interface.
pub fn queue_set(settings: &Settings, launch: &Launch, index: u16) -> QueueSetConfig {
    let interface = |name: &String| InterfaceConfig {
        name: name.clone(),
        queue: u32::from(index),
    };
    let sockets = &settings.sockets;
    QueueSetConfig {
        frames: launch.frames,
        chunk_size: launch.chunk_size,
        rx_ring: sockets.rx_ring,
        tx_ring: sockets.tx_ring,
        fill_ring: 2 * sockets.rx_ring,
        completion_ring: 2 * sockets.tx_ring,
        zero_copy: toggle(sockets.zero_copy),
        huge_pages: toggle(sockets.huge_pages),
        busy_poll: sockets
            .busy_poll
            .map(|(usecs, budget)| BusyPoll { usecs, budget }),
        ..QueueSetConfig::new(settings.interfaces.iter().map(interface).collect())
    }
}

pub fn attach(settings: &Settings, launch: &Launch) -> AttachOptions {
    AttachOptions {
        mode: match settings.xdp_mode {
            XdpMode::Auto => AttachWish::Auto,
            XdpMode::Native => AttachWish::Native,
            XdpMode::Generic => AttachWish::Generic,
        },
        force: settings.force_attach,
        queues: u32::from(launch.workers),
    }
}

fn toggle(choice: Choice) -> Toggle {
    match choice {
        Choice::Auto => Toggle::Auto,
        Choice::On => Toggle::On,
        Choice::Off => Toggle::Off,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn settings() -> Settings {
        let dir = std::env::temp_dir();
        let args = [
            "maglane",
            "run",
            "--interface",
            "eth0,eth1",
            "--manifests",
            dir.to_str().unwrap(),
        ];
        let Command::Run(args) = Cli::try_parse_from(args).unwrap().command else {
            panic!()
        };
        Settings::check(*args).unwrap()
    }

    fn launch() -> Launch {
        Launch {
            interfaces: vec![],
            workers: 2,
            cores: vec![3, 4],
            control_cores: vec![0],
            snat_addresses: vec!["fd30::1".parse().unwrap(), "10.30.0.1".parse().unwrap()],
            chunk_size: 2048,
            frames: 16_384,
            warnings: vec![],
        }
    }

    #[test]
    fn the_defaults_of_the_command_line_are_the_packet_path_s() {
        let config = worker(&settings(), &launch(), 1);
        config.check().unwrap();
        let default = path::Config::default();
        assert_eq!(config.timeouts, default.timeouts);
        assert_eq!(config.icmp, default.icmp);
        assert_eq!(config.unknown_port, default.unknown_port);
        assert_eq!(config.flow_table_size, default.flow_table_size);
        assert_eq!(config.fragment_capacity, default.fragment_capacity);
        assert_eq!(
            (config.tunnels.ipip_v4, config.tunnels.ipip_v6),
            (default.tunnels.ipip_v4, default.tunnels.ipip_v6)
        );
        assert_eq!(
            config.poll,
            path::Poll {
                core: Some(4),
                ..default.poll
            }
        );
    }

    #[test]
    fn source_addresses_go_to_their_families() {
        let config = worker(&settings(), &launch(), 0);
        assert_eq!(config.snat.v4, ["10.30.0.1".parse().unwrap()]);
        assert_eq!(config.snat.v6, ["fd30::1".parse().unwrap()]);
        assert_eq!(config.tunnels.gue_v6, Some("fd30::1".parse().unwrap()));
    }

    #[test]
    fn each_worker_has_its_queue_of_every_interface() {
        let config = queue_set(&settings(), &launch(), 1);
        config.check().unwrap();
        let names: Vec<_> = config
            .interfaces
            .iter()
            .map(|i| (i.name.as_str(), i.queue))
            .collect();
        assert_eq!(names, [("eth0", 1), ("eth1", 1)]);
    }
}
