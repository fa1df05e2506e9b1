//! The BGP state machine of one peer, both its possible connections included (RFC 4271 §8).
//!
//! `(input, now) -> outputs`: no socket, no clock, no random source. The caller dials when told
//! [`Output::Dial`], reports what became of it, feeds messages, and calls [`Input::Timer`] at
//! [`Fsm::deadline`]. Collisions are settled by identifier and AS number (RFC 4271 §6.8, RFC 6286 §2.3);
//! whatever the order of events, at most one connection is ever Established.

mod connection;
mod dialer;
mod event;
mod negotiate;
#[cfg(test)]
mod tests;

pub use event::{EndReason, Input, Output, Side, State, StopReason};
pub use negotiate::Negotiated;

use crate::settings::{Opening, SessionSettings};
use crate::time::{At, Millis};
use crate::wire::{Message, Notification, Open, RawUpdate};
use connection::{Connection, Due, Stage};
use dialer::{Dialer, Phase};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admin {
    Stopped,
    Running,
}

#[derive(Clone, Debug)]
pub struct Fsm {
    settings: SessionSettings,
    admin: Admin,
    dialer: Dialer,
    outgoing: Option<Connection>,
    incoming: Option<Connection>,
}

impl Fsm {
    /// `settings` have passed [`SessionSettings::check`].
    pub fn new(settings: SessionSettings) -> Self {
        Fsm {
            admin: Admin::Stopped,
            dialer: Dialer::new(Millis::from_secs(settings.connect_seconds)),
            outgoing: None,
            incoming: None,
            settings,
        }
    }

    pub fn state(&self) -> State {
        let furthest = Side::BOTH
            .iter()
            .filter_map(|side| self.slot(*side).as_ref())
            .map(|c| match c.stage {
                Stage::OpenSent => State::OpenSent,
                Stage::OpenConfirm(_) => State::OpenConfirm,
                Stage::Established(_) => State::Established,
            });
        furthest.max().unwrap_or(match (self.admin, self.dialer.phase) {
            (Admin::Stopped, _) | (Admin::Running, Phase::Resting(_)) => State::Idle,
            (Admin::Running, Phase::Dialing(_)) => State::Connect,
            (Admin::Running, Phase::Off | Phase::Waiting(_)) => State::Active,
        })
    }

    /// The agreement a message on this connection is read under, once there is one.
    pub fn negotiated(&self, side: Side) -> Option<&Negotiated> {
        self.slot(side).as_ref().and_then(Connection::negotiated)
    }

    /// When the next [`Input::Timer`] is due.
    pub fn deadline(&self) -> Option<Millis> {
        let connections = Side::BOTH
            .iter()
            .filter_map(|side| self.slot(*side).as_ref()?.deadline());
        connections.chain(self.dialer.deadline()).min()
    }

    pub fn step(&mut self, input: Input, at: At, out: &mut Vec<Output>) {
        match input {
            Input::Start => self.start(at, out),
            Input::Stop(reason) => self.stop(&reason, at, out),
            Input::Hurry => self.hurry(at, out),
            Input::Connected(Side::Outgoing) => self.dialed(at, out),
            Input::Connected(Side::Incoming) => self.accepted(at, out),
            Input::DialFailed => self.dial_failed(at),
            Input::Closed(side) => self.end(side, EndReason::ConnectionLost, at, out),
            Input::Heard(side, heard) => self.heard(side, heard, at, out),
            Input::Progress(side) => {
                if let Some(connection) = self.slot_mut(side) {
                    connection.restart_send_hold(at);
                }
            }
            Input::Timer => self.timer(at, out),
        }
    }

    fn slot(&self, side: Side) -> &Option<Connection> {
        match side {
            Side::Outgoing => &self.outgoing,
            Side::Incoming => &self.incoming,
        }
    }

    fn slot_mut(&mut self, side: Side) -> &mut Option<Connection> {
        match side {
            Side::Outgoing => &mut self.outgoing,
            Side::Incoming => &mut self.incoming,
        }
    }

    fn established(&self) -> Option<Side> {
        Side::BOTH
            .into_iter()
            .find(|side| self.slot(*side).as_ref().is_some_and(Connection::is_established))
    }

    fn start(&mut self, at: At, out: &mut Vec<Output>) {
        if self.admin == Admin::Stopped {
            self.admin = Admin::Running;
            self.dialer.forget_failures();
            self.dial(at, out);
        }
    }

