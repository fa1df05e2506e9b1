//! Single packets and short conversations through [`maglane_dataplane::Forwarder`], there and back.

#[allow(dead_code, reason = "each test binary uses its own part")]
mod common;
#[allow(dead_code, reason = "each test binary uses its own part")]
mod support {
    pub mod check;
    pub mod frame;
}

use std::collections::{HashMap, HashSet};

use common::{BACKENDS, CLIENTS, SNAT_V4, Service, config, endpoint, table, workers};
use maglane_dataplane::Verdict;
use maglane_dataplane::config::UnknownPort;
use maglane_dataplane::forward::parse::{Parsed, Transport, parse};
use maglane_shared::addr::{Addr, Protocol};
use maglane_shared::counters::{DropReason, FlowState};
use maglane_shared::policy::{AffinityTimeout, Policy};
use maglane_shared::service::{BackendState, ForwardingMode};
use maglane_shared::tick::Tick;
use support::check::check;
use support::frame::{self, Frame, PORT1, Says, tcp, udp};

const NOW: Tick = Tick(1000);

fn addr(text: &str) -> Addr {
    text.parse().unwrap()
}

/// Source and destination of a frame as `addr:port`.
fn ends(bytes: &[u8]) -> (String, String) {
    let parsed = parse(bytes).unwrap();
    let (src, dst) = match parsed.transport {
        Transport::Tcp {
            src_port, dst_port, ..
        }
        | Transport::Udp { src_port, dst_port } => (src_port, dst_port),
        Transport::Icmp(_) | Transport::LaterFragment => (0, 0),
    };
    let text = |addr: Addr, port| std::net::SocketAddr::new(addr.ip(), port).to_string();
    (text(parsed.src, src), text(parsed.dst, dst))
}

/// The reply that a backend sends to what it received.
fn answer(received: &[u8], flags: &str) -> Vec<u8> {
    let (src, dst) = ends(received);
    let parsed: Parsed = parse(received).unwrap();
    let reply: Frame = match parsed.transport {
        Transport::Tcp { .. } => tcp(&dst, &src, flags),
        Transport::Udp { .. } => udp(&dst, &src),
        Transport::Icmp(_) | Transport::LaterFragment => panic!("nothing to answer"),
    };
    reply.macs(PORT1, [2, 9, 9, 9, 9, 9]).bytes()
}

#[test]
fn nat_there_and_back_in_both_families_on_any_worker() {
    for (vip, client, backend, snat) in [
        ("192.0.2.10:80", "203.0.113.7:40000", "10.0.0.1:8080", SNAT_V4),
        (
            "[2001:db8::10]:80",
            "[2001:db8:9::7]:40000",
            "[2001:db8:a::1]:8080",
            common::SNAT_V6,
        ),
    ] {
        let table = table(
            1,
            &[Service::new(vip, Protocol::Tcp, ForwardingMode::Nat, &[backend])],
        );
        let mut workers = workers(&config(), 2);
        let (verdict, there) = workers[0].process(&table, CLIENTS, &tcp(client, vip, "S").bytes(), NOW);
        assert_eq!(verdict, Verdict::Forward(BACKENDS));
        check(&there);
        let (src, dst) = ends(&there);
        assert_eq!(dst, backend);
        let (source, port) = endpoint(&src);
        assert_eq!(source, addr(snat));
        assert!(config().snat.ports.contains(&port));
        for (n, worker) in workers.iter_mut().enumerate() {
            let (verdict, back) = worker.process(&table, BACKENDS, &answer(&there, "SA"), NOW);
            assert_eq!(verdict, Verdict::Forward(CLIENTS), "worker {n}");
            check(&back);
            assert_eq!(ends(&back), (vip.into(), client.into()));
        }
        // The flow moves to the other worker: same backend, same source port.
        let (verdict, moved) = workers[1].process(&table, CLIENTS, &tcp(client, vip, "A").bytes(), NOW);
        assert_eq!((verdict, ends(&moved)), (Verdict::Forward(BACKENDS), (src, dst)));
        assert_eq!(
            (
                workers[0].counters.nat_entries.get(),
                workers[1].counters.nat_entries.get()
            ),
            (1, 0)
        );
    }
}

