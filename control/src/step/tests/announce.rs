//! Table first, then announce; withdraw first, then remove. One router, `tor`, played by the test: [`World`]
//! checks that nothing it was told of is un-steered or leaves the table.

use std::net::IpAddr;

use maglane_bgp::fsm::State;
use maglane_bgp::peer::Counters;
use maglane_bgp::rib::Unsendable;
use maglane_bgp::wire::{Community, Families};
use serde_json::json;

use super::*;
use crate::announce::{BgpSession, Reason};
use crate::model::{AnnounceObject, EndpointSpec, NodeSpec, Readiness};
use crate::testing::{bgp_advertisement, bgp_peer, node};

const NODE: &str = "lb-1";

fn applied(object: AnnounceObject) -> Event {
    Event::AnnounceApplied(Box::new(object))
}

fn session(peer: &str, state: State, told: usize, synced: Option<u64>) -> Event {
    let established = state == State::Established;
    Event::BgpSession(Box::new(BgpSession {
        peer: ObjectName::new("", peer),
        state,
        local: established.then(|| IpAddr::from([10, 0, 0, 254])),
        remote: None,
        families: if established {
            Families::BOTH
        } else {
            Families::NONE
        },
        told,
        unsendable: Unsendable::default(),
        synced,
        withheld: None,
        last_error: None,
        counters: Counters::default(),
    }))
}

impl World {
    pub(super) fn announce(&mut self, plan: BgpPlan) {
        assert!(plan.revision > self.bgp.revision);
        assert_ne!(plan.peers, self.bgp.peers);
        for addr in addrs(&plan) {
            assert!(
                self.steered.contains(&addr),
                "{addr} is announced, {:?} is steered",
                self.steered
            );
        }
        self.bgp = plan;
    }

    fn announced(&self) -> Vec<String> {
        addrs(&self.bgp).iter().map(Addr::to_string).collect()
    }

    /// The router hears all there is to hear.
    fn router_hears(&mut self) {
        self.router = addrs(&self.bgp);
        let told = self.router.len();
        let revision = self.bgp.revision;
        let event = match self.bgp.peers.contains_key(&ObjectName::new("", "tor")) {
            true => session("tor", State::Established, told, Some(revision)),
            false => Event::BgpSessionEnded(ObjectName::new("", "tor")),
        };
        self.tell(vec![event]);
    }

    fn pass_time(&mut self, span: Duration) {
        self.now += span;
        self.tell(vec![Event::Tick]);
    }

    fn reason(&mut self, service: &str) -> Reason {
        self.controller.catalog().announce.verdicts[&name(service)].reason
    }

    /// One Service, announced and heard of.
    fn with_router(more: serde_json::Value, workers: u16) -> World {
        let mut world = World::new(workers);
        let mut settings = settings(workers);
        settings.plan.node = Some(NODE.into());
        world.controller = Controller::new(settings, Resume::default());
        world.tell(vec![
            Event::LinksRead(vec![link(2, "eth0")]),
            Event::AddressesRead(vec![addr("10.0.0.254")]),
            Event::RoutesRead(vec![route("10.0.0.0/24", &[(2, None)])]),
            Event::NeighborsRead(vec![]),
            Event::SourceSynced(Source::Kernel),
            applied(bgp_peer("tor", "10.0.0.1", more)),
            applied(bgp_advertisement("all", json!({}))),
            Event::NodeApplied(Box::new(node(NODE, "rack=a"))),
            Event::SourceSynced(Source::Manifests),
        ]);
        world.router_hears();
        world
    }

    fn announcing(more: serde_json::Value) -> World {
        let mut world = World::with_router(more, 1);
        world.apply("web", "192.0.2.1", &["10.0.0.1"]);
        world.settle();
        world.router_hears();
        assert_eq!(world.announced(), ["192.0.2.1"]);
        world
    }
}

