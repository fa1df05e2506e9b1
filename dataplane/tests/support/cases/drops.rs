//! One case for each reason to drop, `drop_` and its label.

use super::*;
use crate::support::frame::{
    DESTINATION, HOP_BY_HOP, ROUTING, Says, cut, icmp, icmp_error, patch, ping, raw, reseal,
};

/// Offsets in an untagged frame.
const IP: usize = 14;
const L4_V4: usize = IP + 20;
const L4_V6: usize = IP + 40;

pub fn cases() -> Vec<Case> {
    let mut cases = ethernet();
    cases.extend(ipv4());
    cases.extend(ipv6());
    cases.extend(transport());
    cases.extend(messages());
    cases.extend(services());
    cases.extend(paths());
    cases
}

fn refused(name: &'static str, about: &'static str, frames: impl IntoIterator<Item = Vec<u8>>) -> Case {
    case(name, &table(about).web("nat", V4).web("nat", V6), frames)
}

fn syn4() -> Vec<u8> {
    V4.segment(80, "S").bytes()
}

fn syn6() -> Vec<u8> {
    V6.segment(80, "S").bytes()
}

fn ethernet() -> Vec<Case> {
    vec![
        refused(
            "drop_ethernet_truncated",
            "a frame that ends within its Ethernet header, or within its VLAN tag",
            [cut(syn4(), 13), cut(V4.segment(80, "S").vlan(42).bytes(), 17)],
        ),
        refused(
            "drop_ethernet_multicast",
            "a frame to everyone, or to a group",
            [
                patch(syn4(), 0, &[0xff; 6]),
                patch(syn6(), 0, &[0x33, 0x33, 0, 0, 0, 1]),
            ],
        ),
        refused(
            "drop_ethernet_other_host",
            "a frame to someone else",
            [patch(syn4(), 0, &[2, 0, 0, 0, 0, 9])],
        ),
        refused(
            "drop_ether_type_unknown",
            "ARP, and LLDP behind a VLAN tag",
            [
                patch(syn4(), 12, &[8, 6]),
                patch(V4.segment(80, "S").vlan(42).bytes(), 16, &[0x88, 0xcc]),
            ],
        ),
        refused(
            "drop_vlan_too_deep",
            "three VLAN tags",
            [V4.segment(80, "S").vlan(1).vlan(2).vlan(3).bytes()],
        ),
    ]
}

fn ipv4() -> Vec<Case> {
    let from = |src: &str| tcp(&at(src, CLIENT_PORT), &at(V4.vip, 80), "S").bytes();
    vec![
        refused(
            "drop_ipv4_truncated",
            "19 bytes of IPv4, and none",
            [cut(syn4(), 33), cut(syn4(), 14)],
        ),
        refused(
            "drop_ipv4_bad_version",
            "version 6 under the EtherType of IPv4",
            [patch(syn4(), IP, &[0x65])],
        ),
        refused(
            "drop_ipv4_bad_header_length",
            "a header of 16 bytes, and one that ends past the frame",
            [
                reseal(patch(syn4(), IP, &[0x44])),
                reseal(patch(syn4(), IP, &[0x4f])),
            ],
        ),
        refused(
            "drop_ipv4_bad_total_length",
            "a total length below the header's, and one past the end of the frame",
            [
                reseal(patch(syn4(), IP + 2, &[0, 19])),
                reseal(patch(syn4(), IP + 2, &[0, 41])),
            ],
        ),
        refused(
            "drop_ipv4_bad_checksum",
            "one bit turned in the checksum, in the TTL, in an option",
            [
                patch(syn4(), IP + 11, &[syn4()[IP + 11] ^ 1]),
                patch(syn4(), IP + 8, &[60]),
                patch(
                    V4.segment(80, "S").options(&[0x94, 4, 0, 0]).bytes(),
                    IP + 23,
                    &[1],
                ),
            ],
        ),
        refused(
            "drop_address_invalid",
            "sources that no packet may have, and IPv4-mapped addresses within IPv6",
            [
                from("0.0.0.0"),
                from("0.1.2.3"),
                from("127.0.0.1"),
                from("224.0.0.1"),
                from("255.255.255.255"),
                tcp("[::]:1", &at(V6.vip, 80), "S").bytes(),
                tcp("[::1]:1", &at(V6.vip, 80), "S").bytes(),
                tcp("[ff02::1]:1", &at(V6.vip, 80), "S").bytes(),
                tcp("[::ffff:203.0.113.7]:1", &at(V6.vip, 80), "S").bytes(),
                tcp("[2001:db8::1]:1", "[::ffff:192.0.2.10]:80", "S").bytes(),
            ],
        ),
        refused(
            "drop_land_attack",
            "a packet from the VIP to itself",
            [
                tcp(&at(V4.vip, 80), &at(V4.vip, 80), "S").bytes(),
                udp(&at(V6.vip, 81), &at(V6.vip, 80)).bytes(),
            ],
        ),
    ]
}

