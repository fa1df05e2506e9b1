//! One case for each reason to drop a malformed packet, `drop_` and its label.

use super::drops::{refused, syn4, syn6};
use super::*;
use crate::support::frame::{DESTINATION, HOP_BY_HOP, ROUTING, cut, patch, raw, reseal};

/// Offsets in an untagged frame.
const IP: usize = 14;
const L4_V4: usize = IP + 20;
const L4_V6: usize = IP + 40;

pub fn cases() -> Vec<Case> {
    let mut cases = ethernet();
    cases.extend(ipv4());
    cases.extend(ipv6());
    cases.extend(transport());
    cases
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
            "MPLS, and LLDP behind a VLAN tag",
            [
                patch(syn4(), 12, &[0x88, 0x47]),
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
