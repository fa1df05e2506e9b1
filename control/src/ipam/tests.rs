use std::time::{Duration, Instant};

use maglane_shared::addr::Family;

use super::fixtures::*;
use super::*;
use crate::testing::addr;

fn one(pools: Vec<Pool>, request: Request) -> Allocation {
    Cluster::new(pools, vec![request]).allocate()
}

#[test]
fn the_first_free_address_in_listed_order_goes_to_the_older_service() {
    let cluster = Cluster::new(
        vec![pool("p", "10.0.0.8/31,10.0.0.0/31")],
        vec![
            request("young").created(30),
            request("b").created(20),
            request("a").created(20),
            request("old").created(10),
        ],
    );
    let all = cluster.allocate();
    let got = ["old", "a", "b", "young"].map(|name| all.of(name));
    assert_eq!(got, ["10.0.0.8", "10.0.0.9", "10.0.0.0", "10.0.0.1"]);
}

#[test]
fn pools_that_select_the_service_come_first_by_priority_and_zero_is_last() {
    let priority = |name: &str, ranges: &str, priority: u32| Pool {
        priority,
        ..pool_for("default", name, ranges)
    };
    let mut cluster = Cluster::new(
        vec![
            pool("shared", "10.0.0.0/32"),
            priority("unset", "10.0.1.0/32", 0),
            priority("second", "10.0.2.0/32", 20),
            priority("first", "10.0.3.0/32", 10),
        ],
        ["a", "b", "c", "d"].map(request).to_vec(),
    );
    let all = cluster.allocate();
    let got = ["a", "b", "c"].map(|name| all.of(name));
    assert_eq!(got, ["10.0.3.0", "10.0.2.0", "10.0.1.0"]);
    // Strict: the tenant's pools are exhausted, and the shared pool is not a way out.
    assert_eq!((all.of("d").as_str(), all.reason_of("d")), ("", "OutOfIps"));
    for pool in &mut cluster.pools {
        pool.strict = false;
    }
    assert_eq!(cluster.allocate().of("d"), "10.0.0.0");
}

#[test]
fn a_disabled_strict_pool_does_not_send_its_tenant_elsewhere() {
    let own = Pool {
        disabled: true,
        ..pool_for("default", "own", "10.0.1.0/24")
    };
    let all = one(vec![pool("shared", "10.0.0.0/24"), own], request("web"));
    assert_eq!(
        (all.of("web").as_str(), all.reason_of("web")),
        ("", "PoolDisabled")
    );
}

#[test]
fn a_pool_selects_by_namespace_and_by_service_and_an_absent_half_means_all() {
    let by_label = Pool {
        namespace_selectors: vec![selector("tier", "gold")],
        ..pool("p", "10.0.0.0/24")
    };
    let by_service = Pool {
        service_selectors: vec![selector("app", "web"), selector("app", "dns")],
        ..pool("p", "10.0.0.0/24")
    };
    let both = Pool {
        service_selectors: by_service.service_selectors.clone(),
        ..by_label.clone()
    };
    let by_place = Pool {
        service_selectors: vec![selector("io.kubernetes.service.namespace", "a")],
        ..pool("p", "10.0.0.0/24")
    };
    let by_name = Pool {
        service_selectors: vec![selector("io.kubernetes.service.name", "s")],
        ..pool("p", "10.0.0.0/24")
    };
    for (pool, namespace, app, want) in [
        (pool_for("a", "p", "10.0.0.0/24"), "a", "x", true),
        (pool_for("a", "p", "10.0.0.0/24"), "b", "x", false),
        (by_label.clone(), "a", "x", true),
        (by_label.clone(), "b", "x", false),
        (by_label, "unknown", "x", false),
        (by_service.clone(), "b", "web", true),
        (by_service.clone(), "b", "dns", true),
        (by_service, "b", "x", false),
        (both.clone(), "a", "web", true),
        (both.clone(), "a", "x", false),
        (both, "b", "web", false),
        (by_place.clone(), "a", "x", true),
        (by_place, "b", "x", false),
        (by_name, "b", "x", true),
    ] {
        let mut request = request(&format!("{namespace}/s"));
        request.labels = labels(&[("app", app)]);
        let mut cluster = Cluster::new(vec![pool], vec![request]);
        cluster.namespaces.insert("a".into(), labels(&[("tier", "gold")]));
        cluster.namespaces.insert("b".into(), labels(&[("tier", "tin")]));
        let all = cluster.allocate();
        let got = all.of(&format!("{namespace}/s"));
        assert_eq!(
            got == "10.0.0.0",
            want,
            "{:?} for {namespace}, {app}: {got}",
            cluster.pools[0]
        );
        if !want {
            assert_eq!(all.reason_of(&format!("{namespace}/s")), "PoolSelectorMismatch");
        }
    }
}

