//! AF_XDP sockets on veth: packets both ways, from one interface to another, and what goes wrong at set-up.

mod rig;

use std::time::{Duration, Instant};

use maglane_xsk::{
    AttachOptions, BusyPoll, Frame, KernelStats, PortId, QueueSet, QueueSetConfig, Received, SteerSet,
    Steering, Toggle, XskError,
};
use rig::{Raw, Rig, TCP, config, eventually, frame, ip, packet, ports, receive};

const A: PortId = PortId(0);
const B: PortId = PortId(1);

fn to_vip(i: u16) -> Vec<u8> {
    frame(&[], &packet("203.0.113.9", "192.0.2.1", TCP, &ports(i, 80)))
}

/// The VIP's packets on `interface` go to `set`'s port.
fn steer(interface: &str, set: &QueueSet, port: PortId, queue: u32) -> Steering {
    let mut steering = Steering::attach(interface, &AttachOptions::default()).unwrap();
    let sockets = set.socket_fds();
    let (_, fd) = sockets.iter().find(|(id, _)| *id == port).unwrap();
    steering.set_socket(queue, *fd).unwrap();
    let vips = ["192.0.2.1".parse().unwrap()].into();
    steering
        .apply(&SteerSet {
            vips,
            ..SteerSet::default()
        })
        .unwrap();
    steering
}

fn filled(set: &mut QueueSet, bytes: &[u8]) -> Frame {
    let mut frame = set.allocate().unwrap();
    frame.set_range(frame.start(), bytes.len()).unwrap();
    let (start, end) = (frame.start(), frame.end());
    set.chunk_mut(&frame)[start..end].copy_from_slice(bytes);
    frame
}

fn conserved(set: &QueueSet) {
    let census = set.census();
    assert_eq!(census.sum(), census.total, "{census:?}");
}

#[test]
fn packets_go_both_ways() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let mut ours = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    let mut far = QueueSet::open(&config(&[("a0", 0)])).unwrap();
    let (_near, _far) = (steer("a1", &ours, A, 0), steer("a0", &far, A, 0));
    for round in 0..50u16 {
        for i in 0..20 {
            let packet = filled(&mut far, &to_vip(round * 20 + i));
            far.transmit(A, packet).unwrap();
        }
        far.flush();
        let got = receive(&mut ours, 20, Duration::from_secs(2));
        let expected: Vec<_> = (0..20).map(|i| (0, to_vip(round * 20 + i))).collect();
        assert_eq!(got, expected);
        let answer = filled(&mut ours, &to_vip(round));
        ours.transmit(A, answer).unwrap();
        ours.flush();
        assert_eq!(receive(&mut far, 1, Duration::from_secs(2)), [(0, to_vip(round))]);
    }
    assert!(eventually(Duration::from_secs(1), || {
        far.flush();
        far.census().tx + far.census().completion == 0
    }));
    let stats = ours.stats().next().unwrap();
    assert_eq!(
        (stats.rx_frames, stats.tx_frames, stats.bad_descriptors),
        (1000, 50, 0)
    );
    let kernel = ours.kernel_stats(A).unwrap();
    assert_eq!(
        KernelStats {
            tx_ring_empty: kernel.tx_ring_empty,
            ..KernelStats::default()
        },
        kernel
    );
    conserved(&ours);
    conserved(&far);
}

#[test]
fn a_packet_enters_on_one_interface_and_leaves_on_another_encapsulated_in_place() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    rig.veth("b0", "b1");
    let mut set = QueueSet::open(&config(&[("a1", 0), ("b1", 0)])).unwrap();
    let _steering = steer("a1", &set, A, 0);
    let (sender, sink) = (Raw::new("a0"), Raw::new("b0"));
    let mut batch: Vec<Received> = Vec::with_capacity(64);
    for i in 0..300u16 {
        sender.send(&to_vip(i));
        let arrived = eventually(Duration::from_secs(2), || {
            set.wait(Duration::from_millis(10));
            set.receive(&mut batch, 64) > 0
        });
        assert!(arrived);
        for Received { port, mut frame } in batch.drain(..) {
            assert_eq!(port, A);
            let (start, len) = (frame.start() - 20, frame.len() + 20);
            frame.set_range(start, len).unwrap();
            set.chunk_mut(&frame)[start..start + 20].fill(0xee);
            set.transmit(B, frame).unwrap();
        }
        set.flush();
        let expected = [vec![0xee; 20], to_vip(i)].concat();
        let seen =
            std::iter::from_fn(|| sink.receive(Duration::from_secs(2))).find(|bytes| *bytes == expected);
        assert!(seen.is_some(), "packet {i}");
        conserved(&set);
    }
}

#[test]
fn a_waker_ends_one_sleep_however_often_it_calls() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let mut set = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    let waker = set.waker().unwrap();
    let (long, short) = (Duration::from_secs(60), Duration::from_millis(50));
    let begin = Instant::now();
    waker.wake();
    waker.wake();
    set.wait(long);
    assert!(begin.elapsed() < long / 2);
    let begin = Instant::now();
    set.wait(short);
    assert!(begin.elapsed() >= short);
    let begin = Instant::now();
    let call = std::thread::spawn(move || waker.wake());
    set.wait(long);
    assert!(begin.elapsed() < long / 2);
    call.join().unwrap();
}

