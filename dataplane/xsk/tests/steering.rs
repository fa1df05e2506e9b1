//! The steering program on veth, and under BPF_PROG_TEST_RUN: who gets which packet, who may attach, what is left behind.

mod rig;

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use maglane_xsk::{
    AttachMode, AttachOptions, AttachWish, Endpoint, PortRange, Protocol, QueueSet, SteerCounters, SteerSet,
    Steering, XskError,
};
use rig::{
    ICMP, ICMPV6, Raw, Rig, TCP, UDP, config, eventually, frame, has_program, icmp, ip, packet, ports,
};

const PASS: u32 = 2;
const REDIRECT: u32 = 4;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;

fn addresses<const N: usize>(list: [&str; N]) -> std::collections::BTreeSet<IpAddr> {
    list.iter().map(|a| a.parse().unwrap()).collect()
}

fn wanted() -> SteerSet {
    let range = PortRange {
        first: 20_000,
        last: 29_999,
    };
    let endpoint = |addr: &str, proto| Endpoint {
        addr: addr.parse().unwrap(),
        port: 8080,
        proto,
    };
    SteerSet {
        vips: addresses(["192.0.2.1", "2001:db8::1"]),
        nat_returns: addresses(["198.51.100.1", "2001:db8:a::1"])
            .into_iter()
            .map(|a| (a, range))
            .collect(),
        dnat_returns: [
            endpoint("10.0.0.5", Protocol::Tcp),
            endpoint("fd00::5", Protocol::Udp),
        ]
        .into(),
        // The node's own addresses; the first is a NAT address, too.
        endpoints: [
            node_port("198.51.100.1", 30_080, Protocol::Tcp),
            node_port("10.0.0.1", 30_080, Protocol::Tcp),
            node_port("fd00::1", 30_053, Protocol::Udp),
        ]
        .into(),
        local: addresses(["10.0.0.1", "fd00::1"]),
    }
}

fn node_port(addr: &str, port: u16, proto: Protocol) -> Endpoint {
    Endpoint {
        addr: addr.parse().unwrap(),
        port,
        proto,
    }
}

fn options(mode: AttachWish, force: bool) -> AttachOptions {
    AttachOptions {
        mode,
        force,
        queues: 2,
    }
}

fn attach(interface: &str) -> Steering {
    Steering::attach(interface, &options(AttachWish::Auto, false)).unwrap()
}

fn v4(source: &str, destination: &str, protocol: u8, source_port: u16, port: u16) -> Vec<u8> {
    packet(source, destination, protocol, &ports(source_port, port))
}

fn with_fragment_offset(mut packet: Vec<u8>, field: u16) -> Vec<u8> {
    packet[6..8].copy_from_slice(&field.to_be_bytes());
    packet
}

/// IPv4 with 4 bytes of options.
fn with_options(mut packet: Vec<u8>) -> Vec<u8> {
    packet[0] = 0x46;
    packet.splice(20..20, [1, 1, 1, 1]);
    packet
}

/// An IPv6 fragment header before UDP.
fn v6_fragment(offset: u16) -> Vec<u8> {
    [
        &[UDP, 0][..],
        &offset.to_be_bytes(),
        &[0, 0, 0, 9],
        &ports(1, 25_000),
    ]
    .concat()
}

