//! One BFD session (RFC 5880 §6.8.1 to §6.8.7 and §6.8.16).
//!
//! Two rules decide whether sessions flap: a peer's shorter interval re-arms our transmit timer at once
//! (§6.8.3), and whatever changes the contents of our packet is sent without waiting (§6.8.7).

use super::packet::{Diagnostic, Packet, State};
use super::{Arrival, ControlPlane, Discard, Hops, Micros, Role, Settings, Timers};

/// Until a session is up nobody sends faster than this (RFC 5880 §6.8.3).
const SLOW: u32 = 1_000_000;

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub from: State,
    pub to: State,
    pub diagnostic: Diagnostic,
    /// The peer itself said AdminDown: no reason to take BGP down (RFC 5882 §4.2).
    pub remote_admin_down: bool,
}

/// What a packet led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// To be sent at once, whatever the timers say: the answer to a Poll.
    pub reply: Option<Packet>,
    pub change: Option<Change>,
}

/// Poll sequences (RFC 5880 §6.5); a change during one needs another after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    Off,
    Running,
    RunningThenAgain,
}

/// What the peer last said.
#[derive(Clone, Copy, Debug)]
struct Remote {
    state: State,
    discriminator: u32,
    min_rx: u32,
    desired_min_tx: u32,
    detect_mult: u8,
    demand: bool,
}

impl Remote {
    /// RFC 5880 §6.8.1: initial values.
    const UNKNOWN: Remote = Remote {
        state: State::Down,
        discriminator: 0,
        min_rx: 1,
        desired_min_tx: 0,
        detect_mult: 0,
        demand: false,
    };
}

#[derive(Clone, Debug)]
pub struct Session {
    settings: Settings,
    state: State,
    diagnostic: Diagnostic,
    remote: Remote,
    poll: Poll,
    /// The transmit interval before a longer one is confirmed by a Final (§6.8.3).
    tx_in_use: u32,
    /// The receive interval before a shorter one is confirmed by a Final (§6.8.3).
    rx_in_use: u32,
    /// When the last packet went out, and with what cut the next interval is shortened.
    last_sent: Option<Micros>,
    jitter: u32,
    /// The contents changed since.
    urgent: bool,
    /// When the last packet came in, unless the peer was given up since.
    last_heard: Option<Micros>,
}