fn addrs(plan: &BgpPlan) -> BTreeSet<Addr> {
    let routes = plan.peers.values().flat_map(|peer| peer.routes.keys());
    routes.map(|prefix| Addr::from(prefix.addr())).collect()
}

#[test]
fn table_first_then_steer_then_announce() {
    let mut world = World::with_router(json!({}), 2);
    assert_eq!(
        world.bgp.peers.len(),
        1,
        "the session is wanted before there is anything to say"
    );
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    world.worker_turns(0);
    world.steer_done();
    assert_eq!(
        (world.announced(), world.reason("web")),
        (vec![], Reason::Pending)
    );
    world.worker_turns(1);
    assert_eq!(world.announced(), [""; 0], "not steered yet");
    world.steer_done();
    assert_eq!(
        (world.announced(), world.reason("web")),
        (vec!["192.0.2.1".to_owned()], Reason::Announced)
    );
}

#[test]
fn nothing_is_announced_before_all_is_known_or_the_disk_has_told() {
    let mut world = World::new(1);
    let object = || applied(bgp_peer("tor", "10.0.0.1", json!({})));
    world.tell(vec![Event::SourceSynced(Source::Kernel), object()]);
    assert_eq!(world.bgp.revision, 0);
    let mut restored = World::new(1);
    restored.tell(vec![
        Event::SourceSynced(Source::Kernel),
        Event::Restored(vec![object()]),
    ]);
    assert_eq!(restored.bgp.peers.len(), 1);
    world.tell(vec![Event::SourceSynced(Source::Manifests)]);
    assert_eq!(world.bgp.peers.len(), 1);
}

#[test]
fn backends_that_no_worker_has_yet_are_none() {
    let mut world = World::with_router(json!({}), 2);
    world.apply("web", "192.0.2.1", &[]);
    world.settle();
    assert_eq!(
        (world.vips(), world.reason("web")),
        (vec!["192.0.2.1".to_owned()], Reason::NoEndpoints)
    );
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    world.worker_turns(0);
    assert_eq!(world.reason("web"), Reason::Pending);
    world.worker_turns(1);
    assert_eq!(world.announced(), ["192.0.2.1"]);
}

#[test]
fn withdraw_first_then_remove() {
    let mut world = World::announcing(json!({}));
    world.tell(vec![Event::ServiceDeleted(name("web"))]);
    assert_eq!(world.announced(), [""; 0]);
    world.settle();
    assert_eq!(
        (world.vips(), world.in_table()),
        (vec!["192.0.2.1".to_owned()], vec!["192.0.2.1".to_owned()])
    );
    world.tell(vec![session(
        "tor",
        State::Established,
        1,
        Some(world.bgp.revision - 1),
    )]);
    world.settle();
    assert_eq!(
        world.vips(),
        ["192.0.2.1"],
        "the router has not heard of the last plan"
    );
    assert!(!world.controller.is_silent());
    world.router_hears();
    assert_eq!(world.pending.as_ref().map(|plan| plan.vips.len()), Some(0));
    assert_eq!(world.in_table(), ["192.0.2.1"]);
    world.steer_done();
    assert_eq!(world.in_table(), [""; 0]);
    assert!(world.controller.is_silent());
}

#[test]
fn translated_replies_are_steered_as_long_as_the_address_is() {
    let mut world = World::announcing(json!({}));
    world.tell(vec![Event::ServiceDeleted(name("web"))]);
    world.tell(vec![Event::AddressesRead(vec![
        addr("10.0.0.254"),
        addr("10.0.0.253"),
    ])]);
    let plan = world.pending.as_ref().unwrap();
    assert_eq!((plan.vips.len(), plan.nat_returns.len()), (1, 1));
}

#[test]
fn a_router_that_hears_nothing_is_waited_for_five_seconds() {
    let mut world = World::announcing(json!({}));
    world.tell(vec![Event::ServiceDeleted(name("web"))]);
    world.pass_time(Duration::from_millis(4_900));
    world.settle();
    assert_eq!(world.vips(), ["192.0.2.1"]);
    world.waived = true;
    world.pass_time(Duration::from_millis(100));
    world.settle();
    assert_eq!(world.vips(), [""; 0]);
}

