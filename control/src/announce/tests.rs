use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::IpNet;
use maglane_bgp::bfd::Hops;
use maglane_bgp::wire::{Attributes, Community};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ipam::{Ends, Pool, Range};
use crate::model::{AnnounceObject, NodeSpec, ObjectName, Observed, PoolSpec, ServiceSpec};
use crate::testing::{addr, bfd_profile, bgp_advertisement, bgp_peer, community, node, service};

/// Everything in one place, to be borrowed.
struct Scene {
    node: NodeSpec,
    objects: Vec<AnnounceObject>,
    pools: Vec<PoolSpec>,
    services: Vec<ServiceSpec>,
    memory: Memory,
}

fn pool(name: &str, range: &str, labels: &[(&str, &str)]) -> PoolSpec {
    PoolSpec {
        name: ObjectName::new("", name),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
        pool: Pool {
            name: name.into(),
            ranges: vec![Range::parse(range, Ends::Included).unwrap()],
            ..Pool::default()
        },
        generation: None,
        observed: Observed::default(),
        problems: vec![],
    }
}

impl Scene {
    fn new(objects: Vec<AnnounceObject>) -> Scene {
        Scene {
            node: node("lb-1", "rack=a"),
            objects,
            pools: vec![
                pool("blue", "192.0.2.0/25", &[("tier", "gold")]),
                pool("green", "192.0.2.128/25", &[]),
                pool("six", "2001:db8::/64", &[]),
            ],
            services: vec![
                service("web", "192.0.2.1").build(),
                service("api", "192.0.2.2").build(),
                service("dns", "192.0.2.200").build(),
                service("six", "2001:db8::1").build(),
            ],
            memory: Memory::default(),
        }
    }

    fn decide(&mut self) -> Decision {
        let candidate = |service| Candidate {
            addrs: ServiceSpec::clone(service)
                .vips
                .get()
                .into_iter()
                .flatten()
                .map(|addr| (*addr, Standing::Ready))
                .collect(),
            service,
        };
        let situation = Situation {
            node: Node {
                name: "lb-1",
                spec: Some(&self.node),
                router_id: Ipv4Addr::new(10, 0, 0, 254),
            },
            objects: self.objects.iter().collect(),
            pools: self.pools.iter().collect(),
            candidates: self.services.iter().map(candidate).collect(),
            draining: None,
        };
        decide(&situation, &mut self.memory)
    }
}

fn tor(more: serde_json::Value) -> AnnounceObject {
    bgp_peer("tor", "10.0.0.1", more)
}

fn prefixes(decision: &Decision, peer: &str) -> Vec<String> {
    let routes = &decision.peers[&ObjectName::new("", peer)].routes;
    routes.keys().map(IpNet::to_string).collect()
}

fn route(decision: &Decision, peer: &str, prefix: &str) -> Attributes {
    let routes = &decision.peers[&ObjectName::new("", peer)].routes;
    Attributes::clone(&routes[&prefix.parse::<IpNet>().unwrap()])
}

fn reasons(decision: &Decision) -> Vec<(String, Reason)> {
    let line = |(name, verdict): (&ObjectName, &Verdict)| (name.name.to_string(), verdict.reason);
    decision.verdicts.iter().map(line).collect()
}