#[test]
fn a_pool_without_auto_assign_must_be_asked_for() {
    let quiet = || Pool {
        auto_assign: false,
        ..pool("quiet", "10.0.0.0/24")
    };
    assert_eq!(one(vec![quiet()], request("web")).reason_of("web"), "NoPool");
    assert_eq!(
        one(vec![quiet()], request("web").asking_pool("quiet")).of("web"),
        "10.0.0.0"
    );
    assert_eq!(
        one(vec![quiet()], request("web").asking("10.0.0.9")).of("web"),
        "10.0.0.9"
    );
}

#[test]
fn a_request_gets_what_it_names_or_a_reason() {
    let pools = || {
        let closed = Pool {
            disabled: true,
            ..pool("closed", "10.0.3.0/24")
        };
        vec![
            Pool {
                avoid_buggy_ips: true,
                ..pool("p", "10.0.0.0/24")
            },
            pool("other", "10.0.1.0/24"),
            pool_for("tenant", "tenants", "10.0.2.0/24"),
            closed,
            Pool {
                created: Some(9),
                ..pool("late", "10.0.1.128/25,10.0.4.0/24")
            },
        ]
    };
    let mut pools = pools();
    for pool in &mut pools[..4] {
        pool.created = Some(1);
    }
    for (request, want) in [
        (request("web").asking("10.0.0.9"), "10.0.0.9"),
        (request("web").asking_pool("other"), "10.0.1.0"),
        (request("web").asking("10.0.1.9").asking_pool("other"), "10.0.1.9"),
        (
            request("web").asking("10.0.0.9").asking_pool("other"),
            "AddressNotInPool",
        ),
        (request("web").asking("10.9.0.9"), "AddressNotInPool"),
        (request("web").asking("10.0.0.255"), "AddressNotInPool"),
        (request("web").asking_pool("nowhere"), "PoolNotFound"),
        (request("web").asking("10.0.2.9"), "PoolSelectorMismatch"),
        (request("web").asking_pool("tenants"), "PoolSelectorMismatch"),
        (request("web").asking("10.0.3.9"), "PoolDisabled"),
        (request("web").asking_pool("closed"), "PoolDisabled"),
        (request("web").asking("10.0.4.9"), "PoolConflict"),
        (request("web").asking_pool("late"), "PoolConflict"),
        (request("web").asking("2001:db8::1"), "FamilyMismatch"),
        (request("web").asking("10.0.0.8,10.0.0.9"), "FamilyMismatch"),
        (
            dual("web", FamilyPolicy::RequireDualStack).asking("10.0.0.9"),
            "FamilyMismatch",
        ),
        (
            dual("web", FamilyPolicy::PreferDualStack).asking("10.0.0.9"),
            "10.0.0.9",
        ),
        (
            dual("web", FamilyPolicy::RequireDualStack).asking_pool("other"),
            "PoolWithoutFamily",
        ),
    ] {
        let all = one(pools.clone(), request.clone());
        let got = match &all.answer("web").reason {
            None => all.of("web"),
            Some(reason) => {
                assert!(reason.to_string().contains("; "), "{reason}");
                reason.name().to_owned()
            }
        };
        assert_eq!(got, want, "{request:?}");
    }
}

#[test]
fn a_wish_that_cannot_be_read_costs_nothing_that_is_held() {
    let mut web = request("web").holding("10.0.0.5");
    web.asked = Asked::Invalid("spec.loadBalancerIP: no address".into());
    let all = one(vec![pool("p", "10.0.0.0/24")], web);
    assert_eq!(
        (all.of("web").as_str(), all.reason_of("web")),
        ("10.0.0.5", "InvalidRequest")
    );
}

#[test]
fn named_addresses_are_given_before_anybody_gets_a_free_one() {
    let all = Cluster::new(
        vec![pool("p", "10.0.0.0/30")],
        vec![
            request("old").created(1),
            request("young").created(2).asking("10.0.0.0"),
        ],
    )
    .allocate();
    assert_eq!(
        (all.of("old"), all.of("young")),
        ("10.0.0.1".into(), "10.0.0.0".into())
    );
}

#[test]
fn held_addresses_are_read_back_before_the_first_grant() {
    let all = Cluster::new(
        vec![pool("p", "10.0.0.0/30")],
        vec![
            request("old").created(1),
            request("asks").created(2).asking("10.0.0.1"),
            request("young").created(3).holding("10.0.0.0"),
            request("younger").created(4).holding("10.0.0.1"),
        ],
    )
    .allocate();
    assert_eq!(all.of("young"), "10.0.0.0");
    assert_eq!(all.of("younger"), "10.0.0.1");
    assert_eq!(all.of("old"), "10.0.0.2");
    assert_eq!(all.reason_of("asks"), "AlreadyAllocated");
}