/// `count` hop-by-hop or destination options headers before UDP to a NAT port.
fn v6_extensions(count: usize) -> (u8, Vec<u8>) {
    let mut bytes = Vec::new();
    for i in 0..count {
        bytes.extend([if i + 1 == count { UDP } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
    }
    bytes.extend(ports(53, 25_000));
    (if count == 0 { UDP } else { 60 }, bytes)
}

type Case = (&'static str, Vec<u8>, u32);

fn vip_cases() -> Vec<Case> {
    let to_vip = || v4("203.0.113.9", "192.0.2.1", TCP, 1234, 80);
    let v6 = |payload: &[u8], protocol| packet("2001:db8:f::9", "2001:db8::1", protocol, payload);
    vec![
        ("vip v4", frame(&[], &to_vip()), REDIRECT),
        ("vip v4 vlan", frame(&[VLAN], &to_vip()), REDIRECT),
        ("vip v4 qinq", frame(&[QINQ, VLAN], &to_vip()), REDIRECT),
        ("vip v4 three tags", frame(&[VLAN, VLAN, VLAN], &to_vip()), PASS),
        ("vip v4 options", frame(&[], &with_options(to_vip())), REDIRECT),
        (
            "vip v4 later fragment",
            frame(&[], &with_fragment_offset(to_vip(), 100)),
            REDIRECT,
        ),
        (
            "vip v4 any protocol",
            frame(&[], &packet("203.0.113.9", "192.0.2.1", 47, &[0; 8])),
            REDIRECT,
        ),
        (
            "vip v4 icmp",
            frame(&[], &packet("203.0.113.9", "192.0.2.1", ICMP, &icmp(8, &[]))),
            REDIRECT,
        ),
        ("vip v6", frame(&[], &v6(&ports(1234, 80), TCP)), REDIRECT),
        (
            "vip v6 vlan",
            frame(&[VLAN], &v6(&ports(1234, 80), TCP)),
            REDIRECT,
        ),
        (
            "vip v6 too big",
            frame(&[], &v6(&icmp(2, &[0; 40]), ICMPV6)),
            REDIRECT,
        ),
        (
            "neighbour of vip",
            frame(&[], &v4("203.0.113.9", "192.0.2.2", TCP, 1234, 80)),
            PASS,
        ),
        (
            "vip as source",
            frame(&[], &v4("192.0.2.1", "203.0.113.9", TCP, 80, 1234)),
            PASS,
        ),
    ]
}

fn nat_cases() -> Vec<Case> {
    let to_nat = |port| v4("10.0.0.5", "198.51.100.1", UDP, 53, port);
    let to_nat_v6 = |payload: &[u8], protocol| packet("fd00::9", "2001:db8:a::1", protocol, payload);
    let sent = |port| v4("198.51.100.1", "10.0.0.5", TCP, port, 80);
    let error = |kind, port| packet("10.9.9.9", "198.51.100.1", ICMP, &icmp(kind, &sent(port)));
    let sent_v6 = packet("2001:db8:a::1", "fd00::9", UDP, &ports(25_000, 53));
    let extended = |count| {
        let (next, bytes) = v6_extensions(count);
        frame(&[], &to_nat_v6(&bytes, next))
    };
    vec![
        ("nat first port", frame(&[], &to_nat(20_000)), REDIRECT),
        ("nat last port", frame(&[], &to_nat(29_999)), REDIRECT),
        ("nat port below", frame(&[], &to_nat(19_999)), PASS),
        ("nat port above", frame(&[], &to_nat(30_000)), PASS),
        ("nat vlan", frame(&[VLAN], &to_nat(25_000)), REDIRECT),
        ("nat options", frame(&[], &with_options(to_nat(25_000))), REDIRECT),
        (
            "nat first fragment",
            frame(&[], &with_fragment_offset(to_nat(25_000), 0x2000)),
            REDIRECT,
        ),
        (
            "nat later fragment",
            frame(&[], &with_fragment_offset(to_nat(25_000), 0x0010)),
            PASS,
        ),
        (
            "nat ping",
            frame(
                &[],
                &packet("10.0.0.5", "198.51.100.1", ICMP, &icmp(8, &sent(25_000))),
            ),
            PASS,
        ),
        ("nat unreachable", frame(&[], &error(3, 25_000)), REDIRECT),
        ("nat time exceeded", frame(&[], &error(11, 25_000)), REDIRECT),
        (
            "nat unreachable, port of the node",
            frame(&[], &error(3, 40_000)),
            PASS,
        ),
        (
            "nat sctp",
            frame(&[], &packet("10.0.0.5", "198.51.100.1", 132, &ports(53, 25_000))),
            PASS,
        ),
        (
            "nat v6",
            frame(&[], &to_nat_v6(&ports(53, 25_000), UDP)),
            REDIRECT,
        ),
        (
            "nat v6 other port",
            frame(&[], &to_nat_v6(&ports(53, 9_000), UDP)),
            PASS,
        ),
        ("nat v6 one extension", extended(1), REDIRECT),
        ("nat v6 six extensions", extended(6), REDIRECT),
        ("nat v6 seven extensions", extended(7), PASS),
        (
            "nat v6 first fragment",
            frame(&[], &to_nat_v6(&v6_fragment(1), 44)),
            REDIRECT,
        ),
        (
            "nat v6 later fragment",
            frame(&[], &to_nat_v6(&v6_fragment(0x80), 44)),
            PASS,
        ),
        (
            "nat v6 too big",
            frame(&[], &to_nat_v6(&icmp(2, &sent_v6), ICMPV6)),
            REDIRECT,
        ),
        (
            "nat v6 echo",
            frame(&[], &to_nat_v6(&icmp(128, &sent_v6), ICMPV6)),
            PASS,
        ),
    ]
}

fn dnat_cases() -> Vec<Case> {
    let from = |destination, protocol, port| v4("10.0.0.5", destination, protocol, port, 40_000);
    let sent = |port| v4("203.0.113.9", "10.0.0.5", TCP, 1234, port);
    let error = |to, port| packet("10.0.0.5", to, ICMP, &icmp(3, &sent(port)));
    let v6 = |destination| packet("fd00::5", destination, UDP, &ports(8080, 9));
    vec![
        (
            "dnat return",
            frame(&[], &from("203.0.113.9", TCP, 8080)),
            REDIRECT,
        ),
        (
            "dnat return qinq",
            frame(&[QINQ, VLAN], &from("203.0.113.9", TCP, 8080)),
            REDIRECT,
        ),
        (
            "dnat other port",
            frame(&[], &from("203.0.113.9", TCP, 8081)),
            PASS,
        ),
        (
            "dnat other protocol",
            frame(&[], &from("203.0.113.9", UDP, 8080)),
            PASS,
        ),
        (
            "dnat to this node",
            frame(&[], &from("10.0.0.1", TCP, 8080)),
            PASS,
        ),
        (
            "dnat later fragment",
            frame(&[], &with_fragment_offset(from("203.0.113.9", TCP, 8080), 9)),
            PASS,
        ),
        ("dnat v6", frame(&[], &v6("2001:db8:f::9")), REDIRECT),
        ("dnat v6 to this node", frame(&[], &v6("fd00::1")), PASS),
        (
            "dnat error to client",
            frame(&[], &error("203.0.113.9", 8080)),
            REDIRECT,
        ),
        (
            "dnat error about another port",
            frame(&[], &error("203.0.113.9", 81)),
            PASS,
        ),
        (
            "dnat error to this node",
            frame(&[], &error("10.0.0.1", 8080)),
            PASS,
        ),
    ]
}

/// Node ports are ours to the bit, and nothing else of the node is.
fn endpoint_cases() -> Vec<Case> {
    let to = |destination, protocol, port| v4("203.0.113.9", destination, protocol, 1234, port);
    let to_v6 = |protocol, port| packet("2001:db8:f::9", "fd00::1", protocol, &ports(1234, port));
    let sent = |source, port| v4(source, "203.0.113.9", TCP, port, 1234);
    let error = |inside: &[u8]| packet("10.9.9.9", "10.0.0.1", ICMP, &icmp(3, inside));
    let sent_v6 = |port| packet("fd00::1", "2001:db8:f::9", UDP, &ports(port, 1234));
    let cases = [
        ("node port", to("10.0.0.1", TCP, 30_080), REDIRECT),
        (
            "node port of a NAT address",
            to("198.51.100.1", TCP, 30_080),
            REDIRECT,
        ),
        ("node port v6", to_v6(UDP, 30_053), REDIRECT),
        (
            "node port with options",
            with_options(to("10.0.0.1", TCP, 30_080)),
            REDIRECT,
        ),
        (
            "node port, first fragment",
            with_fragment_offset(to("10.0.0.1", TCP, 30_080), 0x2000),
            REDIRECT,
        ),
        (
            "node port, later fragment",
            with_fragment_offset(to("10.0.0.1", TCP, 30_080), 9),
            PASS,
        ),
        ("port beside a node port", to("10.0.0.1", TCP, 30_081), PASS),
        ("node port, other protocol", to("10.0.0.1", UDP, 30_080), PASS),
        ("node port v6, other protocol", to_v6(TCP, 30_053), PASS),
        ("node port of another address", to("10.0.0.3", TCP, 30_080), PASS),
        ("node port as source", sent("10.0.0.1", 30_080), PASS),
        (
            "from a dnat backend",
            v4("10.0.0.5", "10.0.0.1", TCP, 8080, 30_080),
            REDIRECT,
        ),
        ("ssh to the node", to("10.0.0.1", TCP, 22), PASS),
        (
            "ping to the node",
            packet("203.0.113.9", "10.0.0.1", ICMP, &icmp(8, &[])),
            PASS,
        ),
        (
            "error about a node port",
            error(&sent("10.0.0.1", 30_080)),
            REDIRECT,
        ),
        ("error about ssh", error(&sent("10.0.0.1", 22)), PASS),
        (
            "error about a stranger's port",
            error(&sent("10.0.0.3", 30_080)),
            PASS,
        ),
        (
            "error to another address than it is about",
            error(&sent("198.51.100.1", 30_080)),
            PASS,
        ),
        (
            "too big about a node port v6",
            packet("2001:db8:f::1", "fd00::1", ICMPV6, &icmp(2, &sent_v6(30_053))),
            REDIRECT,
        ),
        (
            "too big about another port v6",
            packet("2001:db8:f::1", "fd00::1", ICMPV6, &icmp(2, &sent_v6(53))),
            PASS,
        ),
    ];
    cases
        .into_iter()
        .map(|(name, packet, action)| (name, frame(&[], &packet), action))
        .collect()
}

fn odd_cases() -> Vec<Case> {
    let mut bad_version = v4("203.0.113.9", "192.0.2.1", TCP, 1, 80);
    bad_version[0] = 0x55;
    let mut short_header = v4("203.0.113.9", "192.0.2.1", TCP, 1, 80);
    short_header[0] = 0x44;
    let mut arp = vec![0xff; 12];
    arp.extend([0x08, 0x06]);
    arp.resize(60, 0);
    vec![
        ("arp", arp, PASS),
        (
            "bare ethernet header",
            frame(&[], &v4("1.1.1.1", "192.0.2.1", TCP, 1, 2))[..14].to_vec(),
            PASS,
        ),
        (
            "cut ipv4 header",
            frame(&[], &v4("1.1.1.1", "192.0.2.1", TCP, 1, 2))[..33].to_vec(),
            PASS,
        ),
        ("version 5", frame(&[], &bad_version), PASS),
        ("header of 16 bytes", frame(&[], &short_header), PASS),
        (
            "somebody else's",
            frame(&[], &v4("1.1.1.1", "2.2.2.2", TCP, 1, 2)),
            PASS,
        ),
    ]
}

/// ARP in an Ethernet frame.
fn arp(tags: &[u16], operation: u16, sender: &str, target: &str) -> Vec<u8> {
    let ip = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().octets();
    let mut bytes = vec![0xff; 6];
    bytes.extend([2, 0, 0, 0, 0, 9]);
    for tag in tags {
        bytes.extend(tag.to_be_bytes());
        bytes.extend([0, 7]);
    }
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4]);
    bytes.extend(operation.to_be_bytes());
    bytes.extend([2, 0, 0, 0, 0, 9]);
    bytes.extend(ip(sender));
    bytes.extend([0; 6]);
    bytes.extend(ip(target));
    bytes.resize(bytes.len().max(60), 0);
    bytes
}

fn neighbor_message(kind: u8, source: &str, to: &str, target: &str) -> Vec<u8> {
    let target = target.parse::<std::net::Ipv6Addr>().unwrap().octets();
    frame(&[], &packet(source, to, ICMPV6, &icmp(kind, &target)))
}

/// With 192.0.2.1, 192.0.2.77 and 2001:db8::1 owned; the second is steered nowhere.
fn owned_cases() -> Vec<Case> {
    let (asker, own, other) = ("192.0.2.9", "192.0.2.1", "192.0.2.2");
    let group = "ff02::1:ff00:1";
    let nd = |kind, source, target| neighbor_message(kind, source, group, target);
    let changed = |at: usize, byte: u8| {
        let mut bytes = arp(&[], 1, asker, own);
        bytes[at] = byte;
        bytes
    };
    vec![
        ("who has an owned address", arp(&[], 1, asker, own), REDIRECT),
        ("the same, tagged", arp(&[QINQ, VLAN], 1, asker, own), REDIRECT),
        ("the same, unsteered", arp(&[], 1, asker, "192.0.2.77"), REDIRECT),
        (
            "arp probe of an owned address",
            arp(&[], 1, "0.0.0.0", own),
            REDIRECT,
        ),
        ("who has another", arp(&[], 1, asker, other), PASS),
        ("an answer to an owned address", arp(&[], 2, asker, own), PASS),
        (
            "an owned address claimed by an answer",
            arp(&[], 2, own, other),
            REDIRECT,
        ),
        (
            "an owned address claimed by a request",
            arp(&[], 1, own, own),
            REDIRECT,
        ),
        ("arp of another network", changed(15, 6), PASS),
        ("arp for another protocol", changed(16, 9), PASS),
        ("arp with long addresses", changed(18, 8), PASS),
        ("solicitation", nd(135, "fe80::9", "2001:db8::1"), REDIRECT),
        ("dad probe", nd(135, "::", "2001:db8::1"), REDIRECT),
        ("solicitation of another", nd(135, "fe80::9", "2001:db8::2"), PASS),
        ("advertisement", nd(136, "2001:db8::1", "2001:db8::1"), REDIRECT),
        (
            "advertisement of another",
            nd(136, "fe80::9", "2001:db8::2"),
            PASS,
        ),
        ("router solicitation", nd(133, "fe80::9", "2001:db8::1"), PASS),
        (
            "unicast solicitation",
            neighbor_message(135, "fe80::9", "2001:db8::1", "2001:db8::1"),
            REDIRECT,
        ),
    ]
}

/// Only what is about an owned address is taken from the kernel, whole or cut, and nothing once none is owned.
#[test]
fn who_has_an_owned_address_is_ours_to_answer() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let set = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    let mut steering = attach("a1");
    steering.set_socket(0, set.socket_fds()[0].1).unwrap();
    let owned = addresses(["192.0.2.1", "192.0.2.77", "2001:db8::1"]);
    // Nothing else steered, and everything.
    for want in [SteerSet::default(), wanted()] {
        let to_vip = want.vips.is_empty();
        steering.own(&owned).unwrap();
        steering.apply(&want).unwrap();
        for (name, bytes, expected) in owned_cases() {
            let (action, _) = steering.test_run(&bytes, 1).unwrap();
            assert_eq!(action, expected, "{name}");
            let message = if bytes[12..14] == [0x86, 0xdd] { 78 } else { 42 };
            for end in 14..bytes.len().min(message) {
                let (action, _) = steering.test_run(&bytes[..end], 1).unwrap();
                let steered = !to_vip && name == "unicast solicitation" && end >= 54;
                let tags = if name.ends_with("tagged") { 8 } else { 0 };
                let whole = end >= message + tags;
                assert!(action == PASS || steered || whole, "{name}, first {end} bytes");
            }
        }
        steering.own(&addresses([])).unwrap();
        for (name, bytes, _) in owned_cases() {
            let expected = if !to_vip && name == "unicast solicitation" {
                REDIRECT
            } else {
                PASS
            };
            assert_eq!(
                steering.test_run(&bytes, 1).unwrap().0,
                expected,
                "{name}, disowned"
            );
        }
    }
}

