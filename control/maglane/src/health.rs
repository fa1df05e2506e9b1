//! Is the process alive, and is it ready? Written by the control loop and the liveness thread, read by `/livez`,
//! `/readyz` and `maglane status`.
//!
//! Forwarding, which BFD attests: the program is attached and every worker turns; the control loop has no part in it.
//! Live: the control loop turns and every worker's heartbeat moves. Ready: live, the program attached, the
//! source read once, and every worker on the first table made from it (invariant 6: not a moment earlier).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use maglane_bgp::bfd::live::Forwarding;
use maglane_shared::counters::Vitals;
use maglane_shared::table::Generation;

/// A heart that stands still for this long is reported. Workers wake at least ten times as often.
pub const STALE_AFTER: Duration = Duration::from_secs(1);

/// A worker that stands still for this long does not forward. Longer than one period of the kernel's CPU bandwidth
/// control (100 ms) and a worker's longest sleep (10 ms) together; short enough to leave routers 90 of the 250 ms
/// within which such a node must carry no traffic (FAILURES P1).
pub const WEDGED_AFTER: Duration = Duration::from_millis(150);

/// Time that the liveness thread did not see pass: a stopped process, a paused machine. It is held against nobody.
const BLACKOUT: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub struct Health {
    started: Instant,
    hearts: Vec<Heart>,
    control: Heart,
    control_beats: AtomicU64,
    /// Milliseconds since start.
    looked: AtomicU64,
    attached: AtomicBool,
    stopping: AtomicBool,
    /// The first generation that holds everything the source had.
    first_synced: OnceLock<Generation>,
}

/// One heart: its beats are counted elsewhere, here is when they last moved.
#[derive(Debug)]
struct Heart {
    name: String,
    vitals: Option<Arc<Vitals>>,
    seen: AtomicU64,
    /// Milliseconds since start.
    moved: AtomicU64,
}

impl Heart {
    fn new(name: String, vitals: Option<Arc<Vitals>>) -> Heart {
        Heart {
            name,
            vitals,
            seen: AtomicU64::new(0),
            moved: AtomicU64::new(0),
        }
    }

    fn look(&self, beats: u64, now_ms: u64) {
        if self.seen.swap(beats, Ordering::Relaxed) != beats {
            self.moved.store(now_ms, Ordering::Relaxed);
        }
    }

    /// As if `gap_ms` had not passed.
    fn forgive(&self, gap_ms: u64) {
        self.moved.fetch_add(gap_ms, Ordering::Relaxed);
    }

    fn still_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.moved.load(Ordering::Relaxed))
    }

    fn problem(&self, now_ms: u64) -> Option<String> {
        let still = self.still_ms(now_ms);
        (still > STALE_AFTER.as_millis() as u64)
            .then(|| format!("{} has not turned for {still} ms", self.name))
    }
}

impl Health {
    pub fn new(vitals: &[Arc<Vitals>]) -> Health {
        let heart = |(i, v): (usize, &Arc<Vitals>)| Heart::new(format!("worker {i}"), Some(Arc::clone(v)));
        Health {
            started: Instant::now(),
            hearts: vitals.iter().enumerate().map(heart).collect(),
            control: Heart::new("the control loop".to_owned(), None),
            control_beats: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            attached: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            first_synced: OnceLock::new(),
        }
    }

