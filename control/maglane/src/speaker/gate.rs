//! May this peer be told its routes, and must its session end? Pure: `(forwarding, BFD, now) -> verdict`.
//!
//! Told only while the workers forward and BFD, where configured, has been Up for its hold time (ROUTING §5 BGP 22).
//! A BFD failure ends the session; the peer's own AdminDown does not, and takes nothing back (RFC 5882 §4.2).

use std::time::Duration;

use maglane_bgp::bfd::State;
use maglane_bgp::bfd::live::{Forwarding, Status};
use maglane_control::announce::Withheld;

/// What BFD is to mean for a peer.
#[derive(Clone, Copy, Debug)]
pub enum Bfd {
    Unused,
    /// Configured, and not even begun.
    Missing,
    Session(Status),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub withheld: Option<Withheld>,
    /// BFD failed since the last look: the session is to end.
    pub failed: bool,
    /// BFD came up since the last look: no reason to wait with the next dial.
    pub recovered: bool,
    /// When to look again though nothing happened.
    pub again: Option<Duration>,
}

/// Times count from an instant of the caller's choosing.
#[derive(Clone, Debug)]
pub struct Gate {
    hold_up: Duration,
    failures: u32,
    ups: u64,
    up_since: Option<Duration>,
    /// The peer said AdminDown of a session that was up, and has not said otherwise since.
    pardoned: bool,
}

impl Gate {
    pub fn new(hold_up: Duration) -> Gate {
        Gate {
            hold_up,
            failures: 0,
            ups: 0,
            up_since: None,
            pardoned: false,
        }
    }

    pub fn look(&mut self, forwarding: Forwarding, bfd: Bfd, now: Duration) -> Verdict {
        let (failed, recovered) = match bfd {
            Bfd::Unused | Bfd::Missing => (false, false),
            Bfd::Session(status) => self.follow(&status, now),
        };
        let (open, again) = self.bfd_allows(bfd, now);
        let withheld = match forwarding {
            Forwarding::Stuck => Some(Withheld::Workers),
            Forwarding::Works => (!open).then_some(Withheld::Bfd),
        };
        Verdict {
            withheld,
            failed,
            recovered,
            again,
        }
    }

    fn follow(&mut self, status: &Status, now: Duration) -> (bool, bool) {
        let failed = std::mem::replace(&mut self.failures, status.failures) != status.failures;
        let recovered = std::mem::replace(&mut self.ups, status.ups) != status.ups;
        let held = self
            .up_since
            .is_some_and(|since| now.saturating_sub(since) >= self.hold_up);
        if failed || recovered {
            self.up_since = None;
            self.pardoned &= !failed;
        }
        if status.state == State::Up {
            self.up_since.get_or_insert(now);
            // Up again after an AdminDown of the peer: what it was told stays told.
            self.pardoned &= self
                .up_since
                .is_none_or(|since| now.saturating_sub(since) < self.hold_up);
        } else {
            self.pardoned |= status.remote_admin_down && held && !failed;
            self.up_since = None;
        }
        (failed, recovered && status.state == State::Up)
    }