#[test]
fn of_two_services_with_one_address_the_younger_gets_another() {
    let all = Cluster::new(
        vec![pool("p", "10.0.0.0/30")],
        vec![
            request("young").created(2).holding("10.0.0.0"),
            request("old").created(1).holding("10.0.0.0"),
        ],
    )
    .allocate();
    assert_eq!(
        (all.of("old"), all.of("young")),
        ("10.0.0.0".into(), "10.0.0.1".into())
    );
    let released = &all.answer("young").released;
    assert_eq!(
        released[..],
        [(addr("10.0.0.0"), Released::HeldBy(full_name("old")))]
    );
}

#[test]
fn who_may_share_an_address_is_decided_by_key_namespace_backends_and_ports() {
    let local = |mut request: Request, selector: &str| {
        request.backends = BackendKey::Local(selector.into());
        request
    };
    let across = |mut request: Request, with: &str| {
        let with = [with.into()].into_iter().collect();
        request.sharing.as_mut().unwrap().namespaces = Namespaces::Named(with);
        request
    };
    let any_pods = |mut request: Request| {
        request.sharing.as_mut().unwrap().different_pods = true;
        request
    };
    let udp = |mut request: Request| {
        request.ports = [(crate::testing::protocol("UDP"), 80)].into_iter().collect();
        request
    };
    let a = || request("a/a").sharing("k", 80);
    let b = || request("a/b").sharing("k", 81);
    let c = || request("c/c").sharing("k", 81);
    for (what, first, second, want) in [
        ("same key, other port", a(), b(), true),
        ("same port, other protocol", a(), udp(b()), true),
        ("same port", a(), request("a/b").sharing("k", 80), false),
        ("other key", a(), request("a/b").sharing("l", 81), false),
        ("no key", a(), request("a/b"), false),
        ("no key at all", request("a/a"), request("a/b"), false),
        ("other namespace", a(), c(), false),
        ("one side consents", across(a(), "c"), c(), false),
        ("the other side consents", a(), across(c(), "a"), false),
        ("both sides consent", across(a(), "c"), across(c(), "a"), true),
        (
            "consent to somebody else",
            across(a(), "x"),
            across(c(), "a"),
            false,
        ),
        ("Cluster and Local", a(), local(b(), "app=web"), false),
        (
            "Local, same pods",
            local(a(), "app=web"),
            local(b(), "app=web"),
            true,
        ),
        (
            "Local, other pods",
            local(a(), "app=web"),
            local(b(), "app=dns"),
            false,
        ),
        ("Local without selector", local(a(), ""), local(b(), ""), false),
        (
            "other pods, one consents",
            any_pods(local(a(), "x")),
            local(b(), "y"),
            false,
        ),
        (
            "other pods, both consent",
            any_pods(local(a(), "x")),
            any_pods(local(b(), "y")),
            true,
        ),
        (
            "Cluster and Local, both consent",
            any_pods(a()),
            any_pods(local(b(), "y")),
            false,
        ),
    ] {
        let names = [&first, &second].map(|request| request.name.to_string());
        for (first, second) in [(first.clone(), second.clone()), (second, first)] {
            let all = Cluster::new(
                vec![pool("p", "10.0.0.0/30")],
                vec![first.created(1), second.created(2)],
            )
            .allocate();
            assert_eq!(all.of(&names[0]) == all.of(&names[1]), want, "{what}");
            assert!(
                all.services.values().all(|answer| answer.reason.is_none()),
                "{what}"
            );
        }
    }
}

#[test]
fn a_refused_share_is_told_apart_from_an_address_that_is_not_shared() {
    let asks = |request: Request| request.created(2).asking("10.0.0.0");
    for (second, want) in [
        (
            asks(request("b").sharing("k", 80)),
            "AlreadyAllocatedIncompatibleService",
        ),
        (asks(request("b").sharing("l", 81)), "AlreadyAllocated"),
        (asks(request("b")), "AlreadyAllocated"),
    ] {
        let first = request("a").created(1).sharing("k", 80).holding("10.0.0.0");
        let all = Cluster::new(vec![pool("p", "10.0.0.0/30")], vec![first, second]).allocate();
        assert_eq!((all.of("b").as_str(), all.reason_of("b")), ("", want));
    }
}