#[test]
fn a_router_that_is_gone_is_not_waited_for() {
    let mut world = World::announcing(json!({}));
    world.router.clear();
    world.tell(vec![
        session("tor", State::Active, 0, None),
        Event::ServiceDeleted(name("web")),
    ]);
    assert_eq!(world.pending.as_ref().map(|plan| plan.vips.len()), Some(0));
}

#[test]
fn a_session_that_is_to_end_is_waited_for() {
    let mut world = World::announcing(json!({}));
    let peer = bgp_peer("tor", "10.0.0.1", json!({})).object();
    world.tell(vec![
        Event::AnnounceDeleted(peer),
        Event::ServiceDeleted(name("web")),
    ]);
    assert_eq!(world.bgp.peers.len(), 0);
    world.settle();
    assert_eq!(world.vips(), ["192.0.2.1"]);
    world.router_hears();
    world.settle();
    assert_eq!(world.vips(), [""; 0]);
}

#[test]
fn an_address_that_comes_back_while_it_is_withdrawn_is_announced_again_and_never_removed() {
    let mut world = World::announcing(json!({}));
    world.tell(vec![Event::ServiceDeleted(name("web"))]);
    let withdrawn = world.bgp.revision;
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    assert_eq!((world.announced().len(), world.bgp.revision), (1, withdrawn + 1));
    world.settle();
    assert_eq!(world.vips(), ["192.0.2.1"]);
}

#[test]
fn losing_the_api_server_changes_nothing() {
    let mut world = World::announcing(json!({}));
    let before = world.bgp.revision;
    let problems = vec![Problem::error("the API server does not answer", "look at it")];
    world.tell(vec![Event::SourceProblems {
        source: Source::Cluster(crate::model::ClusterId::OWN),
        problems,
    }]);
    world.tell(vec![Event::Leading(false)]);
    (0..600).for_each(|_| world.pass_time(Duration::from_secs(1)));
    assert_eq!(
        (world.bgp.revision, world.vips()),
        (before, vec!["192.0.2.1".to_owned()])
    );
}

/// The floor of manifests is none: what files say holds at once. Of a cluster, the last endpoints are kept.
#[test]
fn without_endpoints_it_is_withdrawn_and_served_on() {
    let mut world = World::announcing(json!({}));
    let unready = EndpointSpec {
        readiness: Readiness::NotReady,
        ..endpoint("10.0.0.1")
    };
    world.tell(vec![Event::SliceApplied(Box::new(slice(
        "web-1",
        "web",
        vec![unready],
    )))]);
    assert_eq!(
        (world.announced(), world.reason("web")),
        (vec![], Reason::NoEndpoints)
    );
    world.router_hears();
    world.settle();
    assert_eq!(world.vips(), ["192.0.2.1"]);
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    world.settle();
    assert_eq!(world.announced(), ["192.0.2.1"]);
}

#[test]
fn the_node_itself_may_forbid_it_but_a_cordon_or_a_failed_node_does_not() {
    let mut world = World::announcing(json!({}));
    let told = |spec: NodeSpec| vec![Event::NodeApplied(Box::new(spec))];
    let cordoned = NodeSpec {
        usable: false,
        ..node(NODE, "rack=a")
    };
    world.tell(told(cordoned));
    assert_eq!(world.announced(), ["192.0.2.1"]);
    world.tell(told(node(
        NODE,
        "node.kubernetes.io/exclude-from-external-load-balancers=",
    )));
    assert_eq!(
        (world.announced(), world.reason("web")),
        (vec![], Reason::NodeLabeledExcludeBalancers)
    );
    assert_eq!(world.bgp.peers.len(), 1, "the session stays");
    let unavailable = NodeSpec {
        network_unavailable: true,
        ..node(NODE, "")
    };
    world.tell(told(unavailable));
    assert_eq!(world.reason("web"), Reason::NodeNetworkUnavailable);
    world.tell(told(node(NODE, "")));
    assert_eq!(world.announced(), ["192.0.2.1"]);
}