fn texts(decision: &Decision) -> Vec<String> {
    decision.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn without_an_advertisement_nothing_is_announced_and_both_sides_hear_why() {
    let mut scene = Scene::new(vec![tor(json!({}))]);
    let decision = scene.decide();
    assert_eq!(prefixes(&decision, "tor"), [""; 0]);
    assert!(
        reasons(&decision)
            .iter()
            .all(|(_, reason)| *reason == Reason::NoMatchingAdvertisement)
    );
    assert_eq!(texts(&decision).len(), 1);
    assert!(texts(&decision)[0].starts_with("BgpPeer tor: no BgpAdvertisement is for it"));
}

#[test]
fn an_empty_advertisement_is_about_everything_of_the_families_of_the_session() {
    let all = || bgp_advertisement("all", json!({}));
    let decision = Scene::new(vec![tor(json!({})), all()]).decide();
    assert_eq!(
        prefixes(&decision, "tor"),
        ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.200/32"]
    );
    assert_eq!(route(&decision, "tor", "192.0.2.1/32"), Attributes::vip());
    assert_eq!(
        decision.verdicts[&crate::testing::name("six")].reason,
        Reason::NoPeer
    );
    let both = tor(json!({ "families": ["ipv4", "ipv6"] }));
    let decision = Scene::new(vec![both, all()]).decide();
    assert_eq!(prefixes(&decision, "tor").len(), 4);
    assert_eq!(decision.announced.len(), 4);
    assert_eq!(texts(&decision), [""; 0]);
}

#[test]
fn selectors_choose_pools_services_nodes_and_peers() {
    let named = |key: &str, value: serde_json::Value| bgp_advertisement("one", json!({ key: value }));
    let by = |key: &str, value: &str| json!([{ "matchLabels": { key: value } }]);
    let two = ["192.0.2.1/32", "192.0.2.2/32"];
    for (advertisement, wanted) in [
        (named("ipAddressPools", json!(["blue"])), &two[..]),
        (named("ipAddressPoolSelectors", by("tier", "gold")), &two[..]),
        (named("ipAddressPools", json!(["red"])), &[]),
        (
            named("serviceSelectors", by("io.kubernetes.service.name", "web")),
            &two[..1],
        ),
        (named("nodeSelectors", by("rack", "b")), &[]),
        (named("peers", json!(["spine"])), &[]),
    ] {
        let decision = Scene::new(vec![tor(json!({})), advertisement.clone()]).decide();
        assert_eq!(prefixes(&decision, "tor"), wanted, "{advertisement:?}");
    }
    let elsewhere = bgp_advertisement("one", json!({ "nodeSelectors": by("rack", "b") }));
    let decision = Scene::new(vec![tor(json!({})), elsewhere]).decide();
    assert_eq!(
        decision.verdicts[&crate::testing::name("web")].reason,
        Reason::NotOwner
    );
    let other_node = tor(json!({ "nodeSelectors": by("rack", "b") }));
    assert!(Scene::new(vec![other_node]).decide().peers.is_empty());
}

#[test]
fn several_advertisements_of_one_prefix_add_up_and_contradictions_are_told() {
    let internal = json!({ "peerASN": 64512, "families": ["ipv4"] });
    let mut scene = Scene::new(vec![
        tor(internal),
        bgp_peer("spine", "10.0.0.2", json!({})),
        community("quiet", "65000:7"),
        bgp_advertisement(
            "a",
            json!({ "communities": ["65000:1", "large:65000:1:2"], "localPref": 100, "prepend": 2 }),
        ),
        bgp_advertisement(
            "b",
            json!({ "communities": ["quiet", "no-export"], "localPref": 200, "ipAddressPools": ["blue"] }),
        ),
    ]);
    let decision = scene.decide();
    let both = route(&decision, "tor", "192.0.2.1/32");
    let shown: Vec<String> = both.communities.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["65000:1", "65000:7", "65535:7", "65535:65281"]);
    assert_eq!(
        (both.local_pref, both.prepend, both.large_communities.len()),
        (Some(200), 0, 1)
    );
    let outside = route(&decision, "spine", "192.0.2.1/32");
    assert_eq!(
        (outside.local_pref, outside.prepend),
        (None, 2),
        "LOCAL_PREF stays inside"
    );
    assert_eq!(route(&decision, "tor", "192.0.2.200/32").local_pref, Some(100));
    let reasons: BTreeMap<String, Reason> = reasons(&decision).into_iter().collect();
    assert_eq!(reasons["web"], Reason::ConflictingAdvertisements);
    assert_eq!(reasons["dns"], Reason::Announced);
    assert_eq!(texts(&decision).len(), 1, "{:?}", texts(&decision));
    assert!(texts(&decision)[0].contains("a and b say different things about 192.0.2.1/32"));
}

#[test]
fn different_peers_may_be_told_different_things() {
    let decision = Scene::new(vec![
        tor(json!({ "peerASN": 64512 })),
        bgp_peer("spine", "10.0.0.2", json!({ "peerASN": 64512 })),
        bgp_advertisement("a", json!({ "localPref": 100, "peers": ["tor"] })),
        bgp_advertisement("b", json!({ "localPref": 200, "peers": ["spine"] })),
    ])
    .decide();
    assert_eq!(route(&decision, "tor", "192.0.2.1/32").local_pref, Some(100));
    assert_eq!(route(&decision, "spine", "192.0.2.1/32").local_pref, Some(200));
    assert_eq!(texts(&decision), [""; 0]);
}