#[test]
fn three_services_share_only_if_every_two_of_them_may() {
    let across = |name: &str, port: u16, with: &[&str]| {
        let mut request = request(name).sharing("k", port);
        let with = with.iter().map(|name| Box::from(*name)).collect();
        request.sharing.as_mut().unwrap().namespaces = Namespaces::Named(with);
        request
    };
    let all = Cluster::new(
        vec![pool("p", "10.0.0.0/30")],
        vec![
            across("a/s", 1, &["b", "c"]).created(1),
            across("b/s", 2, &["a"]).created(2),
            across("c/s", 3, &["a"]).created(3),
        ],
    )
    .allocate();
    let got = ["a/s", "b/s", "c/s"].map(|name| all.of(name));
    assert_eq!(got, ["10.0.0.0", "10.0.0.0", "10.0.0.1"]);
}

#[test]
fn a_key_is_looked_for_in_every_pool_before_a_free_address_is_taken() {
    let all = Cluster::new(
        vec![pool("a", "10.0.0.0/24"), pool("b", "10.0.1.0/24")],
        vec![
            request("tcp").created(1).sharing("dns", 53).asking_pool("b"),
            request("udp").created(2).sharing("dns", 54),
        ],
    )
    .allocate();
    assert_eq!(
        (all.of("tcp"), all.of("udp")),
        ("10.0.1.0".into(), "10.0.1.0".into())
    );
}

#[test]
fn a_sole_holder_changes_its_key_in_place_and_the_waiting_are_asked_again() {
    let mut cluster = Cluster::new(
        vec![pool("p", "10.0.0.0/32")],
        vec![
            request("a").created(1).sharing("old", 80),
            request("b").created(2).sharing("new", 81),
        ],
    );
    assert_eq!(cluster.settle().reason_of("b"), "OutOfIps");
    *cluster.service("a") = request("a").created(1).sharing("new", 80).holding("10.0.0.0");
    let all = cluster.settle();
    assert_eq!((all.of("a"), all.of("b")), ("10.0.0.0".into(), "10.0.0.0".into()));
}

#[test]
fn dual_stack_prefers_one_pool_for_both_and_requires_all_or_nothing() {
    use FamilyPolicy::{PreferDualStack, RequireDualStack};
    let v4 = || pool("four", "10.0.0.0/30");
    let v6 = || pool("six", "2001:db8::/126");
    let both = || pool("z-both", "10.0.1.0/30,2001:db8:1::/126");
    let full4 = || pool("z-full", "10.0.2.0/32,2001:db8:2::/126");
    let taken = || request("t").created(0).asking_pool("z-full");
    for (what, pools, request, want) in [
        (
            "one pool",
            vec![v4(), v6(), both()],
            dual("web", RequireDualStack),
            "10.0.1.0,2001:db8:1::",
        ),
        (
            "two pools",
            vec![v4(), v6()],
            dual("web", RequireDualStack),
            "10.0.0.0,2001:db8::",
        ),
        (
            "one family",
            vec![v4()],
            dual("web", PreferDualStack),
            "10.0.0.0 NoPool",
        ),
        (
            "all or nothing",
            vec![v4()],
            dual("web", RequireDualStack),
            " NoPool",
        ),
        (
            "half full",
            vec![full4()],
            dual("web", PreferDualStack),
            "2001:db8:2:: OutOfIps",
        ),
        (
            "half full",
            vec![full4()],
            dual("web", RequireDualStack),
            " OutOfIps",
        ),
        (
            "single",
            vec![both()],
            dual("web", FamilyPolicy::SingleStack),
            "10.0.1.0",
        ),
    ] {
        let mut cluster = Cluster::new(pools, vec![request]);
        if cluster.pools[0].name.as_ref() == "z-full" {
            cluster.requests.push(taken());
        }
        let all = cluster.allocate();
        let reason = all
            .answer("web")
            .reason
            .as_ref()
            .map(|reason| format!(" {}", reason.name()));
        assert_eq!(all.of("web") + &reason.unwrap_or_default(), want, "{what}");
    }
}

#[test]
fn a_missing_family_is_added_later_from_the_same_pool() {
    let mut cluster = Cluster::new(
        vec![
            pool("a", "10.0.0.0/30,2001:db8::/128"),
            pool("b", "2001:db8:1::/64"),
        ],
        vec![
            Request {
                families: vec![Family::V6],
                ..request("six").created(1)
            }
            .asking("2001:db8::"),
            dual("web", FamilyPolicy::PreferDualStack).created(2),
        ],
    );
    let all = cluster.settle();
    assert_eq!(
        (all.of("web").as_str(), all.reason_of("web")),
        ("10.0.0.0", "OutOfIps")
    );
    cluster.delete("six");
    assert_eq!(cluster.settle().of("web"), "10.0.0.0,2001:db8::");
}

