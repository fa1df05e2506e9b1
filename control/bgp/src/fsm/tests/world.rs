//! Two machines and the TCP between them, in virtual time: whatever the interleaving of dials, accepts,
//! messages and losses, once the network is left alone there is one session, the same at both ends.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::*;
use crate::settings::PeerAs;
use crate::wire::Families;

/// What waits on a connection in one direction.
enum Packet {
    Message(Message),
    Fin,
}

/// A TCP connection; index 0 is the end that dialed.
struct Link {
    dialer: usize,
    /// Toward each machine.
    queues: [VecDeque<Packet>; 2],
    /// Whether a machine has yet to learn that the connection stands.
    unannounced: [bool; 2],
}

struct World {
    machines: [Fsm; 2],
    /// The connection each machine uses on each side.
    current: [[Option<usize>; 2]; 2],
    dialing: [Option<usize>; 2],
    links: Vec<Link>,
    now: Millis,
    random: u32,
}

fn machine(asn: u32, id: [u8; 4]) -> Fsm {
    let mut settings = SessionSettings::new(asn, id.into(), PeerAs::External, Families::BOTH);
    settings.opening = Opening::Both;
    settings.hold_seconds = 9;
    assert_eq!(settings.check(), Ok(()));
    assert_ne!(settings.router_id, Ipv4Addr::UNSPECIFIED);
    Fsm::new(settings)
}

impl World {
    fn new(ids: [[u8; 4]; 2]) -> Self {
        let mut world = World {
            machines: [machine(64512, ids[0]), machine(65001, ids[1])],
            current: [[None; 2]; 2],
            dialing: [None; 2],
            links: Vec::new(),
            now: Millis(0),
            random: 0,
        };
        world.step(0, Input::Start, None);
        world.step(1, Input::Start, None);
        world
    }

    fn step(&mut self, who: usize, input: Input, offered: Option<usize>) {
        let mut out = Vec::new();
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.machines[who].step(
            input,
            At {
                now: self.now,
                random: self.random,
            },
            &mut out,
        );
        for output in out {
            self.perform(who, output, offered);
        }
    }

    fn perform(&mut self, who: usize, output: Output, offered: Option<usize>) {
        match output {
            Output::Dial => {
                self.dialing[who] = Some(self.links.len());
                self.links.push(Link {
                    dialer: who,
                    queues: Default::default(),
                    unannounced: [true; 2],
                });
            }
            Output::AbortDial => {
                if let Some(link) = self.dialing[who].take() {
                    self.links[link].unannounced[who] = false;
                    self.post(link, who, Packet::Fin);
                }
            }
            Output::Adopt => self.current[who][Side::Incoming as usize] = offered,
            Output::Refuse(reason) => {
                let link = offered.expect("a connection to refuse");
                self.post(link, who, Packet::Message(Message::Notification(reason)));
                self.post(link, who, Packet::Fin);
            }
            Output::Send(side, message) => {
                let link = self.current[who][side as usize].expect("a connection to send on");
                self.post(link, who, Packet::Message(message));
            }
            Output::Close(side) => {
                if let Some(link) = self.current[who][side as usize].take() {
                    self.post(link, who, Packet::Fin);
                }
            }
            Output::Up(..) | Output::Down | Output::Ended(_) | Output::Update(_) | Output::Refresh(_) => {}
        }
    }

    fn post(&mut self, link: usize, from: usize, packet: Packet) {
        self.links[link].queues[1 - from].push_back(packet);
    }

    /// Everything that could happen next without time passing: (link, machine).
    fn ready(&self) -> Vec<(usize, usize)> {
        let pairs = (0..self.links.len()).flat_map(|link| [(link, 0), (link, 1)]);
        pairs
            .filter(|(link, who)| self.links[*link].unannounced[*who] || self.deliverable(*link, *who))
            .collect()
    }

    fn deliverable(&self, link: usize, who: usize) -> bool {
        !self.links[link].queues[who].is_empty()
    }

