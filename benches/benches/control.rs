//! From news to the table: the controller with all that follows from an event, publication apart.
//! The goals: 99 of 100 changes of a slice within 5 ms among 1,000 Services of 20 endpoints and within
//! 20 ms among 10,000 of 100; the first picture of the latter within 5 s.

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use maglane_benches::cluster::Cluster;
use maglane_benches::timing::criterion;

const SIZES: [Cluster; 2] = [
    Cluster {
        services: 1000,
        endpoints: 20,
    },
    Cluster {
        services: 10_000,
        endpoints: 100,
    },
];

fn id(what: &str, cluster: Cluster) -> String {
    format!("{what}/{} x {}", cluster.services, cluster.endpoints)
}

/// Each Service in turn loses its last endpoint, or has it back.
fn one_slice(c: &mut Criterion) {
    for cluster in SIZES {
        let mut controller = cluster.controller();
        let (mut turn, mut spent) = (0, vec![]);
        c.bench_function(&id("control/one slice changed", cluster), |b| {
            b.iter_custom(|iterations| {
                let before = spent.len();
                for _ in 0..iterations {
                    let lost = 1 - turn / cluster.services % 2;
                    let event = cluster.slice(turn % cluster.services, cluster.endpoints - lost);
                    turn += 1;
                    let start = Instant::now();
                    controller.step(event, Duration::from_secs(2));
                    spent.push(start.elapsed());
                }
                spent[before..].iter().sum()
            })
        });
        spent.sort_unstable();
        let centile = |n: usize| spent[spent.len() * n / 100];
        println!(
            "  of {}: median {:?}, 99th centile {:?}",
            spent.len(),
            centile(50),
            centile(99)
        );
    }
}

/// The first picture of a cluster, as one batch.
fn cold(c: &mut Criterion) {
    let [small, large] = SIZES;
    c.bench_function(&id("control/cold", small), |b| {
        b.iter_custom(|iterations| (0..iterations).map(|_| cold_once(small)).sum())
    });
    // Once is enough of what takes seconds.
    println!(
        "control/cold/{} x {}: {:?}",
        large.services,
        large.endpoints,
        cold_once(large)
    );
}

fn cold_once(cluster: Cluster) -> Duration {
    let (mut controller, events) = (cluster.empty(), cluster.events());
    let start = Instant::now();
    controller.step_all(events, Duration::from_secs(1));
    start.elapsed()
}

criterion_group! { name = benches; config = criterion(); targets = one_slice, cold }
criterion_main!(benches);
