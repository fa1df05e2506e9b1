//! The rules one by one, and two machines over a virtual network that loses and delays.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn peer(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, n))
}

fn settings(n: u8, timers: Timers) -> Settings {
    Settings {
        peer: peer(3 - n),
        hops: Hops::Single,
        role: Role::Active,
        timers,
        discriminator: NonZeroU32::new(100 + u32::from(n)).unwrap(),
        control_plane: ControlPlane::SharesFate,
    }
}

const FROM_PEER: Arrival = Arrival {
    source: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
    ttl: 255,
};

/// What machine 2 might say to machine 1.
fn said(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::None,
        state,
        poll: false,
        final_: false,
        control_plane_independent: false,
        authentication_present: false,
        demand: false,
        detect_mult: 3,
        my_discriminator: 102,
        your_discriminator: 101,
        desired_min_tx: 300_000,
        required_min_rx: 300_000,
        required_min_echo_rx: 0,
    }
}

fn session() -> Session {
    Session::new(settings(1, Timers::DEFAULT))
}

fn up(now: u64) -> Session {
    let mut session = session();
    session.tick(Micros(now), 0);
    session
        .receive(&said(State::Down).encode(), FROM_PEER, Micros(now))
        .unwrap();
    let heard = session
        .receive(&said(State::Up).encode(), FROM_PEER, Micros(now))
        .unwrap();
    assert_eq!(heard.change.unwrap().to, State::Up);
    session
}

#[test]
fn the_handshake_takes_three_packets_and_then_polls() {
    let mut session = session();
    assert_eq!(session.deadline(), Some(Micros(0)));
    let (first, _) = session.tick(Micros(0), 0);
    let first = first.unwrap();
    assert_eq!(
        (first.state, first.your_discriminator, first.desired_min_tx),
        (State::Down, 0, SLOW)
    );
    assert_eq!(session.deadline(), Some(Micros(1_000_000)));
    let heard = session
        .receive(&said(State::Down).encode(), FROM_PEER, Micros(10))
        .unwrap();
    assert_eq!(heard.change.unwrap().to, State::Init);
    let (second, _) = session.tick(Micros(10), 0);
    assert_eq!(
        second.map(|p| (p.state, p.your_discriminator)),
        Some((State::Init, 102)),
        "sent at once"
    );
    session
        .receive(&said(State::Up).encode(), FROM_PEER, Micros(20))
        .unwrap();
    let (third, _) = session.tick(Micros(20), 0);
    let third = third.unwrap();
    assert_eq!(
        (third.state, third.poll, third.desired_min_tx),
        (State::Up, true, 300_000)
    );
    let answer = Packet {
        final_: true,
        ..said(State::Up)
    };
    session.receive(&answer.encode(), FROM_PEER, Micros(30)).unwrap();
    let (fourth, _) = session.tick(Micros(300_020), 0);
    assert!(!fourth.unwrap().poll);
}

const SLOW: u32 = 1_000_000;

#[test]
fn silence_ends_the_session_after_the_peers_multiple_of_the_slower_interval() {
    let mut session = session();
    let slow_peer = Packet {
        desired_min_tx: 400_000,
        detect_mult: 5,
        ..said(State::Down)
    };
    session
        .receive(&slow_peer.encode(), FROM_PEER, Micros(0))
        .unwrap();
    session
        .receive(
            &Packet {
                state: State::Up,
                ..slow_peer
            }
            .encode(),
            FROM_PEER,
            Micros(0),
        )
        .unwrap();
    assert_eq!(session.detection_time(), Some(Micros(2_000_000)));
    assert_eq!(session.tick(Micros(1_999_999), 0).1, None);
    let (packet, change) = session.tick(Micros(2_000_000), 0);
    let change = change.unwrap();
    assert_eq!(
        (change.from, change.to, change.diagnostic),
        (State::Up, State::Down, Diagnostic::DetectionTimeExpired)
    );
    let packet = packet.unwrap();
    assert_eq!(
        (packet.your_discriminator, packet.diagnostic.code()),
        (0, 1),
        "told at once, peer forgotten"
    );
}

