//! Each rule of RFC 4271 §8.2.2 by itself; `world` has two machines talking.

mod world;

use std::net::Ipv4Addr;

use maglane_shared::addr::Family;
use proptest::prelude::*;

use super::*;
use crate::settings::{ExtendedNextHop, PeerAs};
use crate::wire::{Capabilities, Families, OfferedRole, Relation, ResetKind, Role};

pub(crate) fn settings(opening: Opening) -> SessionSettings {
    let id = Ipv4Addr::new(10, 0, 0, 1);
    let mut settings = SessionSettings::new(64512, id, PeerAs::Exact(65001), Families::BOTH);
    settings.opening = opening;
    settings
}

fn peer_open() -> Open {
    Open {
        asn: 65001,
        hold_seconds: 9,
        identifier: Ipv4Addr::new(10, 0, 0, 2),
        capabilities: Capabilities {
            families: Families::BOTH,
            multiprotocol: true,
            four_octet_as: true,
            ..Capabilities::default()
        },
    }
}

struct Bench {
    fsm: Fsm,
    now: u64,
}

impl Bench {
    fn new(settings: SessionSettings) -> Self {
        let mut bench = Bench {
            fsm: Fsm::new(settings),
            now: 0,
        };
        bench.step(Input::Start);
        bench
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.fsm.step(
            input,
            At {
                now: Millis(self.now),
                random: 0,
            },
            &mut out,
        );
        out
    }

    fn hear(&mut self, side: Side, message: Message) -> Vec<Output> {
        self.step(Input::Heard(side, Ok(message)))
    }

    /// Lets the next timer fire and says how long that took.
    fn fire(&mut self) -> (u64, Vec<Output>) {
        let before = self.now;
        self.now = self.fsm.deadline().expect("a timer").0.max(before);
        (self.now - before, self.step(Input::Timer))
    }

    fn established(settings: SessionSettings, open: Open) -> Self {
        let mut bench = Bench::new(settings);
        bench.step(Input::Connected(Side::Outgoing));
        bench.hear(Side::Outgoing, Message::Open(open));
        let out = bench.hear(Side::Outgoing, Message::Keepalive);
        assert!(matches!(out[..], [Output::Up(Side::Outgoing, _)]), "{out:?}");
        bench
    }
}

fn sent_notification(out: &[Output]) -> Option<(u8, u8, Vec<u8>)> {
    out.iter().find_map(|output| {
        let Output::Send(_, Message::Notification(n)) = output else {
            return None;
        };
        Some((n.code, n.subcode, n.data.to_vec()))
    })
}

#[test]
fn the_active_path_goes_through_all_states() {
    let mut bench = Bench::new(settings(Opening::Active));
    assert_eq!(bench.fsm.state(), State::Connect);
    bench.step(Input::DialFailed);
    assert_eq!(bench.fsm.state(), State::Active);
    assert_eq!(bench.fire(), (1000, vec![Output::Dial]));
    let out = bench.step(Input::Connected(Side::Outgoing));
    assert!(matches!(
        out[..],
        [Output::Send(Side::Outgoing, Message::Open(_))]
    ));
    assert_eq!(bench.fsm.state(), State::OpenSent);
    let out = bench.hear(Side::Outgoing, Message::Open(peer_open()));
    assert_eq!(out, [Output::Send(Side::Outgoing, Message::Keepalive)]);
    assert_eq!(bench.fsm.state(), State::OpenConfirm);
    let out = bench.hear(Side::Outgoing, Message::Keepalive);
    let [Output::Up(Side::Outgoing, agreed)] = out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(
        (agreed.hold, agreed.encoding.relation),
        (Some(Millis(9000)), Relation::External)
    );
    assert_eq!(bench.fsm.state(), State::Established);
    let out = bench.step(Input::Closed(Side::Outgoing));
    assert_eq!(out, [Output::Down, Output::Ended(EndReason::ConnectionLost)]);
    assert_eq!(bench.fsm.state(), State::Active);
}

