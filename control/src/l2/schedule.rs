//! When an address is announced unasked: at once when it is gained, every 1.1 s for 5 s (a switch or a host may
//! lose one: metallb#172), then as a refresh, for tables of switches forget it sooner than neighbours do
//! (metallb#2910).

use std::time::Duration;

const BURST_EVERY: Duration = Duration::from_millis(1100);
const BURST: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    gained: Duration,
    /// `None`: never again.
    next: Option<Duration>,
}

impl Schedule {
    pub fn new(gained: Duration) -> Schedule {
        Schedule {
            gained,
            next: Some(gained),
        }
    }

    /// Somebody contradicts: now.
    pub fn hurry(&mut self, now: Duration) {
        self.next = Some(now);
    }

    /// Is it time? Then the next time is set; what was missed is not made up for.
    pub fn due(&mut self, now: Duration, refresh: Option<Duration>) -> bool {
        let Some(next) = self.next.filter(|next| *next <= now) else {
            return false;
        };
        let missed = (now - next).as_millis() / BURST_EVERY.as_millis();
        let burst = next + BURST_EVERY * (1 + missed as u32);
        self.next = if burst <= self.gained + BURST {
            Some(burst)
        } else {
            refresh.map(|every| now + every)
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(refresh: Option<Duration>, until: u64) -> Vec<u64> {
        let mut schedule = Schedule::new(Duration::from_millis(1000));
        let due = |ms: &u64| schedule.due(Duration::from_millis(*ms), refresh);
        (0..until).step_by(50).filter(due).collect()
    }

    #[test]
    fn at_once_then_every_1100_ms_for_5_s_then_as_a_refresh() {
        let burst = [1000, 2100, 3200, 4300, 5400];
        assert_eq!(times(None, 200_000), burst);
        let mut refreshed = burst.to_vec();
        refreshed.extend([65_400, 125_400, 185_400]);
        assert_eq!(times(Some(Duration::from_secs(60)), 200_000), refreshed);
    }

    #[test]
    fn what_was_missed_is_announced_once() {
        let mut schedule = Schedule::new(Duration::ZERO);
        let mut due = |ms| schedule.due(Duration::from_millis(ms), None);
        assert!(due(3000) && !due(3299));
        assert!(due(3300) && due(4400));
        assert!(!due(60_000));
    }
}
