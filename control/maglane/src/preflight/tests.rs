//! Decisions of [`super::resolve`] on nodes that never were.

use maglane_shared::addr::Protocol;

use super::*;
use crate::cli::{Cli, Command};

fn settings(extra: &[&str]) -> Settings {
    use clap::Parser;
    let dir = std::env::temp_dir();
    let base = [
        "maglane",
        "run",
        "--interface",
        "eth0,eth1",
        "--manifests",
        dir.to_str().unwrap(),
    ];
    let cli = Cli::try_parse_from(base.iter().chain(extra)).unwrap();
    let Command::Run(args) = cli.command else {
        panic!("{cli:?}")
    };
    Settings::check(*args).unwrap()
}

fn interface(name: &str, rx_queues: u16, addresses: &[&str]) -> InterfaceFacts {
    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    InterfaceFacts {
        name: name.into(),
        index: 2,
        mtu: 1500,
        rx_queues,
        addresses,
    }
}

fn node() -> Node {
    let interfaces = vec![
        interface("eth0", 2, &["10.20.0.11", "fd20::11"]),
        interface("eth1", 2, &["10.30.0.11", "fd30::11"]),
    ];
    Node {
        addresses: interfaces.iter().flat_map(|i| i.addresses.clone()).collect(),
        interfaces,
        sockets: vec![],
        ephemeral: Some(Ports {
            first: 32_768,
            last: 60_999,
        }),
        reserved: vec![],
        cores: vec![0, 1, 2, 3],
        warnings: vec![],
    }
}

fn refusal(args: &[&str], change: impl FnOnce(&mut Node)) -> String {
    let mut node = node();
    change(&mut node);
    resolve(&settings(args), node).unwrap_err().to_string()
}

#[test]
fn an_ordinary_node_is_completed() {
    let launch = resolve(&settings(&[]), node()).unwrap();
    assert_eq!(
        (launch.workers, launch.chunk_size, launch.frames),
        (2, 2048, 16_384)
    );
    assert_eq!((launch.cores, launch.control_cores), (vec![2, 3], vec![0, 1]));
    let want: [IpAddr; 2] = ["10.30.0.11".parse().unwrap(), "fd30::11".parse().unwrap()];
    assert_eq!(launch.snat_addresses, want);
    assert!(launch.warnings.is_empty());
}

#[test]
fn queue_counts_must_equal_the_workers() {
    for args in [&[][..], &["--workers", "2"]] {
        let text = refusal(args, |node| node.interfaces[1].rx_queues = 4);
        assert!(
            text.contains("--workers") && text.contains("eth1 has 4"),
            "{text}"
        );
        assert!(text.contains("ethtool -L eth1 combined 2"), "{text}");
    }
}

#[test]
fn cores_are_this_process_s_own() {
    let text = refusal(&["--cores", "3,4"], |_| {});
    assert!(text.starts_with("--cores 4:"), "{text}");
    let mut few = node();
    few.cores = vec![5];
    let launch = resolve(&settings(&[]), few).unwrap();
    assert_eq!((launch.cores, launch.control_cores), (vec![5, 5], vec![5]));
    assert_eq!(launch.warnings.len(), 1);
}

#[test]
fn source_ports_in_use_are_refused_and_named() {
    let text = refusal(&["--snat-ports", "32000-40000", "--node-ports", "1-2"], |_| {});
    assert!(
        text.contains("ip_local_port_range 32768-60999") && text.contains("port 32768"),
        "{text}"
    );

    let socket = LocalSocket {
        protocol: Protocol::Udp,
        local: "0.0.0.0:20000".parse().unwrap(),
    };
    let text = refusal(&[], |node| node.sockets.push(socket));
    assert!(
        text.contains("UDP 0.0.0.0:20000") && text.contains("10.30.0.11"),
        "{text}"
    );

    let elsewhere = LocalSocket {
        protocol: Protocol::Tcp,
        local: "10.20.0.11:20000".parse().unwrap(),
    };
    let mut harmless = node();
    harmless.sockets.push(elsewhere);
    resolve(&settings(&[]), harmless).unwrap();
}

#[test]
fn source_addresses_are_the_node_s() {
    let text = refusal(&["--snat-address", "10.99.0.1"], |_| {});
    assert!(
        text.contains("10.99.0.1") && text.contains("not an address of this node"),
        "{text}"
    );
    let launch = resolve(&settings(&["--snat-address", "10.20.0.11"]), node()).unwrap();
    assert_eq!(launch.snat_addresses, ["10.20.0.11".parse::<IpAddr>().unwrap()]);
}

#[test]
fn large_mtus_take_larger_buffers_and_jumbo_ones_a_warning() {
    let mut node = node();
    node.interfaces[0].mtu = 3000;
    let launch = resolve(&settings(&[]), node.clone()).unwrap();
    assert_eq!((launch.chunk_size, launch.warnings.len()), (4096, 0));
    node.interfaces[0].mtu = 9000;
    let launch = resolve(&settings(&[]), node).unwrap();
    assert!(
        launch.warnings[0].contains("eth0: MTU 9000"),
        "{:?}",
        launch.warnings
    );
}
