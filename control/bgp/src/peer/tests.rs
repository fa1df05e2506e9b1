//! Two peers joined by byte pipes: what one wants, the other hears, cut at any byte.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::settings::{Opening, PeerAs};
use crate::wire::tests::read_update;
use crate::wire::{Attributes, Families, Path};

fn settings(asn: u32, peer_as: u32, opening: Opening) -> SessionSettings {
    let id = Ipv4Addr::from(asn);
    let mut settings = SessionSettings::new(asn, id, PeerAs::Exact(peer_as), Families::only(Family::V4));
    settings.opening = opening;
    settings
}

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const AT: At = At {
    now: Millis(0),
    random: 0,
};

/// Ours dials the other; bytes of each direction wait in `pipes` (toward ours, toward the other).
struct Pair {
    ours: Peer,
    other: Peer,
    pipes: [Vec<u8>; 2],
    /// The other's table, by our UPDATEs.
    table: BTreeMap<IpNet, Path>,
    updates: usize,
}

impl Pair {
    fn connected() -> Self {
        let mut pair = Pair {
            ours: Peer::new(settings(64512, 65001, Opening::Active)).unwrap(),
            other: Peer::new(settings(65001, 64512, Opening::Passive)).unwrap(),
            pipes: Default::default(),
            table: BTreeMap::new(),
            updates: 0,
        };
        pair.tell_other(PeerInput::Start);
        assert_eq!(pair.tell(PeerInput::Start), [Action::Dial]);
        pair.tell(PeerInput::Connected(Side::Outgoing, LOCAL));
        pair.tell_other(PeerInput::Connected(Side::Incoming, LOCAL));
        pair
    }

    fn tell(&mut self, input: PeerInput<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        self.ours.step(input, AT, &mut actions);
        for action in &actions {
            if let Action::Send(_, bytes) = action {
                self.pipes[1].extend_from_slice(bytes);
                self.note(bytes);
            }
        }
        actions
    }