#[test]
fn nat_sources_are_unique_per_backend_and_in_range() {
    let vip = "192.0.2.10:53";
    let service = Service::new(
        vip,
        Protocol::Udp,
        ForwardingMode::Nat,
        &["10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53"],
    );
    let table = table(1, &[service]);
    let mut config = config();
    config.snat.ports = 20_000..=20_999;
    let mut workers = workers(&config, 2);
    let mut taken: HashMap<(String, String), String> = HashMap::new();
    let mut refused = 0;
    for n in 0..3000u32 {
        let client = format!("203.0.{}.{}:{}", 113 + n % 2 * 3, n / 256, 1024 + n);
        let worker = &mut workers[n as usize % 2];
        match worker.process(&table, CLIENTS, &udp(&client, vip).bytes(), NOW) {
            (Verdict::Forward(_), there) => {
                let (src, dst) = ends(&there);
                assert!((20_000..21_000).contains(&endpoint(&src).1));
                assert_eq!(taken.insert((src, dst), client), None);
            }
            (verdict, _) => {
                assert_eq!(verdict, Verdict::Drop(DropReason::NatPortsExhausted));
                refused += 1;
            }
        }
    }
    // 3,000 sources exist towards three backends; random probing finds nearly all of them.
    assert!(taken.len() > 2700, "{} of 3000, {refused} refused", taken.len());
}

#[test]
fn dnat_keeps_the_client_and_routes_what_is_no_reply() {
    let vip = "192.0.2.10:80";
    let table = table(
        1,
        &[Service::new(
            vip,
            Protocol::Tcp,
            ForwardingMode::Dnat,
            &["10.0.0.1:8080"],
        )],
    );
    let mut workers = workers(&config(), 2);
    let client = "203.0.113.7:40000";
    let (_, there) = workers[0].process(&table, CLIENTS, &tcp(client, vip, "S").bytes(), NOW);
    check(&there);
    assert_eq!(ends(&there), (client.into(), "10.0.0.1:8080".into()));
    let (verdict, back) = workers[1].process(&table, BACKENDS, &answer(&there, "SA"), NOW);
    assert_eq!(
        (verdict, ends(&back)),
        (Verdict::Forward(CLIENTS), (vip.into(), client.into()))
    );
    // From the backend's own port, but of no flow: this node is its router.
    let own = tcp("10.0.0.1:8080", "203.0.113.99:443", "A")
        .macs(PORT1, [2; 6])
        .bytes();
    let (verdict, routed) = workers[1].process(&table, BACKENDS, &own, NOW);
    assert_eq!(verdict, Verdict::Forward(CLIENTS));
    assert_eq!(ends(&routed), ("10.0.0.1:8080".into(), "203.0.113.99:443".into()));
    // From anywhere else: not ours.
    let other = tcp("10.0.0.9:8080", "203.0.113.99:443", "A")
        .macs(PORT1, [2; 6])
        .bytes();
    assert_eq!(workers[1].process(&table, BACKENDS, &other, NOW).0, Verdict::Pass);
}

#[test]
fn established_flows_stay_on_a_draining_backend_and_leave_a_removed_one() {
    let vip = "192.0.2.10:80";
    let mut service = Service::new(
        vip,
        Protocol::Tcp,
        ForwardingMode::L2Dsr,
        &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"],
    );
    let all = table(1, std::slice::from_ref(&service));
    let mut worker = workers(&config(), 1).remove(0);
    let clients: Vec<String> = (0..300)
        .map(|n| format!("203.0.113.{}:{}", n % 250, 2000 + n))
        .collect();
    let mut send = |table: &_, client: &str, flags: &str| {
        let (verdict, out) = worker.process(table, CLIENTS, &tcp(client, vip, flags).bytes(), NOW);
        assert_eq!(verdict, Verdict::Forward(BACKENDS));
        out[..6].to_vec()
    };
    let before: Vec<_> = clients.iter().map(|c| send(&all, c, "S")).collect();
    clients.iter().for_each(|c| drop(send(&all, c, "A")));
    let gone = common::mac_of(addr("10.0.0.1")).0.to_vec();
    service.backends[0].2 = BackendState::Draining;
    let draining = table(2, std::slice::from_ref(&service));
    for (client, mac) in clients.iter().zip(&before) {
        assert_eq!(send(&draining, client, "A"), *mac);
    }
    assert!((0..300).all(|n| send(&draining, &format!("203.0.116.1:{}", 3000 + n), "S") != gone));
    // Another backend in the same slot is another backend.
    service.backends[0] = (addr("10.0.0.9"), 80, BackendState::Draining, 2);
    let removed = table(3, std::slice::from_ref(&service));
    for (client, mac) in clients.iter().zip(&before) {
        let after = send(&removed, client, "A");
        assert!(if *mac == gone {
            after != gone
        } else {
            after == *mac
        });
    }
}