#[test]
fn an_aggregate_stands_for_its_addresses_and_never_for_those_of_others() {
    let mut scene = Scene::new(vec![
        tor(json!({})),
        bgp_advertisement("all", json!({ "aggregationLength": 25 })),
    ]);
    assert_eq!(
        prefixes(&scene.decide(), "tor"),
        ["192.0.2.0/25", "192.0.2.128/25"]
    );
    scene.services.remove(0);
    assert_eq!(
        prefixes(&scene.decide(), "tor"),
        ["192.0.2.0/25", "192.0.2.128/25"],
        "api needs it"
    );
    scene.services.remove(0);
    assert_eq!(prefixes(&scene.decide(), "tor"), ["192.0.2.128/25"]);
    scene.objects[1] = bgp_advertisement("all", json!({ "aggregationLength": 24 }));
    let decision = scene.decide();
    assert_eq!(prefixes(&decision, "tor"), ["192.0.2.200/32"]);
    assert!(texts(&decision)[0].contains("a prefix of length 24 is not wholly of AddressPool green"));
}

#[test]
fn what_was_defined_and_is_gone_holds_and_what_never_was_harms_its_user_alone() {
    let with = |bfd: &str| tor(json!({ "bfdProfile": bfd }));
    let mut scene = Scene::new(vec![
        with("fast"),
        bgp_peer("spine", "10.0.0.2", json!({})),
        bfd_profile(
            "fast",
            json!({ "transmitInterval": 50, "receiveInterval": 50, "holdUp": 3000 }),
        ),
        community("quiet", "65000:7"),
        bgp_advertisement("a", json!({ "communities": ["quiet"] })),
    ]);
    let decision = scene.decide();
    let bfd = decision.peers[&ObjectName::new("", "tor")].bfd.unwrap();
    assert_eq!(
        (bfd.timers.desired_min_tx, bfd.hops, bfd.hold_up_ms),
        (50_000, Hops::Single, 3000)
    );
    assert_eq!(texts(&decision), [""; 0]);
    let gone = [scene.objects.remove(2), scene.objects.remove(2)];
    assert_eq!(gone.len(), 2);
    let held = scene.decide();
    assert_eq!(held.peers, decision.peers);
    assert_eq!(texts(&held).len(), 2);
    // A process that begins then does not know them.
    scene.memory = Memory::default();
    let decision = scene.decide();
    assert!(!decision.peers.contains_key(&ObjectName::new("", "tor")));
    assert_eq!(
        prefixes(&decision, "spine"),
        [""; 0],
        "it may have been there to keep the route in"
    );
}

#[test]
fn a_session_is_as_the_object_says() {
    let more = json!({
        "interface": "eth1", "holdTime": "30s", "keepaliveTime": "5s", "connectTime": "1m", "routerID": "10.9.9.9",
        "passwordSecret": { "name": "keys" }, "ttlSecurityHops": 1, "listen": true, "role": "customer",
        "nextHops": { "ipv6": "2001:db8::9" }, "sourceAddress": "10.0.0.9", "peerPort": 1179,
    });
    let decision = Scene::new(vec![tor(more)]).decide();
    let peer = &decision.peers[&ObjectName::new("", "tor")];
    let session = &peer.session;
    assert_eq!(
        (
            session.hold_seconds,
            session.keepalive_seconds,
            session.connect_seconds
        ),
        (30, Some(5), 60)
    );
    assert_eq!(session.router_id, Ipv4Addr::new(10, 9, 9, 9));
    assert_eq!(
        peer.link.neighbor,
        Neighbor::Address("10.0.0.1:1179".parse().unwrap())
    );
    assert_eq!(peer.link.device.as_deref(), Some("eth1"));
    assert_eq!(
        peer.password,
        Some(PasswordSource::Secret { name: "keys".into() })
    );
    let plain = Scene::new(vec![tor(json!({}))]).decide();
    assert_eq!(
        plain.peers[&ObjectName::new("", "tor")].session.router_id,
        Ipv4Addr::new(10, 0, 0, 254)
    );
}

