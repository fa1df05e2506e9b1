//! Round trips, packing and RFC 7606, and `read_update`: an UPDATE as a peer would understand it, for
//! the model tests of other rooms.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::BytesMut;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use maglane_shared::addr::Family;
use proptest::prelude::*;
use rustbgpd_wire::{self as codec, PathAttribute, Prefix};

use super::*;

/// An UPDATE as a peer understands it.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub withdrawn: Vec<IpNet>,
    pub announced: Vec<(IpNet, Path)>,
    pub as_path: Vec<u32>,
    pub end_of_rib: Option<Family>,
}

pub(crate) fn session(limit: u16, relation: Relation) -> Encoding {
    Encoding {
        local_as: 64512,
        relation,
        four_octet_as: true,
        limit,
    }
}

fn net(prefix: Prefix) -> IpNet {
    match prefix {
        Prefix::V4(p) => IpNet::V4(Ipv4Net::new(p.addr, p.len).unwrap()),
        Prefix::V6(p) => IpNet::V6(Ipv6Net::new(p.addr, p.len).unwrap()),
    }
}

// The codec's enum lists every attribute of the field; ours are the few that are sent.
#[allow(clippy::wildcard_enum_match_arm)]
pub(crate) fn read_update(bytes: &[u8], session: &Encoding) -> Heard {
    assert!(bytes.len() <= usize::from(session.limit));
    let mut stream = BytesMut::from(bytes);
    let Ok(Some(Message::Update(update))) = take(&mut stream, session.limit) else {
        panic!("not an UPDATE")
    };
    assert!(stream.is_empty());
    let judged = update.inspect(session).unwrap();
    assert_eq!(judged.verdict, UpdateVerdict::Clean);
    let parsed = update
        .to_codec()
        .parse(session.four_octet_as, false, &[])
        .unwrap();
    let mut heard = Heard {
        end_of_rib: judged.end_of_rib,
        ..Heard::default()
    };
    let mut attributes = Attributes::default();
    let mut next_hop = None;
    let mut announced: Vec<IpNet> = parsed
        .announced
        .iter()
        .map(|e| net(Prefix::V4(e.prefix)))
        .collect();
    heard
        .withdrawn
        .extend(parsed.withdrawn.iter().map(|e| net(Prefix::V4(e.prefix))));
    for attribute in &parsed.attributes {
        match attribute {
            PathAttribute::AsPath(path) => heard.as_path = path.asns().collect(),
            PathAttribute::NextHop(v4) => next_hop = Some(NextHop::V4(*v4)),
            PathAttribute::Med(med) => attributes.med = Some(*med),
            PathAttribute::LocalPref(value) => attributes.local_pref = Some(*value),
            PathAttribute::Communities(list) => {
                attributes.communities = list.iter().map(|c| Community(*c)).collect()
            }
            PathAttribute::LargeCommunities(list) => {
                attributes.large_communities = list
                    .iter()
                    .map(|c| LargeCommunity(c.global_admin, c.local_data1, c.local_data2))
                    .collect();
            }
            PathAttribute::ExtendedCommunities(list) => {
                attributes.extended_communities =
                    list.iter().map(|c| ExtendedCommunity(c.as_u64())).collect();
            }
            PathAttribute::MpReachNlri(mp) => {
                announced.extend(mp.announced.iter().map(|e| net(e.prefix)));
                next_hop = Some(match mp.next_hop {
                    IpAddr::V4(v4) => NextHop::V4(v4),
                    IpAddr::V6(address) => NextHop::V6 {
                        address,
                        link_local: mp.link_local_next_hop,
                    },
                });
            }
            PathAttribute::MpUnreachNlri(mp) => {
                heard.withdrawn.extend(mp.withdrawn.iter().map(|e| net(e.prefix)))
            }
            PathAttribute::Origin(origin) => assert_eq!(*origin, codec::Origin::Igp),
            other => panic!("{other:?} was never ours to send"),
        }
    }
    if session.relation == Relation::External {
        attributes.prepend = heard.as_path.len().saturating_sub(1) as u8;
    }
    let attributes = Arc::new(attributes);
    for prefix in announced {
        heard.announced.push((
            prefix,
            Path {
                attributes: attributes.clone(),
                next_hop: next_hop.unwrap(),
            },
        ));
    }
    heard
}