    fn stop(&mut self, reason: &StopReason, at: At, out: &mut Vec<Output>) {
        self.admin = Admin::Stopped;
        self.abort_dial(out);
        for side in Side::BOTH {
            if let Some(connection) = self.slot(side) {
                let kind = connection.reset_kind();
                self.refuse(side, reason.notification().with_reset(kind), at, out);
            }
        }
    }

    fn hurry(&mut self, at: At, out: &mut Vec<Output>) {
        if matches!(self.dialer.phase, Phase::Resting(_) | Phase::Waiting(_)) {
            self.dialer.forget_failures();
            self.dial(at, out);
        }
    }

    fn dial(&mut self, at: At, out: &mut Vec<Output>) {
        match self.settings.opening {
            Opening::Active | Opening::Both => {
                self.dialer.dialing(at);
                out.push(Output::Dial);
            }
            Opening::Passive => self.dialer.phase = Phase::Off,
        }
    }

    fn abort_dial(&mut self, out: &mut Vec<Output>) {
        if matches!(self.dialer.phase, Phase::Dialing(_)) {
            out.push(Output::AbortDial);
        }
        self.dialer.phase = Phase::Off;
    }

    fn dialed(&mut self, at: At, out: &mut Vec<Output>) {
        if matches!(self.dialer.phase, Phase::Dialing(_)) {
            self.dialer.phase = Phase::Off;
            self.open(Side::Outgoing, at, out);
        } else {
            out.push(Output::Close(Side::Outgoing));
        }
    }

    fn dial_failed(&mut self, at: At) {
        if matches!(self.dialer.phase, Phase::Dialing(_)) {
            self.dialer.wait(at);
        }
    }

    /// A new connection of the peer beside one that seems to live. If the peer rebooted, ours is dead
    /// and we do not know: a keepalive on it draws the reset that tells, and the peer's next try succeeds.
    fn accepted(&mut self, at: At, out: &mut Vec<Output>) {
        let open_for_peer = self.admin == Admin::Running && self.settings.opening != Opening::Active;
        if !open_for_peer || matches!(self.dialer.phase, Phase::Resting(_)) {
            return out.push(Output::Refuse(Notification::connection_rejected()));
        }
        let settled = self.established().or(match self.incoming {
            Some(Connection {
                stage: Stage::OpenConfirm(_),
                ..
            }) => Some(Side::Incoming),
            Some(_) | None => None,
        });
        if let Some(side) = settled {
            out.push(Output::Refuse(Notification::collision()));
            return out.push(Output::Send(side, Message::Keepalive));
        }
        if self.incoming.take().is_some() {
            out.push(Output::Close(Side::Incoming));
        }
        out.push(Output::Adopt);
        self.open(Side::Incoming, at, out);
    }

    fn open(&mut self, side: Side, at: At, out: &mut Vec<Output>) {
        *self.slot_mut(side) = Some(Connection::open_sent(at));
        out.push(Output::Send(
            side,
            Message::Open(negotiate::our_open(&self.settings)),
        ));
    }

    fn timer(&mut self, at: At, out: &mut Vec<Output>) {
        match self.dialer.phase {
            Phase::Resting(moment) | Phase::Waiting(moment) if moment <= at.now => self.dial(at, out),
            Phase::Dialing(moment) if moment <= at.now => {
                self.abort_dial(out);
                self.dialer.wait(at);
                out.push(Output::Ended(EndReason::Unanswered));
            }
            Phase::Off | Phase::Resting(_) | Phase::Waiting(_) | Phase::Dialing(_) => {}
        }
        for side in Side::BOTH {
            match self
                .slot_mut(side)
                .as_mut()
                .map_or(Due::Nothing, |connection| connection.due(at))
            {
                Due::Nothing => {}
                Due::Keepalive => out.push(Output::Send(side, Message::Keepalive)),
                Due::HoldExpired => self.refuse(side, Notification::hold_timer_expired(), at, out),
                Due::SendHoldExpired => self.refuse(side, Notification::send_hold_timer_expired(), at, out),
            }
        }
    }

