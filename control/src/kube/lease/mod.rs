//! Who writes: one process of many, by a Lease (coordination.k8s.io/v1). The pure core.
//!
//! `(answer, now) -> calls`. The rules of client-go's leaderelection: a holder counts as alive for its lease's
//! duration after *we* saw the record change, so clocks of two machines are never compared. Fencing: our own
//! right to write is counted from the moment before the renewal was sent and ends at the renew deadline,
//! which is shorter than the duration; nobody else can have taken the lease by then, whatever became of calls
//! without an answer. Times are monotonic, since start.

mod holder;
mod record;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use holder::{Election, Holder, Role, identity};
pub(crate) use record::{Record, Stored, WallTime};

use crate::error::ControlError;
use crate::kube::backoff::spread;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    pub namespace: String,
    pub name: String,
    /// How long others wait after they saw the holder's last sign.
    pub duration: Duration,
    /// How long the holder writes after its last renewal was sent.
    pub renew_deadline: Duration,
    pub retry: Duration,
}

impl LeaseSettings {
    pub fn new(namespace: &str, name: &str) -> LeaseSettings {
        LeaseSettings {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }

    /// With another duration, and all else in proportion.
    #[must_use]
    pub fn lasting(self, duration: Duration) -> LeaseSettings {
        LeaseSettings {
            duration,
            renew_deadline: duration * 2 / 3,
            retry: duration * 2 / 15,
            ..self
        }
    }

    pub fn check(&self) -> Result<(), ControlError> {
        let whole = self.duration.subsec_nanos() == 0 && self.duration.as_secs() > 0;
        // A renewal must have a second chance, and the deadline must leave time to those in flight.
        let fits = self.retry.saturating_mul(2) < self.renew_deadline
            && self.renew_deadline.saturating_mul(5) <= self.duration.saturating_mul(4);
        if whole && fits && !self.retry.is_zero() && self.duration.as_secs() <= MAX_SECONDS {
            return Ok(());
        }
        Err(ControlError::LeaseTimes {
            duration: self.duration,
            renew_deadline: self.renew_deadline,
            retry: self.retry,
        })
    }

    /// Of one call: the renewal after a lost one must still be in time.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.renew_deadline / 3
    }
}

/// A day; also keeps the seconds within the field's type.
const MAX_SECONDS: u64 = 86_400;

/// A call to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Get,
    Create(Record),
    Update(Stored),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The record as it now is: read, or just written.
    Stored(Stored),
    Missing,
    /// Somebody else was faster.
    Conflict,
    /// Refused, or no answer in time: it may or may not have been done.
    Unknown,
}

/// What we know of the stored record.
#[derive(Clone, Debug)]
enum Known {
    Nothing,
    Missing {
        since: Duration,
    },
    Stored {
        stored: Stored,
        /// When we saw it change.
        at: Duration,
    },
}

#[derive(Clone, Debug)]
struct Sent {
    at: Duration,
    /// Does it make us the holder?
    claims: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Elector {
    settings: LeaseSettings,
    identity: String,
    known: Known,
    /// When the last renewal that was answered had been sent.
    renewed: Option<Duration>,
    sent: Option<Sent>,
    due: Duration,
}

impl Elector {
    /// `identity` is of this process alone: never the node's name, which the next process has as well.
    pub fn new(settings: LeaseSettings, identity: String) -> Elector {
        Elector {
            settings,
            identity,
            known: Known::Nothing,
            renewed: None,
            sent: None,
            due: Duration::ZERO,
        }
    }

    /// Until when we may write, as far as is known now.
    pub fn until(&self) -> Option<Duration> {
        self.renewed.map(|renewed| renewed + self.settings.renew_deadline)
    }

    /// Who holds the lease, as last seen; empty when nobody does.
    pub fn holder(&self) -> &str {
        match &self.known {
            Known::Stored { stored, at: _ } => &stored.record.holder,
            Known::Nothing | Known::Missing { .. } => "",
        }
    }

