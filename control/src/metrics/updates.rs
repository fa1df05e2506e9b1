//! How long news takes from the control loop's ear to the last worker's table. Shared with whoever shows it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use maglane_shared::table::Generation;

/// Upper bounds, microseconds; one bucket more takes the rest.
const BOUNDS: [u64; 20] = [
    100, 200, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 50_000, 100_000,
    200_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
];

/// A histogram that one thread fills and any reads.
#[derive(Debug, Default)]
pub struct UpdateTimes {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

impl UpdateTimes {
    pub fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < us);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Upper bound in microseconds and count of each bucket; `u64::MAX` is the last bound.
    pub fn counts(&self) -> Vec<(u64, u64)> {
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        BOUNDS.into_iter().chain([u64::MAX]).zip(counts).collect()
    }

    /// The same in seconds.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let seconds = |us| if us == u64::MAX { f64::MAX } else { us as f64 / 1e6 };
        self.counts()
            .into_iter()
            .map(|(us, count)| (seconds(us), count))
            .collect()
    }

    pub(super) fn sum(&self) -> f64 {
        self.sum_us.load(Ordering::Relaxed) as f64 / 1e6
    }
}

/// Publications that some worker does not run yet.
#[derive(Debug, Default)]
pub struct Pending {
    waiting: VecDeque<(Generation, Duration)>,
    pub times: Arc<UpdateTimes>,
}

impl Pending {
    /// `heard` is when the news that it is made of came in.
    pub fn published(&mut self, generation: Generation, heard: Duration) {
        self.waiting.push_back((generation, heard));
    }

    /// `running` is the oldest generation that any worker runs.
    pub fn look(&mut self, running: Generation, now: Duration) {
        while let Some((_, heard)) = self
            .waiting
            .pop_front_if(|(generation, _)| *generation <= running)
        {
            self.times.observe(now.saturating_sub(heard));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_timed_until_the_last_worker_runs_it() {
        let ms = Duration::from_millis;
        let mut pending = Pending::default();
        pending.published(Generation(1), ms(10));
        pending.published(Generation(2), ms(12));
        pending.look(Generation(0), ms(13));
        assert!(!pending.is_empty());
        // A worker may step over one.
        pending.look(Generation(2), ms(14));
        assert!(pending.is_empty());
        let counted = |bound: f64| {
            pending
                .times
                .buckets()
                .iter()
                .find(|(b, _)| *b == bound)
                .unwrap()
                .1
        };
        assert_eq!((counted(0.002), counted(0.004)), (1, 1));
        assert!((pending.times.sum() - 0.006).abs() < 1e-9);
        pending.times.observe(Duration::from_secs(60));
        assert_eq!(counted(f64::MAX), 1);
    }
}