#[test]
fn datagrams_leave_a_draining_backend_at_once() {
    let vip = "192.0.2.10:53";
    let mut service = Service::new(
        vip,
        Protocol::Udp,
        ForwardingMode::Nat,
        &["10.0.0.1:53", "10.0.0.2:53"],
    );
    let all = table(1, std::slice::from_ref(&service));
    let mut worker = workers(&config(), 1).remove(0);
    let mut destinations = |table: &_| -> HashSet<String> {
        let send = |n| {
            worker.process(
                table,
                CLIENTS,
                &udp(&format!("203.0.113.1:{n}"), vip).bytes(),
                NOW,
            )
        };
        (2000..2100).map(send).map(|(_, out)| ends(&out).1).collect()
    };
    assert_eq!(destinations(&all).len(), 2);
    service.backends[0].2 = BackendState::Draining;
    assert_eq!(
        destinations(&table(2, std::slice::from_ref(&service))),
        HashSet::from(["10.0.0.2:53".into()])
    );
    service.backends[1].2 = BackendState::Draining;
    assert_eq!(
        destinations(&table(3, &[service])),
        HashSet::from(["10.0.0.2:53".into()]),
        "better than none"
    );
}

#[test]
fn a_syn_after_the_end_starts_a_new_flow() {
    let vip = "192.0.2.10:80";
    let table = table(
        1,
        &[Service::new(
            vip,
            Protocol::Tcp,
            ForwardingMode::Nat,
            &["10.0.0.1:80"],
        )],
    );
    let mut worker = workers(&config(), 1).remove(0);
    let mut last = vec![];
    for flags in ["S", "A", "FA", "A", "S", "A", "R", "S"] {
        let frame = tcp("203.0.113.7:40000", vip, flags).bytes();
        let (verdict, out) = worker.process(&table, CLIENTS, &frame, NOW);
        assert_eq!(verdict, Verdict::Forward(BACKENDS), "{flags}");
        assert!(
            last.is_empty() || ends(&last) == ends(&out),
            "the port is the flow's own"
        );
        last = out;
    }
    let stats = worker
        .counters
        .backend(table.services.entries()[0].backends[0])
        .unwrap();
    assert_eq!((stats.new_flows.get(), stats.active_flows.get()), (3, 1));
    assert_eq!(
        (
            worker.counters.flow_entries.get(),
            worker.counters.nat_entries.get()
        ),
        (1, 1)
    );
}

#[test]
fn both_sides_closing_frees_the_flow_and_its_port_soon() {
    let vip = "192.0.2.10:80";
    let table = table(
        1,
        &[Service::new(
            vip,
            Protocol::Tcp,
            ForwardingMode::Nat,
            &["10.0.0.1:80"],
        )],
    );
    let mut worker = workers(&config(), 1).remove(0);
    let client = |flags| tcp("203.0.113.7:40000", vip, flags).bytes();
    let (_, there) = worker.process(&table, CLIENTS, &client("S"), NOW);
    for flags in ["SA", "A", "FA"] {
        worker.process(&table, BACKENDS, &answer(&there, flags), NOW);
        worker.process(
            &table,
            CLIENTS,
            &client(if flags == "FA" { "FA" } else { "A" }),
            NOW,
        );
    }
    let idle = |worker: &mut common::Worker, ms: u32| {
        for step in 0..=ms / 1000 {
            worker.forwarder.sweep(NOW.plus(step * 1000));
        }
        worker.counters.flow_entries.get()
    };
    assert_eq!(idle(&mut worker, 9_000), 1);
    assert_eq!(idle(&mut worker, 30_000), 0);
    assert_eq!(
        (
            worker.counters.nat_entries.get(),
            worker.counters.flow_expirations.get()
        ),
        (0, 1)
    );
    let (verdict, _) = worker.process(&table, BACKENDS, &answer(&there, "A"), NOW);
    assert_eq!(verdict, Verdict::Drop(DropReason::NatReturnUnknown));
}