    /// When [`Elector::call`] has something to do.
    pub fn due(&self) -> Duration {
        self.due
    }

    /// The call to make now. Its answer goes to [`Elector::answered`] before the next is asked for.
    /// `wall` is for people who read the record; nothing is decided by it.
    pub fn call(&mut self, now: Duration, wall: WallTime) -> Option<Call> {
        if now < self.due || self.sent.is_some() {
            return None;
        }
        let call = self.choose(now, wall);
        let claims = match &call {
            Call::Create(_) | Call::Update(_) => true,
            Call::Get => false,
        };
        self.sent = Some(Sent { at: now, claims });
        Some(call)
    }

    fn choose(&self, now: Duration, wall: WallTime) -> Call {
        let claim = |record: &Record| record.claimed(&self.identity, self.settings.duration, wall);
        match &self.known {
            // Somebody may have deleted it under a holder, who learns so with the next renewal: wait that long.
            Known::Missing { since } if now >= *since + self.settings.duration => {
                Call::Create(claim(&Record::default()))
            }
            Known::Stored { stored, at } if !self.held_elsewhere(&stored.record, *at, now) => {
                Call::Update(Stored {
                    record: claim(&stored.record),
                    version: stored.version.clone(),
                })
            }
            Known::Nothing | Known::Missing { .. } | Known::Stored { .. } => Call::Get,
        }
    }

    /// Somebody else holds it, and may be alive.
    fn held_elsewhere(&self, record: &Record, seen: Duration, now: Duration) -> bool {
        !record.holder.is_empty() && record.holder != self.identity && now < seen + record.duration()
    }

    /// `random` spreads the candidates.
    pub fn answered(&mut self, answer: Answer, now: Duration, random: u32) {
        let Some(sent) = self.sent.take() else {
            return;
        };
        let retry = spread(self.settings.retry, random);
        self.due = match answer {
            Answer::Stored(stored) => {
                let held = self.stored(stored, &sent, now);
                // Free, expired or ours, and only read: take it now.
                if sent.claims || held { now + retry } else { now }
            }
            Answer::Missing => {
                self.missing(now);
                now + retry
            }
            Answer::Conflict => {
                // What we know is old.
                self.known = Known::Nothing;
                now + retry / 4
            }
            Answer::Unknown => {
                if sent.claims {
                    // It may have been done all the same.
                    self.known = Known::Nothing;
                }
                now + retry
            }
        };
    }

    /// Takes the record in; does somebody else hold it?
    fn stored(&mut self, stored: Stored, sent: &Sent, now: Duration) -> bool {
        let ours = stored.record.holder == self.identity;
        if !ours {
            self.renewed = None;
        } else if sent.claims {
            self.renewed = Some(sent.at);
        }
        let seen = match &self.known {
            Known::Stored { stored: before, at } if *before == stored => *at,
            Known::Nothing | Known::Missing { .. } | Known::Stored { .. } => now,
        };
        let held = self.held_elsewhere(&stored.record, seen, now);
        self.known = Known::Stored { stored, at: seen };
        held
    }

    fn missing(&mut self, now: Duration) {
        self.renewed = None;
        if !matches!(self.known, Known::Missing { .. }) {
            self.known = Known::Missing { since: now };
        }
    }

    /// Stops writing, and gives the lease back where it is ours: the next holder need not wait.
    pub fn release(&mut self, wall: WallTime) -> Option<Call> {
        self.renewed = None;
        self.sent = None;
        match &self.known {
            Known::Stored { stored, at: _ } if stored.record.holder == self.identity => {
                Some(Call::Update(Stored {
                    record: stored.record.released(wall),
                    version: stored.version.clone(),
                }))
            }
            Known::Nothing | Known::Missing { .. } | Known::Stored { .. } => None,
        }
    }
}
