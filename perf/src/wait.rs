//! Waiting on conditions with a deadline: the rig and its tests never sleep for a guessed time.

use std::time::{Duration, Instant};

use crate::rig::RigError;

const STEP: Duration = Duration::from_millis(5);

/// Polls `condition` every 5 ms until it holds.
///
/// # Errors
/// [`RigError::Timeout`] naming `what` when `limit` has passed.
pub fn wait_until(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<Duration, RigError> {
    let start = Instant::now();
    loop {
        if condition() {
            return Ok(start.elapsed());
        }
        if start.elapsed() > limit {
            return Err(RigError::Timeout {
                what: what.to_owned(),
                after: limit,
            });
        }
        std::thread::sleep(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_holds_is_named() {
        let err = wait_until("the moon", Duration::from_millis(10), || false).unwrap_err();
        assert!(err.to_string().contains("the moon"));
    }

    #[test]
    fn a_condition_that_holds_returns_at_once() {
        assert!(wait_until("now", Duration::from_secs(1), || true).unwrap() < Duration::from_millis(100));
    }
}
