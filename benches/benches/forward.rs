//! The packet program: each mode, each direction, batch sizes, flows, services, backends; and the limit loop.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use maglane_benches::runs::{Direction, Known, LimitRun, Newcomers};
use maglane_benches::scene::Plan;
use maglane_benches::timing::criterion;
use maglane_benches::traffic::Kind;
use maglane_dataplane::config::MAX_BATCH;
use maglane_shared::service::ForwardingMode;

fn known(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, run: &mut Known, to: Direction, batch: usize) {
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |b| {
        b.iter_custom(|packets| run.carry(to, packets as u32, batch))
    });
}

fn modes(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward/64k flows");
    for mode in ForwardingMode::ALL {
        let mut run = Known::new(
            Plan {
                mode,
                ..Plan::default()
            },
            1 << 16,
        );
        known(
            &mut group,
            &format!("{mode}"),
            &mut run,
            Direction::ToBackend,
            MAX_BATCH,
        );
        if mode == ForwardingMode::Nat {
            known(
                &mut group,
                "nat, replies",
                &mut run,
                Direction::ToClient,
                MAX_BATCH,
            );
        }
    }
}

fn flows_and_batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward/ipip");
    for (name, flows) in [("1 flow", 1), ("64k flows", 1 << 16), ("1M flows", 1 << 20)] {
        let mut run = Known::new(Plan::default(), flows);
        for batch in [1, 32, 64] {
            known(
                &mut group,
                &format!("{name}, batch {batch}"),
                &mut run,
                Direction::ToBackend,
                batch,
            );
        }
        let mut limit = LimitRun::new(Plan::default(), flows);
        group.bench_function(format!("{name}, limit loop"), |b| {
            b.iter_custom(|packets| limit.carry(Kind::Data, packets as u32))
        });
    }
}

fn services_and_backends(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward/scale at 64k flows");
    for (services, backends) in [(1, 10), (10_000, 10), (1, 10_000)] {
        let mut run = Known::new(
            Plan {
                services,
                backends,
                ..Plan::default()
            },
            1 << 16,
        );
        let name = format!("{services} services, {backends} backends");
        known(&mut group, &name, &mut run, Direction::ToBackend, MAX_BATCH);
    }
}

fn newcomers(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward/new flows");
    group.throughput(Throughput::Elements(1));
    for mode in [ForwardingMode::Ipip, ForwardingMode::Nat] {
        let mut run = Newcomers::new(Plan {
            mode,
            ..Plan::default()
        });
        group.bench_function(format!("{mode}, SYN"), |b| {
            b.iter_custom(|packets| {
                let some = (packets as u32).min(1 << 20);
                run.carry(some).mul_f64(packets as f64 / f64::from(some))
            })
        });
    }
    let mut limit = LimitRun::new(Plan::default(), 1 << 20);
    group.bench_function("limit loop, SYN", |b| {
        b.iter_custom(|packets| limit.carry(Kind::Syn, packets as u32))
    });
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = modes, flows_and_batches, services_and_backends, newcomers
}
criterion_main!(benches);
