//! When to dial: at once, then after 1 s growing to 10 s unless told otherwise, each less up to a quarter
//! (RFC 4271 §8.1.1, DampPeerOscillations and ConnectRetryTime). The RFC's 120 s would make a router reboot an
//! outage.

use crate::time::{At, Millis};

const FIRST_DELAY: Millis = Millis(1_000);
/// A dial unanswered this long is abandoned: the kernel's own patience is two minutes.
const DIAL_WAIT: Millis = Millis(5_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing to do: stopped, connected, or passive.
    Off,
    /// After a protocol error; incoming connections are refused too (Idle).
    Resting(Millis),
    /// Until the next dial (Active).
    Waiting(Millis),
    /// A dial is under way (Connect).
    Dialing(Millis),
}

#[derive(Clone, Debug)]
pub(super) struct Dialer {
    pub(super) phase: Phase,
    delay: Millis,
    longest: Millis,
}

impl Dialer {
    pub(super) const fn new(longest: Millis) -> Self {
        Dialer {
            phase: Phase::Off,
            delay: FIRST_DELAY,
            longest,
        }
    }

    pub(super) fn dialing(&mut self, at: At) {
        self.phase = Phase::Dialing(at.after(DIAL_WAIT));
    }

    pub(super) fn wait(&mut self, at: At) {
        self.phase = Phase::Waiting(self.next_moment(at));
    }

    pub(super) fn rest(&mut self, at: At) {
        self.phase = Phase::Resting(self.next_moment(at));
    }

    fn next_moment(&mut self, at: At) -> Millis {
        let moment = at.after_jittered(self.delay);
        self.delay = Millis(self.delay.0 * 2).min(self.longest);
        moment
    }

    /// Only a session that came up, or someone who knows better, makes us impatient again.
    pub(super) fn forget_failures(&mut self) {
        self.delay = FIRST_DELAY;
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        match self.phase {
            Phase::Off => None,
            Phase::Resting(moment) | Phase::Waiting(moment) | Phase::Dialing(moment) => Some(moment),
        }
    }
}