#[test]
fn retries_grow_to_ten_seconds_and_an_established_session_resets_them() {
    let mut bench = Bench::new(settings(Opening::Active));
    let mut waits = Vec::new();
    for _ in 0..6 {
        bench.step(Input::DialFailed);
        waits.push(bench.fire().0);
    }
    assert_eq!(waits, [1000, 2000, 4000, 8000, 10000, 10000]);
    bench.step(Input::Connected(Side::Outgoing));
    bench.hear(Side::Outgoing, Message::Open(peer_open()));
    bench.hear(Side::Outgoing, Message::Keepalive);
    bench.step(Input::Closed(Side::Outgoing));
    assert_eq!(bench.fire().0, 1000);
    bench.step(Input::DialFailed);
    bench.step(Input::DialFailed);
    assert_eq!(bench.step(Input::Hurry), [Output::Dial]);
    assert_eq!(bench.step(Input::Hurry), []);
}

#[test]
fn an_unanswered_dial_is_given_up_after_five_seconds() {
    let mut bench = Bench::new(settings(Opening::Active));
    assert_eq!(
        bench.fire(),
        (
            5000,
            vec![Output::AbortDial, Output::Ended(EndReason::Unanswered)]
        )
    );
    assert_eq!(
        bench.step(Input::Connected(Side::Outgoing)),
        [Output::Close(Side::Outgoing)]
    );
    assert_eq!(bench.fire(), (1000, vec![Output::Dial]));
}

#[test]
fn jitter_takes_at_most_a_quarter() {
    for random in [0, u32::MAX / 2, u32::MAX] {
        let at = At {
            now: Millis(5),
            random,
        };
        let moment = at.after_jittered(Millis(1000)).0;
        assert!((755..=1005).contains(&moment), "{moment}");
    }
}

#[test]
fn keepalives_go_out_every_third_of_the_hold_time_and_silence_ends_it() {
    let mut bench = Bench::established(settings(Opening::Active), peer_open());
    for _ in 0..2 {
        assert_eq!(
            bench.fire(),
            (3000, vec![Output::Send(Side::Outgoing, Message::Keepalive)])
        );
    }
    let (_, out) = bench.fire();
    assert_eq!(bench.now, 9000);
    assert_eq!(sent_notification(&out), Some((4, 0, vec![])));
    assert!(out.contains(&Output::Down));
    assert_eq!(bench.fsm.state(), State::Idle);
}

#[test]
fn hold_time_zero_has_no_timers() {
    let open = Open {
        hold_seconds: 0,
        ..peer_open()
    };
    let bench = Bench::established(settings(Opening::Active), open);
    assert_eq!(bench.fsm.deadline(), None);
}

/// RFC 9687 §4: a peer that says keepalives but reads nothing.
#[test]
fn a_peer_that_stops_reading_is_left_after_eight_minutes() {
    let mut bench = Bench::established(settings(Opening::Active), peer_open());
    bench.now = 5000;
    bench.step(Input::Progress(Side::Outgoing));
    let end = loop {
        bench.hear(Side::Outgoing, Message::Keepalive);
        let (_, out) = bench.fire();
        if let Some(end) = sent_notification(&out) {
            break end;
        }
    };
    assert_eq!((end, bench.now), ((8, 0, vec![]), 485_000));
}

#[test]
fn a_peer_silent_before_its_open_is_left_after_twenty_seconds() {
    let mut bench = Bench::new(settings(Opening::Active));
    bench.step(Input::Connected(Side::Outgoing));
    let (after, out) = bench.fire();
    assert_eq!((after, sent_notification(&out)), (20_000, Some((4, 0, vec![]))));
}

