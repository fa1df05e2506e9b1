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

/// The median of five runs of each job, the jobs in turn, so that the machine's moods meet all of them.
pub fn medians<const N: usize>(mut jobs: [&mut dyn FnMut() -> f64; N]) -> [f64; N] {
    let mut runs = [[0.0; 5]; N];
    for turn in 0..5 {
        for (job, runs) in jobs.iter_mut().zip(&mut runs) {
            runs[turn] = job();
        }
    }
    runs.map(|mut runs| {
        runs.sort_by(f64::total_cmp);
        runs[2]
    })
}

/// Nanoseconds that one of `count` calls takes.
pub fn ns_each<T>(count: u32, mut call: impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        std::hint::black_box(call());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

/// Microseconds that a call takes: the median of 21, for calls long enough to lose their core.
pub fn median_us<T>(mut call: impl FnMut() -> T) -> f64 {
    let mut calls: [f64; 21] = std::array::from_fn(|_| ns_each(1, &mut call) / 1000.0);
    calls.sort_by(f64::total_cmp);
    calls[10]
}
