//! How many packets are due: a rate kept in bursts no longer than a batch; what could not be sent in time is
//! forgiven, since catching up would be a burst at full speed. Pure.

use std::time::Duration;

/// Counts what was sent, or forgiven, against what is due.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    rate: u64,
    batch: u64,
    sent: u64,
}

impl Pace {
    /// `rate` in packets a second, zero for no limit; at most `batch` are due at once.
    #[must_use]
    pub fn new(rate: u64, batch: u64) -> Self {
        Self { rate, batch, sent: 0 }
    }

    /// Packets due at `elapsed` since the start.
    #[must_use]
    pub fn due(&mut self, elapsed: Duration) -> u64 {
        if self.rate == 0 {
            return self.batch;
        }
        let owed = (elapsed.as_secs_f64() * self.rate as f64) as u64;
        let due = owed.saturating_sub(self.sent);
        self.sent += due.saturating_sub(self.batch);
        due.min(self.batch)
    }

    pub fn sent(&mut self, packets: u64) {
        self.sent += packets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_bursts_are_bounded() {
        let mut pace = Pace::new(1000, 64);
        assert_eq!(pace.due(Duration::ZERO), 0);
        assert_eq!(pace.due(Duration::from_millis(10)), 10);
        pace.sent(10);
        assert_eq!(pace.due(Duration::from_millis(10)), 0);
        assert_eq!(pace.due(Duration::from_secs(5)), 64);
        pace.sent(64);
        assert_eq!(pace.due(Duration::from_secs(5)), 0);
        assert_eq!(Pace::new(0, 64).due(Duration::ZERO), 64);
    }
}