#[test]
fn unexpected_messages_name_the_state_and_the_type() {
    let mut bench = Bench::new(settings(Opening::Active));
    bench.step(Input::Connected(Side::Outgoing));
    let out = bench.hear(Side::Outgoing, Message::Keepalive);
    assert_eq!(sent_notification(&out), Some((5, 1, vec![4])));
    let mut bench = Bench::new(settings(Opening::Active));
    bench.step(Input::Connected(Side::Outgoing));
    bench.hear(Side::Outgoing, Message::Open(peer_open()));
    let out = bench.hear(Side::Outgoing, Message::Refresh(None));
    assert_eq!(sent_notification(&out), Some((5, 2, vec![5])));
    let mut bench = Bench::established(settings(Opening::Active), peer_open());
    let out = bench.hear(Side::Outgoing, Message::Open(peer_open()));
    assert_eq!(sent_notification(&out), Some((5, 3, vec![1])));
}

fn verdict(settings: SessionSettings, open: Open) -> Option<(u8, u8, Vec<u8>)> {
    let mut bench = Bench::new(settings);
    bench.step(Input::Connected(Side::Outgoing));
    sent_notification(&bench.hear(Side::Outgoing, Message::Open(open)))
}

#[test]
fn unacceptable_opens_are_told_why() {
    let ours = || settings(Opening::Active);
    let caps = |change: fn(&mut Capabilities)| {
        let mut open = peer_open();
        change(&mut open.capabilities);
        open
    };
    assert_eq!(
        verdict(
            ours(),
            Open {
                asn: 65002,
                ..peer_open()
            }
        ),
        Some((2, 2, vec![]))
    );
    let external = SessionSettings {
        peer_as: PeerAs::External,
        ..ours()
    };
    assert_eq!(
        verdict(
            external.clone(),
            Open {
                asn: 64512,
                ..peer_open()
            }
        ),
        Some((2, 2, vec![]))
    );
    assert_eq!(
        verdict(
            external.clone(),
            Open {
                asn: 0,
                ..peer_open()
            }
        ),
        Some((2, 2, vec![]))
    );
    assert_eq!(
        verdict(
            external,
            Open {
                asn: 4_200_000_000,
                ..peer_open()
            }
        ),
        None
    );
    let internal = SessionSettings {
        peer_as: PeerAs::Internal,
        ..ours()
    };
    let twin = Open {
        asn: 64512,
        identifier: Ipv4Addr::new(10, 0, 0, 1),
        ..peer_open()
    };
    assert_eq!(verdict(internal.clone(), twin), Some((2, 3, vec![])));
    assert_eq!(
        verdict(
            internal,
            Open {
                asn: 64512,
                ..peer_open()
            }
        ),
        None
    );
    let nameless = Open {
        identifier: Ipv4Addr::UNSPECIFIED,
        ..peer_open()
    };
    assert_eq!(verdict(ours(), nameless), Some((2, 3, vec![])));
    assert_eq!(
        verdict(
            ours(),
            Open {
                hold_seconds: 2,
                ..peer_open()
            }
        ),
        Some((2, 6, vec![]))
    );
    let only_v6 = SessionSettings {
        families: Families::only(Family::V6),
        ..ours()
    };
    let only_v4 = caps(|c| c.families = Families::only(Family::V4));
    assert_eq!(verdict(only_v6, only_v4), Some((2, 7, vec![1, 4, 0, 2, 0, 1])));
    let wide = SessionSettings {
        local_as: 65536,
        ..ours()
    };
    let narrow = caps(|c| c.four_octet_as = false);
    assert_eq!(
        verdict(wide, narrow.clone()),
        Some((2, 7, vec![65, 4, 0, 1, 0, 0]))
    );
    assert_eq!(verdict(ours(), narrow), None);
    let customer = SessionSettings {
        role: Some(Role::Customer),
        ..ours()
    };
    assert_eq!(verdict(customer.clone(), peer_open()), None);
    let provider = caps(|c| c.role = Some(OfferedRole::Known(Role::Provider)));
    assert_eq!(verdict(customer.clone(), provider), None);
    assert_eq!(
        verdict(customer.clone(), caps(|c| c.role = Some(OfferedRole::Unusable))),
        Some((2, 11, vec![]))
    );
    let peer = caps(|c| c.role = Some(OfferedRole::Known(Role::Peer)));
    assert_eq!(verdict(customer, peer), Some((2, 11, vec![])));
}