#[test]
fn replies_alone_keep_a_flow_alive() {
    let vip = "192.0.2.10:53";
    let table = table(
        1,
        &[Service::new(
            vip,
            Protocol::Udp,
            ForwardingMode::Nat,
            &["10.0.0.1:53"],
        )],
    );
    let mut worker = workers(&config(), 1).remove(0);
    let (_, there) = worker.process(&table, CLIENTS, &udp("203.0.113.7:40000", vip).bytes(), NOW);
    for second in 0..600 {
        let now = NOW.plus(second * 1000);
        worker.forwarder.sweep(now);
        let (verdict, _) = worker.process(&table, BACKENDS, &answer(&there, ""), now);
        assert_eq!(verdict, Verdict::Forward(CLIENTS), "after {second} s");
    }
}

#[test]
fn icmp_errors_find_their_flow_in_both_directions() {
    let vip = "192.0.2.10:80";
    let client = "203.0.113.7:40000";
    for mode in [ForwardingMode::Nat, ForwardingMode::Dnat] {
        let table = table(1, &[Service::new(vip, Protocol::Tcp, mode, &["10.0.0.1:8080"])]);
        let mut workers = workers(&config(), 2);
        let (_, there) = workers[0].process(&table, CLIENTS, &tcp(client, vip, "S").bytes(), NOW);
        let (src, dst) = ends(&there);
        // A router on the backend's side, about what we forwarded.
        let about = tcp(&src, &dst, "S");
        let error = frame::icmp_error("10.0.0.254", Says::TooBig(1400), &about, 28).macs(PORT1, [2; 6]);
        let (verdict, out) = workers[1].process(&table, BACKENDS, &error.bytes(), NOW);
        assert_eq!(verdict, Verdict::Forward(CLIENTS), "{mode}");
        check(&out);
        let parsed = parse(&out).unwrap();
        assert_eq!(
            (parsed.src, parsed.dst),
            (addr("192.0.2.10"), addr("203.0.113.7"))
        );
        let quote = maglane_dataplane::forward::quoted::quoted(&out, &parsed).unwrap();
        assert_eq!((quote.src.addr, quote.src.port), endpoint(client));
        assert_eq!((quote.dst.addr, quote.dst.port), endpoint(vip));
        // A router on the client's side, about the reply that we sent.
        let about = tcp(vip, client, "SA");
        let error = frame::icmp_error("203.0.113.254", Says::TooBig(1300), &about, 28);
        let (verdict, out) = workers[1].process(&table, CLIENTS, &error.bytes(), NOW);
        assert_eq!(verdict, Verdict::Forward(BACKENDS), "{mode}");
        check(&out);
        let parsed = parse(&out).unwrap();
        let quote = maglane_dataplane::forward::quoted::quoted(&out, &parsed).unwrap();
        assert_eq!((quote.src.addr, quote.src.port), endpoint(&dst));
        assert_eq!((quote.dst.addr, quote.dst.port), endpoint(&src));
        assert_eq!(parsed.dst, addr("10.0.0.1"));
        // About nothing we know.
        let about = tcp("198.51.100.1:15001", "10.0.0.1:8080", "S");
        let error = frame::icmp_error("10.0.0.254", Says::PortUnreachable, &about, 28).macs(PORT1, [2; 6]);
        let (verdict, _) = workers[0].process(&table, BACKENDS, &error.bytes(), NOW);
        assert_eq!(verdict, Verdict::Drop(DropReason::IcmpUnknownFlow));
    }
}

#[test]
fn icmp_errors_about_direct_replies_reach_the_backend_of_their_flow_on_any_node() {
    let vip = "192.0.2.10:80";
    for mode in [ForwardingMode::L2Dsr, ForwardingMode::Ipip, ForwardingMode::Gue] {
        let backends = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];
        let table = table(1, &[Service::new(vip, Protocol::Tcp, mode, &backends)]);
        let (mut here, mut elsewhere) = (workers(&config(), 1).remove(0), workers(&config(), 1).remove(0));
        for n in 0..50 {
            let client = format!("203.0.113.7:{}", 40_000 + n);
            let (_, there) = here.process(&table, CLIENTS, &tcp(&client, vip, "S").bytes(), NOW);
            let about = tcp(vip, &client, "SA").data(100);
            let error = frame::icmp_error("203.0.113.254", Says::TooBig(1400), &about, 28).bytes();
            let (verdict, out) = elsewhere.process(&table, CLIENTS, &error, NOW);
            assert_eq!(verdict, Verdict::Forward(BACKENDS));
            check(&out);
            assert_eq!(out[..6], there[..6], "{mode}: the same backend");
        }
        assert_eq!(elsewhere.counters.flow_entries.get(), 0, "no trace");
    }
}

