//! What services ask for beyond forwarding: source ranges, affinity, how flows leave, idle times, sizes; and
//! node ports.

use super::*;
use crate::support::frame::{Says, icmp_error, ping};

pub fn cases() -> Vec<Case> {
    let mut cases = sources();
    cases.extend(affinity());
    cases.extend(removal());
    cases.extend(resets_not_sent());
    cases.extend(sizes());
    cases.push(idle_times());
    cases.push(node_ports());
    cases
}

/// A packet with its time, in milliseconds.
fn timed(name: &'static str, table: &Table, packets: impl IntoIterator<Item = (u32, Vec<u8>)>) -> Case {
    let packets = packets.into_iter().map(|(at, frame)| Timed { at, frame });
    Case {
        name,
        table: table.yaml(),
        packets: packets.collect(),
    }
}

fn sources() -> Vec<Case> {
    let reply = tcp(&at(V4.vip, 80), &at(V4.client, CLIENT_PORT), "PA").data(100);
    let neighbor = tcp("203.0.113.8:40000", &at(V4.vip, 80), "S");
    let ranges = "sources: ['203.0.113.0/30', '203.0.113.8/29', '2001:db8:c::/48']";
    let whole = V4.datagram(80).fragmentable().data(64);
    let both = table("who is in no range is not served, and not answered either")
        .service(V4.vip, 80, "TCP", "nat", V4)
        .policy(ranges)
        .service(V4.vip, 80, "UDP", "nat", V4)
        .policy(ranges)
        .service(V6.vip, 80, "TCP", "nat", V6)
        .policy(ranges);
    let v4_only = "sources: ['0.0.0.0/0']";
    let one = table("once any range is given, a family without one is closed")
        .service(V4.vip, 80, "TCP", "l2-dsr", V4)
        .policy(v4_only)
        .service(V6.vip, 80, "TCP", "l2-dsr", V6)
        .policy(v4_only);
    vec![
        case(
            "drop_source_not_allowed",
            &both,
            [
                V4.segment(80, "S").bytes(),
                V4.segment(80, "A").ttl(1).bytes(),
                icmp_error(V4.hop, Says::TooBig(1400), &reply, 60).bytes(),
                ping(V4.client, V4.vip).bytes(),
                neighbor.bytes(),
                V6.segment(80, "S").bytes(),
            ]
            .into_iter()
            .chain(whole.fragments(&[32])),
        ),
        case(
            "source_ranges_of_one_family",
            &one,
            [V4.segment(80, "S").bytes(), V6.segment(80, "S").bytes()],
        ),
    ]
}

/// `dnat` backends told apart by their ports; `extra` goes to the first.
fn two_backends(extra: &str) -> [String; 2] {
    [(8081, extra), (8082, "")].map(|(port, extra)| {
        format!(
            "{{addr: '{}', port: {port}, via: {}{extra}}}",
            V4.backend, V4.neighbor
        )
    })
}

fn from(client: u16, port: u16, flags: &str) -> Vec<u8> {
    tcp(&at(&format!("203.0.113.{client}"), port), &at(V4.vip, 80), flags).bytes()
}

fn affinity() -> Vec<Case> {
    let sticky = |about, extra: &str, seconds: u32| {
        table(about)
            .backends(V4.vip, 80, "TCP", "dnat", &two_backends(extra))
            .policy(&format!("affinity: {seconds}"))
    };
    let flows =
        |first: u16| (1..=4).flat_map(move |client| (first..first + 4).map(move |port| (client, port)));
    let syn = |(client, port)| from(client, port, "S");
    let later =
        |start: u32, flows: Vec<(u16, u16)>| (start..).zip(flows).map(move |(at, flow)| (at, syn(flow)));
    vec![
        case(
            "affinity_client_ip",
            &sticky("all flows of a client go where its first went", "", 10_800),
            flows(50_000).map(syn),
        ),
        timed(
            "affinity_repick",
            &sticky(
                "clients of a backend that drains get another, and keep that",
                ", drains-at: 100",
                60,
            ),
            later(1, flows(50_000).collect()).chain(later(100, flows(51_000).collect())),
        ),
        timed(
            "affinity_expires",
            &sticky(
                "two seconds after a client's last new flow it is forgotten",
                "",
                2,
            ),
            [1, 1000, 2999, 5000, 7000].map(|at| (at, from(7, 40_000 + at as u16, "S"))),
        ),
    ]
}