#[test]
fn steering_matrix() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let set = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    let mut steering = attach("a1");
    steering.set_socket(0, set.socket_fds()[0].1).unwrap();
    steering.apply(&wanted()).unwrap();
    let mut wrong = Vec::new();
    let cases = [
        vip_cases(),
        nat_cases(),
        dnat_cases(),
        endpoint_cases(),
        odd_cases(),
    ]
    .concat();
    let redirected = cases.iter().filter(|(_, _, action)| *action == REDIRECT).count() as u64;
    let fragments = 3;
    let passed = cases.len() as u64 - redirected - fragments;
    for (name, bytes, expected) in cases {
        let (action, _) = steering.test_run(&bytes, 1).unwrap();
        if action != expected {
            wrong.push(format!("{name}: action {action}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let wanted = SteerCounters {
        redirected,
        passed,
        passed_no_socket: 0,
        passed_fragment: fragments,
    };
    assert_eq!(steering.counters().unwrap(), wanted);
}

/// The kernel refuses a program whose paths take more than a million steps to verify; older ones count more.
#[test]
fn the_verifier_has_little_to_do() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let steps = attach("a1").verified_instructions().unwrap();
    println!("{steps} instructions verified");
    assert!(steps < 100_000, "{steps} instructions verified");
}

/// Every prefix of every case: no prefix may reach a socket that its whole frame would not.
#[test]
fn cut_packets_are_never_wrongly_redirected() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let set = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    let mut steering = attach("a1");
    steering.set_socket(0, set.socket_fds()[0].1).unwrap();
    steering.apply(&wanted()).unwrap();
    for (name, bytes, expected) in [vip_cases(), nat_cases(), dnat_cases(), endpoint_cases()].concat() {
        for len in 14..bytes.len() {
            let (action, _) = steering.test_run(&bytes[..len], 1).unwrap();
            assert!(
                action == PASS || action == expected,
                "{name} cut to {len}: action {action}"
            );
        }
    }
}