#[test]
fn what_veth_has_not_is_reported_not_assumed() {
    let Some(rig) = Rig::new() else { return };
    rig.veth_queues("a0", "a1", 2);
    let asked = QueueSetConfig {
        busy_poll: Some(BusyPoll::default()),
        ..config(&[("a1", 1)])
    };
    let set = QueueSet::open(&asked).unwrap();
    let mode = set.bind_modes()[0];
    assert!(
        !mode.zero_copy && !mode.busy_poll && !mode.multi_buffer && mode.need_wakeup,
        "{mode:?}"
    );
    drop(set);
    let error = QueueSet::open(&QueueSetConfig {
        zero_copy: Toggle::On,
        ..config(&[("a1", 0)])
    })
    .unwrap_err();
    assert!(matches!(error, XskError::NoZeroCopy { .. }), "{error}");
    let error = QueueSet::open(&config(&[("a1", 2)])).unwrap_err();
    assert!(matches!(error, XskError::QueueAbsent { queue: 2, .. }), "{error}");
    assert!(error.to_string().contains("ethtool -l a1"), "{error}");
}

#[test]
fn a_held_queue_is_named_and_a_closed_one_is_bound_again() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let first = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    let short = QueueSetConfig {
        bind_retry: Duration::from_millis(20),
        ..config(&[("a1", 0)])
    };
    let error = QueueSet::open(&short).unwrap_err();
    assert!(matches!(error, XskError::QueueBusy { queue: 0, .. }), "{error}");
    drop(first);
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let started = Instant::now();
        drop(QueueSet::open(&config(&[("a1", 0)])).unwrap());
        slowest = slowest.max(started.elapsed());
    }
    println!("slowest rebind {slowest:?}");
    assert!(slowest < Duration::from_secs(1));
}

#[test]
fn a_full_tx_ring_recovers_when_the_link_returns() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let mut set = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    ip("link set a1 down");
    let mut refused = 0;
    for i in 0..2000u16 {
        let packet = filled(&mut set, &to_vip(i));
        if let Err(packet) = set.transmit(A, packet) {
            refused += 1;
            set.release(packet);
        }
        if i % 64 == 0 {
            set.flush();
        }
    }
    let stats = set.stats().next().unwrap();
    assert!(
        refused >= 2000 - 512 && stats.tx_ring_full == refused,
        "{refused} {stats:?}"
    );
    assert!(
        stats.kick_errors > 0 && stats.kicks < 300,
        "no call per packet: {stats:?}"
    );
    conserved(&set);
    ip("link set a1 up");
    let sink = Raw::new("a0");
    let started = Instant::now();
    set.flush();
    let last = to_vip(u16::MAX);
    let packet = filled(&mut set, &last);
    set.transmit(A, packet).expect("room after the first kick");
    set.flush();
    assert_eq!(set.census().tx, 0, "all taken in one turn");
    let first = sink.receive(Duration::from_secs(2));
    println!("first packet through {:?} after the link", started.elapsed());
    assert!(first.is_some());
    conserved(&set);
}

/// FAILURES D4 with tbf of 1 Mbit, then none. Copy-mode TX skips the qdisc, so on veth nothing blocks here; the test above, with the
/// link down, is the one where the ring fills. On a driver that does block, both must hold.
#[test]
fn throughput_returns_after_a_slow_link() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let mut set = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    rig::run(
        "tc",
        "qdisc add dev a1 root tbf rate 1mbit burst 2000 limit 10000",
    );
    let offer = |set: &mut QueueSet, count: u32| {
        let before = set.stats().next().unwrap().tx_frames;
        for i in 0..count {
            let packet = filled(set, &to_vip(i as u16));
            if let Err(packet) = set.transmit(A, packet) {
                set.release(packet);
            }
            if i % 64 == 63 {
                set.flush();
            }
        }
        set.flush();
        set.stats().next().unwrap().tx_frames - before
    };
    let through = offer(&mut set, 20_000);
    println!("{through} of 20000 accepted with tbf in place");
    conserved(&set);
    rig::run("tc", "qdisc del dev a1 root");
    let started = Instant::now();
    assert!(eventually(Duration::from_millis(500), || offer(&mut set, 1000) == 1000));
    println!(
        "all packets accepted {:?} after tbf was removed",
        started.elapsed()
    );
    conserved(&set);
}

#[test]
fn frames_beyond_a_chunk_are_dropped_and_counted() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    for end in ["a0", "a1"] {
        ip(&format!("link set {end} mtu 9000"));
    }
    let mut set = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    assert!(set.bind_modes()[0].multi_buffer);
    let _steering = steer("a1", &set, A, 0);
    let sender = Raw::new("a0");
    let jumbo = frame(&[], &packet("203.0.113.9", "192.0.2.1", TCP, &[9; 8000]));
    for i in 0..20 {
        sender.send(&jumbo);
        sender.send(&to_vip(i));
    }
    let got = receive(&mut set, 20, Duration::from_secs(2));
    assert_eq!(got, (0..20).map(|i| (0, to_vip(i))).collect::<Vec<_>>());
    assert_eq!(set.stats().next().unwrap().fragmented_frames, 20);
    conserved(&set);
}

#[test]
fn an_overrun_socket_loses_exactly_what_the_kernel_counts() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let mut set = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    let steering = steer("a1", &set, A, 0);
    let sender = Raw::new("a0");
    for i in 0..2000u16 {
        sender.send(&to_vip(i));
    }
    let redirected = || steering.counters().unwrap().redirected;
    assert!(
        eventually(Duration::from_secs(2), || redirected() == 2000),
        "{}",
        redirected()
    );
    let got = receive(&mut set, 2000, Duration::from_millis(300)).len() as u64;
    let lost = set.kernel_stats(A).unwrap();
    assert_eq!(got, 256, "the RX ring's size");
    assert_eq!(
        got + lost.rx_ring_full + lost.fill_empty + lost.rx_dropped,
        2000,
        "{lost:?}"
    );
    // It goes on at once.
    sender.send(&to_vip(7));
    assert_eq!(receive(&mut set, 1, Duration::from_secs(2)), [(0, to_vip(7))]);
    conserved(&set);
}
