//! Answers -> verdicts. One lost answer is no verdict, and one lucky answer does not undo one.

use super::Verdict;

/// Failures in a row that take a target down.
const DOWN_AFTER: u8 = 3;
/// Good answers in a row that bring it back.
const UP_AFTER: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200.
    Well,
    /// Another status, no connection, or nothing in time.
    Failed,
}

/// Of one target.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Machine {
    verdict: Option<Verdict>,
    /// Answers in a row that speak against it.
    against: u8,
}

impl Machine {
    /// The new verdict, if the answer leads to one. The first good answer of all is one.
    pub fn take(&mut self, answer: Answer) -> Option<Verdict> {
        let (said, needed) = match (answer, self.verdict) {
            (Answer::Well, None | Some(Verdict::Up)) => (Verdict::Up, 1),
            (Answer::Well, Some(Verdict::Down)) => (Verdict::Up, UP_AFTER),
            (Answer::Failed, _) => (Verdict::Down, DOWN_AFTER),
        };
        if self.verdict == Some(said) {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < needed {
            return None;
        }
        *self = Machine {
            verdict: Some(said),
            against: 0,
        };
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` a good answer, `-` a failure; in the result `U` and `D` where a verdict came, `.` where none did.
    fn verdicts(answers: &str) -> String {
        let mut machine = Machine::default();
        let mut take = |answer| match machine.take(answer) {
            Some(Verdict::Up) => 'U',
            Some(Verdict::Down) => 'D',
            None => '.',
        };
        let answers = answers.chars();
        answers
            .map(|c| take(if c == '+' { Answer::Well } else { Answer::Failed }))
            .collect()
    }

    #[test]
    fn it_takes_several_answers_in_a_row_to_change_a_verdict() {
        for (answers, want) in [
            ("+++", "U.."),
            ("---", "..D"),
            ("--+", "..U"),
            ("+--+--+", "U......"),
            ("+---", "U..D"),
            ("+---+-+++", "U..D...U."),
            ("+---++---", "U..D.U..D"),
        ] {
            assert_eq!(verdicts(answers), want, "{answers}");
        }
    }
}
