//! What holds for every cluster: the rules as an oracle would check them, address by address.

use std::collections::BTreeMap;

use maglane_shared::addr::{Addr, Family};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::fixtures::*;
use super::*;
use crate::testing::addr;

/// A small world, so that everything collides.
const V4: u32 = 24;
const V6: u32 = 12;

fn v4(at: u32) -> Addr {
    addr(&format!("10.0.0.{}", 244 + at))
}

/// Crosses the end of a /24, so that .0 and .255 occur.
fn universe() -> Vec<Addr> {
    let low = (0..V4 / 2).map(v4);
    let high = (0..V4 / 2).map(|at| addr(&format!("10.0.1.{at}")));
    let v6 = (0..V6).map(|at| addr(&format!("2001:db8::{at:x}")));
    low.chain(high).chain(v6).collect()
}

fn any_addr() -> impl Strategy<Value = Addr> {
    prop_oneof![
        20 => any::<Index>().prop_map(|at| at.get(&universe()).to_owned()),
        1 => Just(addr("10.9.9.9")),
    ]
}

fn any_range() -> impl Strategy<Value = Range> {
    (any_addr(), any_addr()).prop_map(|(a, b)| match a.family() == b.family() {
        true => Range::new(a.min(b), a.max(b)).unwrap(),
        false => Range::new(a, a).unwrap(),
    })
}

fn any_namespace() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("c")]
}

fn rarely() -> impl Strategy<Value = bool> {
    prop_oneof![6 => Just(false), 1 => Just(true)]
}

fn disruption() -> impl Strategy<Value = Disruption> {
    rarely().prop_map(|allowed| match allowed {
        true => Disruption::Allowed,
        false => Disruption::Refused,
    })
}

fn any_pool() -> impl Strategy<Value = Pool> {
    let place = (
        prop::collection::vec(any_range(), 1..4),
        proptest::option::of(0i64..4),
        0u32..3,
    );
    let flags = (rarely(), rarely(), rarely(), any::<bool>(), disruption());
    let who = (
        proptest::option::weighted(0.3, any_namespace()),
        proptest::option::weighted(0.2, Just(selector("tier", "gold"))),
        proptest::option::weighted(0.2, Just(selector("app", "web"))),
    );
    (place, flags, who).prop_map(|((ranges, created, priority), flags, (name, tier, app))| Pool {
        name: "".into(),
        created,
        ranges,
        auto_assign: !flags.0,
        avoid_buggy_ips: flags.1,
        disabled: flags.2,
        priority,
        strict: flags.3,
        namespaces: name.into_iter().map(Box::from).collect(),
        namespace_selectors: tier.into_iter().collect(),
        service_selectors: app.into_iter().collect(),
        disruption: flags.4,
    })
}

fn any_asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        8 => Just(Asked::Nothing),
        4 => prop::collection::vec(any_addr(), 1..3).prop_map(|mut addresses| {
            addresses.sort_unstable();
            addresses.dedup();
            Asked::Addresses(addresses)
        }),
        1 => Just(Asked::Invalid("no address".into())),
    ]
}

fn any_sharing() -> impl Strategy<Value = Option<Sharing>> {
    let namespaces = prop_oneof![
        Just(Namespaces::None),
        Just(Namespaces::All),
        any_namespace().prop_map(|name| Namespaces::Named([name.into()].into_iter().collect())),
    ];
    let key = prop_oneof![Just("k"), Just("l")];
    let sharing = (key, namespaces, any::<bool>()).prop_map(|(key, namespaces, different_pods)| Sharing {
        key: key.into(),
        namespaces,
        different_pods,
    });
    proptest::option::of(sharing)
}