/// The bug of the first prototype: one flap 300 ms after every start.
#[test]
fn a_shorter_interval_of_the_peer_counts_at_once() {
    let mut session = session();
    let lazy = Packet {
        required_min_rx: 2_000_000,
        ..said(State::Down)
    };
    session.receive(&lazy.encode(), FROM_PEER, Micros(0)).unwrap();
    session
        .receive(
            &Packet {
                state: State::Up,
                ..lazy
            }
            .encode(),
            FROM_PEER,
            Micros(0),
        )
        .unwrap();
    session.tick(Micros(0), 0);
    assert_eq!(session.transmit_interval(), Some(Micros(2_000_000)));
    session
        .receive(&said(State::Up).encode(), FROM_PEER, Micros(100_000))
        .unwrap();
    assert!(session.tick(Micros(299_999), 0).0.is_none());
    assert!(session.tick(Micros(300_000), 0).0.is_some());
}

#[test]
fn a_passive_session_speaks_when_spoken_to_and_falls_silent_with_the_peer() {
    let mut session = Session::new(Settings {
        role: Role::Passive,
        ..settings(1, Timers::DEFAULT)
    });
    assert_eq!(
        (session.deadline(), session.tick(Micros(9), 0)),
        (None, (None, None))
    );
    session
        .receive(&said(State::Down).encode(), FROM_PEER, Micros(10))
        .unwrap();
    assert_eq!(session.tick(Micros(10), 0).0.unwrap().state, State::Init);
    let (packet, change) = session.tick(Micros(5_000_000), 0);
    assert_eq!((packet, change.unwrap().to), (None, State::Down));
}

/// The peer is told once, whatever it was told before is undone, and nobody is remembered.
#[test]
fn lost_forwarding_is_told_to_whom_it_was_attested() {
    let mut up = up(0);
    let (last_word, change) = up.forwarding_lost();
    let last_word = last_word.unwrap();
    assert_eq!(
        (
            last_word.state,
            last_word.diagnostic,
            last_word.your_discriminator
        ),
        (State::Down, Diagnostic::ForwardingPlaneReset, 102)
    );
    assert_eq!((change.unwrap().to, up.detection_time()), (State::Down, None));
    assert_eq!(up.forwarding_lost(), (None, None));
    assert_eq!(session().forwarding_lost(), (None, None));
}

#[test]
fn a_poll_is_answered_at_once_with_a_final() {
    let mut session = up(0);
    let heard = session
        .receive(
            &Packet {
                poll: true,
                ..said(State::Up)
            }
            .encode(),
            FROM_PEER,
            Micros(5),
        )
        .unwrap();
    let reply = heard.reply.unwrap();
    assert!(reply.final_ && !reply.poll);
}

/// RFC 5880 §6.8.3: slower sending and faster detection wait for the Final; the opposite does not.
#[test]
fn new_timers_wait_for_the_final_where_they_must() {
    let answer = Packet {
        final_: true,
        ..said(State::Up)
    }
    .encode();
    let mut session = up(0);
    session.receive(&answer, FROM_PEER, Micros(0)).unwrap();
    session.set_timers(Timers {
        desired_min_tx: 900_000,
        required_min_rx: 900_000,
        detect_mult: 3,
    });
    assert_eq!(session.transmit_interval(), Some(Micros(300_000)));
    assert_eq!(session.detection_time(), Some(Micros(2_700_000)));
    assert!(session.tick(Micros(1), 0).0.unwrap().poll);
    session.receive(&answer, FROM_PEER, Micros(2)).unwrap();
    assert_eq!(session.transmit_interval(), Some(Micros(900_000)));
    session.set_timers(Timers {
        desired_min_tx: 400_000,
        required_min_rx: 400_000,
        detect_mult: 3,
    });
    assert_eq!(session.transmit_interval(), Some(Micros(400_000)));
    assert_eq!(session.detection_time(), Some(Micros(2_700_000)));
    session.set_timers(Timers {
        desired_min_tx: 400_000,
        required_min_rx: 500_000,
        detect_mult: 3,
    });
    session.receive(&answer, FROM_PEER, Micros(3)).unwrap();
    assert_eq!(
        session.detection_time(),
        Some(Micros(2_700_000)),
        "that Final answered the older Poll"
    );
    session.receive(&answer, FROM_PEER, Micros(4)).unwrap();
    assert_eq!(session.detection_time(), Some(Micros(1_500_000)));
}