#[test]
fn what_does_not_fit_is_answered_with_the_size_that_does() {
    for (mode, overhead) in [
        (ForwardingMode::Nat, 0),
        (ForwardingMode::Ipip, 20),
        (ForwardingMode::Gue, 28),
        (ForwardingMode::L2Dsr, 0),
    ] {
        let vip = "192.0.2.10:80";
        let table = table(1, &[Service::new(vip, Protocol::Tcp, mode, &["10.0.0.1:80"])]);
        let mut worker = workers(&config(), 1).remove(0);
        let room = usize::from(common::MTU) - overhead - 40;
        let fits = tcp("203.0.113.7:40000", vip, "A").data(room);
        assert_eq!(
            worker.process(&table, CLIENTS, &fits.bytes(), NOW).0,
            Verdict::Forward(BACKENDS)
        );
        let big = tcp("203.0.113.7:40000", vip, "A").data(room + 1);
        let (verdict, out) = worker.process(&table, CLIENTS, &big.bytes(), NOW);
        assert_eq!(verdict, Verdict::Reply, "{mode}");
        check(&out);
        assert_eq!(out[34..42][..2], [3, 4]);
        assert_eq!(
            u16::from_be_bytes([out[40], out[41]]),
            common::MTU - overhead as u16
        );
        let (verdict, _) = worker.process(&table, CLIENTS, &big.fragmentable().bytes(), NOW);
        assert_eq!(verdict, Verdict::Drop(DropReason::TooBigFragmentable));
    }
}

#[test]
fn a_vip_answers_pings_and_expired_packets_but_never_loops() {
    let vip = "192.0.2.10:80";
    let table = table(
        1,
        &[Service::new(
            vip,
            Protocol::Tcp,
            ForwardingMode::Nat,
            &["10.0.0.1:80"],
        )],
    );
    let mut config = config();
    let mut worker = workers(&config, 1).remove(0);
    let mut verdict = |frame: Frame| worker.process(&table, CLIENTS, &frame.bytes(), NOW).0;
    assert_eq!(verdict(frame::ping("203.0.113.7", "192.0.2.10")), Verdict::Reply);
    assert_eq!(verdict(tcp("203.0.113.7:1", vip, "S").ttl(1)), Verdict::Reply);
    let unknown = Verdict::Drop(DropReason::VipUnknownPort);
    assert_eq!(verdict(tcp("203.0.113.7:1", "192.0.2.10:81", "S")), unknown);
    assert_eq!(verdict(udp("203.0.113.7:1", vip)), unknown);
    let other = tcp("203.0.113.7:1", vip, "S").macs([2, 0, 0, 0, 0, 9], [2; 6]);
    assert_eq!(verdict(other), Verdict::Drop(DropReason::EthernetOtherHost));
    config.unknown_port = UnknownPort::Refuse;
    let mut worker = workers(&config, 1).remove(0);
    let frame = udp("203.0.113.7:1", vip).bytes();
    let (verdict, out) = worker.process(&table, CLIENTS, &frame, NOW);
    assert_eq!((verdict, out[34], out[35]), (Verdict::Reply, 3, 3));
}

#[test]
fn replies_wait_for_no_neighbour_but_ask_for_it() {
    let vip = "192.0.2.10:80";
    let table = table(
        1,
        &[Service::new(
            vip,
            Protocol::Tcp,
            ForwardingMode::Nat,
            &["10.0.0.1:80"],
        )],
    );
    let mut worker = workers(&config(), 1).remove(0);
    for (client, want) in [
        ("203.0.114.7:40000", DropReason::NextHopUnresolved),
        ("203.0.115.7:40000", DropReason::NoRoute),
    ] {
        let (_, there) = worker.process(&table, CLIENTS, &tcp(client, vip, "S").bytes(), NOW);
        let (verdict, _) = worker.process(&table, BACKENDS, &answer(&there, "SA"), NOW);
        assert_eq!(verdict, Verdict::Drop(want), "{client}");
    }
    assert_eq!(
        worker.facts.unresolved.pop(),
        Some((CLIENTS, addr("203.0.114.7")))
    );
    assert_eq!(worker.facts.unresolved.pop(), None);
}

