//! The loop: wait, take orders, receive, look at the workers, send. In this order, so that a thread that
//! slept too long hears what waited for it before it judges anybody silent.

use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::board::{Board, Pulse};
use super::socket::Kind;
use super::{Forwarding, LOOK_EVERY, MAX_SESSIONS};
use crate::bfd::{Arrival, Change, Discard, Micros, Packet, Session, State, Timers};
use crate::packet::{Buffers, Datagram};

/// Packets taken from one socket before the timers are looked at again.
const BATCH: usize = 256;
/// A session that ends says so for this long at most.
const LONGEST_FAREWELL: u64 = 3_000_000;

#[derive(Debug)]
pub(super) enum Order {
    Listen(Kind, UdpSocket),
    Report(UnixDatagram),
    Add(Box<Slot>),
    Timers(NonZeroU32, Timers),
    AdminDown(NonZeroU32),
    AdminUp(NonZeroU32),
    Remove(NonZeroU32),
}

/// A session and its way out.
#[derive(Debug)]
pub(super) struct Slot {
    session: Session,
    kind: Kind,
    /// The interface its packets must arrive on; 0 for any.
    interface: u32,
    socket: UdpSocket,
    target: SocketAddr,
    board: Arc<Board>,
    /// When the slot is given up, AdminDown having been told.
    leaves: Option<Micros>,
}

impl Slot {
    pub(super) fn new(
        session: Session,
        kind: Kind,
        interface: u32,
        socket: UdpSocket,
        target: SocketAddr,
        board: Arc<Board>,
    ) -> Self {
        Slot {
            session,
            kind,
            interface,
            socket,
            target,
            board,
            leaves: None,
        }
    }

    fn id(&self) -> NonZeroU32 {
        self.session.settings().discriminator
    }

