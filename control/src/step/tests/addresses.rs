//! Addresses of the own cluster given by the leader alone and written once; those of manifests by everyone.

use serde_json::{Value, json};

use super::*;
use crate::ipam::{Asked, BackendKey, Class, FamilyPolicy, Held, Pool, Range, Request};
use crate::ipam::{Disruption, Ends};
use crate::model::{ClusterId, Observed, PoolSpec, Setting};

fn request(spec: &ServiceSpec, held: &[Addr]) -> Request {
    Request {
        name: spec.name.clone(),
        created: spec.created,
        labels: Default::default(),
        class: Class::Other,
        families: vec![maglane_shared::addr::Family::V4],
        policy: FamilyPolicy::SingleStack,
        asked: Asked::Nothing,
        pool: None,
        sharing: None,
        ports: [(spec.ports[0].protocol.clone(), 80)].into(),
        backends: BackendKey::Cluster,
        held: held
            .iter()
            .map(|addr| Held {
                addr: *addr,
                pool: None,
            })
            .collect(),
        disruption: Disruption::Refused,
    }
}

/// A Service of type LoadBalancer with this status.
fn wanting(cluster: ClusterId, title: &str, status: &Value) -> Event {
    let ingress = status["status"]["loadBalancer"]["ingress"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let held: Vec<Addr> = ingress
        .iter()
        .map(|entry| addr(entry["ip"].as_str().unwrap()))
        .collect();
    let mut spec = service(title, "192.0.2.255").created(1).build();
    spec.name.cluster = cluster;
    spec.vips = if held.is_empty() {
        Setting::Unset
    } else {
        Setting::Valid(held.clone())
    };
    spec.request = Some(Box::new(request(&spec, &held)));
    spec.observed = Some(Box::new(Observed {
        body: status.clone(),
        ..Observed::default()
    }));
    Event::ServiceApplied(Box::new(spec))
}

fn empty() -> Value {
    json!({ "status": { "loadBalancer": {}, "conditions": [] } })
}

fn pool(cluster: ClusterId, range: &str) -> Event {
    let name = ObjectName::of(cluster, "", "main");
    Event::PoolApplied(Box::new(PoolSpec {
        pool: Pool {
            name: "main".into(),
            ranges: vec![Range::parse(range, Ends::Included).unwrap()],
            auto_assign: true,
            ..Pool::default()
        },
        name,
        labels: BTreeMap::new(),
        generation: Some(1),
        observed: Observed::default(),
        problems: vec![],
    }))
}

fn world() -> World {
    let mut world = World::new(1);
    let mut settings = settings(1);
    settings.sources = [Source::Kernel, Source::Cluster(ClusterId::OWN)].into();
    settings.plan.default_class = true;
    world.controller = Controller::new(settings, Resume::default());
    world.tell(vec![
        Event::LinksRead(vec![link(2, "eth0")]),
        Event::RoutesRead(vec![route("10.0.0.0/8", &[(2, None)])]),
        Event::NeighborsRead(vec![]),
        Event::SourceSynced(Source::Kernel),
        pool(ClusterId::OWN, "192.0.2.1-192.0.2.2"),
    ]);
    world
}

impl World {
    /// The last body asked for, of a Service.
    fn body(&self, title: &str) -> Value {
        let of = |write: &&StatusWrite| &*write.object.name.name == title;
        self.writes
            .iter()
            .rfind(of)
            .map(|write| write.body.clone())
            .unwrap_or_default()
    }

    /// `True Satisfied`, of each condition in order.
    fn conditions(&self, title: &str) -> Vec<String> {
        let body = self.body(title);
        let all = body["status"]["conditions"].as_array().unwrap().iter();
        all.map(|c| {
            format!(
                "{} {}",
                c["status"].as_str().unwrap(),
                c["reason"].as_str().unwrap()
            )
        })
        .collect()
    }

    fn ips(&self, title: &str) -> Vec<String> {
        let body = self.body(title);
        let ingress = body["status"]["loadBalancer"]["ingress"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        ingress
            .iter()
            .map(|entry| entry["ip"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn ends(title: &str) -> Event {
    let mut spec = slice(&format!("{title}-1"), title, vec![endpoint("10.0.0.1")]);
    spec.name.cluster = ClusterId::OWN;
    spec.service.cluster = ClusterId::OWN;
    Event::SliceApplied(Box::new(spec))
}

#[test]
fn only_a_leader_that_knows_everything_gives_addresses_and_each_change_is_written_once() {
    let mut world = world();
    let own = ClusterId::OWN;
    world.tell(vec![
        wanting(own, "web", &empty()),
        ends("web"),
        Event::Leading(true),
    ]);
    assert_eq!(world.writes, [], "not every kind has synced");
    world.tell(vec![
        Event::Leading(false),
        Event::SourceSynced(Source::Cluster(own)),
    ]);
    assert_eq!(world.writes, [], "somebody else leads");
    world.tell(vec![Event::Leading(true)]);
    assert_eq!(world.ips("web"), ["192.0.2.1"]);
    assert_eq!(
        world.conditions("web"),
        [
            "True SettingsValid",
            "True Satisfied",
            "False NoBalancedPort",
            "False Pending",
            "False NoMatchingAdvertisement"
        ]
    );
    assert_eq!(world.told.len(), 1);
    assert_eq!(
        (&*world.told[0].reason, &*world.told[0].note),
        ("IPAllocated", "Assigned 192.0.2.1")
    );
    assert_eq!(world.vips(), [""; 0], "served once the status says so");
    // The API server says what was written: it is served, then said to be.
    let seen = world.body("web");
    world.tell(vec![wanting(own, "web", &seen)]);
    world.settle();
    assert_eq!(world.vips(), ["192.0.2.1"]);
    assert_eq!(
        world.conditions("web"),
        [
            "True SettingsValid",
            "True Satisfied",
            "True BackendsUsable",
            "True Programmed",
            "False NoMatchingAdvertisement"
        ]
    );
    let seen = world.body("web");
    world.tell(vec![wanting(own, "web", &seen)]);
    let count = world.writes.len();
    // At rest nothing is written, nor for endpoints that come and go.
    for _ in 0..10 {
        world.tell(vec![ends("web"), Event::Tick]);
        world.settle();
    }
    assert_eq!(world.writes.len(), count);
    assert_eq!(
        count, 4,
        "two of the Service, two of the pool: {:?}",
        world.writes
    );
}

#[test]
fn what_is_given_and_not_yet_seen_is_nobody_elses() {
    let mut world = world();
    let own = ClusterId::OWN;
    world.tell(vec![
        wanting(own, "b", &empty()),
        Event::SourceSynced(Source::Cluster(own)),
        Event::Leading(true),
    ]);
    assert_eq!(world.ips("b"), ["192.0.2.1"]);
    // Comes before b by name, and b's status has not come back yet.
    world.tell(vec![wanting(own, "a", &empty())]);
    assert_eq!(
        (world.ips("a"), world.ips("b")),
        (vec!["192.0.2.2".to_owned()], vec!["192.0.2.1".to_owned()])
    );
    world.tell(vec![wanting(own, "c", &empty())]);
    assert_eq!(world.conditions("c")[1], "False OutOfIps");
    assert!(
        world
            .told
            .iter()
            .any(|event| &*event.reason == "AllocationFailed")
    );
    // One is deleted: the one that waits gets its address.
    world.tell(vec![Event::ServiceDeleted(ObjectName::of(own, "default", "a"))]);
    assert_eq!(world.ips("c"), ["192.0.2.2"]);
}

#[test]
fn a_manifest_gets_an_address_from_a_pool_and_keeps_it() {
    let mut world = World::synced(1);
    let manifests = ClusterId::MANIFESTS;
    world.tell(vec![
        wanting(manifests, "web", &empty()),
        Event::SliceApplied(Box::new(slice("web-1", "web", vec![endpoint("10.0.0.1")]))),
    ]);
    world.settle();
    assert_eq!(world.vips(), [""; 0]);
    world.tell(vec![pool(manifests, "192.0.2.1-192.0.2.2")]);
    world.settle();
    assert_eq!(world.vips(), ["192.0.2.1"]);
    assert_eq!(
        (world.writes.len(), world.told.len()),
        (0, 0),
        "there is nobody to tell"
    );
    // An older one by name comes; a restart with the saved state.
    world.tell(vec![wanting(manifests, "a", &empty())]);
    let saved: Vec<Event> = world.controller.store().events().collect();
    let mut again = World::new(1);
    again.tell(vec![Event::Restored(saved)]);
    again.tell(vec![
        Event::LinksRead(vec![link(2, "eth0")]),
        Event::RoutesRead(vec![route("10.0.0.0/24", &[(2, None)])]),
        Event::NeighborsRead(vec![]),
        Event::SourceSynced(Source::Kernel),
        wanting(manifests, "a", &empty()),
        wanting(manifests, "web", &empty()),
        pool(manifests, "192.0.2.1-192.0.2.2"),
        Event::SourceSynced(Source::Manifests),
    ]);
    let granted = |title: &str| again.controller.store().granted(&name(title)).to_vec();
    assert_eq!(
        (granted("web"), granted("a")),
        (vec![addr("192.0.2.1")], vec![addr("192.0.2.2")])
    );
}
