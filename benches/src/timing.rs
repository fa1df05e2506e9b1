//! Measuring: short criterion runs, and medians for the report.

use std::time::{Duration, Instant};

use criterion::Criterion;

/// Criterion with runs short enough that all benches together take a few minutes.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .without_plots()
}

/// The median of five runs.
pub fn median(mut run: impl FnMut() -> f64) -> f64 {
    let mut runs: [f64; 5] = std::array::from_fn(|_| run());
    runs.sort_by(f64::total_cmp);
    runs[2]
}

/// Nanoseconds that one of `count` calls takes.
pub fn ns_each<T>(count: u32, mut call: impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        std::hint::black_box(call());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}