#[test]
fn what_both_offer_is_agreed_on() {
    let mut open = peer_open();
    open.capabilities.extended_message = true;
    open.capabilities.ipv4_via_ipv6 = true;
    open.capabilities.restart_notification = true;
    let offering = SessionSettings {
        extended_next_hop: ExtendedNextHop::Offer,
        ..settings(Opening::Active)
    };
    let bench = Bench::established(offering, open.clone());
    let agreed = bench.fsm.negotiated(Side::Outgoing).unwrap();
    assert!(agreed.ipv4_via_ipv6);
    assert_eq!((agreed.encoding.limit, agreed.reset), (65535, ResetKind::Hard));
    let bench = Bench::established(settings(Opening::Active), open);
    assert!(!bench.fsm.negotiated(Side::Outgoing).unwrap().ipv4_via_ipv6);
}

#[test]
fn stopping_says_why_and_hard_where_the_peer_would_keep_routes() {
    let mut bench = Bench::established(settings(Opening::Active), peer_open());
    let out = bench.step(Input::Stop(StopReason::Shutdown("bye".into())));
    assert_eq!(sent_notification(&out), Some((6, 2, b"\x03bye".to_vec())));
    assert_eq!((bench.fsm.state(), bench.fsm.deadline()), (State::Idle, None));
    let mut open = peer_open();
    open.capabilities.restart_notification = true;
    for (reason, inner) in [
        (StopReason::BfdDown, vec![6, 10]),
        (StopReason::PeerRemoved, vec![6, 3]),
        (StopReason::ConfigurationChanged, vec![6, 6]),
        (StopReason::Reset(String::new()), vec![6, 4, 0]),
    ] {
        let mut bench = Bench::established(settings(Opening::Active), open.clone());
        assert_eq!(
            sent_notification(&bench.step(Input::Stop(reason))),
            Some((6, 9, inner))
        );
        assert_eq!(bench.step(Input::Start), [Output::Dial]);
    }
}

#[test]
fn a_malformed_message_costs_what_its_fault_says() {
    let mut bench = Bench::established(settings(Opening::Active), peer_open());
    let out = bench.step(Input::Heard(Side::Outgoing, Err(Notification::bad_peer_as())));
    assert_eq!(sent_notification(&out), Some((2, 2, vec![])));
    let mut bench = Bench::established(settings(Opening::Active), peer_open());
    let out = bench.hear(Side::Outgoing, Message::Notification(Notification::collision()));
    assert_eq!(sent_notification(&out), None, "a NOTIFICATION is never answered");
    assert!(matches!(
        out[..],
        [
            Output::Close(_),
            Output::Down,
            Output::Ended(EndReason::Received(_))
        ]
    ));
}

#[test]
fn refresh_is_passed_on_for_agreed_families_only() {
    let only_v4 = SessionSettings {
        families: Families::only(Family::V4),
        ..settings(Opening::Active)
    };
    let mut bench = Bench::established(only_v4, peer_open());
    assert_eq!(
        bench.hear(Side::Outgoing, Message::Refresh(Some(Family::V4))),
        [Output::Refresh(Family::V4)]
    );
    assert_eq!(bench.hear(Side::Outgoing, Message::Refresh(Some(Family::V6))), []);
    assert_eq!(bench.hear(Side::Outgoing, Message::Refresh(None)), []);
}

