//! The poll loop over frames in memory: nothing is lost, whatever else goes on.

#[allow(dead_code, reason = "each test binary uses its own part")]
mod common;
#[allow(dead_code, reason = "each test binary uses its own part")]
mod support {
    pub mod check;
    pub mod frame;
}

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use common::{CLIENTS, Service, config, mac_of};
use maglane_dataplane::config::{Config, Wait};
use maglane_dataplane::queue::Queue;
use maglane_dataplane::queue::mem::MemQueue;
use maglane_dataplane::worker::Watch;
use maglane_dataplane::{Affinities, Forwarder, NatReturns, Verdict, Worker};
use maglane_shared::addr::{Addr, Protocol};
use maglane_shared::counters::{CENSUS_MS, Counters, DropReason, Vitals};
use maglane_shared::facts::{DumpItem, Facts};
use maglane_shared::publish::{Publisher, channel};
use maglane_shared::service::{BackendState, ForwardingMode};
use maglane_shared::table::{ForwardingTable, Generation};
use maglane_shared::tick::Tick;
use support::frame::{self, tcp, udp};

const VIP: &str = "192.0.2.10:80";

struct Rig {
    worker: Worker<MemQueue>,
    watch: Watch,
}

/// `count` workers of one node over `frames` frames each, and the publisher of their tables.
fn rig(
    config: &Config,
    count: u16,
    frames: usize,
    table: &Arc<ForwardingTable>,
) -> (Vec<Rig>, Publisher<ForwardingTable>) {
    with_ports(config, count, frames, table, 2)
}

/// As [`rig`], with queues on the first `ports` interfaces only.
fn with_ports(
    config: &Config,
    count: u16,
    frames: usize,
    table: &Arc<ForwardingTable>,
    ports: u8,
) -> (Vec<Rig>, Publisher<ForwardingTable>) {
    let returns = Arc::new(NatReturns::new(config.flow_table_size * usize::from(count)));
    let (publisher, readers) = channel(table, usize::from(count));
    let origin = Instant::now();
    let rigs = (0..count).zip(readers).map(|(index, reader)| {
        let watch = Watch {
            vitals: Arc::new(Vitals::default()),
            counters: Arc::new(Counters::new(64, 1024)),
            facts: Arc::new(Facts::default()),
        };
        let (c, f) = (Arc::clone(&watch.counters), Arc::clone(&watch.facts));
        let (returns, affinities) = (Arc::clone(&returns), Arc::new(Affinities::new(1)));
        let forwarder = Forwarder::new(config, index, returns, affinities, c, f);
        let queue = MemQueue::new(ports, frames);
        let worker = Worker::new(queue, forwarder, reader, watch.clone(), config.poll, origin);
        Rig { worker, watch }
    });
    (rigs.collect(), publisher)
}