#[test]
fn apply_adds_and_removes_the_difference() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let set = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    let mut steering = attach("a1");
    steering.set_socket(0, set.socket_fds()[0].1).unwrap();
    let vip = frame(&[], &v4("203.0.113.9", "192.0.2.1", TCP, 1234, 80));
    let nat = frame(&[], &v4("10.0.0.5", "198.51.100.1", UDP, 53, 15_000));
    let action = |steering: &mut Steering, bytes: &[u8]| steering.test_run(bytes, 1).unwrap().0;
    assert_eq!(action(&mut steering, &vip), PASS, "empty maps");
    assert_eq!(steering.counters().unwrap().passed, 0, "and not even counted");
    let mut want = wanted();
    steering.apply(&want).unwrap();
    assert_eq!(
        (action(&mut steering, &vip), action(&mut steering, &nat)),
        (REDIRECT, PASS)
    );
    let wider = PortRange {
        first: 10_000,
        last: 29_999,
    };
    want.nat_returns.insert("198.51.100.1".parse().unwrap(), wider);
    want.vips.remove(&"192.0.2.1".parse::<IpAddr>().unwrap());
    want.endpoints.insert(node_port("10.0.0.1", 443, Protocol::Tcp));
    want.endpoints
        .remove(&node_port("10.0.0.1", 30_080, Protocol::Tcp));
    steering.apply(&want).unwrap();
    assert_eq!(
        (action(&mut steering, &vip), action(&mut steering, &nat)),
        (PASS, REDIRECT)
    );
    let port = |port| frame(&[], &v4("203.0.113.9", "10.0.0.1", TCP, 1234, port));
    assert_eq!(action(&mut steering, &port(443)), REDIRECT);
    assert_eq!(action(&mut steering, &port(30_080)), PASS);
    assert_eq!(steering.current(), &want);
    steering.apply(&SteerSet::default()).unwrap();
    assert_eq!(
        (action(&mut steering, &vip), action(&mut steering, &nat)),
        (PASS, PASS)
    );
}