fn ipv6() -> Vec<Case> {
    let options = [0, 1, 4, 0, 0, 0, 0];
    let many = |n| {
        (0..n).fold(V6.segment(80, "S"), |frame, _| {
            frame.extension(DESTINATION, &options)
        })
    };
    vec![
        refused(
            "drop_ipv6_truncated",
            "39 bytes of IPv6, and none",
            [cut(syn6(), 53), cut(syn6(), 14)],
        ),
        refused(
            "drop_ipv6_bad_version",
            "version 4 under the EtherType of IPv6",
            [patch(syn6(), IP, &[0x45])],
        ),
        refused(
            "drop_ipv6_bad_payload_length",
            "a payload past the end of the frame, and a jumbogram",
            [
                patch(syn6(), IP + 4, &[0, 21]),
                patch(
                    V6.segment(80, "S").extension(HOP_BY_HOP, &options).bytes(),
                    IP + 4,
                    &[0, 0],
                ),
            ],
        ),
        refused(
            "drop_ipv6_extension_truncated",
            "an extension header past the end of the packet, and one with its first bytes alone",
            [
                patch(
                    V6.datagram(80).extension(DESTINATION, &options).bytes(),
                    L4_V6 + 1,
                    &[2],
                ),
                raw(V6.client, V6.vip, DESTINATION, &[6, 0, 1, 2]).bytes(),
                raw(V6.client, V6.vip, 44, &[6, 0, 0, 0]).bytes(),
            ],
        ),
        refused(
            "drop_ipv6_extensions_too_many",
            "eight extension headers are followed, nine are not",
            [many(8).bytes(), many(9).bytes()],
        ),
        refused(
            "drop_ipv6_routing_header",
            "a routing header with a waypoint ahead",
            [V6.segment(80, "S")
                .extension(ROUTING, &[[2, 0, 1, 0, 0, 0, 0].as_slice(), &[0; 16]].concat())
                .bytes()],
        ),
    ]
}

fn transport() -> Vec<Case> {
    let flags = |flags| V4.segment(80, flags).bytes();
    let udp4 = || V4.datagram(80).data(8).bytes();
    let udp6 = || V6.datagram(80).data(8).bytes();
    vec![
        refused(
            "drop_protocol_unsupported",
            "SCTP, the other family's ICMP, no next header, a misplaced hop-by-hop header",
            [
                raw(V4.client, V4.vip, 132, &[0; 12]).bytes(),
                raw(V4.client, V4.vip, 58, &[0; 12]).bytes(),
                raw(V6.client, V6.vip, 1, &[0; 12]).bytes(),
                raw(V6.client, V6.vip, 59, &[0; 12]).bytes(),
                V6.segment(80, "S")
                    .extension(DESTINATION, &[0, 1, 4, 0, 0, 0, 0])
                    .extension(HOP_BY_HOP, &[0, 1, 4, 0, 0, 0, 0])
                    .bytes(),
            ],
        ),
        refused(
            "drop_tcp_truncated",
            "19 bytes of TCP, and none",
            [
                raw(V4.client, V4.vip, 6, &[0; 19]).bytes(),
                raw(V6.client, V6.vip, 6, &[0; 19]).bytes(),
                raw(V4.client, V4.vip, 6, &[]).bytes(),
            ],
        ),
        refused(
            "drop_tcp_bad_data_offset",
            "a TCP header of 16 bytes, and one that ends past the packet",
            [
                patch(syn4(), L4_V4 + 12, &[0x40]),
                patch(syn6(), L4_V6 + 12, &[0x60]),
            ],
        ),
        refused(
            "drop_tcp_bad_flags",
            "none, SYN with FIN, SYN with RST",
            [flags(""), flags("SF"), flags("SRA")],
        ),
        refused(
            "drop_udp_truncated",
            "seven bytes of UDP",
            [
                raw(V4.client, V4.vip, 17, &[0; 7]).bytes(),
                raw(V6.client, V6.vip, 17, &[0; 7]).bytes(),
            ],
        ),
        refused(
            "drop_udp_bad_length",
            "a datagram of 7 bytes, one past the end of its packet, and a jumbogram's",
            [
                patch(udp4(), L4_V4 + 4, &[0, 7]),
                patch(udp4(), L4_V4 + 4, &[0, 17]),
                patch(udp6(), L4_V6 + 4, &[0, 0]),
            ],
        ),
        refused(
            "drop_udp_zero_checksum",
            "UDP over IPv6 needs a checksum",
            [V6.datagram(80).no_checksum().data(8).bytes()],
        ),
    ]
}