fn services() -> Vec<Service> {
    let backends = ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"];
    let modes = (10..).zip(ForwardingMode::ALL);
    modes
        .map(|(n, mode)| Service::new(&format!("192.0.2.{n}:80"), Protocol::Tcp, mode, &backends))
        .collect()
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Good packets in every mode, pings, replies to nothing, damaged and foreign ones.
fn any_frame(seed: &mut u64) -> Vec<u8> {
    let n = random(seed);
    let client = format!("203.0.113.{}:{}", n % 250 + 1, 1024 + n % 50_000);
    let vip = format!("192.0.2.{}:80", 10 + n % 6);
    let flags = ["S", "A", "FA", "R", "SA"][(n >> 8) as usize % 5];
    let mut bytes = match (n >> 16) % 10 {
        0 => frame::ping("203.0.113.1", "192.0.2.10").bytes(),
        1 => udp(&client, &vip).bytes(),
        2 => tcp("10.0.0.1:8080", "198.51.100.1:20000", "A")
            .macs(frame::PORT1, [2; 6])
            .bytes(),
        3 => tcp(&client, &vip, flags).ttl(1).bytes(),
        4 => tcp(&client, "192.0.2.99:80", "A").bytes(),
        _ => tcp(&client, &vip, flags).data((n >> 24) as usize % 1500).bytes(),
    };
    if (n >> 40).is_multiple_of(8) {
        let at = (n >> 43) as usize % bytes.len();
        bytes[at] ^= 1 << (n >> 60 & 7);
    }
    bytes.truncate(1600);
    bytes
}

/// Received = sent + passed + dropped, and every frame is where it should be.
fn assert_conserved(rig: &mut Rig, frames: usize) {
    let counters = &rig.watch.counters;
    let ended = counters.tx_packets.get() + counters.passed.get() + counters.dropped();
    assert_eq!(counters.rx_packets.get(), ended);
    assert!(counters.replies.get() <= counters.tx_packets.get());
    let queue = rig.worker.queue_mut();
    assert_eq!(queue.census().held, 0);
    while queue.collect(|_, _| ()).is_some() {}
    assert_eq!((queue.census().sum(), queue.census().free), (frames, frames));
}

/// A backend behind an interface that this worker has no socket for.
#[test]
fn port_unknown() {
    let table = Arc::new(common::table(1, &services()));
    let (mut rigs, _publisher) = with_ports(&config(), 1, 16, &table, 1);
    let rig = &mut rigs[0];
    let syn = tcp("203.0.113.1:40000", VIP, "S").bytes();
    assert!(rig.worker.queue_mut().deliver(CLIENTS, &syn));
    assert_eq!(rig.worker.turn(), 1);
    assert_eq!(
        rig.watch.counters.drops[DropReason::PortUnknown as usize].get(),
        1
    );
    assert_conserved(rig, 16);
}

#[test]
fn tx_ring_full() {
    let table = Arc::new(common::table(1, &services()));
    let (mut rigs, _publisher) = rig(&config(), 1, 16, &table);
    let rig = &mut rigs[0];
    rig.worker.queue_mut().limit_transmit(3);
    for client in 0..10 {
        let syn = tcp(&format!("203.0.113.1:{}", 40_000 + client), VIP, "S").bytes();
        assert!(rig.worker.queue_mut().deliver(CLIENTS, &syn));
    }
    assert_eq!(rig.worker.turn(), 10);
    assert_eq!(rig.watch.counters.tx_packets.get(), 3);
    assert_eq!(rig.watch.counters.drops[DropReason::TxRingFull as usize].get(), 7);
    assert_conserved(rig, 16);
}

/// Invariant 5 as the metrics show it.
#[test]
fn the_places_of_all_frames_add_up() {
    let table = Arc::new(common::table(1, &services()));
    let (mut rigs, _publisher) = rig(&config(), 1, 16, &table);
    let rig = &mut rigs[0];
    let syn = tcp("203.0.113.1:40000", VIP, "S").bytes();
    assert!(rig.worker.queue_mut().deliver(CLIENTS, &syn));
    let counted = || rig.watch.counters.frames.iter().map(|c| c.get()).sum::<u64>();
    let start = Instant::now();
    while counted() == 0 {
        rig.worker.turn();
        assert!(
            start.elapsed().as_millis() < 100 * u128::from(CENSUS_MS),
            "no census"
        );
    }
    assert_eq!(counted(), 16);
}

#[test]
fn every_frame_is_accounted_for() {
    let table = Arc::new(common::table(1, &services()));
    let (mut rigs, _publisher) = rig(&config(), 1, 256, &table);
    let rig = &mut rigs[0];
    let (mut seed, mut delivered) = (1, 0);
    for turn in 0..4000u64 {
        // Now and then a transmit ring that does not take everything.
        rig.worker
            .queue_mut()
            .limit_transmit(if turn % 7 == 0 { 5 } else { 256 });
        for _ in 0..random(&mut seed) % 100 {
            delivered += u64::from(rig.worker.queue_mut().deliver(CLIENTS, &any_frame(&mut seed)));
        }
        while rig.worker.turn() > 0 {}
        while rig.worker.queue_mut().collect(|_, _| ()).is_some() {}
    }
    let counters = &rig.watch.counters;
    assert_eq!(counters.rx_packets.get(), delivered);
    assert!(counters.tx_packets.get() > delivered / 4 && counters.replies.get() > 0);
    assert_eq!(
        rig.watch.vitals.heartbeat(),
        counters.busy_turns.get() + counters.idle_turns.get()
    );
    assert_eq!(
        counters.batch_sizes.iter().map(|c| c.get()).sum::<u64>(),
        counters.busy_turns.get()
    );
    assert_conserved(rig, 256);
}

/// What the first pass guesses about a flow may be wrong by the second: packets before it in the batch open,
/// end and reopen flows. It must come out as if each packet had come alone.
#[test]
fn a_batch_comes_out_as_its_packets_one_by_one() {
    let table = Arc::new(common::table(1, &services()));
    let (mut rigs, _publisher) = rig(&config(), 1, 256, &table);
    let rig = &mut rigs[0];
    let mut alone = common::workers(&config(), 1).remove(0);
    let mut seed = 11;
    for _ in 0..2000 {
        let frames: Vec<Vec<u8>> = (0..64)
            .map(|_| {
                let n = random(&mut seed);
                let client = format!("203.0.113.1:{}", 1024 + n % 12);
                let vip = format!("192.0.2.{}:80", 10 + (n >> 8) % 5);
                let flags = ["S", "A", "FA", "R", "S", "A"][(n >> 16) as usize % 6];
                tcp(&client, &vip, flags).bytes()
            })
            .collect();
        for frame in &frames {
            assert!(rig.worker.queue_mut().deliver(CLIENTS, frame));
        }
        assert_eq!(rig.worker.turn(), 64);
        for frame in &frames {
            let (verdict, out) = alone.process(&table, CLIENTS, frame, Tick(0));
            let sent = rig
                .worker
                .queue_mut()
                .collect(|port, bytes| (Verdict::Forward(port), bytes.to_vec()));
            assert_eq!(sent, Some((verdict, out)));
        }
    }
    let (batch, alone) = (&rig.watch.counters, &alone.counters);
    assert_eq!(batch.flow_hits.get(), alone.flow_hits.get());
    assert_eq!(batch.flow_inserts.get(), alone.flow_inserts.get());
    assert!(alone.flow_inserts.get() > 1000 && alone.flow_hits.get() > 10_000);
}

/// Goal P8 and FAILURES D15: 10^6 publications under load, no packet lost or sent to a wrong place.
#[test]
fn a_million_table_swaps_lose_and_missend_nothing() {
    let backends = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"];
    // Odd generations forward to the first two backends, even ones to the last two.
    let tables: Vec<_> = (0..2usize)
        .map(|n| {
            let mut service = Service::new(VIP, Protocol::Tcp, ForwardingMode::L2Dsr, &backends);
            for (i, backend) in service.backends.iter_mut().enumerate() {
                backend.2 = if i / 2 == n {
                    BackendState::Active
                } else {
                    BackendState::Draining
                };
            }
            common::table(n as u64, &[service])
        })
        .collect();
    let at = |generation: u64| {
        let of = &tables[generation as usize % 2];
        let (services, backends) = (Arc::clone(&of.services), of.backends.clone());
        let (hash_key, routes) = (of.hash_key, Arc::clone(&of.routes));
        Arc::new(ForwardingTable {
            generation: Generation(generation),
            hash_key,
            services,
            backends,
            routes,
        })
    };
    let (mut rigs, mut publisher) = rig(&config(), 1, 256, &at(0));
    let rig = &mut rigs[0];
    let macs: Vec<_> = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
        .map(|a| mac_of(a.parse::<Addr>().unwrap()).0)
        .into();
    // SYNs of ever new flows go by the table of the moment, a long-lived flow stays where it began.
    let (mut syn, long) = (
        tcp("203.0.113.1:1024", VIP, "R").bytes(),
        tcp("203.0.113.9:99", VIP, "A").bytes(),
    );
    rig.worker.queue_mut().deliver(CLIENTS, &long);
    rig.worker.turn();
    let home = rig
        .worker
        .queue_mut()
        .collect(|_, bytes| bytes[..6].to_vec())
        .unwrap();
    for generation in 1..=1_000_000u64 {
        publisher.publish(&at(generation));
        patch_source_port(&mut syn, generation as u16 | 1024);
        assert!(
            rig.worker.queue_mut().deliver(CLIENTS, &syn) && rig.worker.queue_mut().deliver(CLIENTS, &long)
        );
        assert_eq!(rig.worker.turn(), 2);
        assert_eq!(rig.watch.vitals.generation(), Generation(generation));
        let new = rig
            .worker
            .queue_mut()
            .collect(|_, bytes| bytes[..6].to_vec())
            .expect("not lost");
        let place = macs.iter().position(|mac| mac[..] == new[..]).expect("a backend");
        assert_eq!(place as u64 / 2, generation % 2, "generation {generation}");
        let old = rig.worker.queue_mut().collect(|_, bytes| bytes[..6].to_vec());
        assert_eq!(old.as_ref(), Some(&home), "generation {generation}");
    }
    assert_conserved(rig, 256);
}

/// Changes the TCP source port and, by RFC 1624, the checksum that goes with it.
fn patch_source_port(frame: &mut [u8], port: u16) {
    let old = u16::from_be_bytes([frame[34], frame[35]]);
    let sum = u16::from_be_bytes([frame[50], frame[51]]);
    let mut new = u32::from(!sum) + u32::from(!old) + u32::from(port);
    new = (new & 0xffff) + (new >> 16);
    new = (new & 0xffff) + (new >> 16);
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame[50..52].copy_from_slice(&(!(new as u16)).to_be_bytes());
}

/// The publisher on a thread of its own, as in service: tables change in the middle of a batch's life.
#[test]
fn swaps_from_another_thread_lose_nothing() {
    let table = Arc::new(common::table(0, &services()));
    let (mut rigs, mut publisher) = rig(&config(), 1, 512, &table);
    let rig = &mut rigs[0];
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut services = services();
            for generation in 1..2000 {
                services[0].backends[0].3 = generation as u32 + 1;
                publisher.publish(&Arc::new(common::table(generation, &services)));
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        let (mut port, mut lost) = (0u64, 0);
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            for _ in 0..32 {
                port += 1;
                let client = format!("203.0.113.{}:{}", port % 200 + 1, 1024 + port % 50);
                rig.worker
                    .queue_mut()
                    .deliver(CLIENTS, &tcp(&client, "192.0.2.12:80", "A").bytes());
            }
            let sent = rig.worker.turn();
            lost += sent - std::iter::from_fn(|| rig.worker.queue_mut().collect(|_, _| ())).count();
        }
        assert_eq!(lost, 0);
        assert_eq!(rig.watch.counters.dropped(), 0);
    });
    rig.worker.turn();
    assert_eq!(rig.watch.vitals.generation(), Generation(1999));
    assert_conserved(rig, 512);
}