/// Six flows, established before one of two backends drains at 100 ms and goes at 200 ms.
fn leaving(then: &[(u32, &'static str)]) -> Vec<(u32, Vec<u8>)> {
    let phases = [(10, "S"), (20, "A")].into_iter().chain(then.iter().copied());
    let flows = |(at, flags): (u32, &'static str)| {
        (0..6).map(move |i| (at + u32::from(i), from(7, 50_000 + i, flags)))
    };
    phases.flat_map(flows).collect()
}

fn removal() -> Vec<Case> {
    let policy = |about, removal: &str| {
        table(about)
            .backends(
                V4.vip,
                80,
                "TCP",
                "dnat",
                &two_backends(", drains-at: 100, gone-at: 200"),
            )
            .policy(&format!("removal: {removal}"))
    };
    let gone = |about, who: Who, mode: &str, protocol| {
        let backend = format!(
            "{{addr: '{}', port: 80, via: {}, gone-at: 100}}",
            who.backend, who.neighbor
        );
        table(about)
            .backends(who.vip, 80, protocol, mode, &[backend])
            .policy("removal: reset")
    };
    let after = [(110, "A"), (210, "A")];
    let late = |frame: Frame| (150, frame.bytes());
    let resets = |who: Who, odd: Frame| {
        [
            (1, who.segment(80, "S").bytes()),
            (2, who.segment(80, "A").bytes()),
            late(who.segment(80, "PA").data(100).vlan(42)),
            late(who.segment(80, "F").data(7)),
            late(odd),
            late(who.segment(80, "R")),
        ]
    };
    let optioned = V4
        .segment(80, "A")
        .options(&[1; 8])
        .tcp_options(&[1; 12])
        .data(30)
        .padding(6);
    let extended = V6.segment(80, "A").extension(60, &[0; 7]).data(30);
    let datagrams = [1, 150].map(|at| (at, V4.datagram(80).bytes()));
    vec![
        timed(
            "removal_drain",
            &policy("flows stay with a draining backend until it is gone", "drain"),
            leaving(&after),
        ),
        timed(
            "removal_move",
            &policy("flows leave a draining backend at once", "move"),
            leaving(&after),
        ),
        timed(
            "removal_reset",
            &policy(
                "flows of a draining backend are reset, and connect to another",
                "reset",
            ),
            leaving(&[(110, "A"), (120, "A"), (130, "S"), (210, "A")]),
        ),
        timed(
            "removal_reset_v4",
            &gone(
                "a reset says what its receiver expects, whatever it answers",
                V4,
                "nat",
                "TCP",
            ),
            resets(V4, optioned),
        ),
        timed(
            "removal_reset_v6",
            &gone(
                "a reset says what its receiver expects, whatever it answers",
                V6,
                "gue",
                "TCP",
            ),
            resets(V6, extended),
        ),
        timed(
            "removal_reset_of_datagrams",
            &gone(
                "UDP knows no reset: its flows pick anew, here among none",
                V4,
                "l2-dsr",
                "UDP",
            ),
            datagrams,
        ),
    ]
}

fn resets_not_sent() -> Vec<Case> {
    let backend = format!(
        "{{addr: '{}', port: 80, via: {}, gone-at: 100}}",
        V4.backend, V4.neighbor
    );
    let rare = table("one answer a second is allowed, and fragments get none")
        .backends(V4.vip, 80, "TCP", "l2-dsr", &[backend])
        .policy("removal: reset")
        .setting("icmp-rate: 1");
    let whole = V4.segment(80, "PA").fragmentable().data(64);
    let first = whole.fragments(&[40]).swap_remove(0);
    let segment = |flags| V4.segment(80, flags).bytes();
    vec![timed(
        "drop_reset_not_sent",
        &rare,
        [
            (1, segment("S")),
            (2, segment("A")),
            (200, segment("A")),
            (201, segment("A")),
            (5000, first),
        ],
    )]
}

fn sizes() -> Vec<Case> {
    let clamped = |about, mode: &str, who: Who| {
        table(about)
            .service(who.vip, 80, "TCP", mode, who)
            .policy("mss: 1360")
    };
    let about = "a SYN announces at most what the service allows, and so does its answer";
    let syns = |who: Who| {
        let options: [&[u8]; 5] = [
            &[2, 4, 5, 0xb4],
            // At an odd offset.
            &[1, 2, 4, 5, 0xb4, 1, 1, 1],
            &[4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 2, 4, 0xff, 0xff],
            // Small enough, and behind an option that has no end.
            &[2, 4, 4, 0xb0],
            &[8, 0, 2, 4, 5, 0xb4, 1, 1],
        ];
        let syn = |options| who.segment(80, "S").tcp_options(options);
        let whole = options
            .map(syn)
            .into_iter()
            .chain([who.segment(80, "S"), syn(options[0]).ttl(1)]);
        whole
            .chain([who.segment(80, "A").tcp_options(options[0])])
            .map(|frame| frame.bytes())
    };
    let answer = |flags| {
        let reply = tcp(&at(V4.backend, BACKEND_PORT), &at(V4.node, SNAT_PORT), flags);
        V4.backend_sends(reply.tcp_options(&[2, 4, 5, 0xb4])).bytes()
    };
    let narrow = |table: Table, port, mode: &str, mtu: u16| {
        table
            .service(V4.vip, port, "TCP", mode, V4)
            .policy(&format!("mtu: {mtu}"))
    };
    let tunnels = narrow(
        table("a service's own MTU counts where it is less than the next hop's"),
        80,
        "ipip",
        1400,
    );
    let tunnels = narrow(narrow(tunnels, 81, "gue", 1400), 82, "ipip", 9000);
    let big = |port, len| V4.segment(port, "PA").data(len).bytes();
    vec![
        case(
            "mss_clamp_nat",
            &clamped(about, "nat", V4),
            syns(V4).chain([answer("SA"), answer("A")]),
        ),
        case("mss_clamp_tunnel", &clamped(about, "gue", V6), syns(V6)),
        case(
            "mtu_of_the_service",
            &tunnels,
            [(80, 1400 - 20), (81, 1400 - 28), (82, 1500 - 20)]
                .into_iter()
                .flat_map(|(port, room)| [big(port, room - 40), big(port, room - 39)]),
        ),
    ]
}

fn idle_times() -> Case {
    let patient = table("a service's flows are forgotten after its own time, another's are not")
        .web("l2-dsr", V4)
        .service(V4.vip, 81, "TCP", "l2-dsr", V4)
        .policy("idle: 5")
        .service(V4.vip, 81, "UDP", "l2-dsr", V4)
        .policy("idle: 5");
    let open = [80, 81].into_iter().flat_map(|port| {
        [V4.segment(port, "S"), V4.segment(port, "A"), V4.datagram(port)].map(|frame| (10, frame.bytes()))
    });
    let talk =
        |at| [80, 81].map(move |port| [V4.segment(port, "A"), V4.datagram(port)].map(|f| (at, f.bytes())));
    let later = [5009, 30_000].into_iter().flat_map(talk).flatten();
    timed("idle_times", &patient, open.chain(later))
}

/// The node answers its own pings and serves its own ports; one of them is ours.
fn node_ports() -> Case {
    let (node, ours) = ("203.0.113.2", "203.0.113.2:30080");
    let client = at(V4.client, CLIENT_PORT);
    let error = |from: &str| {
        icmp_error(
            V4.hop,
            Says::TooBig(1400),
            &tcp(from, &client, "PA").data(100),
            60,
        )
        .bytes()
    };
    let table = table("a node port is forwarded; all else to the node's address is the node's")
        .service(node, 30_080, "TCP", "nat", V4)
        .endpoint();
    let frames = [
        tcp(&client, ours, "S").bytes(),
        V4.backend_sends(tcp(&at(V4.backend, BACKEND_PORT), &at(V4.node, SNAT_PORT), "SA"))
            .bytes(),
        error(ours),
        tcp(&client, "203.0.113.2:30081", "S").bytes(),
        udp(&client, ours).bytes(),
        ping(V4.client, node).bytes(),
        error("203.0.113.2:22"),
    ];
    case("node_port", &table, frames)
}