#[test]
fn a_full_map_is_named_and_a_smaller_set_works_again() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let mut steering = attach("a1");
    let local = (0..5000u32)
        .map(|i| IpAddr::V4((0x0a00_0000 + i).into()))
        .collect();
    let error = steering
        .apply(&SteerSet { local, ..wanted() })
        .unwrap_err()
        .to_string();
    assert!(error.contains("`local` (4096 of 4096 entries)"), "{error}");
    steering.apply(&wanted()).unwrap();
}

#[test]
fn without_a_socket_packets_pass() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let mut steering = attach("a1");
    steering.apply(&wanted()).unwrap();
    let vip = frame(&[], &v4("203.0.113.9", "192.0.2.1", TCP, 1234, 80));
    assert_eq!(steering.test_run(&vip, 1).unwrap().0, PASS);
    assert_eq!(steering.counters().unwrap().passed_no_socket, 1);
    // On the wire as well: the kernel gets it.
    let (sender, kernel) = (Raw::new("a0"), Raw::new("a1"));
    sender.send(&vip);
    let seen = std::iter::from_fn(|| kernel.receive(Duration::from_secs(2))).find(|bytes| *bytes == vip);
    assert!(seen.is_some());
}

#[test]
fn the_node_s_own_traffic_on_the_interface_is_untouched() {
    let Some(rig) = Rig::new() else { return };
    rig.veth_queues("a0", "a1", 2);
    let mut set = QueueSet::open(&config(&[("a1", 0), ("a1", 1)])).unwrap();
    let mut steering = attach("a1");
    for (port, fd) in set.socket_fds() {
        steering.set_socket(u32::from(port.0), fd).unwrap();
    }
    steering.apply(&wanted()).unwrap();
    let (sender, kernel) = (Raw::new("a0"), Raw::new("a1"));
    let (ours, theirs): (Vec<_>, Vec<_>) = (0..200u16)
        .map(|i| {
            // Half of ours go to a node port: same address as theirs, another port.
            let (addr, port) = [("192.0.2.1", 80), ("10.0.0.1", 30_080)][usize::from(i % 2)];
            let ours = frame(&[], &v4("203.0.113.9", addr, TCP, i, port));
            (ours, frame(&[], &v4("203.0.113.9", "10.0.0.1", TCP, i, 22)))
        })
        .unzip();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        sender.send(ours);
        sender.send(theirs);
    }
    let got = rig::receive(&mut set, ours.len(), Duration::from_secs(5));
    assert_eq!(got.len(), ours.len());
    assert!(got.iter().all(|(_, bytes)| ours.contains(bytes)));
    let mut left = theirs.len();
    while let Some(bytes) = kernel.receive(Duration::from_millis(500)) {
        assert!(!ours.contains(&bytes), "what is ours reached the kernel too");
        left -= usize::from(theirs.contains(&bytes));
    }
    assert_eq!(left, 0);
}

