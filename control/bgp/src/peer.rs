//! One peer: the state machine, the framing of its byte streams, and what it is to be told.
//!
//! Still sans-IO: `(input, now) -> actions`. The gate keeps everything unsaid until forwarding is ready
//! (and BFD up, where configured); closing it withdraws all and keeps the session: that is a drain.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use maglane_shared::addr::Family;
use serde::{Deserialize, Serialize};

use crate::error::SettingsError;
use crate::fsm::{EndReason, Fsm, Input, Negotiated, Output, Side, State, StopReason};
use crate::rib::{AdjRibOut, Routes, Unsendable};
use crate::settings::{NextHops, SessionSettings};
use crate::time::{At, Millis};
use crate::wire::{self, Inspection, Message, STANDARD_LIMIT, UpdateVerdict};

/// Whether the peer may be told anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Closed,
    Open,
}

#[derive(Clone, Debug)]
pub enum PeerInput<'a> {
    Start,
    Stop(StopReason),
    /// The path changed for the better (link up, BFD up, new key): do not wait for the next retry.
    Hurry,
    /// The whole desired set, with a number of the caller's that [`Status::synced`] repeats.
    Routes {
        revision: u64,
        routes: Routes,
    },
    Gate(Gate),
    /// A connection stands, with this address of ours.
    Connected(Side, IpAddr),
    DialFailed,
    Closed(Side),
    Bytes(Side, &'a [u8]),
    /// TCP took some of what was to be sent.
    Progress(Side),
    /// TCP took all of it.
    Flushed(Side),
    /// [`Peer::deadline`] has come.
    Timer,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Dial,
    AbortDial,
    /// Keep the accepted connection just reported.
    Adopt,
    /// Say this on the accepted connection just reported and close it.
    Refuse(Bytes),
    Send(Side, Bytes),
    /// Close once everything sent has gone out.
    Close(Side),
}

/// Since this peer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    pub sessions_up: u64,
    pub sessions_down: u64,
    pub messages_in: u64,
    pub messages_out: u64,
    pub updates_in: u64,
    pub updates_out: u64,
    pub keepalives_in: u64,
    pub keepalives_out: u64,
    pub notifications_in: u64,
    pub notifications_out: u64,
    pub refreshes_in: u64,
    /// RFC 7606 §2: malformed, and survived.
    pub treated_as_withdraw: u64,
    pub attributes_discarded: u64,
    pub dial_failures: u64,
}

/// What an operator asks about a peer; a value, replaced as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub state: State,
    pub session: Option<Session>,
    /// The revision of the desired set that TCP has taken in full; `None` without a session, or while
    /// something is still to be sent.
    pub synced: Option<u64>,
    /// Prefixes told.
    pub told: usize,
    pub unsendable: Unsendable,
    pub counters: Counters,
    pub last_error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub since: Millis,
    pub opened: Side,
    pub local: IpAddr,
    pub agreed: Negotiated,
}

pub struct Peer {
    fsm: Fsm,
    rib: AdjRibOut,
    next_hops: NextHops,
    gate: Gate,
    routes: Routes,
    revision: u64,
    /// Something may be left to say.
    stale: bool,
    synced: bool,
    links: [Link; 2],
    session: Option<Session>,
    counters: Counters,
    last_error: Option<String>,
}

/// What this side keeps of a connection.
#[derive(Default)]
struct Link {
    inbox: BytesMut,
    local: Option<IpAddr>,
    /// Bytes are waiting for TCP.
    unsent: bool,
}