#[test]
fn a_password_is_nowhere_but_in_memory() {
    let object = tor(json!({ "password": "hunter2" }));
    let decision = Scene::new(vec![object.clone()]).decide();
    let plan = BgpPlan {
        revision: 1,
        peers: decision.peers,
    };
    for text in [
        format!("{object:?}"),
        format!("{plan:?}"),
        serde_json::to_string(&object).unwrap(),
        serde_json::to_string(&plan).unwrap(),
    ] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = |plan: &BgpPlan| match &plan.peers[&ObjectName::new("", "tor")].password {
        Some(PasswordSource::Inline { text, .. }) => text.reveal().map(str::to_owned),
        other => panic!("{other:?}"),
    };
    assert_eq!(text(&plan).as_deref(), Some("hunter2"));
    let read: BgpPlan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(text(&read), None);
}

#[test]
fn a_plan_reads_back_as_it_was_written() {
    let decision = Scene::new(vec![
        tor(json!({ "families": ["ipv4", "ipv6"] })),
        bgp_advertisement(
            "all",
            json!({ "communities": ["65000:1"], "med": 7, "linkBandwidthMbps": 1000 }),
        ),
    ])
    .decide();
    let plan = BgpPlan {
        revision: 3,
        peers: decision.peers,
    };
    let read: BgpPlan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(read, plan);
    assert!(plan.peers.values().all(|peer| peer.routes.len() == 4));
}

fn advertisements() -> impl Strategy<Value = Vec<AnnounceObject>> {
    let one = (
        24..=32u8,
        prop::option::of(0..3u32),
        prop::collection::vec(0..4u16, 0..3),
        0..3usize,
    );
    prop::collection::vec(one, 0..4).prop_map(|all| {
        let make = |(at, (length, pref, communities, pools)): (usize, (u8, Option<u32>, Vec<u16>, usize))| {
            let communities: std::collections::BTreeSet<String> =
                communities.iter().map(|n| format!("65000:{n}")).collect();
            let pools = &["blue", "green"][..pools];
            let mut spec = json!({
                "aggregationLength": length, "communities": communities, "ipAddressPools": pools,
            });
            if let Some(pref) = pref {
                spec["localPref"] = json!(pref);
            }
            bgp_advertisement(&format!("a{at}"), spec)
        };
        all.into_iter().enumerate().map(make).collect()
    })
}

proptest! {
    /// Whatever the advertisements: a route is there for an address that is served and covers no address outside
    /// of its pool, every address with a matching advertisement has one, and the order of objects is nothing.
    #[test]
    fn routes_are_for_what_is_served(all in advertisements(), served in prop::collection::btree_set(0..=255u8, 0..12)) {
        let mut objects = vec![tor(json!({ "peerASN": 64512 }))];
        objects.extend(all.clone());
        let mut scene = Scene::new(objects);
        let named = |n: &u8| service(&format!("s{n}"), &format!("192.0.2.{n}")).build();
        scene.services = served.iter().map(named).collect();
        let decision = scene.decide();
        let routes = decision.peers[&ObjectName::new("", "tor")].routes.clone();
        for (prefix, attributes) in &routes {
            prop_assert!(attributes.communities.contains(&Community::NO_LLGR));
            let inside = served.iter().any(|n| prefix.contains(&addr(&format!("192.0.2.{n}")).ip()));
            prop_assert!(inside, "{} stands for nothing", prefix);
            prop_assert!(prefix.prefix_len() >= 25, "{} is of two pools", prefix);
        }
        for name in served.iter().map(|n| crate::testing::name(&format!("s{n}"))) {
            let verdict = &decision.verdicts[&name];
            prop_assert_eq!(verdict.reason.is_announced(), !verdict.peers.is_empty());
        }
        prop_assert_eq!(decision.announced.is_empty(), routes.is_empty());
        scene.objects.reverse();
        scene.memory = Memory::default();
        let reversed = scene.decide();
        prop_assert_eq!(&reversed.peers, &decision.peers);
        prop_assert_eq!(reversed.verdicts, decision.verdicts);
    }
}