    fn bfd_allows(&self, bfd: Bfd, now: Duration) -> (bool, Option<Duration>) {
        match (bfd, self.up_since) {
            (Bfd::Unused, _) => (true, None),
            (Bfd::Missing, _) => (false, None),
            (Bfd::Session(_), None) => (self.pardoned, None),
            (Bfd::Session(_), Some(since)) => {
                let ripe = since + self.hold_up;
                (self.pardoned || now >= ripe, (now < ripe).then_some(ripe))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use maglane_bgp::bfd::Diagnostic;
    use maglane_bgp::bfd::live::Discards;

    use super::*;

    const DOWN: Status = Status {
        state: State::Down,
        diagnostic: Diagnostic::None,
        remote_admin_down: false,
        failures: 0,
        ups: 0,
        downs: 0,
        sent: 0,
        send_errors: 0,
        received: 0,
        discards: Discards {
            malformed: 0,
            ttl: 0,
            source: 0,
            discriminator: 0,
            authenticated: 0,
            interface: 0,
        },
        transmit_interval: None,
        detection_time: None,
    };
    const UP: Status = Status {
        state: State::Up,
        ups: 1,
        ..DOWN
    };

    fn look(gate: &mut Gate, status: Status, ms: u64) -> Verdict {
        gate.look(Forwarding::Works, Bfd::Session(status), Duration::from_millis(ms))
    }

    fn gate() -> Gate {
        Gate::new(Duration::from_secs(1))
    }

    #[test]
    fn without_bfd_only_the_workers_count() {
        let mut gate = gate();
        let mut at = |forwarding| gate.look(forwarding, Bfd::Unused, Duration::ZERO).withheld;
        assert_eq!(at(Forwarding::Works), None);
        assert_eq!(at(Forwarding::Stuck), Some(Withheld::Workers));
        assert_eq!(at(Forwarding::Works), None);
    }

    #[test]
    fn routes_wait_until_bfd_was_up_for_its_hold_time() {
        let mut gate = gate();
        let missing = gate.look(Forwarding::Works, Bfd::Missing, Duration::ZERO);
        assert_eq!(missing.withheld, Some(Withheld::Bfd));
        assert_eq!(look(&mut gate, DOWN, 0).withheld, Some(Withheld::Bfd));
        let verdict = look(&mut gate, UP, 500);
        assert!(verdict.recovered && !verdict.failed);
        assert_eq!(
            (verdict.withheld, verdict.again),
            (Some(Withheld::Bfd), Some(Duration::from_millis(1500)))
        );
        assert_eq!(look(&mut gate, UP, 1499).withheld, Some(Withheld::Bfd));
        let verdict = look(&mut gate, UP, 1500);
        assert_eq!(
            (verdict.withheld, verdict.again, verdict.recovered),
            (None, None, false)
        );
    }

    #[test]
    fn a_failure_ends_the_session_once_and_a_flap_between_two_looks_is_one() {
        let mut gate = gate();
        look(&mut gate, UP, 0);
        assert_eq!(look(&mut gate, UP, 1000).withheld, None);
        let failed = Status {
            failures: 1,
            downs: 1,
            ..UP
        };
        let down = Status {
            state: State::Down,
            ..failed
        };
        let verdict = look(&mut gate, down, 2000);
        assert_eq!((verdict.failed, verdict.withheld), (true, Some(Withheld::Bfd)));
        assert!(!look(&mut gate, down, 2001).failed);
        let back = Status { ups: 2, ..failed };
        assert!(look(&mut gate, back, 3000).recovered);
        assert_eq!(look(&mut gate, back, 4000).withheld, None);
        let flapped = Status {
            ups: 3,
            failures: 2,
            ..back
        };
        let verdict = look(&mut gate, flapped, 5000);
        assert!(verdict.failed && verdict.recovered);
        assert_eq!(verdict.withheld, Some(Withheld::Bfd), "held up anew");
        assert_eq!(look(&mut gate, flapped, 6000).withheld, None);
    }

    #[test]
    fn the_peers_admin_down_takes_nothing_back() {
        let mut gate = gate();
        look(&mut gate, UP, 0);
        look(&mut gate, UP, 1000);
        let asked = Status {
            state: State::Down,
            remote_admin_down: true,
            downs: 1,
            ..UP
        };
        let verdict = look(&mut gate, asked, 2000);
        assert_eq!((verdict.failed, verdict.withheld), (false, None));
        let beginning = Status {
            state: State::Init,
            remote_admin_down: false,
            ..asked
        };
        assert_eq!(look(&mut gate, beginning, 3000).withheld, None);
        let back = Status {
            ups: 2,
            downs: 1,
            ..UP
        };
        assert_eq!(look(&mut gate, back, 4000).withheld, None);
        assert_eq!(look(&mut gate, back, 5000).withheld, None);
        let failed = Status {
            state: State::Down,
            failures: 1,
            downs: 2,
            ..back
        };
        assert!(look(&mut gate, failed, 6000).failed);
        let never_up = Status {
            state: State::Down,
            remote_admin_down: true,
            ..DOWN
        };
        assert_eq!(look(&mut self::gate(), never_up, 9).withheld, Some(Withheld::Bfd));
    }
}