    fn heard(&mut self, side: Side, heard: Result<Message, Notification>, at: At, out: &mut Vec<Output>) {
        let Some(connection) = self.slot_mut(side) else {
            return;
        };
        let message = match heard {
            Ok(Message::Notification(reason)) => return self.end(side, EndReason::Received(reason), at, out),
            Ok(message) => message,
            Err(fault) => return self.refuse(side, fault, at, out),
        };
        match (connection.stage, message) {
            (Stage::OpenSent, Message::Open(open)) => self.opened(side, &open, at, out),
            (Stage::OpenConfirm(negotiated), Message::Keepalive) => self.establish(side, negotiated, at, out),
            (Stage::Established(_), Message::Keepalive) => connection.restart_hold(at),
            (Stage::Established(negotiated), Message::Update(update)) => {
                connection.restart_hold(at);
                self.updated(side, &update, &negotiated, at, out);
            }
            (Stage::Established(negotiated), Message::Refresh(family)) => {
                out.extend(
                    family
                        .filter(|f| negotiated.families.contains(*f))
                        .map(Output::Refresh),
                );
            }
            (Stage::OpenSent | Stage::OpenConfirm(_) | Stage::Established(_), message) => {
                let fault = Notification::unexpected_message(connection.unexpected_in(), message.type_code());
                self.refuse(side, fault, at, out);
            }
        }
    }

    fn updated(
        &mut self,
        side: Side,
        update: &RawUpdate,
        agreed: &Negotiated,
        at: At,
        out: &mut Vec<Output>,
    ) {
        match update.inspect(&agreed.encoding) {
            Ok(inspection) => out.push(Output::Update(inspection)),
            Err(fault) => self.refuse(side, fault, at, out),
        }
    }

    fn opened(&mut self, side: Side, open: &Open, at: At, out: &mut Vec<Output>) {
        let negotiated = match negotiate::negotiate(&self.settings, open) {
            Ok(negotiated) => negotiated,
            Err(fault) => return self.refuse(side, fault, at, out),
        };
        if let Some(loser) = self.collision_loser(side, &negotiated) {
            self.refuse(loser, Notification::collision(), at, out);
            if loser == side {
                return;
            }
        }
        if let Some(connection) = self.slot_mut(side) {
            connection.confirm(negotiated, at);
            out.push(Output::Send(side, Message::Keepalive));
        }
    }

    /// Whom an OPEN on `side` condemns (RFC 4271 §6.8). While the other connection has not seen the
    /// peer's OPEN nobody: its OPEN will decide.
    fn collision_loser(&self, side: Side, negotiated: &Negotiated) -> Option<Side> {
        let other = self.slot(side.other()).as_ref()?;
        match other.stage {
            Stage::OpenSent => None,
            Stage::Established(_) => Some(side),
            Stage::OpenConfirm(_) => {
                let ours = (self.settings.router_id, self.settings.local_as);
                let theirs = (negotiated.peer_id, negotiated.peer_as);
                Some(if ours < theirs {
                    Side::Outgoing
                } else {
                    Side::Incoming
                })
            }
        }
    }

    fn establish(&mut self, side: Side, negotiated: Negotiated, at: At, out: &mut Vec<Output>) {
        self.abort_dial(out);
        if self.slot(side.other()).is_some() {
            self.refuse(side.other(), Notification::collision(), at, out);
        }
        if let Some(connection) = self.slot_mut(side) {
            connection.establish(negotiated, at);
            self.dialer.forget_failures();
            out.push(Output::Up(side, negotiated));
        }
    }

    /// Ends a connection from our side, saying why.
    fn refuse(&mut self, side: Side, reason: Notification, at: At, out: &mut Vec<Output>) {
        out.push(Output::Send(side, Message::Notification(reason.clone())));
        self.end(side, EndReason::Sent(reason), at, out);
    }

    /// Forgets a connection; the last one gone, dials again after a while.
    fn end(&mut self, side: Side, reason: EndReason, at: At, out: &mut Vec<Output>) {
        let Some(connection) = self.slot_mut(side).take() else {
            return;
        };
        match reason {
            EndReason::Sent(_) | EndReason::Received(_) => out.push(Output::Close(side)),
            EndReason::ConnectionLost | EndReason::Unanswered => {}
        }
        if connection.is_established() {
            out.push(Output::Down);
        }
        let alone = self.slot(side.other()).is_none() && self.dialer.phase == Phase::Off;
        if self.admin == Admin::Running && alone {
            if reason.is_protocol_error() {
                self.dialer.rest(at)
            } else {
                self.dialer.wait(at)
            }
        }
        out.push(Output::Ended(reason));
    }
}