pub(crate) fn any_attributes() -> impl Strategy<Value = Attributes> {
    let sets = (
        proptest::collection::btree_set(any::<u32>().prop_map(Community), 0..4),
        proptest::collection::btree_set(
            any::<[u32; 3]>().prop_map(|[a, b, c]| LargeCommunity(a, b, c)),
            0..3,
        ),
        proptest::collection::btree_set(any::<u64>().prop_map(ExtendedCommunity), 0..3),
    );
    (0..=10u8, any::<Option<u32>>(), any::<Option<u32>>(), sets).prop_map(
        |(prepend, med, local_pref, (communities, large_communities, extended_communities))| Attributes {
            prepend,
            med,
            local_pref,
            communities,
            large_communities,
            extended_communities,
        },
    )
}

pub(crate) fn any_prefix(family: Family) -> BoxedStrategy<IpNet> {
    match family {
        Family::V4 => (any::<u32>(), 0..=32u8)
            .prop_map(|(bits, len)| IpNet::V4(Ipv4Net::new(bits.into(), len).unwrap().trunc()))
            .boxed(),
        Family::V6 => (any::<u128>(), 0..=128u8)
            .prop_map(|(bits, len)| IpNet::V6(Ipv6Net::new(bits.into(), len).unwrap().trunc()))
            .boxed(),
    }
}

fn any_next_hop(family: Family) -> BoxedStrategy<NextHop> {
    let v6 = (1..0xff00_u16, any::<u64>(), any::<bool>()).prop_map(|(high, low, both)| NextHop::V6 {
        address: (0x2000_u128 << 112 | u128::from(high) << 64 | u128::from(low)).into(),
        link_local: both.then(|| (0xfe80_u128 << 112 | u128::from(low)).into()),
    });
    match family {
        Family::V4 => prop_oneof![
            (1..0x7000_0000u32).prop_map(|a| NextHop::V4((a | 0x0100_0000).into())),
            v6
        ]
        .prop_filter("a unicast address", |hop| match hop {
            NextHop::V4(a) => !a.is_loopback(),
            NextHop::V6 { .. } => true,
        })
        .boxed(),
        Family::V6 => v6.boxed(),
    }
}

fn any_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn any_announcement() -> impl Strategy<Value = (Family, Vec<IpNet>, Path)> {
    any_family().prop_flat_map(|family| {
        let prefixes = proptest::collection::btree_set(any_prefix(family), 1..400);
        let path = (any_attributes(), any_next_hop(family)).prop_map(|(attributes, next_hop)| Path {
            attributes: Arc::new(attributes),
            next_hop,
        });
        (
            Just(family),
            prefixes.prop_map(|set| set.into_iter().collect()),
            path,
        )
    })
}