#[test]
fn a_drain_withdraws_everything_and_forwards_on() {
    let mut world = World::announcing(json!({}));
    world.tell(vec![Event::Draining(true)]);
    assert_eq!(
        (world.announced(), world.reason("web")),
        (vec![], Reason::Draining)
    );
    world.router_hears();
    world.settle();
    assert!(world.controller.is_silent());
    assert_eq!(
        (world.vips(), world.in_table()),
        (vec!["192.0.2.1".to_owned()], vec!["192.0.2.1".to_owned()])
    );
    world.tell(vec![Event::Draining(false)]);
    assert_eq!(world.announced(), ["192.0.2.1"]);
}

#[test]
fn a_drain_makes_routes_unattractive_first_where_that_is_wanted() {
    let drain = json!({ "drain": { "seconds": 30, "gracefulShutdown": true, "prepend": 3 } });
    let mut world = World::announcing(drain);
    world.pass_time(Duration::from_secs(100));
    world.tell(vec![Event::Draining(true)]);
    let attributes = |world: &World| {
        let peer = &world.bgp.peers[&ObjectName::new("", "tor")];
        peer.routes.values().next().cloned()
    };
    let worse = attributes(&world).unwrap();
    assert!(worse.communities.contains(&Community::GRACEFUL_SHUTDOWN));
    assert_eq!((worse.prepend, worse.local_pref), (3, None));
    world.pass_time(Duration::from_secs(29));
    assert_eq!(attributes(&world), Some(worse));
    world.pass_time(Duration::from_secs(1));
    assert_eq!(attributes(&world), None);
}

#[test]
fn a_controller_begun_anew_knows_what_routers_were_told() {
    let mut world = World::announcing(json!({}));
    let resume = world.controller.resume();
    let mut settings = settings(1);
    settings.plan.node = Some(NODE.into());
    world.controller = Controller::new(settings, resume);
    let (before, generation) = (world.bgp.revision, world.tables.last().unwrap().0);
    world.tell(vec![
        Event::LinksRead(vec![link(2, "eth0")]),
        Event::AddressesRead(vec![addr("10.0.0.254")]),
        Event::RoutesRead(vec![route("10.0.0.0/24", &[(2, None)])]),
        Event::NeighborsRead(vec![]),
        Event::SourceSynced(Source::Kernel),
        Event::WorkerGeneration {
            worker: 0,
            generation,
        },
        applied(bgp_peer("tor", "10.0.0.1", json!({}))),
        applied(bgp_advertisement("all", json!({}))),
    ]);
    world.tell(vec![session("tor", State::Established, 1, Some(before))]);
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    assert_eq!(world.bgp.revision, before);
    world.tell(vec![
        Event::NodeApplied(Box::new(node(NODE, "rack=a"))),
        Event::SourceSynced(Source::Manifests),
    ]);
    world.settle();
    assert_eq!(
        (world.bgp.revision, world.announced()),
        (before, vec!["192.0.2.1".to_owned()])
    );
}

