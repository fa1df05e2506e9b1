//! What is still to be written, when, and what became of it. Pure; times are since start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Counts, Outcome, Ownership, StatusWrite, problems};
use crate::kube::backoff::{Backoff, spread};
use crate::kube::bucket::Bucket;
use crate::kube::failure::Failure;
use crate::model::{ObjectKind, ObjectRef};
use crate::problem::Problem;

/// Calls under way at once.
const CALLS: usize = 8;
const BURST: u32 = 200;
/// 100 writes a second.
const EACH: Duration = Duration::from_millis(10);
/// After so many conflicts, or so many repetitions of a write that somebody undid, it is a quarrel.
const QUARREL: u32 = 3;
/// Between two writes in a quarrel.
const TRUCE: Duration = Duration::from_secs(60);
/// Quiet for so long: forgotten.
const FORGET: Duration = Duration::from_secs(300);
/// How often entries are looked through for that.
const TIDY_EVERY: Duration = Duration::from_secs(60);
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));

/// A write to be made now.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub object: ObjectRef,
    pub body: Arc<Value>,
    pub ownership: Ownership,
}

#[derive(Clone, Debug)]
struct Wanted {
    body: Arc<Value>,
    ownership: Ownership,
}

#[derive(Debug)]
struct Entry {
    wanted: Option<Wanted>,
    in_flight: bool,
    /// Nothing that is in flight is to be tried again.
    abandoned: bool,
    not_before: Duration,
    /// The time it is queued under.
    queued: Duration,
    /// What it says of addresses is news: before all that only explains.
    urgent: bool,
    retry: Backoff,
    conflicts: u32,
    /// The last body written, and how often it was asked for again.
    written: Option<Arc<Value>>,
    repeats: u32,
    touched: Duration,
}