#[test]
fn admin_down_is_told_and_kept() {
    let mut session = up(0);
    assert_eq!(session.admin_down().unwrap().to, State::AdminDown);
    let (packet, _) = session.tick(Micros(1), 0);
    assert_eq!(
        packet.map(|p| (p.state, p.diagnostic.code())),
        Some((State::AdminDown, 7))
    );
    let heard = session
        .receive(&said(State::Up).encode(), FROM_PEER, Micros(2))
        .unwrap();
    assert_eq!(heard, Received::default());
    assert_eq!(session.admin_up().unwrap().to, State::Down);
    assert_eq!(session.admin_up(), None);
}

#[test]
fn the_peers_admin_down_is_no_failure() {
    let mut session = up(0);
    let heard = session
        .receive(&said(State::AdminDown).encode(), FROM_PEER, Micros(1))
        .unwrap();
    let change = heard.change.unwrap();
    assert_eq!((change.to, change.remote_admin_down), (State::Down, true));
    let mut session = up(0);
    let heard = session
        .receive(&said(State::Down).encode(), FROM_PEER, Micros(1))
        .unwrap();
    let change = heard.change.unwrap();
    assert_eq!((change.to, change.remote_admin_down), (State::Down, false));
    assert_eq!(change.diagnostic, Diagnostic::NeighborSignaledDown);
}

#[test]
fn a_peer_in_demand_mode_or_wanting_nothing_gets_nothing() {
    let mut session = up(0);
    let answer = Packet {
        final_: true,
        demand: true,
        ..said(State::Up)
    };
    session.receive(&answer.encode(), FROM_PEER, Micros(0)).unwrap();
    assert_eq!(session.transmit_interval(), None);
    let mute = Packet {
        required_min_rx: 0,
        ..said(State::Up)
    };
    session.receive(&mute.encode(), FROM_PEER, Micros(0)).unwrap();
    assert_eq!(session.transmit_interval(), None);
}

#[test]
fn each_check_discards_for_its_own_reason() {
    let mut session = session();
    let good = said(State::Down);
    let mut discarded =
        |bytes: &[u8], arrival: Arrival| session.receive(bytes, arrival, Micros(0)).unwrap_err();
    let patched = |at: usize, value: u8| {
        let mut bytes = good.encode();
        bytes[at] = value;
        bytes
    };
    for (at, value, why) in [
        (0, 0x40, Malformed::Version),
        (3, 23, Malformed::TooShort),
        (3, 25, Malformed::Truncated),
        (2, 0, Malformed::ZeroMultiplier),
        (1, 0x41, Malformed::Multipoint),
        (7, 0, Malformed::ZeroDiscriminator),
        (1, 0x44, Malformed::TooShort),
    ] {
        assert_eq!(
            discarded(&patched(at, value), FROM_PEER),
            Discard::Malformed(why),
            "{why:?}"
        );
    }
    assert_eq!(
        discarded(&[0x20; 23], FROM_PEER),
        Discard::Malformed(Malformed::TooShort)
    );
    let authenticated = [&Packet { ..good }.encode()[..], &[1, 2]].concat();
    let authenticated: Vec<u8> = authenticated
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            1 => byte | 0x04,
            3 => 26,
            _ => *byte,
        })
        .collect();
    assert_eq!(discarded(&authenticated, FROM_PEER), Discard::Authenticated);
    assert_eq!(
        discarded(
            &good.encode(),
            Arrival {
                ttl: 254,
                ..FROM_PEER
            }
        ),
        Discard::Ttl
    );
    assert_eq!(
        discarded(
            &good.encode(),
            Arrival {
                source: peer(9),
                ..FROM_PEER
            }
        ),
        Discard::Source
    );
    assert_eq!(
        discarded(
            &Packet {
                your_discriminator: 7,
                ..good
            }
            .encode(),
            FROM_PEER
        ),
        Discard::Discriminator
    );
    let stranger = Packet {
        your_discriminator: 0,
        ..said(State::Up)
    };
    assert_eq!(
        discarded(&stranger.encode(), FROM_PEER),
        Discard::DiscriminatorMissing
    );
    let mut far = Session::new(Settings {
        hops: Hops::Multi { min_ttl: 250 },
        ..settings(1, Timers::DEFAULT)
    });
    assert!(
        far.receive(
            &good.encode(),
            Arrival {
                ttl: 250,
                ..FROM_PEER
            },
            Micros(0)
        )
        .is_ok()
    );
    let too_far = Arrival {
        ttl: 249,
        ..FROM_PEER
    };
    assert_eq!(far.receive(&good.encode(), too_far, Micros(0)), Err(Discard::Ttl));
}