    /// The control loop has turned.
    pub fn control_beat(&self) {
        self.control_beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Is the steering program on every interface?
    pub fn attached(&self, attached: bool) {
        self.attached.store(attached, Ordering::Release);
    }

    /// The source has been read to its end, and `generation` is the first table made from all of it.
    pub fn synced(&self, generation: Generation) {
        // Only the first counts; a later one is no error.
        let _ = self.first_synced.set(generation);
    }

    /// Not ready from now on.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// For the liveness thread: notes which hearts have moved. No lock, no allocation, no system call.
    pub fn look(&self) -> Forwarding {
        let now_ms = self.now_ms();
        let gap_ms = now_ms.saturating_sub(self.looked.swap(now_ms, Ordering::Relaxed));
        self.look_at(now_ms, gap_ms)
    }

    fn look_at(&self, now_ms: u64, gap_ms: u64) -> Forwarding {
        if gap_ms > BLACKOUT.as_millis() as u64 {
            self.hearts.iter().for_each(|heart| heart.forgive(gap_ms));
        }
        self.control
            .look(self.control_beats.load(Ordering::Relaxed), now_ms);
        for heart in &self.hearts {
            heart.look(heart.vitals.as_ref().map_or(0, |v| v.heartbeat()), now_ms);
        }
        let wedged = |heart: &Heart| heart.still_ms(now_ms) > WEDGED_AFTER.as_millis() as u64;
        if self.attached.load(Ordering::Acquire) && !self.hearts.iter().any(wedged) {
            Forwarding::Works
        } else {
            Forwarding::Stuck
        }
    }

    /// What is wrong with the process; empty = alive.
    pub fn live(&self) -> Vec<String> {
        let now_ms = self.now_ms();
        std::iter::once(&self.control)
            .chain(&self.hearts)
            .filter_map(|heart| heart.problem(now_ms))
            .collect()
    }

    /// What stands between us and traffic; empty = ready.
    pub fn ready(&self) -> Vec<String> {
        let mut problems = self.live();
        if self.stopping.load(Ordering::Acquire) {
            problems.push("stopping".to_owned());
        }
        if !self.attached.load(Ordering::Acquire) {
            problems.push("the steering program is not attached".to_owned());
        }
        match self.first_synced.get() {
            None => problems.push("the manifests have not been read yet".to_owned()),
            Some(first) => problems.extend(self.hearts.iter().filter_map(|heart| lagging(heart, *first))),
        }
        problems
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

fn lagging(heart: &Heart, first: Generation) -> Option<String> {
    let runs = heart.vitals.as_ref()?.generation();
    (runs < first).then(|| format!("{} runs generation {}, not yet {}", heart.name, runs.0, first.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_the_last_thing_to_become_true() {
        let vitals = [Arc::new(Vitals::default()), Arc::new(Vitals::default())];
        let health = Health::new(&vitals);
        assert_eq!(
            health.ready(),
            [
                "the steering program is not attached",
                "the manifests have not been read yet"
            ]
        );
        health.attached(true);
        health.synced(Generation(2));
        vitals[0].run(Generation(2));
        assert_eq!(health.ready(), ["worker 1 runs generation 0, not yet 2"]);
        vitals[1].run(Generation(3));
        assert!(health.ready().is_empty() && health.live().is_empty());
        health.stopping();
        assert_eq!(health.ready(), ["stopping"]);
    }

    #[test]
    fn forwarding_stops_with_one_worker_or_the_program_and_not_with_the_control_loop() {
        let vitals = [Arc::new(Vitals::default()), Arc::new(Vitals::default())];
        let health = Health::new(&vitals);
        assert_eq!(health.look_at(0, 0), Forwarding::Stuck, "no program yet");
        health.attached(true);
        let mut now = 0;
        let mut pass = |ms: u64, beating: &[usize]| {
            let mut forwarding = Forwarding::Stuck;
            for _ in 0..ms / 10 {
                now += 10;
                beating.iter().for_each(|worker| vitals[*worker].beat());
                forwarding = health.look_at(now, 10);
            }
            forwarding
        };
        assert_eq!(pass(5000, &[0, 1]), Forwarding::Works, "without a control loop");
        assert_eq!(pass(150, &[0]), Forwarding::Works);
        assert_eq!(pass(10, &[0]), Forwarding::Stuck);
        assert_eq!(pass(10, &[0, 1]), Forwarding::Works);
        health.attached(false);
        assert_eq!(pass(10, &[0, 1]), Forwarding::Stuck);
        health.attached(true);
        assert_eq!(
            health.look_at(9_000, 3_800),
            Forwarding::Works,
            "the whole process was stopped"
        );
    }

    #[test]
    fn a_heart_that_stands_still_is_named() {
        let heart = Heart::new("worker 7".to_owned(), None);
        heart.look(1, 10);
        heart.look(1, 900);
        assert_eq!(heart.problem(1000), None);
        assert_eq!(
            heart.problem(1011).as_deref(),
            Some("worker 7 has not turned for 1001 ms")
        );
        heart.look(2, 1011);
        assert_eq!(heart.problem(1012), None);
    }
}
