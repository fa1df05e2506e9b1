//! The peer's table, rebuilt from nothing but our bytes, equals the desired set after any sequence.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::fsm::Negotiated;
use crate::wire::tests::{any_attributes, any_prefix, read_update, session};
use crate::wire::{Community, Families, Relation, ResetKind, STANDARD_LIMIT};

fn agreed(families: Families, relation: Relation, limit: u16) -> Negotiated {
    Negotiated {
        peer_as: 65001,
        peer_id: Ipv4Addr::new(10, 0, 0, 2),
        hold: None,
        keepalive: None,
        families,
        ipv4_via_ipv6: false,
        reset: ResetKind::Plain,
        encoding: session(limit, relation),
    }
}

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fn hops() -> NextHops {
    NextHops {
        v6: Some(V6),
        ..NextHops::default()
    }
}

/// The peer's view.
#[derive(Default)]
struct Table {
    routes: BTreeMap<IpNet, Path>,
    markers: Vec<Family>,
}

impl Table {
    /// Applies the messages; says how many prefixes were announced and withdrawn.
    fn hear(&mut self, messages: &[Bytes], agreed: &Negotiated) -> (usize, usize) {
        let (mut announced, mut withdrawn) = (0, 0);
        for message in messages {
            let heard = read_update(message, &agreed.encoding);
            for prefix in heard.withdrawn {
                assert_eq!(announced, 0, "withdraws come first");
                assert!(
                    self.routes.remove(&prefix).is_some(),
                    "{prefix} withdrawn though never announced"
                );
                withdrawn += 1;
            }
            announced += heard.announced.len();
            self.routes.extend(heard.announced);
            self.markers.extend(heard.end_of_rib);
        }
        (announced, withdrawn)
    }
}

#[derive(Clone, Debug)]
enum Act {
    Set(Vec<(IpNet, usize)>),
    Refresh(Family),
    Flap(Families, Relation, u16),
}

fn any_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn any_families() -> impl Strategy<Value = Families> {
    prop_oneof![Just(Families::BOTH), any_family().prop_map(Families::only)]
}

/// A pool of prefixes, so that sets overlap; which of them, and with which attributes.
fn any_acts() -> impl Strategy<Value = (Vec<Act>, Vec<Attributes>)> {
    let pool = proptest::collection::vec(any_family().prop_flat_map(any_prefix), 1..40);
    let attributes = proptest::collection::vec(any_attributes(), 3);
    (pool, attributes).prop_flat_map(|(pool, attributes)| {
        let entry = (proptest::sample::select(pool), 0..3usize);
        let act = prop_oneof![
            4 => proptest::collection::vec(entry, 0..40).prop_map(Act::Set),
            1 => any_family().prop_map(Act::Refresh),
            1 => (any_families(), prop_oneof![Just(Relation::Internal), Just(Relation::External)], 300..5000u16)
                .prop_map(|(families, relation, limit)| Act::Flap(families, relation, limit)),
        ];
        (proptest::collection::vec(act, 1..12), Just(attributes))
    })
}