#[test]
fn unusable_timers_are_refused() {
    assert_eq!(Timers::DEFAULT.check(), Ok(()));
    assert!(
        Timers {
            detect_mult: 0,
            ..Timers::DEFAULT
        }
        .check()
        .is_err()
    );
    assert!(
        Timers {
            desired_min_tx: 9_999,
            ..Timers::DEFAULT
        }
        .check()
        .is_err()
    );
    assert!(
        Timers {
            required_min_rx: 60_000_001,
            ..Timers::DEFAULT
        }
        .check()
        .is_err()
    );
}

/// Two machines; packets take up to `delay` and some are lost. Starts are `offset` apart.
struct Net {
    machines: [Session; 2],
    /// By time of arrival, then a serial number.
    flying: BTreeMap<(Micros, u64), (usize, [u8; 24])>,
    now: Micros,
    serial: u64,
    random: u64,
    delay: u64,
    lost_percent: u64,
    /// The last arrival in each direction: packets of one flow do not overtake each other.
    latest: [Micros; 2],
    changes: Vec<(Micros, usize, Change)>,
}

impl Net {
    fn new(timers: [Timers; 2], seed: u64, delay: u64) -> Self {
        Net {
            machines: [
                Session::new(settings(1, timers[0])),
                Session::new(settings(2, timers[1])),
            ],
            flying: BTreeMap::new(),
            now: Micros(0),
            serial: 0,
            random: seed,
            delay,
            lost_percent: 0,
            latest: [Micros(0); 2],
            changes: Vec::new(),
        }
    }

    fn random(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }

    fn send(&mut self, to: usize, packet: Packet) {
        self.serial += 1;
        if self.random() % 100 >= self.lost_percent {
            let arrival = Micros(self.now.0 + 1 + self.random() % self.delay).max(self.latest[to]);
            self.latest[to] = arrival;
            self.flying.insert((arrival, self.serial), (to, packet.encode()));
        }
    }

