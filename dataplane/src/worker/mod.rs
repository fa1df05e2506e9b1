//! The one poll loop: takes the newest table, a batch of frames, carries each to its verdict, sends.
//!
//! After [`Worker::run`] has pinned its thread it never blocks (but for the bounded wait when idle), allocates,
//! takes a lock or logs. A turn reads the clock once and beats the heart once, an empty turn too, so whoever
//! watches [`Vitals`] learns of a stuck worker within milliseconds (FAILURES P1).

mod batch;
mod dump;

use std::sync::Arc;
use std::time::{Duration, Instant};

use maglane_shared::counters::{CENSUS_MS, Counters, FramePlace, Vitals};
use maglane_shared::facts::Facts;
use maglane_shared::publish::{Reader, Refresh};
use maglane_shared::table::ForwardingTable;
use maglane_shared::tick::Tick;
use maglane_xsk::XskError;

use crate::config::{MAX_BATCH, Poll, Wait};
use crate::forward::Forwarder;
use crate::queue::{Queue, Received};
use dump::Dump;

/// Longest sleep. It bounds how late an idle worker takes a new table and how long its heart rests.
const SLEEP: Duration = Duration::from_millis(10);

/// What a worker shares with those who watch it.
#[derive(Clone, Debug)]
pub struct Watch {
    pub vitals: Arc<Vitals>,
    pub counters: Arc<Counters>,
    pub facts: Arc<Facts>,
}

/// One worker, not yet on its core.
#[derive(Debug)]
pub struct Worker<Q> {
    queue: Q,
    forwarder: Forwarder,
    tables: Reader<ForwardingTable>,
    watch: Watch,
    poll: Poll,
    clock: Clock,
    received: Vec<Received>,
    dump: Dump,
}

/// Time as one worker sees it.
#[derive(Debug)]
struct Clock {
    /// Tick 0; the same for all workers, who compare ticks in [`crate::NatReturns`].
    origin: Instant,
    /// Start of the turn, or the end of the sleep before it.
    turn: Instant,
    last_packet: Instant,
    last_census: Tick,
}

impl<Q: Queue> Worker<Q> {
    /// `origin` is when the process started to count ticks, the same for all workers.
    pub fn new(
        queue: Q,
        forwarder: Forwarder,
        tables: Reader<ForwardingTable>,
        watch: Watch,
        poll: Poll,
        origin: Instant,
    ) -> Self {
        let dump = Dump::new(forwarder.index(), watch.facts.dump_request.current());
        let mut worker = Worker {
            queue,
            forwarder,
            tables,
            watch,
            poll: Poll {
                batch: poll.batch.clamp(1, MAX_BATCH),
                ..poll
            },
            clock: Clock {
                origin,
                turn: origin,
                last_packet: origin,
                last_census: Tick(0),
            },
            received: Vec::with_capacity(MAX_BATCH),
            dump,
        };
        worker.report_generation();
        worker
    }

    /// Runs until [`Vitals::stop`]; gives the queue back, so that whoever opened it closes it.
    pub fn run(mut self) -> Result<Q, XskError> {
        if let Some(core) = self.poll.core {
            maglane_xsk::pin_current_thread(core)?;
        }
        self.clock.turn = Instant::now();
        while !self.watch.vitals.stopped() {
            if self.turn() == 0 {
                self.rest();
            }
        }
        Ok(self.queue)
    }

    /// One turn; gives the number of frames received.
    pub fn turn(&mut self) -> usize {
        let now = self.start_turn();
        if self.tables.refresh() == Refresh::Changed {
            self.report_generation();
        }
        let count = self.queue.receive(&mut self.received, self.poll.batch);
        self.count_turn(count);
        if count > 0 {
            self.carry(now);
        }
        self.queue.flush();
        self.forwarder.sweep(now);
        self.dump.serve(&self.forwarder, &self.watch.facts, now);
        if now.since(self.clock.last_census) >= CENSUS_MS {
            self.clock.last_census = now;
            self.count_frames();
        }
        count
    }

    pub fn queue_mut(&mut self) -> &mut Q {
        &mut self.queue
    }

    /// One clock read; also how long the last turn took, being kept off the core included (FAILURES P6).
    fn start_turn(&mut self) -> Tick {
        let now = Instant::now();
        let gap = now.duration_since(self.clock.turn).as_micros() as u64;
        self.clock.turn = now;
        if gap > self.watch.counters.longest_gap_us.get() {
            self.watch.counters.longest_gap_us.set(gap);
        }
        self.watch.vitals.beat();
        Tick(now.duration_since(self.clock.origin).as_millis() as u32)
    }

    fn report_generation(&mut self) {
        if let Some(table) = self.tables.get() {
            self.watch.vitals.run(table.generation);
        }
    }

    /// Shows where every frame is (invariant 5), for the metrics.
    fn count_frames(&self) {
        let census = self.queue.census();
        let counters = &self.watch.counters;
        for place in FramePlace::ALL {
            let count = match place {
                FramePlace::Free => census.free,
                FramePlace::Fill => census.fill,
                FramePlace::Rx => census.rx,
                FramePlace::Tx => census.tx,
                FramePlace::Completion => census.completion,
                FramePlace::Held => census.held,
            };
            counters.frames[place as usize].set(count as u64);
        }
        counters.bad_descriptors.set(self.queue.bad_descriptors());
    }

    fn count_turn(&mut self, count: usize) {
        let counters = &self.watch.counters;
        match count.checked_ilog2() {
            None => counters.idle_turns.add(1),
            Some(size) => {
                counters.busy_turns.add(1);
                counters.batch_sizes[(size as usize).min(counters.batch_sizes.len() - 1)].add(1);
                self.clock.last_packet = self.clock.turn;
            }
        }
    }

    /// After a turn without frames: spin for a while, since packets come in trains, then sleep.
    fn rest(&mut self) {
        let spin = match self.poll.wait {
            Wait::Busy => Duration::MAX,
            Wait::Adaptive { spin_us } => Duration::from_micros(u64::from(spin_us)),
            Wait::Sleep => Duration::ZERO,
        };
        if self.dump.is_going() || self.clock.turn.duration_since(self.clock.last_packet) < spin {
            std::hint::spin_loop();
            return;
        }
        self.watch.counters.sleeps.add(1);
        self.queue.wait(SLEEP);
        self.clock.turn = Instant::now();
    }
}
