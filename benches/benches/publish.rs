//! Publication: what a new table costs the publisher, and the worker that takes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use maglane_benches::timing::criterion;
use maglane_shared::publish;

fn publication(c: &mut Criterion) {
    let values = [Arc::new(0u64), Arc::new(1)];
    let (mut publisher, mut readers) = publish::channel(&values[0], 1);
    let mut turn = 0;
    c.bench_function("publish/publish to one reader", |b| {
        b.iter(|| {
            turn ^= 1;
            publisher.publish(&values[turn]);
        })
    });
    let reader = &mut readers[0];
    reader.refresh();
    c.bench_function("publish/refresh, nothing new", |b| b.iter(|| reader.refresh()));
    c.bench_function("publish/refresh, a new table", |b| {
        b.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for i in 0..iterations {
                publisher.publish(&values[i as usize % 2]);
                let start = Instant::now();
                std::hint::black_box(reader.refresh());
                spent += start.elapsed();
            }
            spent
        })
    });
}

criterion_group! { name = benches; config = criterion(); targets = publication }
criterion_main!(benches);
