//! Building and reading Maglev tables, against the crate `maglev-hash`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use maglane_benches::scene::members;
use maglane_benches::timing::criterion;
use maglane_shared::flow::{FlowHash, HashKey};
use maglane_shared::maglev::{MaglevTable, Member};

fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("maglev/build");
    for (backends, size) in [
        (2, 251),
        (10, 1021),
        (100, 16_381),
        (1000, 65_537),
        (1000, 131_071),
    ] {
        let members = members(backends);
        group.bench_function(BenchmarkId::new(format!("{backends} backends"), size), |b| {
            b.iter(|| MaglevTable::build(black_box(&members), size, &HashKey::default()))
        });
    }
    for (name, weight) in [
        ("1 to 4", (|i| i % 4 + 1) as fn(u16) -> u16),
        ("one heavy", |i| 1 + i / 999 * 999),
    ] {
        let weigh = |(member, i): (Member, u16)| Member {
            weight: weight(i),
            ..member
        };
        let members: Vec<Member> = members(1000).into_iter().zip(0..).map(weigh).collect();
        group.bench_function(
            BenchmarkId::new(format!("1000 backends, weights {name}"), 65_537),
            |b| b.iter(|| MaglevTable::build(black_box(&members), 65_537, &HashKey::default())),
        );
    }
    let names: Vec<String> = members(1000).into_iter().map(|m| m.identity.into()).collect();
    group.bench_function(BenchmarkId::new("maglev-hash, 1000 backends", 65_537), |b| {
        b.iter(|| maglev_hash::MaglevTable::with_capacity(black_box(names.clone()), 65_537))
    });
}

fn lookup(c: &mut Criterion) {
    let mut group = c.benchmark_group("maglev/lookup");
    for (backends, size) in [(10, 1021), (1000, 65_537)] {
        let table = MaglevTable::build(&members(backends), size, &HashKey::default());
        let mut hash = FlowHash(1);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                hash.0 = hash.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
                table.lookup(hash)
            })
        });
    }
    let names: Vec<String> = members(1000).into_iter().map(|m| m.identity.into()).collect();
    let theirs = maglev_hash::MaglevTable::with_capacity(names, 65_537);
    let mut flow = 1u64;
    group.bench_function("maglev-hash, hashing included", |b| {
        b.iter(|| {
            flow = flow.wrapping_add(0x9e37_79b9);
            theirs.get(&flow).map(String::len)
        })
    });
}

criterion_group! { name = benches; config = criterion(); targets = build, lookup }
criterion_main!(benches);
