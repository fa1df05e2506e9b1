//! Which notes become a new Event, which count an old one up, and which come too fast. Pure.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::Note;
use crate::kube::bucket::Bucket;
use crate::model::ObjectRef;

/// A series ends when nothing has come for so long (client-go: 6 minutes).
const ENDS_AFTER: Duration = Duration::from_secs(360);
/// Counts are written at most so often.
const COUNT_EVERY: Duration = Duration::from_secs(30);
/// Of one object: so many Events at once, then one each five minutes (client-go's spam filter).
const OBJECT_BURST: u32 = 25;
const OBJECT_EACH: Duration = Duration::from_secs(300);
/// Of all together.
const BURST: u32 = 200;
const EACH: Duration = Duration::from_millis(50);
/// Objects are looked through so often for those that are quiet.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Series remembered; the oldest go first.
const REMEMBERED: usize = 2000;

/// Of an object's name within an Event's name, which may have 253 characters.
const LONGEST_STEM: usize = 200;

/// A call to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    First { name: String, note: Note },
    Again { name: String, note: Note, count: i32 },
}

impl Telling {
    pub fn note(&self) -> &Note {
        match self {
            Telling::First { note, .. } | Telling::Again { note, .. } => note,
        }
    }
}

/// The note is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooFast;

#[derive(Debug)]
struct Run {
    name: String,
    count: i32,
    last: Duration,
    /// When `count` was last written.
    told: Duration,
    told_count: i32,
}

impl Run {
    fn new(name: String, now: Duration) -> Run {
        Run {
            name,
            count: 1,
            last: now,
            told: now,
            told_count: 1,
        }
    }

    fn is_over(&self, now: Duration) -> bool {
        now >= self.last + ENDS_AFTER
    }
}

#[derive(Debug)]
pub(super) struct Series {
    runs: BTreeMap<Note, Run>,
    objects: BTreeMap<ObjectRef, Bucket>,
    all: Bucket,
    tidied: Duration,
    names: RandomState,
    named: u64,
}

impl Default for Series {
    fn default() -> Series {
        Series {
            runs: BTreeMap::new(),
            objects: BTreeMap::new(),
            all: Bucket::new(BURST, EACH),
            tidied: Duration::ZERO,
            names: RandomState::new(),
            named: 0,
        }
    }
}

impl Series {
    /// Takes a note; what is to be told of it at once.
    pub fn note(&mut self, note: Note, now: Duration) -> Result<Option<Telling>, TooFast> {
        if let Some(run) = self.runs.get_mut(&note).filter(|run| !run.is_over(now)) {
            run.count = run.count.saturating_add(1);
            run.last = now;
            return Ok(None);
        }
        self.make_room(now);
        let object = self
            .objects
            .entry(note.object.clone())
            .or_insert_with(|| Bucket::new(OBJECT_BURST, OBJECT_EACH));
        if self.all.ready_at() > now || object.take(now).is_err() || self.all.take(now).is_err() {
            return Err(TooFast);
        }
        let name = self.name(&note.object);
        self.runs.insert(note.clone(), Run::new(name.clone(), now));
        Ok(Some(Telling::First { name, note }))
    }

    /// When [`Series::next`] may have something to tell.
    pub fn due(&self) -> Option<Duration> {
        let untold = self.runs.values().filter(|run| run.count > run.told_count);
        let next = untold.map(|run| run.told + COUNT_EVERY).min()?;
        Some(next.max(self.all.ready_at()))
    }

    /// A count to be written now.
    pub fn next(&mut self, now: Duration) -> Option<Telling> {
        let due = |run: &Run| run.count > run.told_count && now >= run.told + COUNT_EVERY;
        let (note, run) = self.runs.iter_mut().find(|(_, run)| due(run))?;
        self.all.take(now).ok()?;
        run.told = now;
        run.told_count = run.count;
        Some(Telling::Again {
            name: run.name.clone(),
            note: note.clone(),
            count: run.count,
        })
    }

    #[cfg(test)]
    pub fn sizes(&self) -> (usize, usize) {
        (self.runs.len(), self.objects.len())
    }

    /// Its Event could not be written, or is no longer there.
    pub fn lost(&mut self, note: &Note) {
        self.runs.remove(note);
    }

    /// Unique, as client-go makes them: the object's name and a number.
    fn name(&mut self, object: &ObjectRef) -> String {
        self.named += 1;
        let number = self.names.hash_one(self.named);
        let stem: String = object.name.name.chars().take(LONGEST_STEM).collect();
        format!("{}.{number:016x}", stem.trim_end_matches(['.', '-']))
    }

    fn make_room(&mut self, now: Duration) {
        if self.runs.len() >= REMEMBERED {
            self.runs.retain(|_, run| !run.is_over(now));
        }
        if self.runs.len() >= REMEMBERED {
            // Some at once, so that this is not done with every note.
            let mut times: Vec<Duration> = self.runs.values().map(|run| run.last).collect();
            times.sort_unstable();
            let limit = times[times.len() / 4];
            self.runs.retain(|_, run| run.last > limit);
        }
        if now >= self.tidied + TIDY_EVERY {
            self.tidied = now;
            self.objects.retain(|_, bucket| !bucket.is_full(now));
        }
    }
}