#[test]
fn fragments_follow_their_first() {
    let vip = "192.0.2.10:53";
    for mode in ForwardingMode::ALL {
        let table = table(
            1,
            &[Service::new(
                vip,
                Protocol::Udp,
                mode,
                &["10.0.0.1:53", "10.0.0.2:53"],
            )],
        );
        let mut worker = workers(&config(), 1).remove(0);
        for id in 0..20 {
            let client = format!("203.0.113.7:{}", 4000 + id);
            let whole = udp(&client, vip).fragmentable().id(id).data(64);
            let pieces = whole.fragments(&[24, 24]);
            let macs: HashSet<Vec<u8>> = pieces
                .iter()
                .map(|piece| {
                    let (verdict, out) = worker.process(&table, CLIENTS, piece, NOW);
                    assert_eq!(verdict, Verdict::Forward(BACKENDS), "{mode}");
                    out[..6].to_vec()
                })
                .collect();
            assert_eq!(macs.len(), 1, "{mode}");
        }
        let stray = udp("203.0.113.7:5000", vip)
            .fragmentable()
            .id(99)
            .data(64)
            .fragments(&[24])
            .remove(1);
        let (verdict, _) = worker.process(&table, CLIENTS, &stray, NOW);
        assert_eq!(verdict, Verdict::Drop(DropReason::FragmentUnknown));
    }
}

/// FAILURES D21: a flood of SYNs from everywhere leaves established flows and their source ports alone.
#[test]
fn a_syn_flood_does_not_move_established_flows() {
    let vip = "192.0.2.10:80";
    let backends = ["10.0.0.1:80", "10.0.0.2:80"];
    for mode in [ForwardingMode::Nat, ForwardingMode::Ipip] {
        let table = table(1, &[Service::new(vip, Protocol::Tcp, mode, &backends)]);
        let mut worker = workers(&config(), 1).remove(0);
        let mut send = |client: &str, flags: &str| {
            let (verdict, out) = worker.process(&table, CLIENTS, &tcp(client, vip, flags).bytes(), NOW);
            (verdict, out)
        };
        let clients: Vec<String> = (0..1000).map(|n| format!("203.0.113.7:{}", 10_000 + n)).collect();
        let before: Vec<_> = clients.iter().map(|c| (send(c, "S"), send(c, "A")).1).collect();
        for n in 0..40_000u32 {
            let [_, a, b, c] = n.wrapping_mul(0x9e37_79b9).to_be_bytes();
            send(&format!("100.{a}.{b}.{c}:{}", 1024 + n % 60_000), "S");
        }
        for (client, was) in clients.iter().zip(before) {
            assert_eq!(send(client, "A"), was, "{mode}");
        }
        let established = |e: &&maglane_dataplane::flow_table::FlowEntry| e.state == FlowState::Established;
        let flows = worker.forwarder.flows();
        let kept: usize = (0..flows.buckets())
            .map(|b| flows.bucket_entries(b).filter(established).count())
            .sum();
        assert_eq!(kept, 1000);
    }
}

fn sticky(vip: &str, backends: usize) -> Service {
    let backends: Vec<String> = (1..=backends).map(|n| format!("10.0.0.{n}:80")).collect();
    let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
    Service {
        policy: Policy {
            affinity: AffinityTimeout::from_secs(3600),
            ..Policy::default()
        },
        ..Service::new(vip, Protocol::Tcp, ForwardingMode::L2Dsr, &backends)
    }
}