/// What arrives of `path`: LOCAL_PREF exists only inside an AS, prepending only between two.
fn as_heard(path: &Path, relation: Relation) -> Path {
    let mut attributes = (*path.attributes).clone();
    match relation {
        Relation::Internal => {
            attributes.prepend = 0;
            attributes.local_pref = Some(attributes.local_pref.unwrap_or(100));
        }
        Relation::External => attributes.local_pref = None,
    }
    Path {
        attributes: Arc::new(attributes),
        next_hop: path.next_hop,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_prefix_arrives_once_with_its_path(
        (family, prefixes, path) in any_announcement(),
        limit in prop_oneof![Just(STANDARD_LIMIT), Just(EXTENDED_LIMIT), 300..1000u16],
        relation in prop_oneof![Just(Relation::Internal), Just(Relation::External)],
    ) {
        let session = session(limit, relation);
        let messages = announce(&path, family, &prefixes, &session).unwrap();
        let heard: Vec<_> = messages.iter().map(|m| read_update(m, &session)).collect();
        let arrived: Vec<_> = heard.iter().flat_map(|h| h.announced.clone()).collect();
        let expected = as_heard(&path, relation);
        let wanted: Vec<_> = prefixes.iter().map(|p| (*p, expected.clone())).collect();
        prop_assert_eq!(arrived, wanted);
        prop_assert!(heard.iter().all(|h| h.withdrawn.is_empty() && h.end_of_rib.is_none()));
    }

    #[test]
    fn every_withdraw_arrives_once((family, prefixes, _path) in any_announcement(), limit in 64..600u16) {
        let session = session(limit, Relation::External);
        let messages = withdraw(family, &prefixes, &session).unwrap();
        let arrived: Vec<_> = messages.iter().flat_map(|m| read_update(m, &session).withdrawn).collect();
        prop_assert_eq!(arrived, prefixes);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), marked in any::<bool>(), kind in 0..7u8) {
        let mut stream = BytesMut::new();
        if marked {
            stream.extend_from_slice(&[0xff; 16]);
            stream.extend_from_slice(&((19 + bytes.len()) as u16).to_be_bytes());
            stream.extend_from_slice(&[kind]);
        }
        stream.extend_from_slice(&bytes);
        let session = session(STANDARD_LIMIT, Relation::External);
        while let Ok(Some(message)) = take(&mut stream, STANDARD_LIMIT) {
            if let Message::Update(update) = &message {
                let _judged = update.inspect(&session);
            }
            if let Message::Notification(notification) = &message {
                let _text = notification.to_string();
            }
        }
    }

    #[test]
    fn damage_to_a_good_update_never_panics(
        (family, prefixes, path) in any_announcement(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let session = session(STANDARD_LIMIT, Relation::External);
        let messages = announce(&path, family, &prefixes, &session).unwrap();
        let mut bytes = messages[0].to_vec();
        for (at, value) in damage {
            let at = HEADER_LEN + at.index(bytes.len() - HEADER_LEN);
            bytes[at] = value;
        }
        if let Ok(Some(Message::Update(update))) = take(&mut BytesMut::from(&bytes[..]), STANDARD_LIMIT) {
            let _judged = update.inspect(&session);
        }
    }

    #[test]
    fn opens_round_trip(asn in 1..=u32::MAX, hold_seconds in any::<u16>(), id in any::<u32>(), bits in 0..64u8, role in 0..6u8) {
        let roles = [Role::Provider, Role::RouteServer, Role::RouteServerClient, Role::Customer, Role::Peer];
        let bit = |n: u8| bits & (1 << n) != 0;
        let mut families = Families::NONE;
        if bit(0) { families = families.with(Family::V4); }
        if bit(1) { families = families.with(Family::V6); }
        let open = Open {
            asn, hold_seconds, identifier: id.into(),
            capabilities: Capabilities {
                families, multiprotocol: !families.is_empty(),
                four_octet_as: true, route_refresh: bit(2), extended_message: bit(3), ipv4_via_ipv6: bit(4),
                restart_notification: false, role: roles.get(usize::from(role)).map(|r| OfferedRole::Known(*r)),
            },
        };
        let mut bytes = BytesMut::from(&Message::Open(open.clone()).encode()[..]);
        prop_assert_eq!(take(&mut bytes, STANDARD_LIMIT), Ok(Some(Message::Open(open))));
    }
}

fn raw(kind: u8, body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::from(&[0xff; 16][..]);
    bytes.extend_from_slice(&((19 + body.len()) as u16).to_be_bytes());
    bytes.extend_from_slice(&[kind]);
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn header_faults_name_code_and_data() {
    let cases: [(BytesMut, u8, u8, &[u8]); 6] = [
        (raw(9, &[]), 1, 3, &[9]),
        (raw(1, &[4; 9]), 1, 2, &[0, 28]),
        (raw(2, &[0; 3]), 1, 2, &[0, 22]),
        (raw(4, &[0]), 1, 2, &[0, 20]),
        (raw(5, &[0; 3]), 1, 2, &[0, 22]),
        (BytesMut::from(&[0xfe; 19][..]), 1, 1, &[]),
    ];
    for (mut bytes, code, subcode, data) in cases {
        let fault = take(&mut bytes, STANDARD_LIMIT).unwrap_err();
        assert_eq!(
            (fault.code, fault.subcode, &fault.data[..]),
            (code, subcode, data),
            "{fault}"
        );
    }
    let mut long = BytesMut::from(&[0xff; 16][..]);
    long.extend_from_slice(&[0x10, 0x01, 2]);
    let fault = take(&mut long, STANDARD_LIMIT).unwrap_err();
    assert_eq!(
        (fault.code, fault.subcode, &fault.data[..]),
        (1, 2, &[0x10, 0x01][..])
    );
}

#[test]
fn an_incomplete_message_waits_and_two_come_apart() {
    let mut stream = BytesMut::from(&Message::Keepalive.encode()[..]);
    stream.extend_from_slice(&Message::Keepalive.encode());
    let tail = stream.split_off(30);
    assert_eq!(take(&mut stream, STANDARD_LIMIT), Ok(Some(Message::Keepalive)));
    assert_eq!(take(&mut stream, STANDARD_LIMIT), Ok(None));
    stream.unsplit(tail);
    assert_eq!(take(&mut stream, STANDARD_LIMIT), Ok(Some(Message::Keepalive)));
    assert_eq!(take(&mut stream, STANDARD_LIMIT), Ok(None));
}

/// Capabilities as FRR writes them, N bit, unknown codes, families we lack, two roles that differ.
#[test]
fn a_foreign_open_is_understood() {
    let caps: &[u8] = &[
        1, 4, 0, 1, 0, 1, 1, 4, 0, 25, 0, 70, 2, 0, 128, 0, 70, 0, 6, 0, 65, 4, 0, 0, 0xfd, 0xea, 64, 6,
        0x40, 0x78, 0, 1, 1, 0x80, 5, 6, 0, 1, 0, 1, 0, 2, 73, 3, 1, b'a', 0, 9, 1, 3, 9, 1, 0,
    ];
    let mut body = vec![
        4,
        0x5b,
        0xa0,
        0,
        90,
        10,
        0,
        0,
        1,
        caps.len() as u8 + 2,
        2,
        caps.len() as u8,
    ];
    body.extend_from_slice(caps);
    let Ok(Some(Message::Open(open))) = take(&mut raw(1, &body), STANDARD_LIMIT) else {
        panic!("no OPEN")
    };
    assert_eq!(open.asn, 65002);
    assert_eq!(open.identifier, Ipv4Addr::new(10, 0, 0, 1));
    let c = open.capabilities;
    assert_eq!(c.effective_families(), Families::only(Family::V4));
    assert!(
        c.four_octet_as && c.route_refresh && c.extended_message && c.ipv4_via_ipv6 && c.restart_notification
    );
    assert_eq!(c.role, Some(OfferedRole::Unusable));
    assert_eq!(
        Capabilities::default().effective_families(),
        Families::only(Family::V4)
    );
}

/// RFC 9072: more than 255 octets of optional parameters.
#[test]
fn extended_optional_parameters_are_read() {
    let filler = [&[128u8, 250][..], &[0; 250]].concat();
    let caps = [&filler[..], &[65, 4, 0, 1, 0, 0]].concat();
    let param_len = caps.len() as u16;
    let mut body = vec![4, 0x5b, 0xa0, 0, 90, 10, 0, 0, 1, 255, 255];
    body.extend_from_slice(&(param_len + 3).to_be_bytes());
    body.push(2);
    body.extend_from_slice(&param_len.to_be_bytes());
    body.extend_from_slice(&caps);
    let Ok(Some(Message::Open(open))) = take(&mut raw(1, &body), STANDARD_LIMIT) else {
        panic!("no OPEN")
    };
    assert_eq!(open.asn, 65536);
}

#[test]
fn version_3_is_answered_with_ours() {
    let fault = take(&mut raw(1, &[3, 0, 1, 0, 90, 10, 0, 0, 1, 0]), STANDARD_LIMIT).unwrap_err();
    assert_eq!((fault.code, fault.subcode, &fault.data[..]), (2, 1, &[0, 4][..]));
}

fn update(attributes: &[u8], nlri: &[u8]) -> Result<Inspection, Notification> {
    let mut body = vec![0, 0];
    body.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
    body.extend_from_slice(attributes);
    body.extend_from_slice(nlri);
    match take(&mut raw(2, &body), STANDARD_LIMIT)? {
        Some(Message::Update(update)) => update.inspect(&session(STANDARD_LIMIT, Relation::External)),
        other => panic!("{other:?}"),
    }
}

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 10, 0, 0, 1];
const NLRI: &[u8] = &[24, 10, 1, 1];

/// RFC 7606 §3, §5 and §7: which faults cost what.
#[test]
fn malformed_updates_are_treated_as_rfc_7606_asks() {
    let good = [ORIGIN, AS_PATH, NEXT_HOP].concat();
    let clean = update(&good, NLRI).unwrap();
    assert_eq!((clean.announced, clean.verdict), (1, UpdateVerdict::Clean));
    let survivable: [(&str, Vec<u8>, UpdateVerdict); 6] = [
        (
            "origin 5",
            [&[0x40, 1, 1, 5], AS_PATH, NEXT_HOP].concat(),
            UpdateVerdict::TreatAsWithdraw,
        ),
        (
            "no AS path",
            [ORIGIN, NEXT_HOP].concat(),
            UpdateVerdict::TreatAsWithdraw,
        ),
        (
            "no next hop",
            [ORIGIN, AS_PATH].concat(),
            UpdateVerdict::TreatAsWithdraw,
        ),
        (
            "communities of 3 octets",
            [&good, &[0xc0, 8, 3, 1, 2, 3][..]].concat(),
            UpdateVerdict::TreatAsWithdraw,
        ),
        (
            "aggregator of 1 octet",
            [&good, &[0xc0, 7, 1, 1][..]].concat(),
            UpdateVerdict::AttributeDiscard,
        ),
        (
            "next hop 0.0.0.0",
            [ORIGIN, AS_PATH, &[0x40, 3, 4, 0, 0, 0, 0]].concat(),
            UpdateVerdict::TreatAsWithdraw,
        ),
    ];
    for (name, attributes, verdict) in survivable {
        assert_eq!(update(&attributes, NLRI).unwrap().verdict, verdict, "{name}");
    }
    let network = update(&good, &[33, 10, 1, 1, 1, 1]).unwrap_err();
    assert_eq!((network.code, network.subcode), (3, 10));
    let twice = [0x80, 15, 3, 0, 2, 1].repeat(2);
    let fatal = update(&twice, &[]).unwrap_err();
    assert_eq!((fatal.code, fatal.subcode), (3, 1));
    let mut overlong = raw(2, &[0, 9, 0, 0]);
    let fault = take(&mut overlong, STANDARD_LIMIT).unwrap_err();
    assert_eq!((fault.code, fault.subcode), (3, 1));
}

#[test]
fn end_of_rib_is_recognised_and_said() {
    let session = session(STANDARD_LIMIT, Relation::External);
    for family in [Family::V4, Family::V6] {
        assert_eq!(
            read_update(&end_of_rib(family, &session).unwrap(), &session).end_of_rib,
            Some(family)
        );
    }
}

#[test]
fn attributes_that_leave_no_room_are_refused_not_looped_over() {
    let attributes = Attributes {
        communities: (0..1100).map(Community).collect(),
        ..Attributes::vip()
    };
    let path = Path {
        attributes: Arc::new(attributes),
        next_hop: NextHop::V4(Ipv4Addr::new(10, 0, 0, 1)),
    };
    let prefixes = ["192.0.2.1/32".parse().unwrap()];
    let standard = announce(
        &path,
        Family::V4,
        &prefixes,
        &session(STANDARD_LIMIT, Relation::External),
    );
    assert_eq!(standard, Err(Oversized));
    assert!(
        announce(
            &path,
            Family::V4,
            &prefixes,
            &session(EXTENDED_LIMIT, Relation::External)
        )
        .is_ok()
    );
}

#[test]
fn a_thousand_host_routes_share_two_updates() {
    let path = Path {
        attributes: Arc::new(Attributes::vip()),
        next_hop: NextHop::V4(Ipv4Addr::new(10, 0, 0, 1)),
    };
    let prefixes: Vec<IpNet> = (0..1000u32)
        .map(|n| Ipv4Net::new(n.into(), 32).unwrap().into())
        .collect();
    assert_eq!(
        announce(
            &path,
            Family::V4,
            &prefixes,
            &session(STANDARD_LIMIT, Relation::External)
        )
        .unwrap()
        .len(),
        2
    );
}

#[test]
fn shutdown_text_survives_the_hard_reset_envelope() {
    let plain = Notification::admin_shutdown("wartung ä");
    assert_eq!(plain.shutdown_text().as_deref(), Some("wartung ä"));
    let hard = plain.clone().with_reset(ResetKind::Hard);
    assert_eq!(
        (hard.code, hard.subcode, hard.data[0], hard.data[1]),
        (6, 9, 6, 2)
    );
    assert_eq!(hard.shutdown_text().as_deref(), Some("wartung ä"));
    let mut bytes = BytesMut::from(&Message::Notification(hard.clone()).encode()[..]);
    assert_eq!(
        take(&mut bytes, STANDARD_LIMIT),
        Ok(Some(Message::Notification(hard)))
    );
    let broken = Notification {
        code: 6,
        subcode: 2,
        data: vec![2, 0xff, 0xfe].into(),
    };
    assert_eq!(broken.shutdown_text(), None);
    assert!(
        Notification::admin_reset(&"ä".repeat(200))
            .shutdown_text()
            .unwrap()
            .len()
            <= 128
    );
}

#[test]
fn a_two_octet_session_writes_two_octet_paths() {
    let path = Path {
        attributes: Arc::default(),
        next_hop: NextHop::V4(Ipv4Addr::new(10, 0, 0, 1)),
    };
    let session = Encoding {
        four_octet_as: false,
        ..session(STANDARD_LIMIT, Relation::External)
    };
    let messages = announce(&path, Family::V4, &["192.0.2.1/32".parse().unwrap()], &session).unwrap();
    assert_eq!(read_update(&messages[0], &session).as_path, [64512]);
}

#[test]
fn communities_read_and_print() {
    assert_eq!("65001:100".parse(), Ok(Community(65001 << 16 | 100)));
    assert_eq!(Community::NO_LLGR.to_string(), "65535:7");
    assert_eq!("65001:1:2".parse(), Ok(LargeCommunity(65001, 1, 2)));
    for wrong in ["65536:1", "1", "1:2:3", "a:b", ""] {
        assert!(wrong.parse::<Community>().is_err(), "{wrong}");
    }
    assert!("1:2".parse::<LargeCommunity>().is_err());
    let bandwidth = ExtendedCommunity::link_bandwidth(64512, 1.25e9);
    assert_eq!(bandwidth.0 >> 48, 0x4004);
    assert_eq!(
        ExtendedCommunity::link_bandwidth(4_200_000_000, 1.0).0 >> 32,
        0x4004_5ba0
    );
    assert!(BTreeSet::from([Community::NO_EXPORT, Community::NO_ADVERTISE]).len() == 2);
}
