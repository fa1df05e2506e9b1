//! A token bucket: so many at once, then so many a second. Pure.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    burst: u32,
    /// Time that one token takes to come.
    each: Duration,
    /// When the bucket was, or will be, full.
    full_at: Duration,
}

impl Bucket {
    /// Full at first.
    pub const fn new(burst: u32, each: Duration) -> Bucket {
        Bucket {
            burst,
            each,
            full_at: Duration::ZERO,
        }
    }

    /// Takes a token, or says when there will be one.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let ready = self.ready_at();
        if ready > now {
            return Err(ready);
        }
        self.full_at = self.full_at.max(now) + self.each;
        Ok(())
    }

    /// When there is a token.
    pub fn ready_at(&self) -> Duration {
        // All but the last token's time may be owed.
        let owed = self.each.saturating_mul(self.burst.saturating_sub(1));
        self.full_at.saturating_sub(owed)
    }

    /// Has nothing been taken that has not come back?
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_window_sees_more_than_the_burst_and_its_rate(
            burst in 1..20u32,
            each in 1..50u64,
            gaps in proptest::collection::vec(0..40u64, 1..300),
        ) {
            let mut bucket = Bucket::new(burst, Duration::from_millis(each));
            let mut now = 1000;
            let mut taken = vec![];
            for gap in gaps {
                now += gap;
                match bucket.take(Duration::from_millis(now)) {
                    Ok(()) => taken.push(now),
                    Err(ready) => prop_assert!(ready > Duration::from_millis(now)),
                }
            }
            for (at, first) in taken.iter().enumerate() {
                for (count, last) in taken[at..].iter().enumerate() {
                    let allowed = u64::from(burst) + (last - first) / each;
                    prop_assert!((count as u64) < allowed, "{} from {first} to {last}", count + 1);
                }
            }
        }
    }

    #[test]
    fn a_token_is_there_when_it_was_said_to_be() {
        let mut bucket = Bucket::new(2, Duration::from_secs(1));
        let now = Duration::from_secs(10);
        assert_eq!(bucket.take(now), Ok(()));
        assert_eq!(bucket.take(now), Ok(()));
        let ready = bucket.take(now).unwrap_err();
        assert_eq!(ready, Duration::from_secs(11));
        assert_eq!(bucket.take(ready), Ok(()));
        assert!(!bucket.is_full(ready));
        assert!(bucket.is_full(Duration::from_secs(13)));
    }
}