/// SEMANTICS 3.5: whichever worker a client's next flow reaches, and however the backends change meanwhile,
/// it goes where the last one went, for as long as that backend takes new flows.
#[test]
fn a_client_keeps_its_backend_on_every_worker_and_through_every_change() {
    let vip = "192.0.2.10:80";
    let mut service = sticky(vip, 10);
    let mut workers = workers(&config(), 2);
    let mut port = 1024;
    let mut open = |table: &_, client: usize| -> Vec<u8> {
        port += 1;
        let frame = tcp(&format!("203.0.113.{client}:{port}"), vip, "S").bytes();
        let (verdict, out) = workers[port % 2].process(table, CLIENTS, &frame, NOW);
        assert_eq!(verdict, Verdict::Forward(BACKENDS));
        out[..6].to_vec()
    };
    let mut all = |table: &_| -> Vec<Vec<u8>> {
        let first: Vec<_> = (1..=200).map(|client| open(table, client)).collect();
        for _ in 0..3 {
            let again: Vec<_> = (1..=200).map(|client| open(table, client)).collect();
            assert_eq!(again, first);
        }
        first
    };
    let before = all(&table(1, std::slice::from_ref(&service)));
    assert!(
        before.iter().collect::<HashSet<_>>().len() == 10,
        "all backends have clients"
    );
    service.backends.extend(sticky(vip, 30).backends.split_off(10));
    assert_eq!(
        all(&table(2, std::slice::from_ref(&service))),
        before,
        "more backends"
    );
    service.backends[0].2 = BackendState::Draining;
    let gone = common::mac_of(addr("10.0.0.1")).0.to_vec();
    let drained = all(&table(3, std::slice::from_ref(&service)));
    for (now, then) in drained.iter().zip(&before) {
        assert!(if *then == gone { *now != gone } else { now == then });
    }
    service.backends[0].2 = BackendState::Active;
    assert_eq!(all(&table(4, &[service])), drained, "they don't come back");
    let count = |what: fn(&maglane_shared::counters::Counters) -> u64| {
        workers.iter().map(|w| what(&w.counters)).sum::<u64>()
    };
    let moved = before.iter().filter(|mac| **mac == gone).count() as u64;
    assert_eq!(count(|c| c.affinity_misses.get()), 200 + moved);
    assert_eq!(count(|c| c.affinity_hits.get()), 16 * 200 - 200 - moved);
    assert_eq!(count(|c| c.affinity_full.get()), 0);
}

/// As above for packets that belong to no flow here: an ICMP error, or a reset.
#[test]
fn what_opens_no_flow_follows_its_client_and_leaves_no_trace() {
    let vip = "192.0.2.10:80";
    let table = table(1, &[sticky(vip, 10)]);
    let mut workers = workers(&config(), 2);
    for client in 1..=50 {
        let address = format!("203.0.113.{client}");
        let mut send = |worker: usize, frame: Vec<u8>| {
            let (verdict, out) = workers[worker].process(&table, CLIENTS, &frame, NOW);
            assert_eq!(verdict, Verdict::Forward(BACKENDS));
            out[..6].to_vec()
        };
        let home = send(0, tcp(&format!("{address}:4000"), vip, "S").bytes());
        let about = tcp(vip, &format!("{address}:5000"), "SA");
        let error = frame::icmp_error("203.0.113.254", Says::TooBig(1400), &about, 28);
        assert_eq!(send(1, error.bytes()), home);
        assert_eq!(send(1, tcp(&format!("{address}:6000"), vip, "R").bytes()), home);
    }
    let quiet = &workers[1].counters;
    assert_eq!((quiet.affinity_hits.get(), quiet.affinity_misses.get()), (0, 0));
}

/// Clients beyond the room there is are served by their hash.
#[test]
fn a_flood_of_clients_is_served_without_being_remembered() {
    let vip = "192.0.2.10:80";
    let table = table(1, &[sticky(vip, 10)]);
    let mut worker = workers(&config(), 1).remove(0);
    let mut open = |client: u32, port: u16| {
        let [_, a, b, c] = client.to_be_bytes();
        let frame = tcp(&format!("100.{a}.{b}.{c}:{port}"), vip, "S").bytes();
        let (verdict, out) = worker.process(&table, CLIENTS, &frame, NOW);
        assert_eq!(verdict, Verdict::Forward(BACKENDS));
        out[..6].to_vec()
    };
    let regulars: Vec<_> = (0..1000)
        .map(|client| (open(client, 1000), open(client, 1001)).1)
        .collect();
    (10_000..60_000).for_each(|client| drop(open(client, 2000)));
    for (client, home) in (0..1000).zip(regulars) {
        assert_eq!(open(client, 3000), home);
    }
}
