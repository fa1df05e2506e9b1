//! Which problems are present, and which of them are news.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Source;
use crate::model::ObjectRef;
use crate::problem::Problem;

#[derive(Debug, Default)]
pub(super) struct Complaints {
    sources: BTreeMap<Source, Vec<Problem>>,
    present: BTreeSet<Problem>,
}

impl Complaints {
    pub fn of_source(&mut self, source: Source, problems: Vec<Problem>) {
        self.sources.insert(source, problems);
    }

    /// What the sources say about an object.
    pub fn of_object<'p>(&'p self, object: &'p ObjectRef) -> impl Iterator<Item = &'p Problem> {
        let all = self.sources.values().flatten();
        all.filter(move |problem| problem.object.as_ref() == Some(object))
    }

    /// All problems now present, in order.
    pub fn all(&self) -> impl Iterator<Item = &Problem> {
        self.present.iter()
    }

    /// Takes stock; tells what appeared and what is gone, if anything.
    pub fn settle(&mut self, plan: &[Problem], own: Vec<Problem>) -> Option<(Vec<Problem>, Vec<Problem>)> {
        let told = self.sources.values().flatten().chain(plan).chain(&own);
        let now: BTreeSet<&Problem> = told.collect();
        if now.len() == self.present.len() && now.iter().all(|problem| self.present.contains(*problem)) {
            return None;
        }
        let now: BTreeSet<Problem> = now.into_iter().cloned().collect();
        let appeared = now.difference(&self.present).cloned().collect();
        let cleared = self.present.difference(&now).cloned().collect();
        self.present = now;
        Some((appeared, cleared))
    }
}
