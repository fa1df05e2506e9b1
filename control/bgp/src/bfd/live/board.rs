//! What the liveness thread writes and anybody reads, without a lock: one board a session, one for the thread.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::bfd::{Change, Diagnostic, Discard, Malformed, Micros, Session, State};

/// Packets that were not for a session, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discards {
    pub malformed: u64,
    /// From too far away: forged, or a router between.
    pub ttl: u64,
    pub source: u64,
    pub discriminator: u64,
    pub authenticated: u64,
    pub interface: u64,
}

/// A session as an operator sees it. State, diagnostic, `remote_admin_down` and `failures` are of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub state: State,
    pub diagnostic: Diagnostic,
    /// The peer said AdminDown: no reason to take BGP down (RFC 5882 §4.2).
    pub remote_admin_down: bool,
    /// How often the session was Up and ended for a reason that takes BGP down. Whoever saw a smaller
    /// number has missed a failure, even if the session is Up again.
    pub failures: u32,
    pub ups: u64,
    pub downs: u64,
    pub sent: u64,
    pub send_errors: u64,
    pub received: u64,
    pub discards: Discards,
    /// How often we send; `None` while the peer wants nothing.
    pub transmit_interval: Option<Micros>,
    /// How long the peer may be silent; `None` before it was heard.
    pub detection_time: Option<Micros>,
}

/// The list of [`Discards`], as counted.
#[derive(Debug, Default)]
pub(super) struct DiscardCounters([AtomicU64; 6]);

impl DiscardCounters {
    pub(super) fn count(&self, discard: Discard) {
        self.0[place(discard)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Discards {
        let at = |place: usize| self.0[place].load(Ordering::Relaxed);
        Discards {
            malformed: at(0),
            ttl: at(1),
            source: at(2),
            discriminator: at(3),
            authenticated: at(4),
            interface: at(5),
        }
    }
}

const fn place(discard: Discard) -> usize {
    match discard {
        Discard::Malformed(
            Malformed::Version
            | Malformed::TooShort
            | Malformed::Truncated
            | Malformed::ZeroMultiplier
            | Malformed::Multipoint
            | Malformed::ZeroDiscriminator,
        ) => 0,
        Discard::Ttl => 1,
        Discard::Source => 2,
        Discard::Discriminator | Discard::DiscriminatorMissing => 3,
        Discard::Authenticated => 4,
        Discard::Interface => 5,
    }
}

#[derive(Debug)]
pub(super) struct Board {
    /// From the lowest bit: state 2, diagnostic 5, remote AdminDown 1; failures in the upper half.
    word: AtomicU64,
    ups: AtomicU64,
    downs: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) send_errors: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) discards: DiscardCounters,
    /// Microseconds; `u64::MAX` for none.
    transmit_interval: AtomicU64,
    detection_time: AtomicU64,
}

impl Board {
    pub(super) fn new() -> Self {
        Board {
            word: AtomicU64::new(State::Down as u64),
            ups: AtomicU64::new(0),
            downs: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            send_errors: AtomicU64::new(0),
            received: AtomicU64::new(0),
            discards: DiscardCounters::default(),
            transmit_interval: AtomicU64::new(u64::MAX),
            detection_time: AtomicU64::new(u64::MAX),
        }
    }

    pub(super) fn note(&self, change: Change) {
        let mut failures = self.word.load(Ordering::Relaxed) >> 32;
        if change.to == State::Up {
            self.ups.fetch_add(1, Ordering::Relaxed);
        }
        if change.from == State::Up {
            self.downs.fetch_add(1, Ordering::Relaxed);
            if change.to != State::AdminDown && !change.remote_admin_down {
                failures += 1;
            }
        }
        let word = change.to as u64
            | u64::from(change.diagnostic.code()) << 2
            | u64::from(change.remote_admin_down) << 7
            | failures << 32;
        // Release: whoever sees the change sees the counters that go with it.
        self.word.store(word, Ordering::Release);
    }

    pub(super) fn note_intervals(&self, session: &Session) {
        let span = |micros: Option<Micros>| micros.map_or(u64::MAX, |micros| micros.0);
        self.transmit_interval
            .store(span(session.transmit_interval()), Ordering::Relaxed);
        self.detection_time
            .store(span(session.detection_time()), Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Status {
        let word = self.word.load(Ordering::Acquire);
        let at = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let span = |slot: &AtomicU64| Some(Micros(at(slot))).filter(|micros| micros.0 != u64::MAX);
        Status {
            state: State::from_bits(word as u8),
            diagnostic: Diagnostic::from_bits((word >> 2) as u8 & 0x1f),
            remote_admin_down: word >> 7 & 1 == 1,
            failures: (word >> 32) as u32,
            ups: at(&self.ups),
            downs: at(&self.downs),
            sent: at(&self.sent),
            send_errors: at(&self.send_errors),
            received: at(&self.received),
            discards: self.discards.read(),
            transmit_interval: span(&self.transmit_interval),
            detection_time: span(&self.detection_time),
        }
    }
}

/// The thread itself.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    pub(super) silent: AtomicBool,
    /// How often forwarding was lost.
    pub(super) losses: AtomicU32,
    /// Packets that belong to no session at all.
    pub(super) strays: DiscardCounters,
}