    fn send(&self, packet: Packet) {
        let counter = match self.socket.send_to(&packet.encode(), self.target) {
            Ok(_) => &self.board.sent,
            // No route or neighbour, most likely: silence on the wire is what the peer must see then.
            Err(_) => &self.board.send_errors,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// True when there is news.
    fn note(&self, change: Option<Change>) -> bool {
        self.board.note_intervals(&self.session);
        if let Some(change) = change {
            self.board.note(change);
        }
        change.is_some()
    }

    fn hear(&mut self, datagram: &Datagram<'_>, now: Micros) -> Result<bool, Discard> {
        if self.interface != 0 && self.interface != datagram.interface {
            return Err(Discard::Interface);
        }
        let arrival = Arrival {
            source: datagram.source,
            ttl: datagram.ttl,
        };
        let received = self.session.receive(datagram.payload, arrival, now)?;
        self.board.received.fetch_add(1, Ordering::Relaxed);
        if let Some(reply) = received.reply {
            self.send(reply);
        }
        Ok(self.note(received.change))
    }

    fn tick(&mut self, now: Micros, random: u32) -> bool {
        let (packet, change) = self.session.tick(now, random);
        if let Some(packet) = packet {
            self.send(packet);
        }
        self.note(change)
    }

    fn lose_forwarding(&mut self) -> bool {
        let (last_word, change) = self.session.forwarding_lost();
        if let Some(packet) = last_word {
            self.send(packet);
        }
        self.note(change)
    }

    /// The board shows it once the peer was told.
    fn admin_down(&mut self, now: Micros, forwarding: Forwarding) {
        let change = self.session.admin_down();
        if change.is_some() && forwarding == Forwarding::Works {
            self.tick(now, 0);
        }
        self.note(change);
    }

    fn admin_up(&mut self) {
        let change = self.session.admin_up();
        self.note(change);
    }

    /// AdminDown first, for as long as the peer would take to miss us.
    fn leave(&mut self, now: Micros, forwarding: Forwarding) {
        let span = self.session.transmit_interval().map_or(0, |interval| {
            u64::from(self.session.settings().timers.detect_mult) * interval.0
        });
        let known = self.session.state() > State::Down;
        self.leaves = Some(Micros(now.0 + if known { span.min(LONGEST_FAREWELL) } else { 0 }));
        if known {
            self.admin_down(now, forwarding);
        }
    }
}

/// Everything the thread owns.
#[derive(Debug)]
pub struct Thread {
    inbox: Receiver<Order>,
    wake: UnixDatagram,
    news: Option<UnixDatagram>,
    pulse: Arc<Pulse>,
    listeners: [Option<UdpSocket>; Kind::COUNT],
    slots: Vec<Slot>,
    buffers: Buffers,
    epoch: Instant,
    chance: RandomState,
    draws: u64,
    forwarding: Forwarding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    /// Nobody can give orders any more.
    Finish,
}

impl Thread {
    pub(super) fn new(inbox: Receiver<Order>, wake: UnixDatagram, pulse: Arc<Pulse>) -> Self {
        Thread {
            inbox,
            wake,
            news: None,
            pulse,
            listeners: [const { None }; Kind::COUNT],
            slots: Vec::with_capacity(MAX_SESSIONS),
            buffers: Buffers::new(),
            epoch: Instant::now(),
            chance: RandomState::new(),
            draws: 0,
            forwarding: Forwarding::Works,
        }
    }

    /// Runs until every [`super::Liveness`] and [`super::SessionHandle`] is dropped and the peers were told.
    /// `look` is asked at least every [`LOOK_EVERY`]; it must not block.
    pub fn run(mut self, mut look: impl FnMut() -> Forwarding) {
        loop {
            let next = self.take_orders();
            let mut news = self.receive();
            news |= self.look(look());
            news |= self.tick();
            if news {
                self.report();
            }
            if next == Next::Finish && self.slots.is_empty() {
                return;
            }
            self.wait();
        }
    }

    fn now(&self) -> Micros {
        Micros(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn take_orders(&mut self) -> Next {
        while self.wake.recv(&mut [0]).is_ok() {}
        loop {
            match self.inbox.try_recv() {
                Ok(order) => self.obey(order),
                Err(TryRecvError::Empty) => return Next::GoOn,
                Err(TryRecvError::Disconnected) => return Next::Finish,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        let (now, forwarding) = (self.now(), self.forwarding);
        match order {
            Order::Listen(kind, socket) => self.listeners[kind.place()] = Some(socket),
            Order::Report(writer) => {
                self.news = Some(writer);
                self.report();
            }
            Order::Add(slot) => self.add(*slot),
            Order::Timers(id, timers) => self.change(id, |slot| slot.session.set_timers(timers)),
            Order::AdminDown(id) => self.change(id, |slot| slot.admin_down(now, forwarding)),
            Order::AdminUp(id) => self.change(id, Slot::admin_up),
            Order::Remove(id) => self.change(id, |slot| slot.leave(now, forwarding)),
        }
    }

    fn change(&mut self, id: NonZeroU32, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id() == id) {
            change(slot);
        }
    }

    /// A session with a peer whose last session is still saying goodbye takes its place.
    fn add(&mut self, slot: Slot) {
        self.slots
            .retain(|old| old.leaves.is_none() || old.target != slot.target);
        self.slots.push(slot);
    }

    fn receive(&mut self) -> bool {
        let mut news = false;
        for place in 0..Kind::COUNT {
            for _ in 0..BATCH {
                let Some(socket) = &self.listeners[place] else {
                    break;
                };
                let Some(datagram) = self.buffers.receive(socket) else {
                    break;
                };
                let now = Micros(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX));
                if self.forwarding == Forwarding::Works {
                    news |= hear(&mut self.slots, &self.pulse, Kind::at(place), &datagram, now);
                }
            }
        }
        news
    }

    fn look(&mut self, forwarding: Forwarding) -> bool {
        if forwarding == self.forwarding {
            return false;
        }
        self.forwarding = forwarding;
        if forwarding == Forwarding::Stuck {
            self.pulse.losses.fetch_add(1, Ordering::Relaxed);
            for slot in &mut self.slots {
                slot.lose_forwarding();
            }
        }
        self.pulse
            .silent
            .store(forwarding == Forwarding::Stuck, Ordering::Release);
        true
    }

    fn tick(&mut self) -> bool {
        let now = self.now();
        let mut news = false;
        if self.forwarding == Forwarding::Works {
            for slot in &mut self.slots {
                self.draws += 1;
                news |= slot.tick(now, self.chance.hash_one(self.draws) as u32);
            }
        }
        self.slots
            .retain(|slot| slot.leaves.is_none_or(|moment| moment > now));
        news
    }

    fn report(&self) {
        if let Some(news) = &self.news {
            // A reader that has unread news, or is gone, needs no more.
            let _ = news.send(&[0]);
        }
    }

    fn wait(&self) {
        let timers = self.slots.iter().filter_map(|slot| slot.session.deadline());
        let leaving = self.slots.iter().filter_map(|slot| slot.leaves);
        let next = match self.forwarding {
            Forwarding::Works => timers.chain(leaving).min(),
            Forwarding::Stuck => None,
        };
        let until = next.map_or(LOOK_EVERY, |at| {
            Duration::from_micros(at.0.saturating_sub(self.now().0)).min(LOOK_EVERY)
        });
        let mut watched: [PollFd<'_>; Kind::COUNT + 1] = std::array::from_fn(|place| {
            let socket = self.listeners.get(place).and_then(Option::as_ref);
            let fd = socket.map_or(self.wake.as_fd(), AsFd::as_fd);
            PollFd::new(fd, PollFlags::POLLIN)
        });
        // Interrupted or out of memory: the next turn comes early, no more.
        let _ = ppoll(&mut watched, Some(TimeSpec::from_duration(until)), None);
    }
}

/// Gives a packet to its session: the one it names, else the one its sender is the peer of.
fn hear(slots: &mut [Slot], pulse: &Pulse, kind: Kind, datagram: &Datagram<'_>, now: Micros) -> bool {
    let named = match Packet::decode(datagram.payload) {
        Ok(packet) => NonZeroU32::new(packet.your_discriminator),
        Err(_) => None,
    };
    let here = |slot: &Slot| slot.interface == 0 || slot.interface == datagram.interface;
    let of_kind = || slots.iter().enumerate().filter(|(_, slot)| slot.kind == kind);
    let by_name = || of_kind().find(|(_, slot)| Some(slot.id()) == named);
    let by_source =
        || of_kind().find(|(_, slot)| slot.session.settings().peer == datagram.source && here(slot));
    let Some(place) = by_name().or_else(by_source).map(|(place, _)| place) else {
        pulse.strays.count(match Packet::decode(datagram.payload) {
            Ok(_) => Discard::Source,
            Err(malformed) => Discard::Malformed(malformed),
        });
        return false;
    };
    let slot = &mut slots[place];
    match slot.hear(datagram, now) {
        Ok(news) => news,
        Err(discard) => {
            slot.board.discards.count(discard);
            false
        }
    }
}