/// Two workers share NAT returns: flows enter on one, replies on the other, at the same time.
#[test]
fn two_workers_carry_each_others_replies() {
    let service = Service::new(
        VIP,
        Protocol::Tcp,
        ForwardingMode::Nat,
        &["10.0.0.1:8080", "10.0.0.2:8080"],
    );
    let table = Arc::new(common::table(1, &[service]));
    let config = Config {
        flow_table_size: 1 << 16,
        ..config()
    };
    let (mut rigs, _publisher) = rig(&config, 2, 512, &table);
    let (to_b, from_a) = std::sync::mpsc::channel::<Vec<u8>>();
    let (a, b) = rigs.split_at_mut(1);
    let (mut seen, expected) = (HashMap::new(), 2000);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..expected {
                let client = format!("203.0.113.{}:{}", n % 200 + 1, 1024 + n);
                a[0].worker
                    .queue_mut()
                    .deliver(CLIENTS, &tcp(&client, VIP, "S").bytes());
                a[0].worker.turn();
                let there = a[0]
                    .worker
                    .queue_mut()
                    .collect(|_, bytes| bytes.to_vec())
                    .unwrap();
                to_b.send(there).unwrap();
            }
        });
        for there in from_a {
            let (src, dst) = ends(&there);
            let reply = tcp(&dst, &src, "SA").macs(frame::PORT1, [2; 6]).bytes();
            b[0].worker.queue_mut().deliver(common::BACKENDS, &reply);
            b[0].worker.turn();
            let back = b[0]
                .worker
                .queue_mut()
                .collect(|_, bytes| bytes.to_vec())
                .expect("translated");
            support::check::check(&back);
            *seen.entry(ends(&back).1).or_insert(0) += 1;
        }
    });
    assert_eq!(seen.len(), expected);
    assert!(seen.values().all(|&n| n == 1));
}

