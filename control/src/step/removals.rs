//! How fast Services may go (FAILURES K11): a mass of deletions is more likely a mistake than a wish, so all past
//! a share of those served, or past ten, waits and goes minute by minute. A Service applied again stays.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::ObjectName;
use crate::problem::Problem;

const WINDOW: Duration = Duration::from_secs(60);
/// What a person deletes by hand is never held up.
const FREE: usize = 10;

#[derive(Debug)]
pub(super) struct Removals {
    /// `--max-removal-percent`.
    percent: u8,
    /// When the last ones went.
    gone: VecDeque<Duration>,
    waiting: BTreeSet<ObjectName>,
}

impl Removals {
    pub fn new(percent: u8) -> Removals {
        Removals {
            percent,
            gone: VecDeque::new(),
            waiting: BTreeSet::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn wish(&mut self, name: ObjectName) {
        self.waiting.insert(name);
    }

    /// It is there after all.
    pub fn withdraw(&mut self, name: &ObjectName) {
        self.waiting.remove(name);
    }

    /// Those that may go now. `served` is how many Services are served; one that is not served costs nothing.
    pub fn due(
        &mut self,
        now: Duration,
        served: usize,
        is_served: impl Fn(&ObjectName) -> bool,
    ) -> Vec<ObjectName> {
        while self
            .gone
            .front()
            .is_some_and(|then| now.saturating_sub(*then) >= WINDOW)
        {
            self.gone.pop_front();
        }
        // Of those that were there when the window began.
        let all = served + self.gone.len();
        let allowed = match self.percent {
            100 => usize::MAX,
            percent => (all * usize::from(percent)).div_ceil(100).max(FREE),
        };
        let mut due = vec![];
        for name in std::mem::take(&mut self.waiting) {
            if !is_served(&name) {
                due.push(name);
            } else if self.gone.len() < allowed {
                self.gone.push_back(now);
                due.push(name);
            } else {
                self.waiting.insert(name);
            }
        }
        due
    }

    pub fn problem(&self) -> Option<Problem> {
        let first = self.waiting.first()?;
        let message = format!(
            "{} deleted Services are still served, {first} first: more than {} % went within a minute",
            self.waiting.len(),
            self.percent
        );
        let remedy = "nothing, if they are meant to go: they do, minute by minute; else create them again";
        Some(Problem::warning(message, remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::name;

    fn due(removals: &mut Removals, seconds: u64, served: usize) -> usize {
        removals.due(Duration::from_secs(seconds), served, |_| true).len()
    }

    #[test]
    fn what_a_person_deletes_goes_at_once_and_a_mass_goes_by_the_minute() {
        let mut removals = Removals::new(10);
        for i in 0..400 {
            removals.wish(name(&format!("s{i}")));
        }
        assert_eq!(due(&mut removals, 0, 1000), 100);
        assert!(removals.problem().is_some());
        assert_eq!(due(&mut removals, 59, 900), 0);
        assert_eq!(due(&mut removals, 60, 900), 90);
        removals.withdraw(&name("s399"));
        assert_eq!(due(&mut removals, 120, 810), 81);
        assert_eq!(due(&mut removals, 180, 729), 73);
        assert_eq!(due(&mut removals, 240, 656), 55);
        assert_eq!(removals.problem(), None);

        let mut few = Removals::new(10);
        (0..12).for_each(|i| few.wish(name(&format!("s{i}"))));
        assert_eq!(due(&mut few, 0, 12), 10);

        let mut none = Removals::new(100);
        (0..1000).for_each(|i| none.wish(name(&format!("s{i}"))));
        assert_eq!(due(&mut none, 0, 1000), 1000);
    }

    #[test]
    fn what_is_not_served_costs_nothing() {
        let mut removals = Removals::new(10);
        (0..500).for_each(|i| removals.wish(name(&format!("s{i}"))));
        let due = removals.due(Duration::ZERO, 1000, |_| false);
        assert_eq!(due.len(), 500);
        assert_eq!(super::tests::due(&mut removals, 0, 1000), 0);
    }
}