#[test]
fn a_family_that_is_no_longer_wanted_goes() {
    let all = one(
        vec![pool("p", "10.0.0.0/30,2001:db8::/64")],
        request("web").holding("10.0.0.1,2001:db8::1"),
    );
    assert_eq!(all.of("web"), "10.0.0.1");
    assert_eq!(
        all.answer("web").released[..],
        [(addr("2001:db8::1"), Released::NotWanted)]
    );
}

#[test]
fn a_pool_change_takes_no_address_and_says_what_is_retained() {
    let pools: [(&str, Vec<Pool>); 4] = [
        ("RetainedPoolGone", vec![]),
        ("RetainedPoolGone", vec![pool("p", "10.0.0.0/30")]),
        (
            "RetainedPoolDisabled",
            vec![Pool {
                disabled: true,
                ..pool("p", "10.0.0.0/24")
            }],
        ),
        (
            "RetainedPoolSelectorMismatch",
            vec![pool_for("other", "p", "10.0.0.0/24")],
        ),
    ];
    for (want, mut pools) in pools {
        pools.push(pool("new", "10.0.9.0/24"));
        let mut cluster = Cluster::new(pools, vec![request("web").holding("10.0.0.9")]);
        let all = cluster.allocate();
        assert_eq!((all.of("web").as_str(), all.reason_of("web")), ("10.0.0.9", want));
        assert!(
            all.answer("web")
                .message()
                .contains("maglane.io/allow-disruption")
        );
        // The Service agrees.
        cluster.service("web").disruption = Disruption::Allowed;
        let all = cluster.allocate();
        assert!(
            all.of("web") != "10.0.0.9" && all.reason_of("web") == "Satisfied",
            "{want}"
        );
        assert!(matches!(
            all.answer("web").released[..],
            [(_, Released::Acknowledged(_))]
        ));
        // The pool agrees: the one that has it, or the one it came from.
        cluster.service("web").disruption = Disruption::Refused;
        cluster.service("web").held[0].pool = Some("p".into());
        for pool in cluster.pools.iter_mut().filter(|pool| pool.name.as_ref() == "p") {
            pool.disruption = Disruption::Allowed;
        }
        let gone = cluster.pools.iter().all(|pool| pool.name.as_ref() != "p");
        assert_eq!(cluster.allocate().of("web") == "10.0.0.9", gone, "{want}");
    }
}

#[test]
fn a_range_that_changes_its_pool_moves_nobody_who_asks_for_the_old_one() {
    let mut web = request("web").asking_pool("a").holding("10.0.0.9");
    web.held[0].pool = Some("a".into());
    let all = one(vec![pool("a", "10.0.1.0/24"), pool("b", "10.0.0.0/24")], web);
    assert_eq!(
        (all.of("web").as_str(), all.reason_of("web")),
        ("10.0.0.9", "RetainedPoolGone")
    );
}

#[test]
fn a_service_that_asks_for_another_address_keeps_the_old_one_until_then() {
    let mut cluster = Cluster::new(
        vec![pool("a", "10.0.0.0/30"), pool("b", "10.0.1.0/32")],
        vec![
            request("web").created(1).holding("10.0.0.0").asking("10.0.1.0"),
            request("other").created(2).holding("10.0.1.0"),
        ],
    );
    let all = cluster.settle();
    assert_eq!(
        (all.of("web").as_str(), all.reason_of("web")),
        ("10.0.0.0", "AlreadyAllocated")
    );
    assert_eq!(all.answer("web").retained().count(), 1);
    cluster.delete("other");
    let all = cluster.settle();
    assert_eq!(all.of("web"), "10.0.1.0");
    assert_eq!(
        all.answer("web").released[..],
        [(addr("10.0.0.0"), Released::Replaced)]
    );
    // And by pool.
    *cluster.service("web") = request("web").holding("10.0.1.0").asking_pool("a");
    assert_eq!(cluster.settle().of("web"), "10.0.0.0");
}

#[test]
fn what_a_move_leaves_is_given_away_once_the_status_no_longer_names_it() {
    let mut cluster = Cluster::new(
        vec![pool("p", "10.0.0.0-10.0.0.2")],
        vec![
            request("waiting").created(0),
            request("first").created(1).holding("10.0.0.0").asking("10.0.0.1"),
            request("second")
                .created(2)
                .holding("10.0.0.1")
                .asking("10.0.0.2"),
        ],
    );
    for want in [
        ["", "10.0.0.0", "10.0.0.2"],
        ["", "10.0.0.1", "10.0.0.2"],
        ["10.0.0.0", "10.0.0.1", "10.0.0.2"],
        ["10.0.0.0", "10.0.0.1", "10.0.0.2"],
    ] {
        let all = cluster.settle();
        assert_eq!(["waiting", "first", "second"].map(|name| all.of(name)), want);
    }
}