    fn happen(&mut self, link: usize, who: usize) {
        let side = if self.links[link].dialer == who {
            Side::Outgoing
        } else {
            Side::Incoming
        };
        if self.links[link].unannounced[who] {
            self.links[link].unannounced[who] = false;
            return match side {
                Side::Incoming => self.step(who, Input::Connected(side), Some(link)),
                Side::Outgoing => {
                    self.dialing[who] = None;
                    self.current[who][side as usize] = Some(link);
                    self.step(who, Input::Connected(side), None);
                }
            };
        }
        let Some(packet) = self.links[link].queues[who].pop_front() else {
            return;
        };
        if self.current[who][side as usize] != Some(link) {
            return;
        }
        match packet {
            Packet::Message(message) => self.step(who, Input::Heard(side, Ok(message)), None),
            Packet::Fin => {
                self.current[who][side as usize] = None;
                self.step(who, Input::Closed(side), None);
            }
        }
    }

    /// Breaks a connection: each end learns it after what is already under way.
    fn cut(&mut self, link: usize) {
        self.post(link, 0, Packet::Fin);
        self.post(link, 1, Packet::Fin);
    }

    fn advance(&mut self) {
        let next = self.machines.iter().filter_map(Fsm::deadline).min();
        self.now = next.unwrap_or(self.now).max(self.now);
        for who in [0, 1] {
            if self.machines[who]
                .deadline()
                .is_some_and(|deadline| deadline <= self.now)
            {
                self.step(who, Input::Timer, None);
            }
        }
    }

    /// A network left alone: everything is delivered before time passes.
    fn settle(&mut self, span: Millis) {
        let end = self.now + span;
        while self.now < end {
            match self.ready().first() {
                Some((link, who)) => self.happen(*link, *who),
                None => self.advance(),
            }
        }
    }

    fn check(&self) {
        for who in [0, 1] {
            assert_eq!(self.machines[who].state(), State::Established, "machine {who}");
            assert_eq!(
                self.current[who].iter().flatten().count(),
                1,
                "machine {who} holds one connection"
            );
        }
        assert_eq!(
            self.current[0][0], self.current[1][1],
            "the same connection at both ends"
        );
        assert_eq!(
            self.current[0][1], self.current[1][0],
            "the same connection at both ends"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_interleaving_ends_with_one_session(
        choices in proptest::collection::vec((any::<u16>(), 0..20u8), 0..200),
        larger_first in any::<bool>(),
    ) {
        let ids = if larger_first { [[10, 0, 0, 2], [10, 0, 0, 1]] } else { [[10, 0, 0, 1], [10, 0, 0, 2]] };
        let mut world = World::new(ids);
        for (pick, kind) in choices {
            let ready = world.ready();
            match (kind, ready.as_slice()) {
                (0, _) if !world.links.is_empty() => world.cut(usize::from(pick) % world.links.len()),
                (1, _) | (_, []) => world.advance(),
                (_, some) => {
                    let (link, who) = some[usize::from(pick) % some.len()];
                    world.happen(link, who);
                }
            }
        }
        world.settle(Millis(120_000));
        world.check();
    }

    /// One side loses power (no FIN) and comes back: the survivor's stale session gives way.
    #[test]
    fn a_rebooted_peer_is_taken_back(seed in any::<u32>()) {
        let mut world = World::new([[10, 0, 0, 1], [10, 0, 0, 2]]);
        world.random = seed;
        world.settle(Millis(5_000));
        world.check();
        world.machines[1] = machine(65001, [10, 0, 0, 2]);
        let dead: Vec<usize> = world.current[1].iter_mut().filter_map(Option::take).collect();
        for link in dead {
            world.links[link].queues[1].clear();
        }
        world.dialing[1] = None;
        world.step(1, Input::Start, None);
        world.settle(Millis(30_000));
        world.check();
    }
}