fn any_held() -> impl Strategy<Value = Held> {
    (any_addr(), proptest::option::of(0usize..4)).prop_map(|(addr, pool)| Held {
        addr,
        pool: pool.map(|at| format!("p{at}").into()),
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    use Family::{V4, V6};
    use FamilyPolicy::{PreferDualStack, RequireDualStack, SingleStack};
    let families = prop_oneof![
        4 => Just((SingleStack, vec![V4])),
        1 => Just((SingleStack, vec![V6])),
        2 => Just((PreferDualStack, vec![V4, V6])),
        1 => Just((PreferDualStack, vec![V6, V4])),
        2 => Just((RequireDualStack, vec![V4, V6])),
    ];
    let backends = prop_oneof![
        3 => Just(BackendKey::Cluster),
        1 => Just(BackendKey::Local("app=web".into())),
        1 => Just(BackendKey::Local("".into())),
    ];
    let identity = (
        any_namespace(),
        proptest::option::of(0i64..4),
        any::<bool>(),
        rarely(),
    );
    let wish = (
        families,
        any_asked(),
        proptest::option::weighted(0.2, 0usize..5),
        any_sharing(),
        subsequence(vec![80u16, 81, 82], 1..3),
        backends,
    );
    let state = (prop::collection::vec(any_held(), 0..3), disruption());
    (identity, wish, state).prop_map(|((namespace, created, web, foreign), wish, (held, disruption))| {
        let ((policy, families), asked, pool, sharing, numbers, backends) = wish;
        Request {
            created,
            labels: if web {
                labels(&[("app", "web")])
            } else {
                Labels::new()
            },
            class: if foreign { Class::Other } else { Class::Ours },
            families,
            policy,
            asked,
            pool: pool.map(|at| format!("p{at}").into()),
            sharing,
            ports: ports(&numbers),
            backends,
            held,
            disruption,
            ..request(&format!("{namespace}/"))
        }
    })
}

fn any_reservation() -> impl Strategy<Value = Reservation> {
    let addresses = || prop::collection::vec(any_addr(), 0..3);
    (
        any_namespace(),
        0usize..20,
        addresses(),
        addresses(),
        proptest::option::of(0i64..4),
    )
        .prop_map(|(namespace, service, addresses, kept, created)| Reservation {
            created,
            addresses,
            kept,
            ..reservation("", &format!("{namespace}/s{service}"), "")
        })
}

/// Names are given last, so that they are unique.
fn any_cluster() -> impl Strategy<Value = Cluster> {
    (
        prop::collection::vec(any_pool(), 0..5),
        prop::collection::vec(any_request(), 0..20),
        prop::collection::vec(any_reservation(), 0..4),
    )
        .prop_map(|(mut pools, mut requests, mut reservations)| {
            for (at, pool) in pools.iter_mut().enumerate() {
                pool.name = format!("p{at}").into();
            }
            for (at, request) in requests.iter_mut().enumerate() {
                request.name.name = format!("s{at}").into();
            }
            for (at, reservation) in reservations.iter_mut().enumerate() {
                reservation.name.name = format!("r{at}").into();
            }
            let namespaces = [("a", "gold"), ("b", "tin")];
            let namespaces = namespaces.map(|(name, tier)| (name.into(), labels(&[("tier", tier)])));
            Cluster {
                pools,
                reservations,
                namespaces: namespaces.into_iter().collect(),
                requests,
            }
        })
}

fn by_name(cluster: &Cluster) -> BTreeMap<&crate::model::ObjectName, &Request> {
    cluster
        .requests
        .iter()
        .map(|request| (&request.name, request))
        .collect()
}

/// The rules of sharing, for two Services (SEMANTICS 1.4).
fn may_be_on_one_address(a: &Request, b: &Request) -> bool {
    let (Some(x), Some(y)) = (&a.sharing, &b.sharing) else {
        return false;
    };
    let lists = |sharing: &Sharing, other: &Request| match &sharing.namespaces {
        Namespaces::None => false,
        Namespaces::All => true,
        Namespaces::Named(names) => names.contains(&other.name.namespace),
    };
    let near = a.name.namespace == b.name.namespace || (lists(x, b) && lists(y, a));
    let pods = match (&a.backends, &b.backends) {
        (BackendKey::Cluster, BackendKey::Cluster) => true,
        (BackendKey::Local(s), BackendKey::Local(t)) => {
            (s == t && **s != *"") || (x.different_pods && y.different_pods)
        }
        (BackendKey::Cluster, BackendKey::Local(_)) | (BackendKey::Local(_), BackendKey::Cluster) => false,
    };
    x.key == y.key && near && pods && a.ports.is_disjoint(&b.ports)
}

fn is_in(pool: &Pool, a: Addr) -> bool {
    let buggy = a.is_v4() && matches!(a.v4_bytes()[3], 0 | 255);
    pool.ranges
        .iter()
        .any(|range| range.first() <= a && a <= range.last())
        && !(pool.avoid_buggy_ips && buggy)
}

fn overlap(a: &Pool, b: &Pool) -> bool {
    let cross = |x: &Range| {
        b.ranges
            .iter()
            .any(|y| x.first() <= y.last() && y.first() <= x.last())
    };
    a.ranges.iter().any(cross)
}

/// Gives nothing: disabled, or it overlaps with an older one.
fn is_closed(cluster: &Cluster, pool: &Pool) -> bool {
    let age = |pool: &Pool| (pool.created.unwrap_or(i64::MAX), pool.name.clone());
    pool.disabled
        || cluster
            .pools
            .iter()
            .any(|other| age(other) < age(pool) && overlap(other, pool))
}

fn admits(cluster: &Cluster, pool: &Pool, request: &Request) -> bool {
    pool.admits(request, &cluster.namespaces)
}

fn addrs(allocation: &Allocation) -> BTreeMap<String, Vec<Addr>> {
    let answers = allocation.services.iter();
    answers
        .map(|(name, answer)| (name.to_string(), answer.addrs().collect()))
        .collect()
}

/// The first address that a Service had, not only until something better, and has no more.
fn lost(before: &Allocation, after: &Allocation) -> Option<(String, Addr)> {
    let parked = Standing::Retained(Retained::AwaitingRequested);
    before.services.iter().find_map(|(name, answer)| {
        let had = answer
            .addresses
            .iter()
            .filter(|assigned| assigned.standing != parked);
        let gone = had
            .map(|assigned| assigned.addr)
            .find(|addr| !after.services[name].addrs().any(|a| a == *addr));
        Some((name.to_string(), gone?))
    })
}

/// Nothing was released, so nothing can follow; nor does a kept address become shareable.
fn is_final(all: &Allocation, cluster: &Cluster) -> bool {
    let kept = |addr: Addr| cluster.reservations.iter().any(|r| r.kept.contains(&addr));
    all.services.values().all(|answer| {
        let fresh = answer
            .addresses
            .iter()
            .filter(|assigned| assigned.standing == Standing::Granted);
        answer.released.is_empty() && fresh.map(|assigned| assigned.addr).all(|addr| !kept(addr))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_given_twice(cluster in any_cluster()) {
        let all = cluster.allocate();
        let requests = by_name(&cluster);
        for (addr, holders) in all.holders() {
            for (at, a) in holders.iter().enumerate() {
                for b in &holders[at + 1..] {
                    prop_assert!(may_be_on_one_address(requests[*a], requests[*b]), "{}: {} and {}", addr, a, b);
                }
            }
        }
        for (name, answer) in &all.services {
            for family in [Family::V4, Family::V6] {
                let settled = answer.addresses.iter().filter(|assigned| {
                    let parked = Standing::Retained(Retained::AwaitingRequested);
                    assigned.addr.family() == family && assigned.standing != parked
                });
                prop_assert!(settled.count() <= 1, "{}: {:?}", name, answer);
            }
        }
    }

    #[test]
    fn what_is_given_is_free_and_from_a_pool_for_the_service(cluster in any_cluster()) {
        let all = cluster.allocate();
        let requests = by_name(&cluster);
        for (name, answer) in &all.services {
            for assigned in answer.addresses.iter().filter(|a| a.standing == Standing::Granted) {
                let (addr, request) = (assigned.addr, requests[name]);
                let pool = cluster.pools.iter().find(|pool| Some(&pool.name) == assigned.pool.as_ref()).unwrap();
                prop_assert!(is_in(pool, addr) && admits(&cluster, pool, request) && !is_closed(&cluster, pool));
                let asked = matches!(&request.asked, Asked::Addresses(list) if list.contains(&addr));
                let free = matches!(request.asked, Asked::Nothing);
                prop_assert!(asked || free, "{}: {:?}", name, request.asked);
                prop_assert!(request.pool.as_ref().is_none_or(|asked| *asked == pool.name));
                let kept = cluster.reservations.iter().any(|r| r.service == *name);
                prop_assert!(asked || request.pool.is_some() || pool.auto_assign || kept);
                let foreign = cluster.requests.iter().filter(|other| other.class == Class::Other);
                let theirs = foreign.flat_map(|other| &other.held).any(|held| held.addr == addr);
                prop_assert!(!theirs, "{} of another balancer", addr);
            }
        }
    }

    #[test]
    fn a_held_address_goes_only_for_a_reason(cluster in any_cluster()) {
        let all = cluster.allocate();
        for request in cluster.requests.iter().filter(|request| request.class == Class::Ours) {
            let answer = &all.services[&request.name];
            for (at, held) in request.held.iter().enumerate() {
                let addr = held.addr;
                let alone = request.held.iter().enumerate().all(|(other, h)| {
                    other == at || h.addr.family() != addr.family()
                });
                let wanted = request.families[..].contains(&addr.family());
                let rivals = cluster.requests.iter().any(|other| {
                    other.name != request.name && other.held.iter().any(|held| held.addr == addr)
                });
                let asks = request.asked != Asked::Nothing || request.pool.is_some();
                let pools = || cluster.pools.iter();
                let consent = request.disruption == Disruption::Allowed
                    || pools().any(|pool| pool.disruption == Disruption::Allowed);
                let legal = pools().any(|pool| is_in(pool, addr) && admits(&cluster, pool, request) && !pool.disabled);
                let has = answer.addrs().any(|a| a == addr);
                if alone && wanted && !rivals && !asks && (legal || !consent) {
                    prop_assert!(has, "{} lost {}: {:?}", request.name, addr, answer);
                    let standing = &answer.addresses.iter().find(|a| a.addr == addr).unwrap().standing;
                    prop_assert_eq!(*standing == Standing::Kept, legal, "{} {}: {:?}", request.name, addr, answer);
                }
                prop_assert!(has || answer.released.iter().any(|(released, _)| *released == addr));
            }
        }
    }

    #[test]
    fn the_answer_as_status_gives_the_same_answer(mut cluster in any_cluster()) {
        // What is released is given away in the next turn, which may let others move: it ends, and soon.
        let mut first = cluster.settle();
        let mut turns = 0;
        while !is_final(&first, &cluster) {
            turns += 1;
            prop_assert!(turns < 25, "no end in sight");
            let next = cluster.settle();
            prop_assert_eq!(lost(&first, &next), None);
            first = next;
        }
        let second = cluster.settle();
        prop_assert_eq!(addrs(&first), addrs(&second));
        for (name, answer) in &first.services {
            prop_assert_eq!(answer.reason_name(), second.services[name].reason_name(), "{}", name);
        }
        for (name, state) in &first.reservations {
            prop_assert_eq!(&state.kept, &second.reservations[name].kept, "{}", name);
        }
        prop_assert!(second.services.values().all(|answer| answer.released.is_empty()));
    }

    #[test]
    fn the_order_of_the_objects_does_not_matter(cluster in any_cluster(), seeds in prop::collection::vec(any::<u32>(), 60)) {
        let mut other = cluster.clone();
        let key = |at: usize| seeds[at % seeds.len()];
        let mut at = 0..;
        other.pools.sort_by_cached_key(|_| key(at.next().unwrap()));
        other.requests.sort_by_cached_key(|_| key(at.next().unwrap()));
        other.reservations.sort_by_cached_key(|_| key(at.next().unwrap()));
        prop_assert_eq!(cluster.allocate(), other.allocate());
    }

    #[test]
    fn whatever_was_written_before_a_crash_stays(mut cluster in any_cluster(), written in prop::collection::vec(any::<bool>(), 20)) {
        // The statuses may say anything at first; from then on they are ours.
        cluster.settle();
        for request in &mut cluster.requests {
            if request.class == Class::Ours && request.disruption == Disruption::Allowed {
                request.held.clear();
            }
        }
        let mut all = cluster.allocate();
        let at = |name: &crate::model::ObjectName| name.name[1..].parse::<usize>().unwrap();
        cluster.write(&all, |name| written[at(name)]);
        let after = cluster.allocate();
        all.services.retain(|name, _| written[at(name)]);
        prop_assert_eq!(lost(&all, &after), None);
    }

    #[test]
    fn nobody_waits_for_an_address_that_is_free(mut cluster in any_cluster()) {
        let mut all = cluster.settle();
        while !is_final(&all, &cluster) {
            all = cluster.settle();
        }
        let taken = all.holders();
        let kept: Vec<Addr> = all.reservations.values().flat_map(|state| state.kept.clone()).collect();
        let foreign: Vec<Addr> = cluster.requests.iter()
            .filter(|request| request.class == Class::Other)
            .flat_map(|request| request.held.iter().map(|held| held.addr))
            .collect();
        for request in cluster.requests.iter().filter(|request| request.class == Class::Ours) {
            let answer = &all.services[&request.name];
            let Some(Reason::OutOfIps { family }) = answer.reason else { continue };
            let single = request.policy == FamilyPolicy::SingleStack;
            for pool in cluster.pools.iter().filter(|pool| single && !is_closed(&cluster, pool)) {
                let asked = request.pool.as_ref().map(|asked| *asked == pool.name);
                let strict = cluster.pools.iter().any(|other| {
                    other.strict && other.auto_assign && other.is_pinned() && admits(&cluster, other, request)
                });
                let mine = asked.unwrap_or(pool.auto_assign && (pool.is_pinned() || !strict));
                if mine && admits(&cluster, pool, request) {
                    let free = universe().into_iter().find(|addr| {
                        addr.family() == family && is_in(pool, *addr) && !taken.contains_key(addr)
                            && !kept.contains(addr) && !foreign.contains(addr)
                    });
                    prop_assert_eq!(free, None, "{} waits beside {}", request.name, pool.name);
                }
            }
        }
    }

    #[test]
    fn counts_add_up(cluster in any_cluster()) {
        let all = cluster.allocate();
        let taken = all.holders();
        for pool in &cluster.pools {
            let state = &all.pools[&pool.name];
            for family in [Family::V4, Family::V6] {
                let counts = state.counts(family);
                let own: Vec<Addr> = universe().into_iter().chain([addr("10.9.9.9")])
                    .filter(|addr| addr.family() == family && is_in(pool, *addr))
                    .collect();
                let between = pool.ranges.iter().any(|range| range.family() == Family::V4 && range.size() > 24);
                if !between {
                    prop_assert_eq!(counts.total as usize, own.len());
                }
                let assigned = taken.keys().filter(|addr| addr.family() == family && is_in(pool, **addr));
                prop_assert_eq!(counts.assigned as usize, assigned.count());
                prop_assert!(counts.assigned + counts.reserved + counts.available <= counts.total);
            }
            prop_assert_eq!(state.conflict.is_some(), is_closed(&cluster, &Pool { disabled: false, ..pool.clone() }));
        }
    }

    #[test]
    fn outcomes_survive_serde(cluster in any_cluster()) {
        let all = cluster.allocate();
        let again: BTreeMap<Box<str>, PoolState> = serde_json::from_str(&serde_json::to_string(&all.pools).unwrap()).unwrap();
        prop_assert_eq!(&again, &all.pools);
        for request in &cluster.requests {
            let again: Request = serde_json::from_str(&serde_json::to_string(request).unwrap()).unwrap();
            prop_assert_eq!(&again, request);
        }
        for pool in &cluster.pools {
            let again: Pool = serde_json::from_str(&serde_json::to_string(pool).unwrap()).unwrap();
            prop_assert_eq!(&again, pool);
        }
    }
}