fn messages() -> Vec<Case> {
    let reply = tcp(&at(V4.vip, 80), &at(V4.client, CLIENT_PORT), "PA").data(100);
    let reply6 = tcp(&at(V6.vip, 80), &at(V6.client, CLIENT_PORT), "PA").data(100);
    let about = |says, about: &Frame, quote| icmp_error(V4.hop, says, about, quote).bytes();
    let damaged = |bytes: Vec<u8>| patch(bytes.clone(), bytes.len() - 1, &[!bytes[bytes.len() - 1]]);
    let stranger = tcp(&at(V4.vip, 81), &at(V4.client, CLIENT_PORT), "A");
    let forged = tcp("192.0.2.99:80", &at(V4.client, CLIENT_PORT), "A");
    vec![
        refused(
            "drop_icmp_truncated",
            "seven bytes of ICMP, and errors that quote too little",
            [
                raw(V4.client, V4.vip, 1, &[8; 7]).bytes(),
                about(Says::TimeExceeded, &reply, 27),
                about(Says::TimeExceeded, &reply, 19),
                icmp_error(V6.hop, Says::TimeExceeded, &reply6, 47).bytes(),
                icmp_error(V6.hop, Says::TimeExceeded, &reply6, 39).bytes(),
            ],
        ),
        refused(
            "drop_icmp_bad_checksum",
            "a damaged ping and damaged errors are not passed on",
            [
                damaged(ping(V4.client, V4.vip).bytes()),
                damaged(ping(V6.client, V6.vip).bytes()),
                damaged(about(Says::TimeExceeded, &reply, 60)),
                damaged(icmp_error(V6.hop, Says::TooBig(1400), &reply6, 90).bytes()),
            ],
        ),
        refused(
            "drop_icmp_type_ignored",
            "a redirect, an echo reply, a ping with a source route, in fragments; MTUs that no path has",
            [
                icmp(V4.client, V4.vip, 5, 1, 0).bytes(),
                icmp(V6.client, V6.vip, 129, 0, 0).bytes(),
                ping(V4.client, V4.vip).options(&[0x83, 3, 4, 0]).bytes(),
                ping(V4.client, V4.vip)
                    .fragmentable()
                    .fragments(&[32])
                    .swap_remove(0),
                about(Says::TooBig(67), &reply, 60),
                icmp_error(V6.hop, Says::TooBig(1279), &reply6, 90).bytes(),
            ],
        ),
        refused(
            "drop_icmp_unknown_flow",
            "errors about a port without a service, about a ping, and to another than the quoted sender",
            [
                about(Says::PortUnreachable, &stranger, 60),
                about(Says::PortUnreachable, &ping(V4.vip, V4.client), 60),
                Frame::bytes(&icmp(V4.hop, V4.vip, 3, 3, 0).payload(&forged.packet())),
            ],
        ),
        case(
            "drop_icmp_rate_limited",
            &table("two answers a second are allowed: the third ping of a second gets none")
                .web("nat", V4)
                .setting("icmp-rate: 2"),
            (0..3).map(|_| ping(V4.client, V4.vip).bytes()),
        ),
    ]
}

