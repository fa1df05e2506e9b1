//! VLAN tags, padding, IPv4 options, IPv6 extension headers, checksums that are not there.

use super::*;
use crate::support::frame::{DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING};

pub fn cases() -> Vec<Case> {
    let tagged = |frame: Frame| frame.vlan(42);
    let double = |frame: Frame| frame.service_vlan(7).vlan(42);
    vec![
        case(
            "vlan_nat",
            &table("a VLAN tag stays on the frame, on its way back too").web("nat", V4),
            there_and_back(V4, tagged),
        ),
        case(
            "vlan_l2_dsr",
            &table("a VLAN tag stays on the frame").web("l2-dsr", V6),
            [tagged(V6.segment(80, "S")).bytes()],
        ),
        case(
            "vlan_gue",
            &table("outer headers go behind the VLAN tag").web("gue", V4),
            [tagged(V4.segment(80, "S")).bytes()],
        ),
        case(
            "qinq_nat",
            &table("both VLAN tags stay on the frame, on its way back too").web("nat", V6),
            there_and_back(V6, double),
        ),
        case(
            "qinq_ipip",
            &table("outer headers go behind both VLAN tags").web("ipip", V4),
            [double(V4.segment(80, "S")).bytes()],
        ),
        case(
            "padding",
            &table("Ethernet padding is no part of the packet; a tunnel leaves it behind")
                .web("nat", V4)
                .service(V4.vip, 81, "TCP", "ipip", V4),
            [
                V4.segment(80, "S").padding(6).bytes(),
                V4.segment(81, "S").padding(6).bytes(),
            ],
        ),
        case(
            "ipv4_options",
            &options("IPv4 options stay in place", V4),
            both(V4, router_alert),
        ),
        case(
            "ipv6_extensions",
            &options("IPv6 extension headers stay in place", V6),
            both(V6, extended),
        ),
        case(
            "ipv6_atomic_fragment",
            &options("a fragment that is the whole packet is none (RFC 6946)", V6),
            both(V6, |frame| frame.extension(FRAGMENT, &[0, 0, 0, 0, 0, 0, 9])),
        ),
        case(
            "ipv6_spent_routing_header",
            &options("a routing header whose waypoints are all behind", V6),
            both(V6, |frame| frame.extension(ROUTING, &[0, 253, 0, 0, 0, 0, 0])),
        ),
        case(
            "udp_without_checksum",
            &options(
                "UDP over IPv4 without a checksum keeps none; a tunnel over IPv6 sums all",
                V4,
            )
            .service(V4.vip, 82, "UDP", "gue", V6),
            [80, 81, 82].map(|port| V4.datagram(port).no_checksum().data(33).bytes()),
        ),
        case(
            "udp_with_trailing_bytes",
            &options("bytes after the datagram are carried along", V4).service(V4.vip, 82, "UDP", "gue", V6),
            [80, 81, 82].map(shortened),
        ),
    ]
}

/// Port 80 translates, port 81 goes through a tunnel over IPv6.
fn options(about: &'static str, who: Who) -> Table {
    table(about)
        .web("nat", who)
        .service(who.vip, 81, "TCP", "gue", V6)
        .service(who.vip, 81, "UDP", "gue", V6)
}

fn both(who: Who, dress: impl Fn(Frame) -> Frame) -> Vec<Vec<u8>> {
    [80, 81]
        .map(|port| dress(who.datagram(port).data(21)).bytes())
        .to_vec()
}

fn there_and_back(who: Who, dress: impl Fn(Frame) -> Frame) -> Vec<Vec<u8>> {
    let reply = tcp(&at(who.backend, BACKEND_PORT), &at(who.node, SNAT_PORT), "SA");
    vec![
        dress(who.segment(80, "S")).bytes(),
        dress(who.backend_sends(reply)).bytes(),
    ]
}

/// RFC 2113.
fn router_alert(frame: Frame) -> Frame {
    frame.options(&[0x94, 4, 0, 0])
}

fn extended(frame: Frame) -> Frame {
    frame
        .extension(HOP_BY_HOP, &[0, 1, 4, 0, 0, 0, 0])
        .extension(DESTINATION, &[0, 1, 4, 0, 0, 0, 0])
}

/// A datagram four bytes shorter than its packet.
fn shortened(port: u16) -> Vec<u8> {
    let datagram = V4.datagram(port).data(16).transport_bytes();
    let bytes = [&datagram[..], &[0xde, 0xad, 0xbe, 0xef]].concat();
    crate::support::frame::raw(V4.client, V4.vip, 17, &bytes).bytes()
}
