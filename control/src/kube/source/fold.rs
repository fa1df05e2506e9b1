//! One kind's lists and watches folded into what is news. Pure.
//!
//! Kept is only which objects were told, in which version. A list that is complete ends with the deletion of
//! all it did not have; one that is not ends with nothing. What is broken or unknown stays as last told.

use std::collections::BTreeMap;

use crate::event::Event;
use crate::kube::kinds::Told;
use crate::model::ObjectName;
use crate::problem::{Problem, Severity};

/// `metadata.resourceVersion`; `None` where it is no number, and then tells nothing.
pub(super) type Version = Option<u64>;

/// What an object comes to.
#[derive(Debug)]
pub(super) enum Seen {
    Spec(Event),
    /// Not for us, and why.
    LeftAlone(Problem),
    /// What it said before holds.
    Broken(Problem),
}

/// What is to be told.
#[derive(Debug, Default)]
pub(super) struct News {
    pub applied: Vec<(ObjectName, Event)>,
    pub deleted: Vec<ObjectName>,
    /// A list was complete.
    pub synced: bool,
    /// What is wrong with objects has changed.
    pub problems: bool,
}

impl News {
    /// Nothing about objects?
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.deleted.is_empty() && !self.synced
    }
}

/// May versions seen before be compared with those to come?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    Same,
    /// The server's data is not what it was: restored, wiped, another cluster's.
    Another,
}

#[derive(Debug)]
struct Known {
    version: Version,
    /// The list in which it was last seen.
    round: u32,
    told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Fold {
    known: BTreeMap<ObjectName, Known>,
    problems: BTreeMap<ObjectName, Problem>,
    round: u32,
    /// The highest version seen.
    highest: Version,
}

impl Fold {
    /// `told` is what the controller has already, from a snapshot or an earlier source.
    pub fn new(told: impl IntoIterator<Item = ObjectName>) -> Fold {
        let known = |name| {
            let known = Known {
                version: None,
                round: 0,
                told: true,
            };
            (name, known)
        };
        Fold {
            known: told.into_iter().map(known).collect(),
            ..Fold::default()
        }
    }

    /// A list of this version begins, from its first page.
    pub fn begin(&mut self, at: Version, history: History) {
        self.round += 1;
        let went_back = at.is_some() && at < self.highest;
        if went_back || history == History::Another {
            self.known.values_mut().for_each(|known| known.version = None);
        }
        self.highest = at;
    }

    /// The watch has come to this version.
    pub fn advance(&mut self, to: Version) {
        self.highest = self.highest.max(to);
    }

    /// Is this object as it was last told? Then it need not be read.
    pub fn is_current(&mut self, name: &ObjectName, version: Version) -> bool {
        let Some(known) = self.known.get_mut(name) else {
            return false;
        };
        let current = version.is_some() && known.version == version;
        if current {
            known.round = self.round;
        }
        current
    }

    pub fn put(&mut self, name: ObjectName, version: Version, seen: Seen, news: &mut News) {
        let round = self.round;
        let known = self.known.entry(name.clone()).or_insert(Known {
            version: None,
            round,
            told: false,
        });
        known.version = version;
        known.round = round;
        let problem = match seen {
            Seen::Spec(event) => {
                known.told = true;
                news.applied.push((name.clone(), event));
                None
            }
            Seen::LeftAlone(why) => {
                if std::mem::take(&mut known.told) {
                    news.deleted.push(name.clone());
                }
                // A cluster is full of objects that are not for us.
                Some(why).filter(|why| why.severity != Severity::Note)
            }
            Seen::Broken(problem) => Some(problem),
        };
        news.problems |= self.set_problem(name, problem);
    }

    pub fn gone(&mut self, name: &ObjectName, news: &mut News) {
        if self.known.remove(name).is_some_and(|known| known.told) {
            news.deleted.push(name.clone());
        }
        news.problems |= self.problems.remove(name).is_some();
    }

    /// The list is complete.
    pub fn finish(&mut self, news: &mut News) {
        let round = self.round;
        let missing = self.known.iter().filter(|(_, known)| known.round != round);
        let missing: Vec<ObjectName> = missing.map(|(name, _)| name.clone()).collect();
        for name in missing {
            self.gone(&name, news);
        }
        news.synced = true;
    }

    pub fn told(&self) -> Told {
        match self.known.values().any(|known| known.told) {
            true => Told::Something,
            false => Told::Nothing,
        }
    }

    /// What is wrong with objects, by name: at most so many, and how many there are.
    pub fn problems(&self, most: usize) -> (Vec<Problem>, usize) {
        let first = self.problems.values().take(most).cloned().collect();
        (first, self.problems.len())
    }

    /// Says whether anything has changed.
    fn set_problem(&mut self, name: ObjectName, problem: Option<Problem>) -> bool {
        match problem {
            None => self.problems.remove(&name).is_some(),
            Some(problem) if self.problems.get(&name) == Some(&problem) => false,
            Some(problem) => {
                self.problems.insert(name, problem);
                true
            }
        }
    }
}