impl Entry {
    fn new(now: Duration) -> Entry {
        Entry {
            wanted: None,
            in_flight: false,
            abandoned: false,
            not_before: now,
            queued: now,
            urgent: false,
            retry: RETRY,
            conflicts: 0,
            written: None,
            repeats: 0,
            touched: now,
        }
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    entries: BTreeMap<ObjectRef, Entry>,
    /// Entries that wait, by time.
    due: BTreeSet<(Duration, ObjectRef)>,
    in_flight: usize,
    bucket: Bucket,
    problems: BTreeMap<ObjectRef, Problem>,
    /// Kinds whose status may not be written.
    forbidden: BTreeMap<ObjectKind, Problem>,
    tidied: Duration,
    pub counts: Counts,
}

impl Queue {
    pub fn new() -> Queue {
        Queue {
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            in_flight: 0,
            bucket: Bucket::new(BURST, EACH),
            problems: BTreeMap::new(),
            forbidden: BTreeMap::new(),
            tidied: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    /// Takes the place of what was wanted before for the object.
    pub fn put(&mut self, write: StatusWrite, now: Duration) {
        let StatusWrite {
            object,
            body,
            ownership,
        } = write;
        self.unschedule(&object);
        let entry = self
            .entries
            .entry(object.clone())
            .or_insert_with(|| Entry::new(now));
        entry.abandoned = false;
        entry.urgent = addresses(&body) != entry.written.as_deref().and_then(addresses);
        if entry.written.as_deref() == Some(&body) {
            entry.repeats += 1;
        } else {
            entry.repeats = 0;
        }
        let quarrel = entry.repeats >= QUARREL;
        if quarrel {
            entry.not_before = entry.not_before.max(entry.touched + TRUCE);
        }
        entry.wanted = Some(Wanted {
            body: Arc::new(body),
            ownership,
        });
        if quarrel {
            self.problems.insert(object.clone(), problems::undone(&object));
        }
        self.schedule(&object, now);
    }

    /// Somebody else writes now: what was wanted here is void.
    pub fn clear(&mut self) {
        self.due.clear();
        for entry in self.entries.values_mut() {
            entry.wanted = None;
            entry.abandoned = entry.in_flight;
        }
    }

    /// The next write, when it may be made now.
    pub fn take(&mut self, now: Duration) -> Option<Attempt> {
        let (due, _) = self.due.first()?;
        if *due > now || self.in_flight >= CALLS || self.bucket.take(now).is_err() {
            return None;
        }
        let (_, object) = self.due.pop_first()?;
        let entry = self.entries.get_mut(&object)?;
        let Wanted { body, ownership } = entry.wanted.take()?;
        entry.in_flight = true;
        self.in_flight += 1;
        Some(Attempt {
            object,
            body,
            ownership,
        })
    }

    /// When [`Queue::take`] is worth a try, unless a call ends before.
    pub fn ready_at(&self) -> Option<Duration> {
        let (due, _) = self.due.first()?;
        (self.in_flight < CALLS).then(|| (*due).max(self.bucket.ready_at()))
    }

    /// What became of an attempt.
    pub fn done(
        &mut self,
        attempt: Attempt,
        result: Result<(), Failure>,
        now: Duration,
        random: u32,
    ) -> Option<Outcome> {
        self.in_flight -= 1;
        let object = attempt.object.clone();
        if let Some(entry) = self.entries.get_mut(&object) {
            entry.in_flight = false;
            entry.touched = now;
        }
        let outcome = match result {
            Ok(()) => Some(self.written(attempt)),
            Err(Failure::NotFound(_)) => Some(self.gone(object.clone())),
            Err(Failure::Invalid(text)) => Some(self.invalid(object.clone(), &text)),
            Err(Failure::Conflict(text)) => self.conflict(attempt, &text, now, random),
            Err(failure) => self.failed(attempt, &failure, now, random),
        };
        self.schedule(&object, now);
        self.forget(now);
        outcome
    }

    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.forbidden.values().chain(self.problems.values())
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    fn written(&mut self, attempt: Attempt) -> Outcome {
        self.counts.writes += 1;
        self.forbidden.remove(&attempt.object.kind);
        if let Some(entry) = self.entries.get_mut(&attempt.object) {
            entry.conflicts = 0;
            entry.retry.reset();
            entry.written = Some(attempt.body);
            if entry.repeats < QUARREL {
                self.problems.remove(&attempt.object);
            }
        }
        Outcome::Written(attempt.object)
    }

    fn gone(&mut self, object: ObjectRef) -> Outcome {
        self.counts.gone += 1;
        self.entries.remove(&object);
        self.problems.remove(&object);
        Outcome::Gone(object)
    }

    /// Asking again is no use; another body may be right.
    fn invalid(&mut self, object: ObjectRef, text: &str) -> Outcome {
        self.counts.refused += 1;
        let problem = problems::refused(&object, text);
        self.problems.insert(object.clone(), problem);
        Outcome::Refused(object)
    }

    fn conflict(&mut self, attempt: Attempt, text: &str, now: Duration, random: u32) -> Option<Outcome> {
        self.counts.conflicts += 1;
        let entry = self.entries.get_mut(&attempt.object)?;
        entry.conflicts = entry.conflicts.saturating_add(1);
        let quarrel = entry.conflicts >= QUARREL;
        let wait = if quarrel { TRUCE } else { entry.retry.next(random) };
        entry.not_before = now + wait;
        let object = attempt.object.clone();
        self.retry(attempt);
        if !quarrel {
            return None;
        }
        self.problems
            .insert(object.clone(), problems::contested(&object, text));
        Some(Outcome::Contested(object))
    }

    fn failed(&mut self, attempt: Attempt, failure: &Failure, now: Duration, random: u32) -> Option<Outcome> {
        self.counts.failures += 1;
        let kind = attempt.object.kind;
        if let Failure::Forbidden(_) = failure {
            self.forbidden.insert(kind, problems::forbidden(kind, failure));
        }
        let entry = self.entries.get_mut(&attempt.object)?;
        let wait = entry.retry.next(random);
        let asked = spread(failure.retry_after(), random) + failure.retry_after();
        entry.not_before = now + asked.max(wait);
        self.retry(attempt);
        None
    }

    /// Unless something newer is wanted, or nothing any more.
    fn retry(&mut self, attempt: Attempt) {
        if let Some(entry) = self.entries.get_mut(&attempt.object)
            && entry.wanted.is_none()
            && !std::mem::take(&mut entry.abandoned)
        {
            entry.wanted = Some(Wanted {
                body: attempt.body,
                ownership: attempt.ownership,
            });
        }
    }

    fn schedule(&mut self, object: &ObjectRef, now: Duration) {
        if let Some(entry) = self.entries.get_mut(object)
            && entry.wanted.is_some()
            && !entry.in_flight
        {
            entry.queued = if entry.urgent && entry.not_before <= now {
                Duration::ZERO
            } else {
                entry.not_before.max(now)
            };
            self.due.insert((entry.queued, object.clone()));
        }
    }

    fn unschedule(&mut self, object: &ObjectRef) {
        if let Some(entry) = self.entries.get(object) {
            self.due.remove(&(entry.queued, object.clone()));
        }
    }

    /// Frees what has been quiet for long; says whether a problem went with it.
    pub fn forget(&mut self, now: Duration) -> bool {
        if now < self.tidied + TIDY_EVERY {
            return false;
        }
        self.tidied = now;
        let before = self.problems.len();
        let problems = &mut self.problems;
        self.entries.retain(|object, entry| {
            let keep = entry.wanted.is_some() || entry.in_flight || now < entry.touched + FORGET;
            if !keep {
                problems.remove(object);
            }
            keep
        });
        self.problems.len() != before
    }
}

/// The load balancer addresses that a body says, where it says any.
fn addresses(body: &Value) -> Option<&Value> {
    body.pointer("/status/loadBalancer/ingress")
}
