//! Nothing is deleted before every kind has told all it had once: a half-read cluster looks like one from
//! which much was removed (FAILURES K3). Pure.

use std::collections::BTreeSet;

use super::fold::News;
use crate::event::Event;
use crate::kube::kinds::Kind;
use crate::model::ObjectName;

/// Whether this news completed the first picture of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    No,
    Now,
}

#[derive(Debug)]
pub(super) struct Barrier {
    kinds: Vec<&'static Kind>,
    /// Kinds that have not told all yet, by place in `kinds`.
    waiting: BTreeSet<usize>,
    held: BTreeSet<(usize, ObjectName)>,
}

impl Barrier {
    pub fn new(kinds: Vec<&'static Kind>) -> Barrier {
        Barrier {
            waiting: (0..kinds.len()).collect(),
            kinds,
            held: BTreeSet::new(),
        }
    }

    /// Turns news of a kind into events.
    pub fn pass(&mut self, kind: usize, news: News, events: &mut Vec<Event>) -> Opened {
        let closed = !self.waiting.is_empty();
        for (name, event) in news.applied {
            if closed {
                self.held.remove(&(kind, name));
            }
            events.push(event);
        }
        let deleted = news.deleted.into_iter().map(|name| (kind, name));
        if closed {
            self.held.extend(deleted);
        } else {
            self.tell(deleted, events);
        }
        if news.synced {
            self.waiting.remove(&kind);
        }
        if !closed || !self.waiting.is_empty() {
            return Opened::No;
        }
        let held = std::mem::take(&mut self.held);
        self.tell(held, events);
        Opened::Now
    }

    fn tell(&self, deleted: impl IntoIterator<Item = (usize, ObjectName)>, events: &mut Vec<Event>) {
        let event = |(kind, name): (usize, ObjectName)| self.kinds.get(kind).map(|kind| (kind.deleted)(name));
        events.extend(deleted.into_iter().filter_map(event));
    }
}
