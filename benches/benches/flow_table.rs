//! The flow table alone, a hit and a miss, from inside the cache to far outside, with and without prefetch.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use maglane_benches::scene::v4;
use maglane_benches::timing::criterion;
use maglane_benches::traffic::Order;
use maglane_dataplane::config::Timeouts;
use maglane_dataplane::flow_table::{FlowEntry, FlowId, FlowTable, Translation};
use maglane_shared::counters::FlowState;
use maglane_shared::flow::FlowHash;
use maglane_shared::next_hop::HopIndex;
use maglane_shared::service::{BackendId, ServiceId};
use maglane_shared::tick::Tick;

/// As a batch of the worker.
const BATCH: usize = 64;

fn id(flow: u32) -> FlowId {
    FlowId {
        client: v4(0x6400_0000 + flow),
        service: ServiceId { slot: 0, epoch: 1 },
        client_port: 40_000,
    }
}

fn hash(flow: u32) -> FlowHash {
    let mixed = (u64::from(flow) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    FlowHash(
        (mixed ^ mixed >> 29)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
            .rotate_left(31),
    )
}

fn filled(flows: u32) -> FlowTable {
    let mut table = FlowTable::new(flows as usize * 2, Timeouts::default());
    for flow in 0..flows {
        let entry = FlowEntry {
            id: id(flow),
            backend: BackendId { slot: 0, epoch: 1 },
            last_seen: Tick(1),
            routes: 1,
            translation: Translation::None,
            hop: HopIndex(0),
            idle: None,
            nat_port: 0,
            nat_address: 0,
            state: FlowState::Established,
        };
        // A bucket may be full: a few flows in a million then are misses.
        let _ = table.insert(hash(flow), entry, Tick(1), |_| {});
    }
    table
}

fn find(table: &FlowTable, batch: &[u32; BATCH]) -> usize {
    batch
        .iter()
        .filter(|&&flow| table.find(hash(flow), &id(flow)).is_some())
        .count()
}

/// 64 look-ups an iteration: divide by 64.
fn lookups(c: &mut Criterion) {
    let mut group = c.benchmark_group("flow_table/64 look-ups");
    for flows in [1 << 10, 1 << 16, 1 << 20] {
        let table = filled(flows);
        let mut order = Order::new(flows);
        let mut batch = move |beyond: u32| -> [u32; BATCH] {
            std::array::from_fn(|_| order.next().unwrap_or(0) + beyond)
        };
        group.bench_function(BenchmarkId::new("hit", flows), |b| {
            b.iter(|| find(&table, black_box(&batch(0))))
        });
        group.bench_function(BenchmarkId::new("hit, prefetched", flows), |b| {
            b.iter(|| {
                let batch = batch(0);
                batch.iter().for_each(|&flow| table.prefetch_tags(hash(flow)));
                let guesses = batch.map(|flow| table.approach(hash(flow)));
                let found = |(&flow, guess)| table.find_near(guess, hash(flow), &id(flow)).is_some();
                batch.iter().zip(guesses).filter(|pair| found(*pair)).count()
            })
        });
        group.bench_function(BenchmarkId::new("miss", flows), |b| {
            b.iter(|| find(&table, black_box(&batch(flows))))
        });
    }
}

criterion_group! { name = benches; config = criterion(); targets = lookups }
criterion_main!(benches);