/// Ours 10.0.0.1 is the smaller identifier: the peer's connection wins (RFC 4271 §6.8).
#[test]
fn the_larger_identifier_keeps_its_connection() {
    for (peer_id, peer_as, winner) in [
        (Ipv4Addr::new(10, 0, 0, 2), 65001, Side::Incoming),
        (Ipv4Addr::new(9, 0, 0, 1), 65001, Side::Outgoing),
        (Ipv4Addr::new(10, 0, 0, 1), 65001, Side::Incoming),
        (Ipv4Addr::new(10, 0, 0, 1), 64000, Side::Outgoing),
    ] {
        for first in Side::BOTH {
            let both = SessionSettings {
                peer_as: PeerAs::External,
                ..settings(Opening::Both)
            };
            let mut bench = Bench::new(both);
            bench.step(Input::Connected(Side::Outgoing));
            bench.step(Input::Connected(Side::Incoming));
            let open = Open {
                asn: peer_as,
                identifier: peer_id,
                ..peer_open()
            };
            bench.hear(first, Message::Open(open.clone()));
            let out = bench.hear(first.other(), Message::Open(open));
            assert_eq!(sent_notification(&out), Some((6, 7, vec![])));
            assert!(out.contains(&Output::Close(winner.other())));
            assert!(matches!(
                bench.hear(winner, Message::Keepalive)[..],
                [Output::Up(_, _)]
            ));
        }
    }
}

#[test]
fn a_second_connection_beside_a_session_is_refused_and_the_session_probed() {
    let mut bench = Bench::established(settings(Opening::Both), peer_open());
    let out = bench.step(Input::Connected(Side::Incoming));
    assert_eq!(
        out,
        [
            Output::Refuse(Notification::collision()),
            Output::Send(Side::Outgoing, Message::Keepalive)
        ]
    );
    let mut active = Bench::established(settings(Opening::Active), peer_open());
    let out = active.step(Input::Connected(Side::Incoming));
    assert_eq!(out, [Output::Refuse(Notification::connection_rejected())]);
}

#[test]
fn passive_waits_and_takes_the_newest_connection() {
    let mut bench = Bench::new(settings(Opening::Passive));
    assert_eq!((bench.fsm.state(), bench.fsm.deadline()), (State::Active, None));
    let out = bench.step(Input::Connected(Side::Incoming));
    assert!(matches!(
        out[..],
        [Output::Adopt, Output::Send(Side::Incoming, Message::Open(_))]
    ));
    let out = bench.step(Input::Connected(Side::Incoming));
    assert!(matches!(
        out[..],
        [Output::Close(Side::Incoming), Output::Adopt, Output::Send(..)]
    ));
    bench.step(Input::Closed(Side::Incoming));
    assert_eq!(bench.fire(), (1000, vec![]));
    assert_eq!(bench.fsm.state(), State::Active);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any inputs in any order: no panic, and never more than one Up without a Down between.
    #[test]
    fn any_inputs_keep_one_session(
        inputs in proptest::collection::vec((0..14u8, any::<bool>(), 0..30_000u64, any::<u32>()), 0..80),
        opening in prop_oneof![Just(Opening::Active), Just(Opening::Both), Just(Opening::Passive)],
    ) {
        let mut fsm = Fsm::new(settings(opening));
        let mut now = Millis(0);
        let mut up = 0;
        for (kind, incoming, wait, random) in inputs {
            let side = if incoming { Side::Incoming } else { Side::Outgoing };
            now = now + Millis(wait);
            let input = match kind {
                0 | 1 => Input::Start,
                2 => Input::Stop(StopReason::PeerRemoved),
                3 => Input::Hurry,
                4 | 5 => Input::Connected(side),
                6 => Input::DialFailed,
                7 => Input::Closed(side),
                8 | 9 => Input::Heard(side, Ok(Message::Open(peer_open()))),
                10 | 11 => Input::Heard(side, Ok(Message::Keepalive)),
                12 => Input::Progress(side),
                _ => Input::Timer,
            };
            let mut out = Vec::new();
            fsm.step(input, At { now, random }, &mut out);
            for output in &out {
                up += i32::from(matches!(output, Output::Up(..))) - i32::from(matches!(output, Output::Down));
                prop_assert!((0..=1).contains(&up));
            }
            prop_assert_eq!(up == 1, fsm.state() == State::Established);
        }
    }
}
