//! Each forwarding mode in each family, with the replies that come back through this node.

use super::*;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for (mode, who, name_tcp, name_udp) in [
        ("nat", V4, "nat_v4_tcp", "nat_v4_udp"),
        ("nat", V6, "nat_v6_tcp", "nat_v6_udp"),
        ("dnat", V4, "dnat_v4_tcp", "dnat_v4_udp"),
        ("dnat", V6, "dnat_v6_tcp", "dnat_v6_udp"),
        ("l2-dsr", V4, "l2_dsr_v4_tcp", "l2_dsr_v4_udp"),
        ("l2-dsr", V6, "l2_dsr_v6_tcp", "l2_dsr_v6_udp"),
        ("ipip", V4, "ipip_v4_in_v4_tcp", "ipip_v4_in_v4_udp"),
        ("ipip", V6, "ipip_v6_in_v6_tcp", "ipip_v6_in_v6_udp"),
        ("gue", V4, "gue_v4_in_v4_tcp", "gue_v4_in_v4_udp"),
        ("gue", V6, "gue_v6_in_v6_tcp", "gue_v6_in_v6_udp"),
    ] {
        cases.push(case(name_tcp, &plain(mode, who, who), tcp_flow(mode, who)));
        cases.push(case(name_udp, &plain(mode, who, who), udp_flow(mode, who)));
    }
    for (mode, inner, outer, name_tcp, name_udp) in [
        ("ipip", V4, V6, "ipip_v4_in_v6_tcp", "ipip_v4_in_v6_udp"),
        ("ipip", V6, V4, "ipip_v6_in_v4_tcp", "ipip_v6_in_v4_udp"),
        ("gue", V4, V6, "gue_v4_in_v6_tcp", "gue_v4_in_v6_udp"),
        ("gue", V6, V4, "gue_v6_in_v4_tcp", "gue_v6_in_v4_udp"),
    ] {
        cases.push(case(name_tcp, &plain(mode, inner, outer), tcp_flow(mode, inner)));
        cases.push(case(name_udp, &plain(mode, inner, outer), udp_flow(mode, inner)));
    }
    cases.extend(choices());
    cases
}

fn plain(mode: &str, vip: Who, backend: Who) -> Table {
    table("a flow from its first packet to its last")
        .service(vip.vip, 80, "TCP", mode, backend)
        .service(vip.vip, 80, "UDP", mode, backend)
}

/// Where replies are sent to in the modes that send them through this node.
fn reply_to(mode: &str, who: Who) -> Option<String> {
    match mode {
        "nat" => Some(at(who.node, SNAT_PORT)),
        "dnat" => Some(at(who.client, CLIENT_PORT)),
        _ => None,
    }
}

fn tcp_flow(mode: &str, who: Who) -> Vec<Vec<u8>> {
    let there = |flags: &str, data| who.segment(80, flags).data(data).bytes();
    let back = |flags: &str, data| {
        reply_to(mode, who).map(|to| {
            who.backend_sends(tcp(&at(who.backend, BACKEND_PORT), &to, flags).data(data))
                .bytes()
        })
    };
    let syn = who.segment(80, "S").tcp_options(&[2, 4, 5, 0xb4]).bytes();
    let mut frames = vec![
        Some(syn),
        back("SA", 0),
        Some(there("A", 0)),
        Some(there("PA", 101)),
    ];
    frames.extend([
        back("PA", 1001),
        Some(there("FA", 0)),
        back("FA", 0),
        Some(there("A", 0)),
    ]);
    frames.into_iter().flatten().collect()
}

fn udp_flow(mode: &str, who: Who) -> Vec<Vec<u8>> {
    let there = |data| who.datagram(80).traffic_class(0xb9).data(data).bytes();
    let back = reply_to(mode, who).map(|to| {
        who.backend_sends(udp(&at(who.backend, BACKEND_PORT), &to).data(33))
            .bytes()
    });
    [Some(there(0)), back, Some(there(512))]
        .into_iter()
        .flatten()
        .collect()
}

fn choices() -> Vec<Case> {
    let backend = |port: u16, state: &str| {
        format!(
            "{{addr: '{}', port: {port}, via: {}, state: {state}}}",
            V4.backend, V4.neighbor
        )
    };
    let draining = table("new flows leave a draining backend alone, whatever their hash").backends(
        V4.vip,
        80,
        "TCP",
        "dnat",
        &[
            backend(8081, "draining"),
            backend(8082, "active"),
            backend(8083, "draining"),
        ],
    );
    let clients = |flags: &'static str| {
        (0..16).map(move |i| tcp(&at(V4.client, 50_000 + i), &at(V4.vip, 80), flags).bytes())
    };
    let spread = table("sixteen flows over two backends; each keeps its own").backends(
        V4.vip,
        80,
        "TCP",
        "dnat",
        &[backend(8081, "active"), backend(8082, "active")],
    );
    let reused = table("a client's port used again: the reset flow makes room for a new one").web("nat", V4);
    let reuse = ["S", "A", "R", "S", "A"].map(|flags| V4.segment(80, flags).bytes());
    let strangers = table("a reset without a flow is steered by its hash, and nothing is remembered");
    vec![
        case("draining_backend", &draining, clients("S")),
        case("two_backends", &spread, clients("S").chain(clients("A"))),
        case("port_reuse_after_reset", &reused, reuse),
        case(
            "reset_without_flow",
            &strangers.web("l2-dsr", V4),
            [V4.segment(80, "R").bytes()],
        ),
        case(
            "not_for_a_vip",
            &table("what is for no VIP and no reply is not ours").web("nat", V4),
            [
                tcp("203.0.113.7:40000", "192.0.2.99:80", "S").bytes(),
                udp("[2001:db8:c::7]:40000", "[2001:db8:f::99]:53").bytes(),
            ],
        ),
    ]
}