    fn tell_other(&mut self, input: PeerInput<'_>) {
        let mut actions = Vec::new();
        self.other.step(input, AT, &mut actions);
        for action in actions {
            if let Action::Send(_, bytes) = action {
                self.pipes[0].extend_from_slice(&bytes);
            }
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        if bytes[18] == 2 {
            self.updates += 1;
            let heard = read_update(bytes, &self.ours.status().session.unwrap().agreed.encoding);
            for prefix in heard.withdrawn {
                self.table.remove(&prefix);
            }
            self.table.extend(heard.announced);
        }
    }

    fn flushed(&mut self) -> Vec<Action> {
        self.tell(PeerInput::Flushed(Side::Outgoing))
    }

    /// Carries bytes in pieces of `cut` until both are quiet.
    fn settle(&mut self, cut: usize) {
        while self.pipes.iter().any(|pipe| !pipe.is_empty()) {
            let mut toward_ours = std::mem::take(&mut self.pipes[0]);
            let mut toward_other = std::mem::take(&mut self.pipes[1]);
            for piece in toward_ours.chunks_mut(cut) {
                self.tell(PeerInput::Bytes(Side::Outgoing, piece));
            }
            for piece in toward_other.chunks_mut(cut) {
                self.tell_other(PeerInput::Bytes(Side::Incoming, piece));
            }
            self.flushed();
            self.tell_other(PeerInput::Flushed(Side::Incoming));
        }
    }
}

fn routes(hosts: impl IntoIterator<Item = u8>) -> Routes {
    let vip = Arc::new(Attributes::vip());
    hosts
        .into_iter()
        .map(|n| {
            (
                IpNet::new(Ipv4Addr::new(192, 0, 2, n).into(), 32).unwrap(),
                vip.clone(),
            )
        })
        .collect()
}

#[test]
fn nothing_is_said_before_the_gate_opens_and_a_drain_withdraws_all() {
    let mut pair = Pair::connected();
    pair.tell(PeerInput::Routes {
        revision: 7,
        routes: routes(1..=3),
    });
    pair.settle(1);
    assert_eq!(
        (pair.ours.status().state, pair.table.len()),
        (State::Established, 0)
    );
    pair.tell(PeerInput::Gate(Gate::Open));
    assert_eq!(pair.ours.status().synced, None, "not before TCP took it");
    pair.settle(4096);
    let status = pair.ours.status();
    assert_eq!((status.synced, status.told, pair.table.len()), (Some(7), 3, 3));
    pair.tell(PeerInput::Gate(Gate::Closed));
    pair.settle(3);
    let status = pair.ours.status();
    assert_eq!(
        (status.state, status.synced, status.told, pair.table.len()),
        (State::Established, Some(7), 0, 0)
    );
    assert_eq!(pair.other.status().counters.treated_as_withdraw, 0);
}

#[test]
fn changes_while_tcp_is_busy_become_one_update() {
    let mut pair = Pair::connected();
    pair.tell(PeerInput::Gate(Gate::Open));
    pair.settle(4096);
    pair.tell(PeerInput::Routes {
        revision: 1,
        routes: routes(1..=2),
    });
    let before = pair.updates;
    for last in 3..100 {
        pair.tell(PeerInput::Routes {
            revision: u64::from(last),
            routes: routes(1..=last),
        });
    }
    assert_eq!(pair.updates, before);
    pair.flushed();
    assert_eq!((pair.updates, pair.table.len()), (before + 1, 99));
    assert_eq!(pair.ours.status().synced, None);
    pair.flushed();
    assert_eq!(pair.ours.status().synced, Some(99));
}

#[test]
fn a_refresh_is_answered_with_everything() {
    let mut pair = Pair::connected();
    pair.tell(PeerInput::Gate(Gate::Open));
    pair.tell(PeerInput::Routes {
        revision: 1,
        routes: routes(1..=9),
    });
    pair.settle(4096);
    pair.table.clear();
    let refresh = Message::Refresh(Some(Family::V4)).encode();
    pair.tell(PeerInput::Bytes(Side::Outgoing, &refresh));
    assert_eq!(
        (pair.table.len(), pair.ours.status().counters.refreshes_in),
        (9, 1)
    );
}

#[test]
fn a_stop_says_why_and_the_other_side_shows_it() {
    let mut pair = Pair::connected();
    pair.settle(10);
    let actions = pair.tell(PeerInput::Stop(StopReason::Shutdown("bye".into())));
    assert!(matches!(
        actions[..],
        [Action::Send(..), Action::Close(Side::Outgoing)]
    ));
    pair.settle(4096);
    assert_eq!(pair.ours.status().state, State::Idle);
    let error = pair.other.status().last_error.unwrap();
    assert!(
        error.contains("the peer ended it") && error.contains("bye"),
        "{error}"
    );
    assert_eq!(pair.other.status().counters.sessions_down, 1);
}

#[test]
fn a_session_lost_forgets_what_was_told() {
    let mut pair = Pair::connected();
    pair.tell(PeerInput::Gate(Gate::Open));
    pair.tell(PeerInput::Routes {
        revision: 1,
        routes: routes(1..=9),
    });
    pair.settle(4096);
    pair.tell(PeerInput::Closed(Side::Outgoing));
    let status = pair.ours.status();
    assert_eq!((status.synced, status.told, status.session), (None, 0, None));
    assert_eq!(status.last_error.as_deref(), Some("TCP connection lost"));
}

#[test]
fn unusable_settings_make_no_peer() {
    assert!(
        Peer::new(SessionSettings {
            hold_seconds: 2,
            ..settings(1, 2, Opening::Active)
        })
        .is_err()
    );
    assert!(
        Peer::new(SessionSettings {
            families: Families::NONE,
            ..settings(1, 2, Opening::Active)
        })
        .is_err()
    );
    assert!(Peer::new(settings(0, 2, Opening::Active)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_cutting_of_the_stream_gives_the_same_session(cut in 1..200usize, hosts in proptest::collection::btree_set(any::<u8>(), 0..40)) {
        let mut pair = Pair::connected();
        let count = hosts.len();
        pair.tell(PeerInput::Gate(Gate::Open));
        pair.tell(PeerInput::Routes { revision: 1, routes: routes(hosts) });
        pair.settle(cut);
        prop_assert_eq!(pair.ours.status().state, State::Established);
        prop_assert_eq!((pair.table.len(), pair.ours.status().synced), (count, Some(1)));
    }

    /// Whatever a peer sends, in whatever state, nothing panics and faults end the connection.
    #[test]
    fn bytes_of_any_kind_do_no_harm(
        pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..60), 0..7u8), 0..20),
        settled in any::<bool>(),
    ) {
        let mut pair = Pair::connected();
        if settled {
            pair.settle(4096);
        }
        for (body, kind) in pieces {
            let mut bytes = Vec::new();
            if kind > 0 {
                bytes.extend_from_slice(&[0xff; 16]);
                bytes.extend_from_slice(&((19 + body.len()) as u16).to_be_bytes());
                bytes.push(kind);
            }
            bytes.extend_from_slice(&body);
            let actions = pair.tell(PeerInput::Bytes(Side::Outgoing, &bytes));
            let closed = actions.contains(&Action::Close(Side::Outgoing));
            prop_assert!(!closed || pair.ours.status().state != State::Established);
        }
    }
}