#[test]
fn states_are_written_when_they_say_something_else_and_counts_now_and_then() {
    let mut world = World::new(1);
    let mut settings = settings(1);
    settings.plan.node = Some(NODE.into());
    settings.sources = [Source::Kernel, Source::Cluster(crate::model::ClusterId::OWN)].into();
    world.controller = Controller::new(settings, Resume::default());
    world.tell(vec![
        Event::SourceSynced(Source::Kernel),
        session("tor", State::Active, 0, None),
    ]);
    world.tell(vec![session("tor", State::Established, 0, Some(1))]);
    world.tell(vec![session("tor", State::Established, 7, Some(2))]);
    world.tell(vec![session("tor", State::Established, 7, Some(3))]);
    let said = |world: &World| -> Vec<String> {
        let line = |write: &SessionWrite| match &write.body {
            Some(body) => format!("{} {}", body["status"]["state"], body["status"]["prefixes"]),
            None => "gone".to_owned(),
        };
        world.states.iter().map(line).collect()
    };
    assert_eq!(said(&world), ["\"Active\" 0", "\"Established\" 0"]);
    world.pass_time(Duration::from_secs(10));
    assert_eq!(said(&world)[2..], ["\"Established\" 7"]);
    assert_eq!(&*world.states[0].object.name.name, "lb-1-tor");
    world.tell(vec![Event::BgpSessionEnded(ObjectName::new("", "tor"))]);
    assert_eq!(said(&world)[3..], ["gone"]);
}

#[derive(Clone, Debug)]
enum Act {
    Apply(usize, bool),
    Delete(usize),
    Worker(usize),
    SteerDone,
    Hears,
    Lost,
    Drain(bool),
    Excluded(bool),
    Advertise(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..4usize, any::<bool>()).prop_map(|(at, usable)| Act::Apply(at, usable)),
        2 => (0..4usize).prop_map(Act::Delete),
        4 => (0..2usize).prop_map(Act::Worker),
        4 => Just(Act::SteerDone),
        3 => Just(Act::Hears),
        1 => Just(Act::Lost),
        1 => any::<bool>().prop_map(Act::Drain),
        1 => any::<bool>().prop_map(Act::Excluded),
        1 => any::<bool>().prop_map(Act::Advertise),
    ];
    proptest::collection::vec(act, 1..60)
}

fn perform(world: &mut World, act: Act) {
    match act {
        Act::Apply(at, usable) => {
            let ends: &[&str] = if usable { &["10.0.0.1"] } else { &[] };
            world.apply(&format!("s{at}"), &format!("192.0.2.{at}"), ends);
        }
        Act::Delete(at) => world.tell(vec![Event::ServiceDeleted(name(&format!("s{at}")))]),
        Act::Worker(at) => world.worker_turns(at),
        Act::SteerDone => world.steer_done(),
        Act::Hears => world.router_hears(),
        Act::Lost => {
            world.router.clear();
            world.tell(vec![session("tor", State::Active, 0, None)]);
        }
        Act::Drain(draining) => world.tell(vec![Event::Draining(draining)]),
        Act::Excluded(excluded) => {
            let label = if excluded { NodeSpec::EXCLUDED } else { "rack" };
            world.tell(vec![Event::NodeApplied(Box::new(node(
                NODE,
                &format!("{label}="),
            )))]);
        }
        Act::Advertise(there) => {
            let all = bgp_advertisement("all", json!({}));
            let event = match there {
                true => applied(all),
                false => Event::AnnounceDeleted(all.object()),
            };
            world.tell(vec![event]);
        }
    }
}

proptest! {
    /// The order of things is asserted in [`World`].
    #[test]
    fn no_interleaving_announces_too_early_or_removes_too_early(acts in acts()) {
        let mut world = World::with_router(json!({}), 2);
        for act in acts {
            world.now += Duration::from_millis(10);
            perform(&mut world, act);
        }
        for _ in 0..4 {
            world.router_hears();
            world.settle();
        }
        let served: BTreeSet<Addr> = world.controller.plan.ports.iter().map(|port| port.key.addr).collect();
        prop_assert_eq!(&world.steered, &served);
        prop_assert_eq!(&world.tables.last().unwrap().1, &served);
        let usable = world.controller.plan.ports.iter().filter(|port| !port.backends.is_empty());
        let wanted: BTreeSet<Addr> = usable.map(|port| port.key.addr).collect();
        let said = addrs(&world.bgp);
        prop_assert!(said == wanted || said.is_empty(), "{said:?}, {wanted:?}");
    }
}