fn ends(frame: &[u8]) -> (String, String) {
    let addr = |at: usize| {
        frame[at..at + 4]
            .iter()
            .map(u8::to_string)
            .collect::<Vec<_>>()
            .join(".")
    };
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    (
        format!("{}:{}", addr(26), port(34)),
        format!("{}:{}", addr(30), port(36)),
    )
}

#[test]
fn a_dump_shows_every_flow_once_and_never_waits() {
    let table = Arc::new(common::table(1, &services()));
    let config = Config {
        flow_table_size: 1 << 14,
        ..config()
    };
    let (mut rigs, _publisher) = rig(&config, 1, 256, &table);
    let rig = &mut rigs[0];
    for port in 0..1500 {
        let client = format!("203.0.113.7:{}", 2000 + port);
        rig.worker
            .queue_mut()
            .deliver(CLIENTS, &tcp(&client, VIP, "S").bytes());
        rig.worker.turn();
        rig.worker.queue_mut().collect(|_, _| ());
    }
    let facts = Arc::clone(&rig.watch.facts);
    let request = facts.dump_request.ask();
    let mut ports = vec![];
    // A reader that takes one item a turn: the mailbox fills, the worker goes on.
    for _ in 0..10_000 {
        rig.worker.turn();
        match facts.dump.pop() {
            Some(DumpItem::Flow(flow)) => ports.push(flow.client_port),
            Some(DumpItem::End {
                worker,
                request: answered,
            }) => {
                assert_eq!((worker, answered), (0, request));
                break;
            }
            None => {}
        }
    }
    ports.sort_unstable();
    assert_eq!(ports, (2000..3500).collect::<Vec<u16>>());
    rig.worker.turn();
    assert_eq!(facts.dump.pop(), None);
}

#[test]
fn an_idle_worker_sleeps_beats_and_stops_when_told() {
    let mut config = config();
    config.poll.wait = Wait::Adaptive { spin_us: 1 };
    let table = Arc::new(common::table(7, &services()));
    let (mut rigs, _publisher) = rig(&config, 1, 64, &table);
    let Rig { worker, watch } = rigs.remove(0);
    let thread = std::thread::spawn(move || worker.run().unwrap());
    while watch.vitals.heartbeat() < 100 {
        std::thread::yield_now();
    }
    assert_eq!(watch.vitals.generation(), Generation(7));
    watch.vitals.stop();
    let queue = thread.join().unwrap();
    assert!(queue.waits() > 0 && watch.counters.sleeps.get() == queue.waits());
}
