//! Every request a cluster was asked, with who asked and what was answered: tests count writes with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::target::{Target, Verb};

/// Requests kept; the oldest go first.
const MOST_KEPT: usize = 1 << 18;

/// One request, logged when its answer's head was sent.
#[derive(Debug, Clone)]
pub struct Entry {
    pub at: Instant,
    /// Empty without a client certificate.
    pub user: String,
    /// None for `/version` and its like.
    pub verb: Option<Verb>,
    /// Empty where the path names no resource.
    pub target: Target,
    /// With its query.
    pub path: String,
    /// The HTTP status; 0 when the connection was closed instead.
    pub code: u16,
}

/// A place in the log, to count from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

/// The log itself; clones are handles on the same one.
#[derive(Debug, Clone, Default)]
pub struct RequestLog {
    shared: Arc<Mutex<Entries>>,
}

#[derive(Debug, Default)]
struct Entries {
    kept: VecDeque<Entry>,
    forgotten: u64,
}

impl RequestLog {
    pub(super) fn push(&self, entry: Entry) {
        self.with(|entries| {
            if entries.kept.len() == MOST_KEPT {
                entries.kept.pop_front();
                entries.forgotten += 1;
            }
            entries.kept.push_back(entry);
        });
    }

    /// From here on.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.with(|entries| Mark(entries.forgotten + entries.kept.len() as u64))
    }

    /// All requests since the mark that are still kept.
    #[must_use]
    pub fn since(&self, mark: Mark) -> Vec<Entry> {
        self.with(|entries| {
            let skip = usize::try_from(mark.0.saturating_sub(entries.forgotten)).unwrap_or(usize::MAX);
            entries.kept.iter().skip(skip).cloned().collect()
        })
    }

    /// Requests of `user` since the mark that ask for a change, refused ones too.
    #[must_use]
    pub fn writes(&self, user: &str, mark: Mark) -> Vec<Entry> {
        let mut entries = self.since(mark);
        entries.retain(|entry| entry.user == user && entry.verb.is_some_and(Verb::writes));
        entries
    }

    fn with<T>(&self, act: impl FnOnce(&mut Entries) -> T) -> T {
        act(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(user: &str, verb: Verb) -> Entry {
        Entry {
            at: Instant::now(),
            user: user.to_owned(),
            verb: Some(verb),
            target: Target::default(),
            path: String::new(),
            code: 200,
        }
    }

    #[test]
    fn only_this_users_writes_after_the_mark_count() {
        let log = RequestLog::default();
        log.push(entry("agent", Verb::Patch));
        let mark = log.mark();
        for (user, verb) in [
            ("agent", Verb::Patch),
            ("agent", Verb::Get),
            ("other", Verb::Create),
        ] {
            log.push(entry(user, verb));
        }
        assert_eq!(log.since(mark).len(), 3);
        assert_eq!(log.writes("agent", mark).len(), 1);
    }

    #[test]
    fn a_mark_stays_true_when_the_oldest_are_forgotten() {
        let log = RequestLog::default();
        for _ in 0..MOST_KEPT {
            log.push(entry("agent", Verb::Get));
        }
        let mark = log.mark();
        log.push(entry("agent", Verb::Delete));
        assert_eq!(log.since(mark).len(), 1);
        assert_eq!(log.writes("agent", mark).len(), 1);
    }
}