fn services() -> Vec<Case> {
    let flow = |port| tcp(&at(V4.client, port), &at(V4.vip, 80), "S").bytes();
    let draining = format!(
        "{{addr: '{}', port: 8080, via: {}, state: draining}}",
        V4.backend, V4.neighbor
    );
    vec![
        refused(
            "drop_vip_unknown_port",
            "a VIP, but no service on this port",
            [V4.segment(81, "S").bytes(), V6.datagram(81).bytes()],
        ),
        case(
            "drop_no_backend",
            &table("a service without backends, and one whose backends all drain")
                .backends(V4.vip, 80, "TCP", "nat", &[])
                .backends(V4.vip, 80, "UDP", "nat", &[draining]),
            [syn4(), V4.datagram(80).bytes()],
        ),
        case(
            "drop_family_mismatch",
            &table("only tunnels cross from one family to the other")
                .service(V4.vip, 80, "TCP", "nat", V6)
                .service(V6.vip, 80, "TCP", "dnat", V4),
            [syn4(), syn6()],
        ),
        refused(
            "drop_nat_ports_exhausted",
            "one source port towards one backend: the second flow has none",
            [flow(50_000), flow(50_001)],
        ),
        case(
            "drop_nat_table_full",
            &table("a node with room for four translated flows, give or take")
                .web("nat", V4)
                .setting("snat-ports: [20000, 29999]")
                .setting("returns: 4"),
            (0..12).map(|i| flow(50_000 + i)),
        ),
        refused(
            "drop_nat_return_unknown",
            "a reply to a flow that nobody has",
            [
                V4.backend_sends(tcp(&at(V4.backend, BACKEND_PORT), &at(V4.node, SNAT_PORT), "SA"))
                    .bytes(),
            ],
        ),
    ]
}

fn paths() -> Vec<Case> {
    let whole = V4.datagram(80).fragmentable().data(64);
    let transport = whole.transport_bytes();
    let segment = V4.segment(80, "PA").fragmentable().data(64);
    let stranger = "10.0.0.99";
    let lost = table("a client whom no route leads to").web("dnat", V4);
    vec![
        refused(
            "drop_fragment_unknown",
            "later fragments without their first",
            whole.fragments(&[32]).split_off(1),
        ),
        refused(
            "drop_fragment_invalid",
            "too short for its header, overlapping, ragged, past 65,535, rewriting TCP's flags",
            [
                segment.fragment(0, &segment.transport_bytes()[..16], true),
                whole.fragment(0, &transport[..32], true),
                whole.fragment(24, &transport[24..], false),
                whole.fragment(32, &transport[32..45], true),
                whole.fragment(65_528, &[0; 8], false),
                segment.fragment(8, &segment.transport_bytes()[8..], false),
            ],
        ),
        case(
            "drop_ttl_exceeded",
            &table("errors are not answered when their TTL runs out").web("nat", V4),
            [
                syn4(),
                icmp_error(
                    V4.hop,
                    Says::TimeExceeded,
                    &tcp(&at(V4.vip, 80), &at(V4.client, CLIENT_PORT), "PA").data(100),
                    60,
                )
                .ttl(1)
                .bytes(),
            ],
        ),
        case(
            "drop_too_big",
            &Table {
                mtu: 1400,
                ..table("a later fragment that does not fit is not answered")
            }
            .web("nat", V4),
            V4.datagram(80).data(2000).fragments(&[400]),
        ),
        case(
            "drop_too_big_fragmentable",
            &Table {
                mtu: 1400,
                ..table("a packet that may be fragmented, which Maglane does not do")
            }
            .web("nat", V4),
            [V4.datagram(80).fragmentable().data(1373).bytes()],
        ),
        case(
            "drop_no_headroom",
            &table("a frame at the start of its chunk")
                .web("ipip", V4)
                .setting("headroom: 8"),
            [syn4()],
        ),
        case(
            "drop_no_route",
            &Table {
                default_routes: false,
                ..lost
            },
            [
                syn4(),
                V4.backend_sends(tcp(
                    &at(V4.backend, BACKEND_PORT),
                    &at(V4.client, CLIENT_PORT),
                    "SA",
                ))
                .bytes(),
            ],
        ),
        case(
            "drop_next_hop_unresolved",
            &Table {
                backend_resolved: false,
                ..table("a backend, and an on-link client, without a MAC address")
            }
            .web("l2-dsr", V4),
            [syn4(), tcp(&at(stranger, 1), &at(V4.vip, 80), "S").bytes()],
        ),
    ]
}