#[test]
fn generic_mode_works_and_auto_is_native_on_veth() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let native = attach("a1");
    assert_eq!((native.mode(), native.warning()), (AttachMode::Native, None));
    drop(native);
    assert!(eventually(Duration::from_secs(1), || !has_program("a1")));
    let mut set = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    let mut steering = Steering::attach("a1", &options(AttachWish::Generic, false)).unwrap();
    assert_eq!(steering.mode(), AttachMode::Generic);
    steering.set_socket(0, set.socket_fds()[0].1).unwrap();
    steering.apply(&wanted()).unwrap();
    let vip = frame(&[], &v4("203.0.113.9", "192.0.2.1", TCP, 1234, 80));
    Raw::new("a0").send(&vip);
    assert_eq!(rig::receive(&mut set, 1, Duration::from_secs(2)), [(0, vip)]);
}

#[test]
fn a_large_mtu_takes_the_multi_buffer_program() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    for end in ["a0", "a1"] {
        ip(&format!("link set {end} mtu 9000"));
    }
    let steering = attach("a1");
    assert_eq!(
        (steering.mode(), steering.warning()),
        (AttachMode::NativeMultiBuffer, None)
    );
}

#[test]
fn a_foreign_program_is_refused_by_name_and_replaced_by_force() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let object = foreign_object();
    // Attached through netlink, as `ip` does: it belongs to no process.
    ip(&format!("link set a1 xdpdrv obj {object} sec xdp"));
    let error = Steering::attach("a1", &AttachOptions::default()).err().unwrap();
    assert!(
        matches!(&error, XskError::ForeignProgram { program_name, .. } if program_name == "foreign"),
        "{error}"
    );
    assert!(has_program("a1"), "and left alone");
    let steering = Steering::attach("a1", &options(AttachWish::Auto, true)).unwrap();
    assert!(steering.is_attached().unwrap());
}

