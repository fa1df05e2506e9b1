//! One case for each reason to drop a well-formed packet, `drop_` and its label.

use super::*;
use crate::support::frame::{Says, icmp, icmp_error, patch, ping, raw};

pub fn cases() -> Vec<Case> {
    let mut cases = messages();
    cases.extend(services());
    cases.extend(paths());
    cases
}

pub(super) fn refused(
    name: &'static str,
    about: &'static str,
    frames: impl IntoIterator<Item = Vec<u8>>,
) -> Case {
    case(name, &table(about).web("nat", V4).web("nat", V6), frames)
}

pub(super) fn syn4() -> Vec<u8> {
    V4.segment(80, "S").bytes()
}

pub(super) fn syn6() -> Vec<u8> {
    V6.segment(80, "S").bytes()
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
