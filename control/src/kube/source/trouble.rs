//! Which streams of a cluster fail, since when and why: one standing problem a cluster. Pure.
//!
//! Its text changes when it has lasted noticeably longer, not with every attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::kube::failure::Failure;
use crate::problem::Problem;

/// A stream that is back before was never away.
const PATIENCE: Duration = Duration::from_secs(2);
const STEPS: [(u64, &str); 9] = [
    (2, "for some seconds"),
    (30, "for more than 30 seconds"),
    (60, "for more than a minute"),
    (300, "for more than 5 minutes"),
    (900, "for more than 15 minutes"),
    (3600, "for more than an hour"),
    (6 * 3600, "for more than 6 hours"),
    (24 * 3600, "for more than a day"),
    (7 * 24 * 3600, "for more than a week"),
];

#[derive(Debug)]
struct Failing {
    since: Duration,
    last: Failure,
}

#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// By what is being read, the plural of a kind, and by whom: the probe reads one as well.
    failing: BTreeMap<Reader, Failing>,
    /// The problem as last made, and for which step.
    told: Option<(usize, Vec<Reader>, Problem)>,
}

/// What is read, and the place of who reads it.
type Reader = (&'static str, usize);

impl Trouble {
    pub fn failed(&mut self, reader: Reader, failure: Failure, now: Duration) {
        let failing = self.failing.entry(reader).or_insert_with(|| Failing {
            since: now,
            last: failure.clone(),
        });
        failing.last = failure;
    }

    pub fn well(&mut self, reader: Reader) {
        self.failing.remove(&reader);
    }

    /// When [`Trouble::problem`] is to be asked again although nothing was told.
    pub fn due(&self, now: Duration) -> Option<Duration> {
        let since = self.since()?;
        let steps = STEPS
            .iter()
            .map(|(seconds, _)| since + Duration::from_secs(*seconds));
        steps.into_iter().find(|at| *at > now)
    }

    pub fn problem(&mut self, now: Duration) -> Option<&Problem> {
        let step = self.since().and_then(|since| step(now.saturating_sub(since)));
        let Some(step) = step else {
            self.told = None;
            return None;
        };
        let readers: Vec<Reader> = self
            .failing
            .iter()
            .filter(|(_, failing)| now >= failing.since + PATIENCE)
            .map(|(reader, _)| *reader)
            .collect();
        let current = self
            .told
            .as_ref()
            .is_some_and(|(told, of, _)| *told == step && *of == readers);
        if !current {
            let problem = self.describe(step, &readers);
            self.told = problem.map(|problem| (step, readers, problem));
        }
        self.told.as_ref().map(|(_, _, problem)| problem)
    }

    fn since(&self) -> Option<Duration> {
        self.failing.values().map(|failing| failing.since).min()
    }

    fn describe(&self, step: usize, readers: &[Reader]) -> Option<Problem> {
        let oldest = readers
            .iter()
            .filter_map(|reader| self.failing.get(reader))
            .min_by_key(|failing| failing.since)?;
        let (_, how_long) = STEPS.get(step)?;
        let names: BTreeSet<&str> = readers.iter().map(|(what, _)| *what).collect();
        let list = names.into_iter().collect::<Vec<_>>().join(", ");
        let message = format!(
            "{list} cannot be read {how_long}, everything goes on as last told: {}",
            oldest.last
        );
        let remedy = oldest.last.remedy(&format!("get, list and watch {list}"));
        Some(Problem::error(message, remedy))
    }
}

/// The last step reached.
fn step(lasted: Duration) -> Option<usize> {
    STEPS
        .iter()
        .rposition(|(seconds, _)| lasted >= Duration::from_secs(*seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: Reader = ("services", 0);
    const NODES: Reader = ("nodes", 1);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn refused() -> Failure {
        Failure::Unreachable("connection refused".to_owned())
    }

    #[test]
    fn what_passes_at_once_is_no_problem() {
        let mut trouble = Trouble::default();
        trouble.failed(SERVICES, refused(), secs(10));
        assert_eq!(trouble.problem(secs(11)), None);
        assert_eq!(trouble.due(secs(11)), Some(secs(12)));
        trouble.well(SERVICES);
        assert_eq!(trouble.problem(secs(60)), None);
        assert_eq!(trouble.due(secs(60)), None);
    }

    #[test]
    fn a_long_outage_changes_its_words_seldom_and_tells_the_last_error() {
        let mut trouble = Trouble::default();
        let mut texts = vec![];
        for second in 0..3600 {
            let failure = Failure::Unreachable(format!("attempt {second}"));
            trouble.failed(SERVICES, failure, secs(second));
            trouble.failed(NODES, refused(), secs(second));
            let problem = trouble.problem(secs(second)).map(|p| p.message.clone());
            if texts.last() != Some(&problem) {
                texts.push(problem);
            }
        }
        assert_eq!(texts.len(), 6, "{texts:#?}");
        assert!(texts[5].as_ref().unwrap().contains("15 minutes"), "{texts:#?}");
        assert!(
            texts[2].as_ref().unwrap().starts_with("nodes, services"),
            "{texts:#?}"
        );
        trouble.well(SERVICES);
        let problem = trouble.problem(secs(3600)).unwrap();
        assert!(problem.message.starts_with("nodes cannot"), "{problem}");
        trouble.well(NODES);
        assert_eq!(trouble.problem(secs(3600)), None);
    }

    #[test]
    fn a_refusal_names_the_rule_that_is_missing() {
        let mut trouble = Trouble::default();
        let failure = Failure::Forbidden("403 no".to_owned());
        trouble.failed(NODES, failure, secs(0));
        let problem = trouble.problem(secs(5)).unwrap();
        assert!(problem.remedy.contains("get, list and watch nodes"), "{problem}");
    }

    #[test]
    fn two_who_read_the_same_are_told_as_one_and_stand_for_themselves() {
        let mut trouble = Trouble::default();
        trouble.failed(NODES, refused(), secs(0));
        trouble.failed(("nodes", 7), refused(), secs(0));
        assert!(
            trouble
                .problem(secs(5))
                .unwrap()
                .message
                .starts_with("nodes cannot")
        );
        trouble.well(NODES);
        assert!(trouble.problem(secs(5)).is_some());
        trouble.well(("nodes", 7));
        assert_eq!(trouble.problem(secs(5)), None);
    }
}
