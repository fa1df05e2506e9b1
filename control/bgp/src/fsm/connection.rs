//! One TCP connection of a peer and its timers (RFC 4271 §8.2.2: OpenSent to Established).

use super::negotiate::Negotiated;
use crate::time::{At, Millis};
use crate::wire::{ResetKind, UnexpectedIn};

/// Until the peer's OPEN is there. The RFC suggests four minutes; a router that takes longer than this
/// to say its first word is dead.
const OPEN_WAIT: Millis = Millis(20_000);
/// RFC 9687 §4.2: the larger of this and twice the hold time.
const SEND_HOLD_LEAST: Millis = Millis(480_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    OpenSent,
    OpenConfirm(Negotiated),
    Established(Negotiated),
}

#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) stage: Stage,
    hold: Option<Millis>,
    keepalive: Option<Millis>,
    send_hold: Option<Millis>,
}

/// What a timer of this connection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Keepalive,
    HoldExpired,
    SendHoldExpired,
}

impl Connection {
    pub(super) fn open_sent(at: At) -> Self {
        Connection {
            stage: Stage::OpenSent,
            hold: Some(at.after(OPEN_WAIT)),
            keepalive: None,
            send_hold: None,
        }
    }

    pub(super) fn negotiated(&self) -> Option<&Negotiated> {
        match &self.stage {
            Stage::OpenSent => None,
            Stage::OpenConfirm(negotiated) | Stage::Established(negotiated) => Some(negotiated),
        }
    }

    pub(super) fn is_established(&self) -> bool {
        matches!(self.stage, Stage::Established(_))
    }

    pub(super) fn reset_kind(&self) -> ResetKind {
        self.negotiated()
            .map_or(ResetKind::Plain, |negotiated| negotiated.reset)
    }

    pub(super) fn unexpected_in(&self) -> UnexpectedIn {
        match self.stage {
            Stage::OpenSent => UnexpectedIn::OpenSent,
            Stage::OpenConfirm(_) => UnexpectedIn::OpenConfirm,
            Stage::Established(_) => UnexpectedIn::Established,
        }
    }

    pub(super) fn confirm(&mut self, negotiated: Negotiated, at: At) {
        self.stage = Stage::OpenConfirm(negotiated);
        self.restart_hold(at);
        self.restart_keepalive(at);
    }

    pub(super) fn establish(&mut self, negotiated: Negotiated, at: At) {
        self.stage = Stage::Established(negotiated);
        self.restart_hold(at);
        self.restart_send_hold(at);
    }

    fn agreed_hold(&self) -> Option<Millis> {
        self.negotiated().and_then(|negotiated| negotiated.hold)
    }

    pub(super) fn restart_hold(&mut self, at: At) {
        self.hold = self.agreed_hold().map(|hold| at.after(hold));
    }

    /// Less up to a quarter (RFC 4271 §10).
    fn restart_keepalive(&mut self, at: At) {
        let interval = self.negotiated().and_then(|negotiated| negotiated.keepalive);
        self.keepalive = interval.map(|interval| at.after_jittered(interval));
    }

    /// The peer took some of what we sent (RFC 9687 §4.3).
    pub(super) fn restart_send_hold(&mut self, at: At) {
        if self.is_established() {
            self.send_hold = self
                .agreed_hold()
                .map(|hold| at.after(SEND_HOLD_LEAST.max(Millis(hold.0.saturating_mul(2)))));
        }
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        [self.hold, self.keepalive, self.send_hold]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes what is due; a due keepalive timer is restarted.
    pub(super) fn due(&mut self, at: At) -> Due {
        let is_due = |timer: Option<Millis>| timer.is_some_and(|deadline| deadline <= at.now);
        if is_due(self.hold) {
            Due::HoldExpired
        } else if is_due(self.send_hold) {
            Due::SendHoldExpired
        } else if is_due(self.keepalive) {
            self.restart_keepalive(at);
            Due::Keepalive
        } else {
            Due::Nothing
        }
    }
}