/// A stranger's program, compiled on the spot.
fn foreign_object() -> String {
    let base = std::env::temp_dir().join(format!("maglane-foreign-{}", std::process::id()));
    let (source, object) = (base.with_extension("c"), base.with_extension("o"));
    std::fs::write(
        &source,
        "__attribute__((section(\"xdp\"), used)) int foreign(void *c) { return 2; }\n",
    )
    .unwrap();
    rig::run(
        "clang",
        &format!("-target bpf -O2 -c {} -o {}", source.display(), object.display()),
    );
    object.to_str().unwrap().to_owned()
}

#[test]
fn a_link_taken_off_behind_our_back_is_noticed_and_put_back() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let mut steering = attach("a1");
    assert!(!steering.reattach().unwrap(), "nothing to do");
    // A second instance may only do this by force.
    let second = Steering::attach("a1", &options(AttachWish::Auto, true)).unwrap();
    assert!(!steering.is_attached().unwrap());
    assert!(matches!(steering.reattach(), Err(XskError::OtherInstance { .. })));
    drop(second);
    assert!(eventually(Duration::from_secs(1), || !has_program("a1")));
    assert!(steering.reattach().unwrap());
    assert!(steering.is_attached().unwrap());
}

const CHILD: &str = "MAGLANE_TEST_ATTACH";

