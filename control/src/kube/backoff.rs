//! How long to wait before the next attempt: doubling, capped, spread by chance. Pure.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    cap: Duration,
    step: Duration,
}

impl Backoff {
    pub const fn new(first: Duration, cap: Duration) -> Backoff {
        Backoff {
            first,
            cap,
            step: first,
        }
    }

    /// Between half and all of the step, so that many nodes do not come back at one moment.
    pub fn next(&mut self, random: u32) -> Duration {
        let step = self.step;
        self.step = self.cap.min(step.saturating_mul(2));
        spread(step, random)
    }

    pub fn reset(&mut self) {
        self.step = self.first;
    }
}

/// Between half and all of `span`.
pub(crate) fn spread(span: Duration, random: u32) -> Duration {
    span.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(5);

    proptest! {
        #[test]
        fn waits_double_up_to_the_cap_and_start_anew(random in any::<u32>()) {
            let mut backoff = Backoff::new(FIRST, CAP);
            let mut step = FIRST;
            for _ in 0..10 {
                let wait = backoff.next(random);
                prop_assert!(wait >= step / 2 && wait <= step, "{wait:?} of {step:?}");
                step = CAP.min(step * 2);
            }
            backoff.reset();
            prop_assert!(backoff.next(random) <= FIRST);
        }
    }
}