fn expected(desired: &Routes, agreed: &Negotiated) -> BTreeMap<IpNet, Path> {
    let carried = desired
        .iter()
        .filter(|(prefix, _)| agreed.families.contains(family_of(prefix)));
    carried
        .map(|(prefix, attributes)| {
            let mut attributes = (**attributes).clone();
            match agreed.encoding.relation {
                Relation::Internal => {
                    attributes.prepend = 0;
                    attributes.local_pref = Some(attributes.local_pref.unwrap_or(100));
                }
                Relation::External => attributes.local_pref = None,
            }
            let next_hop = match family_of(prefix) {
                Family::V4 => NextHop::V4(Ipv4Addr::new(10, 0, 0, 1)),
                Family::V6 => NextHop::V6 {
                    address: V6,
                    link_local: None,
                },
            };
            (
                *prefix,
                Path {
                    attributes: Arc::new(attributes),
                    next_hop,
                },
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_peer_knows_what_is_desired((acts, attributes) in any_acts(), coalesce in any::<bool>()) {
        let attributes: Vec<_> = attributes.into_iter().map(Arc::new).collect();
        let mut session = agreed(Families::BOTH, Relation::External, STANDARD_LIMIT);
        let mut rib = AdjRibOut::default();
        let mut table = Table::default();
        let mut desired = Routes::new();
        rib.session_up(session, LOCAL, &hops());
        for act in acts {
            match act {
                Act::Set(entries) => {
                    desired = entries.into_iter().map(|(prefix, n)| (prefix, attributes[n].clone())).collect();
                    rib.set(desired.clone());
                }
                Act::Refresh(family) => rib.refresh(family),
                Act::Flap(families, relation, limit) => {
                    rib.session_down();
                    session = agreed(families, relation, limit);
                    table = Table::default();
                    rib.session_up(session, LOCAL, &hops());
                }
            }
            if !coalesce {
                table.hear(&rib.updates(), &session);
                prop_assert_eq!(&table.routes, &expected(&desired, &session));
            }
        }
        table.hear(&rib.updates(), &session);
        prop_assert_eq!(&table.routes, &expected(&desired, &session));
        prop_assert_eq!(table.routes.len(), rib.told());
        prop_assert_eq!(rib.updates().len(), 0, "nothing is said twice");
    }
}

fn routes(list: &[&str]) -> Routes {
    list.iter()
        .map(|prefix| (prefix.parse().unwrap(), Arc::new(Attributes::vip())))
        .collect()
}

#[test]
fn only_the_difference_is_sent() {
    let session = agreed(Families::BOTH, Relation::External, STANDARD_LIMIT);
    let (mut rib, mut table) = (AdjRibOut::default(), Table::default());
    rib.set(routes(&["192.0.2.1/32", "192.0.2.2/32", "2001:db8::1/128"]));
    assert!(rib.updates().is_empty(), "no session yet");
    rib.session_up(session, LOCAL, &hops());
    assert_eq!(table.hear(&rib.updates(), &session), (3, 0));
    assert_eq!(table.markers, [Family::V4, Family::V6]);
    rib.set(routes(&["192.0.2.2/32", "192.0.2.3/32", "2001:db8::1/128"]));
    assert_eq!(table.hear(&rib.updates(), &session), (1, 1));
    rib.refresh(Family::V4);
    assert_eq!(table.hear(&rib.updates(), &session), (2, 0));
    assert_eq!(table.markers.len(), 3);
    rib.set(Routes::new());
    assert_eq!(table.hear(&rib.updates(), &session), (0, 3));
}

#[test]
fn a_next_hop_is_never_guessed() {
    let session = agreed(Families::BOTH, Relation::External, STANDARD_LIMIT);
    let mut rib = AdjRibOut::default();
    rib.set(routes(&["192.0.2.1/32", "2001:db8::1/128"]));
    rib.session_up(session, LOCAL, &NextHops::default());
    rib.updates();
    assert_eq!((rib.told(), rib.unsendable().no_next_hop), (1, 1));
    assert!(rib.is_told(&"192.0.2.1/32".parse().unwrap()));
    rib.session_up(session, V6.into(), &NextHops::default());
    rib.updates();
    assert_eq!((rib.told(), rib.unsendable().no_next_hop), (1, 1));
    let only_v4 = agreed(Families::only(Family::V4), Relation::External, STANDARD_LIMIT);
    rib.session_up(only_v4, LOCAL, &hops());
    rib.updates();
    assert_eq!((rib.told(), rib.unsendable().not_negotiated), (1, 1));
}

#[test]
fn next_hops_follow_session_and_settings() {
    let mut session = agreed(Families::BOTH, Relation::External, STANDARD_LIMIT);
    session.ipv4_via_ipv6 = true;
    let both = |hop: NextHop| (Some(hop), Some(hop));
    let pair = |local: IpAddr, configured: &NextHops| {
        (
            next_hop_v4(&session, local, configured),
            next_hop_v6(local, configured),
        )
    };
    let global = NextHop::V6 {
        address: V6,
        link_local: None,
    };
    assert_eq!(pair(V6.into(), &NextHops::default()), both(global));
    let alone = NextHop::V6 {
        address: LINK_LOCAL,
        link_local: None,
    };
    assert_eq!(pair(LINK_LOCAL.into(), &NextHops::default()), both(alone));
    let beside = NextHops {
        link_local: Some(LINK_LOCAL),
        ..NextHops::default()
    };
    let wide = NextHop::V6 {
        address: V6,
        link_local: Some(LINK_LOCAL),
    };
    assert_eq!(pair(V6.into(), &beside), both(wide));
    assert_eq!(pair(LINK_LOCAL.into(), &beside), both(alone));
    let explicit = NextHops {
        v4: Some(Ipv4Addr::new(10, 9, 9, 9)),
        ..NextHops::default()
    };
    assert_eq!(
        pair(V6.into(), &explicit),
        (Some(NextHop::V4(Ipv4Addr::new(10, 9, 9, 9))), Some(global))
    );
}

#[test]
fn a_route_grown_too_large_is_withdrawn_and_counted() {
    let session = agreed(Families::BOTH, Relation::External, STANDARD_LIMIT);
    let (mut rib, mut table) = (AdjRibOut::default(), Table::default());
    rib.session_up(session, LOCAL, &hops());
    rib.set(routes(&["192.0.2.1/32"]));
    table.hear(&rib.updates(), &session);
    let huge = Attributes {
        communities: (0..1100).map(Community).collect(),
        ..Attributes::vip()
    };
    rib.set(Routes::from([("192.0.2.1/32".parse().unwrap(), Arc::new(huge))]));
    assert_eq!(table.hear(&rib.updates(), &session), (0, 1));
    assert_eq!(
        (rib.told(), rib.unsendable().oversized, table.routes.len()),
        (0, 1, 0)
    );
    assert!(rib.updates().is_empty());
}

/// 10,000 VIPs to a fresh peer: 50 kB in 13 messages.
#[test]
fn a_large_table_is_small_on_the_wire() {
    let session = agreed(Families::BOTH, Relation::External, STANDARD_LIMIT);
    let vip = Arc::new(Attributes::vip());
    let mut rib = AdjRibOut::default();
    rib.set(
        (0..10_000u32)
            .map(|n| (IpNet::new(IpAddr::V4(n.into()), 32).unwrap(), vip.clone()))
            .collect(),
    );
    rib.session_up(session, LOCAL, &hops());
    let messages = rib.updates();
    assert_eq!(messages.len(), 15, "13 full ones and two markers");
    assert!(messages.iter().map(Bytes::len).sum::<usize>() < 52_000);
}