/// Not a test of its own: the process that the next two kill.
#[test]
fn child_attaches_and_waits() {
    let Ok(interface) = std::env::var(CHILD) else {
        return;
    };
    let mut steering = attach(&interface);
    steering.apply(&wanted()).unwrap();
    println!("\nattached");
    loop {
        std::thread::park();
    }
}

fn child(interface: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_attaches_and_waits", "--nocapture"])
        .env(CHILD, interface)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(
        output
            .lines()
            .map_while(Result::ok)
            .any(|line| line == "attached")
    );
    child
}

#[test]
fn sigkill_leaves_no_program() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let mut child = child("a1");
    assert!(has_program("a1"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(eventually(Duration::from_secs(1), || !has_program("a1")));
    // And the next start needs no force.
    assert!(attach("a1").is_attached().unwrap());
}

#[test]
fn a_second_instance_is_told_the_first_one_s_pid() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let mut child = child("a1");
    let error = Steering::attach("a1", &AttachOptions::default()).err().unwrap();
    let expected = child.id();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        matches!(error, XskError::OtherInstance { pid: Some(pid), .. } if pid == expected),
        "{error}"
    );
}

/// A figure, not a promise: printed, with a bound that only a blunder would break.
#[test]
fn passing_costs_little() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let mut steering = attach("a1");
    let node = frame(&[], &v4("203.0.113.9", "10.0.0.1", TCP, 1234, 22));
    let vip = frame(&[], &v4("203.0.113.9", "192.0.2.1", TCP, 1234, 80));
    let time = |steering: &mut Steering, bytes: &[u8]| {
        (0..5)
            .map(|_| steering.test_run(bytes, 1_000_000).unwrap().1)
            .min()
            .unwrap()
    };
    let empty = time(&mut steering, &node);
    steering.apply(&wanted()).unwrap();
    let pass = time(&mut steering, &node);
    let ours = time(&mut steering, &vip);
    steering
        .apply(&SteerSet {
            endpoints: [].into(),
            ..wanted()
        })
        .unwrap();
    let plain = time(&mut steering, &node);
    println!(
        "ns a packet: empty maps {empty}, pass {plain}, pass beside node ports {pass}, VIP without socket {ours}"
    );
    assert!(pass < 1000);
}