    fn run_until(&mut self, end: Micros) {
        loop {
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let timers = self.machines.iter().filter_map(Session::deadline).min();
            let Some(next) = [arrival, timers]
                .into_iter()
                .flatten()
                .min()
                .filter(|next| *next <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            if arrival.is_some_and(|at| at <= self.now) {
                let (_, (to, bytes)) = self.flying.pop_first().unwrap();
                let source = peer(2 - to as u8);
                let heard = self.machines[to]
                    .receive(&bytes, Arrival { source, ttl: 255 }, self.now)
                    .unwrap();
                self.record(to, heard.change);
                if let Some(reply) = heard.reply {
                    self.send(1 - to, reply);
                }
            }
            for who in [0, 1] {
                let random = self.random() as u32;
                let (packet, change) = self.machines[who].tick(self.now, random);
                self.record(who, change);
                if let Some(packet) = packet {
                    self.send(1 - who, packet);
                }
            }
        }
        self.now = end;
    }

    fn record(&mut self, who: usize, change: Option<Change>) {
        self.changes.extend(change.map(|change| (self.now, who, change)));
    }

    fn both_up(&self) -> bool {
        self.machines.iter().all(|machine| machine.state() == State::Up)
    }
}

fn any_timers() -> impl Strategy<Value = Timers> {
    let interval = || prop_oneof![Just(50_000u32), Just(300_000), 10_000..2_000_000u32];
    (interval(), interval(), 2..6u8).prop_map(|(desired_min_tx, required_min_rx, detect_mult)| Timers {
        desired_min_tx,
        required_min_rx,
        detect_mult,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Without loss: up within 5 s, never down again, whatever the timers; a cut is noticed by both
    /// within the detection time; mended, they come back.
    #[test]
    fn two_machines_come_up_stay_up_and_notice_a_cut(
        one in any_timers(), two in any_timers(), seed in any::<u64>(), delay in 1..2_000u64,
    ) {
        let mut net = Net::new([one, two], seed, delay);
        net.run_until(Micros(5_000_000));
        prop_assert!(net.both_up(), "{:?}", net.changes);
        net.run_until(Micros(60_000_000));
        let falls = net.changes.iter().filter(|(_, _, change)| change.from == State::Up).count();
        prop_assert_eq!(falls, 0, "{:?}", net.changes);
        net.changes.clear();
        net.lost_percent = 100;
        let spans: Vec<_> = net.machines.iter().map(|m| m.detection_time().unwrap().0).collect();
        let cut = net.now.0;
        net.run_until(Micros(cut + spans[0].max(spans[1]) + delay + 1));
        for who in [0, 1] {
            let (when, _, change) = net.changes.iter().find(|(_, w, _)| *w == who).unwrap();
            prop_assert!(when.0 - cut <= spans[who] + delay);
            prop_assert_eq!(change.diagnostic, Diagnostic::DetectionTimeExpired);
        }
        net.lost_percent = 0;
        net.run_until(Micros(net.now.0 + 6_000_000));
        prop_assert!(net.both_up());
    }

    /// With a fifth of the packets lost they still find each other.
    #[test]
    fn loss_delays_but_does_not_prevent(seed in any::<u64>(), timers in any_timers()) {
        let mut net = Net::new([timers, Timers::DEFAULT], seed, 1000);
        net.lost_percent = 20;
        net.run_until(Micros(30_000_000));
        net.lost_percent = 0;
        net.run_until(Micros(40_000_000));
        prop_assert!(net.both_up());
    }

    /// Timers changed at any time, any number of times, cost no session.
    #[test]
    fn changed_timers_do_not_flap(
        changes in proptest::collection::vec((0..2usize, any_timers(), 1..3_000_000u64), 1..8), seed in any::<u64>(),
    ) {
        let mut net = Net::new([Timers::DEFAULT; 2], seed, 1000);
        net.run_until(Micros(5_000_000));
        net.changes.clear();
        for (who, timers, wait) in changes {
            net.machines[who].set_timers(timers);
            net.run_until(Micros(net.now.0 + wait));
        }
        net.run_until(Micros(net.now.0 + 20_000_000));
        prop_assert!(net.both_up() && net.changes.is_empty(), "{:?}", net.changes);
    }

    #[test]
    fn packets_round_trip_and_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), tame in any::<bool>()) {
        let mut bytes = bytes;
        if tame && bytes.len() >= 24 {
            bytes[0] = 0x20 | bytes[0] & 0x1f;
            bytes[1] &= 0xfa;
            bytes[3] = 24;
        }
        if let Ok(packet) = Packet::decode(&bytes) && !packet.authentication_present {
            prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
        }
        let mut session = session();
        for now in [0, 1_000_000, u64::MAX] {
            let _received = session.receive(&bytes, FROM_PEER, Micros(now));
            session.tick(Micros(now), u32::MAX);
            let _deadline = session.deadline();
        }
    }

    #[test]
    fn jitter_keeps_to_its_bounds(random in any::<u32>(), mult in 1..4u8) {
        let mut session = Session::new(settings(1, Timers { detect_mult: mult, ..Timers::DEFAULT }));
        session.tick(Micros(0), random);
        let next = session.deadline().unwrap().0;
        let most = if mult == 1 { 900_000 } else { 1_000_000 };
        prop_assert!((750_000..=most).contains(&next), "{}", next);
    }
}
