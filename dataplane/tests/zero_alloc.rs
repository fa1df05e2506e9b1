//! Invariant 3: after start a worker never allocates, whatever arrives and whichever table it takes.

#[allow(dead_code, reason = "each test binary uses its own part")]
mod common;
#[allow(dead_code, reason = "each test binary uses its own part")]
mod support {
    pub mod frame;
}

use std::alloc::System;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Instant;

use common::{BACKENDS, CLIENTS, Service, config};
use maglane_dataplane::queue::mem::MemQueue;
use maglane_dataplane::worker::Watch;
use maglane_dataplane::{Affinities, Forwarder, NatReturns, Worker};
use maglane_shared::addr::Protocol;
use maglane_shared::counters::{Counters, DropReason, Vitals};
use maglane_shared::facts::Facts;
use maglane_shared::next_hop::PortIndex;
use maglane_shared::policy::{AffinityTimeout, IdleTimeout, Policy, Removal, SourceRanges};
use maglane_shared::publish::channel;
use maglane_shared::service::ForwardingMode;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::frame::{self, Says, arp, icmp, icmp_error, tcp, udp};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// New and old flows in every mode and family, replies, errors, fragments, answers, rubbish.
fn traffic() -> Vec<(PortIndex, Vec<u8>)> {
    let mut frames = vec![];
    for n in 0..200u16 {
        let (v4, v6) = (
            format!("203.0.113.7:{}", 1024 + n),
            format!("[2001:db8:9::7]:{}", 1024 + n),
        );
        for mode in 0..5 {
            let (vip4, vip6) = (format!("192.0.2.1{mode}:80"), format!("[2001:db8::1{mode}]:80"));
            for flags in ["S", "A", "FA", "R"] {
                frames.push((CLIENTS, tcp(&v4, &vip4, flags).bytes()));
                frames.push((CLIENTS, tcp(&v6, &vip6, flags).bytes()));
            }
            // A few that never open or close, so that they meet every table.
            let lasting = format!("203.0.113.8:{}", 1024 + n % 20);
            frames.push((CLIENTS, tcp(&lasting, &vip4, "A").bytes()));
            frames.push((CLIENTS, tcp(&v4, &vip4, "A").data(1470).bytes()));
            frames.push((CLIENTS, tcp(&v4, &vip4, "A").ttl(1).bytes()));
            let error = icmp_error("203.0.113.9", Says::TooBig(1400), &tcp(&vip4, &v4, "A"), 28);
            frames.push((CLIENTS, error.bytes()));
        }
        let asker = ([2; 6], "203.0.113.7");
        frames.push((CLIENTS, arp([0xff; 6], 1, asker, ([0; 6], "192.0.2.10"))));
        frames.push((CLIENTS, arp([0xff; 6], 2, ([2; 6], "192.0.2.11"), asker)));
        let target = "2001:db8::10".parse::<std::net::Ipv6Addr>().unwrap().octets();
        let asks = icmp("2001:db8:9::7", "2001:db8::10", 135, 0, 0).payload(&target);
        frames.push((CLIENTS, asks.ttl(255).bytes()));
        let dnat = tcp("10.0.0.1:8080", &v4, "SA").macs(frame::PORT1, [2; 6]);
        frames.push((BACKENDS, dnat.bytes()));
        let nat = tcp(
            "10.0.0.1:8080",
            &format!("198.51.100.1:{}", 15_000 + n * 70),
            "SA",
        );
        frames.push((BACKENDS, nat.macs(frame::PORT1, [2; 6]).bytes()));
        let pieces = udp(&v4, "192.0.2.10:80")
            .fragmentable()
            .id(n)
            .data(64)
            .fragments(&[24]);
        frames.extend(pieces.into_iter().map(|piece| (CLIENTS, piece)));
    }
    frames.push((CLIENTS, frame::ping("203.0.113.1", "192.0.2.10").bytes()));
    frames.push((CLIENTS, vec![0xff; 60]));
    frames
}

#[test]
fn a_worker_allocates_nothing_after_start() {
    let services: Vec<Service> = (0..10)
        .map(|n| {
            let mode = ForwardingMode::ALL[n % 5];
            let (vip, backends) = if n < 5 {
                (format!("192.0.2.1{n}:80"), ["10.0.0.1:8080", "10.0.0.2:8080"])
            } else {
                (
                    format!("[2001:db8::1{}]:80", n - 5),
                    ["[2001:db8:a::1]:8080", "[2001:db8:a::2]:8080"],
                )
            };
            let mut service = Service::new(&vip, Protocol::Tcp, mode, &backends);
            // Half of them ask for all there is.
            if n % 2 == 0 {
                let ranges = ["203.0.113.0/24", "2001:db8:9::/48"].map(|net| net.parse().unwrap());
                service.policy = Policy {
                    sources: Some(SourceRanges::new(ranges)),
                    affinity: AffinityTimeout::from_secs(1),
                    idle: IdleTimeout::from_secs(1),
                    removal: Removal::Reset,
                    mss: NonZeroU16::new(1200),
                    mtu: NonZeroU16::new(1300),
                };
            }
            service
        })
        .collect();
    let tables: Vec<_> = (0..64)
        .map(|generation| {
            let mut services = services.clone();
            // The first backends come and go.
            for service in &mut services {
                service.backends[0].3 = (generation / 2) as u32 + 1;
            }
            Arc::new(common::table(generation, &services))
        })
        .collect();
    let (mut publisher, mut readers) = channel(&tables[0], 1);
    let watch = Watch {
        vitals: Arc::new(Vitals::default()),
        counters: Arc::new(Counters::new(64, 1024)),
        facts: Arc::new(Facts::default()),
    };
    // A small flow table, so that entries are evicted; a dump is running, too.
    let mut config = config();
    config.flow_table_size = 1024;
    let (c, f) = (Arc::clone(&watch.counters), Arc::clone(&watch.facts));
    let (returns, affinities) = (Arc::new(NatReturns::new(1024)), Arc::new(Affinities::new(64)));
    let (owned, fence) = common::owning(&services);
    let forwarder = Forwarder::new(&config, 0, returns, affinities, c, f).answering(owned, fence);
    let queue = MemQueue::new(2, 256);
    let reader = readers.remove(0);
    let mut worker = Worker::new(
        queue,
        forwarder,
        reader,
        watch.clone(),
        config.poll,
        Instant::now(),
    );
    let traffic = traffic();
    watch.facts.dump_request.ask();

    let region = Region::new(GLOBAL);
    for table in &tables[..20] {
        publisher.publish(table);
        for batch in traffic.chunks(64) {
            for (port, bytes) in batch {
                assert!(worker.queue_mut().deliver(*port, bytes));
            }
            worker.turn();
            while worker.queue_mut().collect(|_, _| ()).is_some() {}
        }
        worker.turn();
    }
    let change = region.change();
    assert_eq!(
        (change.allocations, change.reallocations, change.deallocations),
        (0, 0, 0)
    );
    let counters = &watch.counters;
    assert!(counters.tx_packets.get() > 20_000 && counters.replies.get() > 0 && counters.dropped() > 0);
    assert!(counters.flow_evictions.get() > 0 && counters.flow_inserts.get() > 1000);
    assert!(counters.affinity_hits.get() > 0 && counters.affinity_misses.get() > 0);
    assert!(counters.resets.get() > 0 && counters.neighbor_answers.get() > 0);
    assert!(counters.drops[DropReason::NeighborConflict as usize].get() > 0);
}
