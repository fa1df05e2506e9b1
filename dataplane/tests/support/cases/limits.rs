//! What is answered with an ICMP error of our own: size, TTL, unknown ports.

use super::*;
use crate::support::frame::{HOP_BY_HOP, raw};

pub fn cases() -> Vec<Case> {
    let small = |about| Table {
        mtu: 1400,
        ..table(about)
    };
    let big = |who: Who, port, len| who.segment(port, "PA").data(len).bytes();
    vec![
        case(
            "too_big_v4",
            &small("a packet that must not be fragmented: fragmentation needed").web("nat", V4),
            [big(V4, 80, 1360), big(V4, 80, 1361)],
        ),
        case(
            "too_big_v6",
            &small("packet too big").web("nat", V6),
            [big(V6, 80, 1340), big(V6, 80, 1341)],
        ),
        case(
            "too_big_for_tunnels",
            &small("the MTU that is told leaves room for the outer headers: 20, 28, 40 and 48 bytes")
                .service(V4.vip, 80, "TCP", "ipip", V4)
                .service(V4.vip, 81, "TCP", "gue", V4)
                .service(V4.vip, 82, "TCP", "ipip", V6)
                .service(V4.vip, 83, "TCP", "gue", V6),
            [(80, 20), (81, 28), (82, 40), (83, 48)]
                .into_iter()
                .flat_map(|(port, added)| [big(V4, port, 1360 - added), big(V4, port, 1361 - added)]),
        ),
        case(
            "too_big_vlan",
            &small("the answer keeps its VLAN tags and quotes no padding").web("nat", V4),
            [V4.segment(80, "PA")
                .data(1400)
                .service_vlan(7)
                .vlan(42)
                .padding(6)
                .bytes()],
        ),
        case(
            "too_big_reply",
            &table("a reply that does not fit is answered towards the backend").web("nat", V4),
            [
                V4.segment(80, "S").bytes(),
                V4.backend_sends(
                    tcp(&at(V4.backend, BACKEND_PORT), &at(V4.node, SNAT_PORT), "PA").data(1461),
                )
                .bytes(),
            ],
        ),
        case(
            "ttl_expired_v4",
            &table("time exceeded, quoting the packet as it came, options too").web("nat", V4),
            [
                V4.segment(80, "S").ttl(1).bytes(),
                V4.datagram(80).ttl(0).options(&[0x94, 4, 0, 0]).data(600).bytes(),
                V4.segment(80, "S").ttl(2).bytes(),
            ],
        ),
        case(
            "ttl_expired_v6",
            &table("time exceeded, quoting the packet as it came, extension headers too").web("gue", V6),
            [
                V6.segment(80, "S").ttl(1).bytes(),
                V6.datagram(80)
                    .ttl(1)
                    .extension(HOP_BY_HOP, &[0, 1, 4, 0, 0, 0, 0])
                    .data(1400)
                    .bytes(),
                V6.segment(80, "S").ttl(2).bytes(),
            ],
        ),
        case(
            "unknown_port_refused",
            &table("port unreachable, where the operator wants that")
                .web("nat", V4)
                .web("nat", V6)
                .setting("refuse-unknown-ports: true"),
            [
                V4.segment(81, "S").bytes(),
                V4.datagram(81).data(20).bytes(),
                V6.segment(81, "S").bytes(),
                V6.datagram(81).data(20).vlan(42).bytes(),
                raw(V4.client, V4.vip, 132, &[0; 12]).bytes(),
            ],
        ),
    ]
}