#[test]
fn a_move_that_is_not_yet_written_is_not_made_twice() {
    // The status still names the old address; the caller remembers the new one.
    let mut web = request("web").asking_pool("b").holding("10.0.0.0,10.0.1.5");
    let pools = vec![pool("a", "10.0.0.0/30"), pool("b", "10.0.1.0/24")];
    let all = one(pools.clone(), web.clone());
    assert_eq!(
        (all.of("web").as_str(), all.reason_of("web")),
        ("10.0.1.5", "Satisfied")
    );
    web.held.reverse();
    assert_eq!(one(pools, web).of("web"), "10.0.1.5");
}

#[test]
fn the_newer_of_two_overlapping_pools_stops_and_keeps_what_it_gave() {
    let young = Pool {
        created: Some(2),
        ..pool("a-young", "10.0.0.128/25,10.0.1.0/24")
    };
    let old = Pool {
        created: Some(1),
        ..pool("old", "10.0.0.0/24")
    };
    let cluster = Cluster::new(
        vec![young, old],
        vec![
            request("has").holding("10.0.1.7"),
            request("new").asking_pool("a-young"),
            request("free"),
        ],
    );
    let all = cluster.allocate();
    assert_eq!(
        (all.of("has").as_str(), all.reason_of("has")),
        ("10.0.1.7", "Satisfied")
    );
    assert_eq!(all.reason_of("new"), "PoolConflict");
    assert_eq!(all.of("free"), "10.0.0.0");
    let conflict = all.pools["a-young"].conflict.as_ref().unwrap();
    assert_eq!(
        (conflict.with.as_ref(), conflict.range.to_string()),
        ("old", "10.0.0.0-10.0.0.255".into())
    );
    assert_eq!(all.pools["old"].conflict, None);
}

#[test]
fn what_other_balancers_have_is_nobody_elses() {
    let foreign = |held: &str| Request {
        class: Class::Other,
        ..request("metallb").created(0).holding(held)
    };
    let mut cluster = Cluster::new(
        vec![pool("p", "10.0.0.0/30")],
        vec![
            foreign("10.0.0.0"),
            request("web"),
            request("asks").asking("10.0.0.0"),
        ],
    );
    let all = cluster.allocate();
    assert_eq!(all.services.len(), 2);
    assert_eq!(
        (all.of("web").as_str(), all.reason_of("asks")),
        ("10.0.0.1", "AlreadyAllocated")
    );
    assert_eq!((all.pools["p"].v4.assigned, all.pools["p"].v4.available), (1, 2));
    // What we have had stays, and is said.
    cluster.requests = vec![foreign("10.0.0.2"), request("web").holding("10.0.0.2")];
    let all = cluster.allocate();
    assert_eq!(
        (all.of("web").as_str(), all.reason_of("web")),
        ("10.0.0.2", "RetainedHeldElsewhere")
    );
}

#[test]
fn a_reservation_outlives_its_service_and_nobody_else_gets_the_address() {
    let mut cluster = Cluster::new(
        vec![pool("p", "10.0.0.0/31")],
        vec![request("web").created(1), request("b").created(2)],
    );
    cluster.reservations = vec![reservation("keep", "web", "")];
    let all = cluster.settle();
    assert_eq!(all.reservations[&full_name("keep")].kept, [addr("10.0.0.0")]);
    cluster.delete("web");
    cluster.requests.push(request("thief").created(0));
    cluster
        .requests
        .push(request("asks").created(0).asking("10.0.0.0"));
    let all = cluster.settle();
    assert_eq!(
        (all.reason_of("thief"), all.reason_of("asks")),
        ("OutOfIps", "AddressReserved")
    );
    assert_eq!(all.reservations[&full_name("keep")].kept, [addr("10.0.0.0")]);
    let counts = all.pools["p"].v4;
    assert_eq!(
        (counts.total, counts.assigned, counts.reserved, counts.available),
        (2, 1, 1, 0)
    );
    cluster.requests.push(request("web").created(9));
    assert_eq!(cluster.settle().of("web"), "10.0.0.0");
    cluster.delete("web");
    cluster.settle();
    cluster.reservations.clear();
    assert_eq!(cluster.settle().of("asks"), "10.0.0.0");
}