impl Peer {
    /// A stopped peer with a closed gate.
    pub fn new(settings: SessionSettings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Peer {
            next_hops: settings.next_hops,
            fsm: Fsm::new(settings),
            rib: AdjRibOut::default(),
            gate: Gate::Closed,
            routes: Routes::new(),
            revision: 0,
            stale: false,
            synced: false,
            links: Default::default(),
            session: None,
            counters: Counters::default(),
            last_error: None,
        })
    }

    pub fn deadline(&self) -> Option<Millis> {
        self.fsm.deadline()
    }

    pub fn status(&self) -> Status {
        Status {
            state: self.fsm.state(),
            session: self.session,
            synced: (self.session.is_some() && self.synced).then_some(self.revision),
            told: self.rib.told(),
            unsendable: self.rib.unsendable(),
            counters: self.counters,
            last_error: self.last_error.clone(),
        }
    }

    pub fn step(&mut self, input: PeerInput<'_>, at: At, actions: &mut Vec<Action>) {
        match input {
            PeerInput::Start => self.drive(Input::Start, at, actions),
            PeerInput::Stop(reason) => self.drive(Input::Stop(reason), at, actions),
            PeerInput::Hurry => self.drive(Input::Hurry, at, actions),
            PeerInput::Routes { revision, routes } => {
                self.routes = routes;
                self.revision = revision;
                self.desire();
            }
            PeerInput::Gate(gate) => {
                self.gate = gate;
                self.desire();
            }
            PeerInput::Connected(side, local) => self.connected(side, local, at, actions),
            PeerInput::DialFailed => {
                self.counters.dial_failures += 1;
                self.drive(Input::DialFailed, at, actions);
            }
            PeerInput::Closed(side) => {
                self.links[side as usize] = Link::default();
                self.drive(Input::Closed(side), at, actions);
            }
            PeerInput::Bytes(side, bytes) => self.read(side, bytes, at, actions),
            PeerInput::Progress(side) => self.drive(Input::Progress(side), at, actions),
            PeerInput::Flushed(side) => self.links[side as usize].unsent = false,
            PeerInput::Timer => self.drive(Input::Timer, at, actions),
        }
        self.speak(actions);
    }

    /// A dial or a connection failed for a reason only the caller knows.
    pub fn note_error(&mut self, text: String) {
        self.last_error = Some(text);
    }

    fn desire(&mut self) {
        self.rib.set(match self.gate {
            Gate::Closed => Routes::new(),
            Gate::Open => self.routes.clone(),
        });
        self.stale = true;
        self.synced = false;
    }

    /// The address is remembered only of a connection that is kept.
    fn connected(&mut self, side: Side, local: IpAddr, at: At, actions: &mut Vec<Action>) {
        let from = actions.len();
        self.drive(Input::Connected(side), at, actions);
        let kept = match side {
            Side::Outgoing => !actions[from..].contains(&Action::Close(side)),
            Side::Incoming => actions[from..].contains(&Action::Adopt),
        };
        if kept {
            let link = &mut self.links[side as usize];
            link.local = Some(local);
            link.inbox.clear();
        }
    }

    fn read(&mut self, side: Side, bytes: &[u8], at: At, actions: &mut Vec<Action>) {
        self.links[side as usize].inbox.extend_from_slice(bytes);
        while let Some(message) = self.next_message(side) {
            let fault = message.is_err();
            self.count_in(&message);
            self.drive(Input::Heard(side, message), at, actions);
            if fault {
                self.links[side as usize].inbox.clear();
            }
        }
    }

    fn next_message(&mut self, side: Side) -> Option<Result<Message, wire::Notification>> {
        // We offer extended messages, and who offers must take them once OPENs are exchanged (RFC 8654 §4).
        let limit = self
            .fsm
            .negotiated(side)
            .map_or(STANDARD_LIMIT, |_| wire::EXTENDED_LIMIT);
        wire::take(&mut self.links[side as usize].inbox, limit).transpose()
    }

    fn count_in(&mut self, message: &Result<Message, wire::Notification>) {
        let counters = &mut self.counters;
        counters.messages_in += 1;
        match message {
            Ok(Message::Update(_)) => counters.updates_in += 1,
            Ok(Message::Keepalive) => counters.keepalives_in += 1,
            Ok(Message::Notification(_)) => counters.notifications_in += 1,
            Ok(Message::Refresh(_)) => counters.refreshes_in += 1,
            Ok(Message::Open(_)) | Err(_) => {}
        }
    }

    fn drive(&mut self, input: Input, at: At, actions: &mut Vec<Action>) {
        let mut outputs = Vec::new();
        self.fsm.step(input, at, &mut outputs);
        for output in outputs {
            self.perform(output, at, actions);
        }
    }

    fn perform(&mut self, output: Output, at: At, actions: &mut Vec<Action>) {
        match output {
            Output::Dial => actions.push(Action::Dial),
            Output::AbortDial => actions.push(Action::AbortDial),
            Output::Adopt => actions.push(Action::Adopt),
            Output::Refuse(reason) => {
                self.counters.notifications_out += 1;
                actions.push(Action::Refuse(Message::Notification(reason).encode()));
            }
            Output::Send(side, message) => self.send_message(side, &message, actions),
            Output::Close(side) => {
                self.links[side as usize] = Link::default();
                actions.push(Action::Close(side));
            }
            Output::Up(side, agreed) => self.up(side, agreed, at),
            Output::Down => self.down(),
            Output::Ended(reason) => self.ended(&reason),
            Output::Update(inspection) => self.judged(&inspection),
            Output::Refresh(family) => self.refresh(family),
        }
    }

    fn send_message(&mut self, side: Side, message: &Message, actions: &mut Vec<Action>) {
        match message {
            Message::Keepalive => self.counters.keepalives_out += 1,
            Message::Notification(_) => self.counters.notifications_out += 1,
            Message::Open(_) | Message::Update(_) | Message::Refresh(_) => {}
        }
        self.send(side, message.encode(), actions);
    }

    fn send(&mut self, side: Side, bytes: Bytes, actions: &mut Vec<Action>) {
        self.counters.messages_out += 1;
        self.links[side as usize].unsent = true;
        actions.push(Action::Send(side, bytes));
    }

    fn up(&mut self, side: Side, agreed: Negotiated, at: At) {
        let Some(local) = self.links[side as usize].local else {
            return;
        };
        self.session = Some(Session {
            since: at.now,
            opened: side,
            local,
            agreed,
        });
        self.counters.sessions_up += 1;
        self.last_error = None;
        self.rib.session_up(agreed, local, &self.next_hops);
        self.stale = true;
        self.synced = false;
    }

    fn down(&mut self) {
        self.session = None;
        self.counters.sessions_down += 1;
        self.rib.session_down();
        self.synced = false;
    }

    /// A lost race between two connections is no error to show.
    fn ended(&mut self, reason: &EndReason) {
        if *reason == EndReason::Unanswered {
            self.counters.dial_failures += 1;
        }
        if self.session.is_none() {
            self.last_error = Some(reason.to_string());
        }
    }

    fn judged(&mut self, inspection: &Inspection) {
        match inspection.verdict {
            UpdateVerdict::Clean => {}
            UpdateVerdict::AttributeDiscard => self.counters.attributes_discarded += 1,
            UpdateVerdict::TreatAsWithdraw => self.counters.treated_as_withdraw += 1,
        }
    }

    fn refresh(&mut self, family: Family) {
        self.rib.refresh(family);
        self.stale = true;
        self.synced = false;
    }

    /// Says what is left to say, unless TCP is still busy with what was said before: then changes
    /// add up meanwhile and go out as one.
    fn speak(&mut self, actions: &mut Vec<Action>) {
        let Some(Session { opened: side, .. }) = self.session else {
            return;
        };
        if self.links[side as usize].unsent {
            return;
        }
        if std::mem::take(&mut self.stale) {
            let updates = self.rib.updates();
            self.counters.updates_out += updates.len() as u64;
            for update in updates {
                self.send(side, update, actions);
            }
        }
        self.synced = !self.links[side as usize].unsent;
    }
}