impl Session {
    /// A session looking for its peer. `settings.timers` have passed [`Timers::check`].
    pub fn new(settings: Settings) -> Self {
        Session {
            settings,
            state: State::Down,
            diagnostic: Diagnostic::None,
            remote: Remote::UNKNOWN,
            poll: Poll::Off,
            tx_in_use: settings.timers.desired_min_tx,
            rx_in_use: settings.timers.required_min_rx,
            last_sent: None,
            jitter: 0,
            urgent: false,
            last_heard: None,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How long the peer may be silent (RFC 5880 §6.8.4); `None` before it was heard.
    pub fn detection_time(&self) -> Option<Micros> {
        let interval = self.rx_in_use.max(self.remote.desired_min_tx);
        (self.remote.detect_mult > 0)
            .then(|| Micros(u64::from(self.remote.detect_mult) * u64::from(interval)))
    }

    /// How often we send, before jitter (RFC 5880 §6.8.2); `None` while the peer wants no packets,
    /// or is to speak first.
    pub fn transmit_interval(&self) -> Option<Micros> {
        let demanded = self.remote.demand && self.state == State::Up && self.remote.state == State::Up;
        let waiting = self.settings.role == Role::Passive && self.remote.discriminator == 0;
        if waiting || self.remote.min_rx == 0 || (demanded && self.poll == Poll::Off) {
            return None;
        }
        let ours = if self.state == State::Up {
            self.tx_in_use
        } else {
            self.tx_in_use.max(SLOW)
        };
        Some(Micros(u64::from(ours.max(self.remote.min_rx))))
    }

    /// When [`Self::tick`] has something to do next.
    pub fn deadline(&self) -> Option<Micros> {
        [self.next_transmission(), self.expiry()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Sends what is due, and notices silence. `random` jitters the interval after this packet.
    pub fn tick(&mut self, now: Micros, random: u32) -> (Option<Packet>, Option<Change>) {
        let mut change = None;
        if self.expiry().is_some_and(|moment| moment <= now) {
            change = self.expire();
        }
        let due = self.next_transmission().is_some_and(|moment| moment <= now);
        let packet = due.then(|| {
            self.last_sent = Some(now);
            self.jitter = random;
            self.urgent = false;
            Packet {
                poll: self.poll != Poll::Off,
                ..self.packet()
            }
        });
        (packet, change)
    }

    /// Takes a UDP payload that arrived at the port of this session's kind.
    pub fn receive(&mut self, payload: &[u8], arrival: Arrival, now: Micros) -> Result<Received, Discard> {
        let packet = Packet::decode(payload).map_err(Discard::Malformed)?;
        self.check(&packet, arrival)?;
        self.last_heard = Some(now);
        self.remote = Remote {
            state: packet.state,
            discriminator: packet.my_discriminator,
            min_rx: packet.required_min_rx,
            desired_min_tx: packet.desired_min_tx,
            detect_mult: packet.detect_mult,
            demand: packet.demand,
        };
        if packet.final_ {
            self.poll_answered();
        }
        let change = self.advance(packet.state);
        let reply = (packet.poll && self.state != State::AdminDown).then(|| Packet {
            final_: true,
            ..self.packet()
        });
        Ok(Received { reply, change })
    }

    /// New timers; while up they take effect as RFC 5880 §6.8.3 allows, after a Poll sequence.
    pub fn set_timers(&mut self, timers: Timers) {
        let before = std::mem::replace(&mut self.settings.timers, timers);
        if before == timers {
            return;
        }
        self.urgent = true;
        let up = self.state == State::Up;
        if !up || timers.desired_min_tx < self.tx_in_use {
            self.tx_in_use = timers.desired_min_tx;
        }
        if !up || timers.required_min_rx > self.rx_in_use {
            self.rx_in_use = timers.required_min_rx;
        }
        if up {
            self.start_poll();
        }
    }

    /// We go away on purpose (RFC 5880 §6.8.16): keep calling [`Self::tick`] for the detection time
    /// that peers may see it.
    pub fn admin_down(&mut self) -> Option<Change> {
        self.enter(State::AdminDown, Diagnostic::AdministrativelyDown, false)
    }

    /// Undoes [`Self::admin_down`].
    pub fn admin_up(&mut self) -> Option<Change> {
        match self.state {
            State::AdminDown => self.enter(State::Down, Diagnostic::None, false),
            State::Down | State::Init | State::Up => None,
        }
    }

    /// This node no longer forwards: the last packet to send, which says so where the peer was told
    /// otherwise. Until forwarding is back, call neither [`Self::tick`] nor [`Self::receive`].
    pub fn forwarding_lost(&mut self) -> (Option<Packet>, Option<Change>) {
        let change = match self.state {
            State::Init | State::Up => self.enter(State::Down, Diagnostic::ForwardingPlaneReset, false),
            State::AdminDown | State::Down => None,
        };
        let last_word = change.map(|_| self.packet());
        self.last_heard = None;
        self.remote = Remote::UNKNOWN;
        (last_word, change)
    }

    fn check(&self, packet: &Packet, arrival: Arrival) -> Result<(), Discard> {
        let near = match self.settings.hops {
            Hops::Single => arrival.ttl == 255,
            Hops::Multi { min_ttl } => arrival.ttl >= min_ttl,
        };
        let early = matches!(packet.state, State::Down | State::AdminDown);
        if !near {
            Err(Discard::Ttl)
        } else if arrival.source != self.settings.peer {
            Err(Discard::Source)
        } else if packet.your_discriminator == 0 && !early {
            Err(Discard::DiscriminatorMissing)
        } else if packet.your_discriminator != 0
            && packet.your_discriminator != self.settings.discriminator.get()
        {
            Err(Discard::Discriminator)
        } else if packet.authentication_present {
            Err(Discard::Authenticated)
        } else {
            Ok(())
        }
    }

    /// The state table of RFC 5880 §6.8.6.
    fn advance(&mut self, heard: State) -> Option<Change> {
        match (self.state, heard) {
            (State::AdminDown, _) | (State::Down, State::AdminDown | State::Up) => None,
            (State::Init | State::Up, State::AdminDown) => {
                self.enter(State::Down, Diagnostic::NeighborSignaledDown, true)
            }
            (State::Down, State::Down) => self.enter(State::Init, Diagnostic::None, false),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.enter(State::Up, Diagnostic::None, false)
            }
            (State::Up, State::Down) => self.enter(State::Down, Diagnostic::NeighborSignaledDown, false),
            (State::Init, State::Down) | (State::Up, State::Init | State::Up) => None,
        }
    }

    fn enter(&mut self, to: State, diagnostic: Diagnostic, remote_admin_down: bool) -> Option<Change> {
        let from = std::mem::replace(&mut self.state, to);
        if from == to {
            return None;
        }
        self.diagnostic = diagnostic;
        self.urgent = true;
        self.poll = Poll::Off;
        self.tx_in_use = self.settings.timers.desired_min_tx;
        self.rx_in_use = self.settings.timers.required_min_rx;
        if to == State::Up && self.tx_in_use < SLOW {
            self.start_poll();
        }
        Some(Change {
            from,
            to,
            diagnostic,
            remote_admin_down,
        })
    }

    /// The detection time has passed in silence: the peer is forgotten (RFC 5880 §6.8.1 and §6.8.4).
    fn expire(&mut self) -> Option<Change> {
        self.last_heard = None;
        self.remote = Remote::UNKNOWN;
        match self.state {
            State::Init | State::Up => self.enter(State::Down, Diagnostic::DetectionTimeExpired, false),
            State::AdminDown | State::Down => None,
        }
    }

    fn start_poll(&mut self) {
        self.poll = match self.poll {
            Poll::Off => Poll::Running,
            Poll::Running | Poll::RunningThenAgain => Poll::RunningThenAgain,
        };
    }

    fn poll_answered(&mut self) {
        self.poll = match self.poll {
            Poll::Off => return,
            Poll::Running => {
                self.tx_in_use = self.settings.timers.desired_min_tx;
                self.rx_in_use = self.settings.timers.required_min_rx;
                Poll::Off
            }
            Poll::RunningThenAgain => Poll::Running,
        };
    }

    fn expiry(&self) -> Option<Micros> {
        let span = self.detection_time()?;
        self.last_heard
            .map(|heard| Micros(heard.0.saturating_add(span.0)))
    }

    /// Computed anew each time from the last packet, so that a shorter interval counts at once.
    fn next_transmission(&self) -> Option<Micros> {
        let interval = self.transmit_interval()?;
        match self.last_sent {
            None => Some(Micros(0)),
            Some(sent) if self.urgent => Some(sent),
            Some(sent) => Some(Micros(sent.0.saturating_add(self.jittered(interval.0)))),
        }
    }

    /// RFC 5880 §6.8.7: 75 to 100 % of the interval, at most 90 % where one loss is a failure.
    fn jittered(&self, interval: u64) -> u64 {
        let span = if self.settings.timers.detect_mult == 1 {
            15
        } else {
            25
        };
        let most = interval * (75 + span) / 100;
        let cut =
            u128::from(interval) * span as u128 * u128::from(self.jitter) / (100 * u128::from(u32::MAX));
        most - cut as u64
    }

    fn packet(&self) -> Packet {
        let timers = &self.settings.timers;
        let slow = self.state != State::Up;
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: false,
            final_: false,
            control_plane_independent: self.settings.control_plane == ControlPlane::Independent,
            authentication_present: false,
            demand: false,
            detect_mult: timers.detect_mult,
            my_discriminator: self.settings.discriminator.get(),
            your_discriminator: self.remote.discriminator,
            desired_min_tx: if slow {
                timers.desired_min_tx.max(SLOW)
            } else {
                timers.desired_min_tx
            },
            required_min_rx: timers.required_min_rx,
            required_min_echo_rx: 0,
        }
    }
}