#[test]
fn a_reservation_of_listed_addresses_waits_for_its_service_and_takes_from_nobody() {
    let mut cluster = Cluster::new(
        vec![pool("p", "10.0.0.0/30"), pool_for("b", "own", "10.0.1.0/30")],
        vec![request("has").holding("10.0.0.0"), request("new")],
    );
    cluster.reservations = vec![
        reservation("in-use", "web", "10.0.0.0"),
        reservation("free", "web", "10.0.0.1"),
        reservation("second", "dns", "10.0.0.1"),
        reservation("nowhere", "web", "10.9.0.0"),
        reservation("foreign", "web", "10.0.1.0"),
    ];
    cluster.reservations[1].created = Some(1);
    let all = cluster.settle();
    assert_eq!(
        (all.of("has"), all.of("new")),
        ("10.0.0.0".into(), "10.0.0.2".into())
    );
    for (name, want) in [
        ("in-use", Some("AlreadyAllocated")),
        ("free", None),
        ("second", Some("AlreadyReserved")),
        ("nowhere", Some("AddressNotInPool")),
        ("foreign", Some("PoolSelectorMismatch")),
    ] {
        let problems = &all.reservations[&full_name(name)].problems;
        assert_eq!(
            problems.first().map(|(_, problem)| problem.name()),
            want,
            "{name}"
        );
    }
    cluster.requests.push(request("web"));
    assert_eq!(cluster.settle().of("web"), "10.0.0.1");
}

#[test]
fn a_kept_address_may_be_shared_once_its_service_is_there() {
    let mut cluster = Cluster::new(
        vec![pool("p", "10.0.0.0/30")],
        vec![request("other").created(0).sharing("k", 81).asking("10.0.0.0")],
    );
    cluster.reservations = vec![reservation("keep", "web", "10.0.0.0")];
    assert_eq!(cluster.settle().reason_of("other"), "AddressReserved");
    cluster.requests.push(request("web").created(1).sharing("k", 80));
    assert_eq!(cluster.settle().of("web"), "10.0.0.0");
    let all = cluster.settle();
    assert_eq!(
        (all.of("web"), all.of("other")),
        ("10.0.0.0".into(), "10.0.0.0".into())
    );
}

#[test]
fn pools_are_counted_by_family_without_addresses_that_may_not_be_given() {
    let big = Pool {
        avoid_buggy_ips: true,
        ..pool("p", "10.0.0.0/16,10.0.3.0/24,2001:db8::/64")
    };
    let all = Cluster::new(
        vec![big],
        vec![
            request("a").sharing("k", 1),
            request("b").sharing("k", 2),
            dual("c", FamilyPolicy::RequireDualStack),
        ],
    )
    .allocate();
    assert_eq!(
        (all.of("a"), all.of("c")),
        ("10.0.0.1".into(), "10.0.0.2,2001:db8::".into())
    );
    let PoolState { v4, v6, .. } = &all.pools["p"];
    assert_eq!(
        (v4.total, v4.assigned, v4.available),
        (65536 - 512, 2, 65536 - 514)
    );
    assert_eq!((v6.total, v6.assigned, v6.available), (u64::MAX, 1, u64::MAX));
}

#[test]
fn a_change_that_clients_would_notice_is_destructive() {
    let mut cluster = Cluster::new(
        vec![pool("p", "10.0.0.0/30")],
        vec![
            request("keeps").holding("10.0.0.0"),
            request("gains"),
            request("moves").holding("10.0.0.1").asking("10.0.0.3"),
            request("waits").asking("10.9.0.0"),
            request("loses").holding("10.7.0.0").asking_pool("nowhere"),
        ],
    );
    cluster.service("loses").disruption = Disruption::Allowed;
    let all = cluster.allocate();
    let requests: Vec<&Request> = cluster.requests.iter().collect();
    let effects: Vec<_> = changes(&requests, &all)
        .into_iter()
        .map(|c| (c.service.name, c.kind))
        .collect();
    let want = [
        ("gains", ChangeKind::Gains),
        ("keeps", ChangeKind::Keeps),
        ("loses", ChangeKind::Loses),
        ("moves", ChangeKind::Moves),
        ("waits", ChangeKind::Waits),
    ];
    assert_eq!(effects, want.map(|(name, effect)| (name.into(), effect)));
    assert!(
        want.iter()
            .all(|(name, effect)| effect.is_destructive() == matches!(*name, "loses" | "moves"))
    );
}

fn thousand() -> Cluster {
    let requests = (0..1000).map(|at| request(&format!("s{at:03}")).created(at % 7));
    Cluster::new(vec![pool("p", "10.0.0.0-10.0.3.131")], requests.collect())
}

#[test]
fn a_thousand_services_on_nine_hundred_addresses() {
    let mut cluster = thousand();
    let all = cluster.settle();
    assert_eq!(all.pools["p"].v4.total, 900);
    assert_eq!(all.holders().len(), 900);
    assert!(all.holders().values().all(|holders| holders.len() == 1));
    let waiting: Vec<_> = all
        .services
        .iter()
        .filter(|(_, answer)| answer.addresses.is_empty())
        .collect();
    assert_eq!(waiting.len(), 100);
    assert!(
        waiting
            .iter()
            .all(|(_, answer)| answer.reason == Some(Reason::OutOfIps { family: Family::V4 }))
    );
    // One that is freed goes to the first who waits; nothing else changes.
    let first = waiting
        .iter()
        .map(|(name, _)| (*name).clone())
        .min_by_key(|name| {
            let created = cluster
                .requests
                .iter()
                .find(|request| request.name == *name)
                .unwrap()
                .created;
            (created, name.clone())
        });
    let gone = all
        .services
        .iter()
        .find(|(_, answer)| !answer.addresses.is_empty())
        .unwrap()
        .0
        .clone();
    let freed = all.of(&gone.to_string());
    cluster.delete(&gone.to_string());
    let after = cluster.settle();
    assert_eq!(after.of(&first.clone().unwrap().to_string()), freed);
    for (name, answer) in after
        .services
        .iter()
        .filter(|(name, _)| Some(*name) != first.as_ref())
    {
        assert_eq!(
            answer.addrs().collect::<Vec<_>>(),
            all.services[name].addrs().collect::<Vec<_>>()
        );
    }
}

#[test]
fn an_allocator_killed_while_it_writes_gives_nothing_twice_and_changes_nothing() {
    // A generator of our own: the moments are random but the same in every run.
    let mut state = 1u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        state >> 33
    };
    let mut cluster = thousand();
    for _ in 0..100 {
        let all = cluster.allocate();
        assert!(all.holders().values().all(|holders| holders.len() == 1));
        for request in &cluster.requests {
            let has: Vec<_> = all.services[&request.name].addrs().collect();
            assert!(
                request.held.iter().all(|held| has.contains(&held.addr)),
                "{}",
                request.name
            );
        }
        // It dies after some of the writes; then Services come and go.
        let written: Vec<bool> = (0..1000).map(|_| random() % 3 == 0).collect();
        let at = |name: &crate::model::ObjectName| name.name[1..].parse::<usize>().unwrap();
        cluster.write(&all, |name| written[at(name)]);
        let gone = random() as usize % 1000;
        for request in cluster
            .requests
            .iter_mut()
            .filter(|request| at(&request.name) == gone)
        {
            request.held.clear();
            request.created = Some(100);
        }
    }
    let all = cluster.settle();
    assert_eq!(all.holders().len(), 900);
}

/// One key and one port: nobody can share, and everybody would have to look at everybody.
fn on_one_key(request: Request) -> Request {
    request.sharing("k", 80)
}

/// The shortest of three, as other processes take their share of the machine.
fn fastest(count: usize, of: impl Fn(Request) -> Request, ranges: &str) -> Duration {
    let request = |at: usize| of(dual(&format!("s{at:05}"), FamilyPolicy::RequireDualStack));
    let mut cluster = Cluster::new(vec![pool("p", ranges)], (0..count).map(request).collect());
    let cold = (0..3).map(|_| {
        let start = Instant::now();
        cluster.allocate();
        start.elapsed()
    });
    let cold = cold.min().unwrap_or_default();
    let first = cluster.settle();
    let start = Instant::now();
    let second = cluster.allocate();
    println!(
        "{count} dual-stack Services on {ranges}: {cold:?} from nothing, {:?} again",
        start.elapsed()
    );
    assert!(first.holders().values().all(|holders| holders.len() == 1));
    assert!(
        first
            .services
            .iter()
            .all(|(name, a)| a.addrs().eq(second.services[name].addrs()))
    );
    cold
}

#[test]
fn ten_thousand_services_are_allocated_in_far_less_than_quadratic_time() {
    const WIDE: &str = "10.0.0.0/16,2001:db8::/64";
    for (what, of, ranges) in [
        (
            "everybody gets one",
            std::convert::identity as fn(Request) -> Request,
            WIDE,
        ),
        ("one sharing key", on_one_key, WIDE),
        (
            "most of them wait",
            std::convert::identity,
            "10.0.0.0/22,2001:db8::/64",
        ),
    ] {
        let few = fastest(2_500, of, ranges);
        let many = fastest(10_000, of, ranges);
        // Four times as many take four to five times as long; sixteen times would be quadratic.
        assert!(many < few * 11, "{what}: 2,500 in {few:?}, 10,000 in {many:?}");
    }
}
