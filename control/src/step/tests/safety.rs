//! What must not happen too fast, or not at all: mass removals, empty slices, restarts without an API server,
//! flapping between clusters.

use super::*;
use crate::model::{ClusterId, EndpointSpec, GlobalSpec, Readiness, Setting};

const OWN: ClusterId = ClusterId::OWN;
const WEST: ClusterId = ClusterId(2);

fn of(cluster: ClusterId, name: &ObjectName) -> ObjectName {
    ObjectName {
        cluster,
        ..name.clone()
    }
}

fn service_in(cluster: ClusterId, title: &str, vip: &str) -> ServiceSpec {
    let spec = service(title, vip).build();
    ServiceSpec {
        name: of(cluster, &spec.name),
        ..spec
    }
}

fn slice_in(cluster: ClusterId, title: &str, ends: Vec<EndpointSpec>) -> Event {
    let spec = slice(&format!("{title}-1"), title, ends);
    Event::SliceApplied(Box::new(EndpointSliceSpec {
        name: of(cluster, &spec.name),
        service: of(cluster, &spec.service),
        ..spec
    }))
}

fn applied(spec: ServiceSpec) -> Event {
    Event::ServiceApplied(Box::new(spec))
}

/// A controller of one worker that follows the own cluster and another.
fn world() -> World {
    let mut world = World::new(1);
    let mut settings = settings(1);
    settings.sources = [Source::Kernel, Source::Cluster(OWN), Source::Cluster(WEST)].into();
    settings.plan.default_class = true;
    settings.plan.clusters = [(OWN, "east".into()), (WEST, "west".into())].into();
    world.controller = Controller::new(settings, Resume::default());
    world.tell(vec![
        Event::LinksRead(vec![link(2, "eth0")]),
        Event::RoutesRead(vec![route("10.0.0.0/8", &[(2, None)])]),
        Event::NeighborsRead(vec![]),
        Event::SourceSynced(Source::Kernel),
    ]);
    world
}

impl World {
    /// `192.0.2.1: 10.0.0.1=1 10.0.0.2=0`, one line a VIP.
    fn serving(&mut self) -> Vec<String> {
        let catalog = self.controller.catalog();
        let line = |port: &Arc<crate::compile::CompiledPort>| {
            let backends = port.backends.iter().map(|b| format!("{}={}", b.addr, b.weight));
            let backends: Vec<String> = backends.collect();
            format!("{}: {}", port.planned.key.addr, backends.join(" "))
        };
        catalog.ports.iter().map(line).collect()
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.tell(vec![Event::Tick]);
        self.settle();
    }
}

fn ends(all: &[&str]) -> Vec<EndpointSpec> {
    all.iter().map(|a| endpoint(a)).collect()
}

#[test]
fn a_mass_of_deletions_goes_by_the_minute_and_a_service_applied_again_stays() {
    let mut world = world();
    let title = |i: usize| format!("s{i:02}");
    let told: Vec<Event> = (0..40)
        .flat_map(|i| {
            let spec = service_in(OWN, &title(i), &format!("192.0.2.{i}"));
            [applied(spec), slice_in(OWN, &title(i), ends(&["10.0.0.1"]))]
        })
        .collect();
    world.tell(told);
    world.settle();
    assert_eq!(world.vips().len(), 40);
    let gone = (0..40)
        .map(|i| Event::ServiceDeleted(of(OWN, &name(&title(i)))))
        .collect();
    world.tell(gone);
    world.settle();
    assert_eq!(world.vips().len(), 30, "ten at once");
    assert!(
        world
            .reports
            .last()
            .unwrap()
            .contains("30 deleted Services are still served")
    );
    world.tell(vec![applied(service_in(OWN, &title(39), "192.0.2.39"))]);
    world.pass(59);
    assert_eq!(world.vips().len(), 30);
    world.pass(1);
    assert_eq!(world.vips().len(), 20);
    (0..3).for_each(|_| world.pass(60));
    assert_eq!(world.vips(), ["192.0.2.39"]);
    assert!(
        world
            .reports
            .iter()
            .any(|told| told.starts_with("-") && told.contains("deleted Services"))
    );
}

#[test]
fn the_last_usable_endpoints_are_kept_for_a_while() {
    let mut world = world();
    world.tell(vec![
        applied(service_in(OWN, "web", "192.0.2.1")),
        slice_in(OWN, "web", ends(&["10.0.0.1", "10.0.0.2"])),
    ]);
    let all = ["192.0.2.1: 10.0.0.1=1 10.0.0.2=1"];
    assert_eq!(world.serving(), all);
    // They vanish for 20 s and return: nobody noticed.
    world.tell(vec![slice_in(OWN, "web", vec![])]);
    assert_eq!(world.serving(), all);
    world.pass(20);
    assert_eq!(world.serving(), all);
    assert!(
        world
            .reports
            .last()
            .unwrap()
            .contains("has lost all usable endpoints at once")
    );
    world.tell(vec![slice_in(OWN, "web", ends(&["10.0.0.1", "10.0.0.2"]))]);
    assert_eq!(world.serving(), all);
    // Not ready is as bad as gone; some ready are enough.
    let unready = |a: &str| EndpointSpec {
        readiness: Readiness::NotReady,
        ..endpoint(a)
    };
    world.tell(vec![slice_in(
        OWN,
        "web",
        vec![unready("10.0.0.1"), endpoint("10.0.0.2")],
    )]);
    assert_eq!(world.serving(), ["192.0.2.1: 10.0.0.1=0 10.0.0.2=1"]);
    world.tell(vec![slice_in(
        OWN,
        "web",
        vec![unready("10.0.0.1"), unready("10.0.0.2")],
    )]);
    assert_eq!(world.serving(), ["192.0.2.1: 10.0.0.1=0 10.0.0.2=1"]);
    // Scaled to nothing for good: honoured after 30 s, and not held again.
    world.tell(vec![slice_in(OWN, "web", vec![])]);
    world.pass(29);
    assert_eq!(world.serving(), ["192.0.2.1: 10.0.0.2=1"]);
    world.pass(1);
    assert_eq!(world.serving(), ["192.0.2.1: "]);
    world.tell(vec![slice_in(OWN, "web", vec![unready("10.0.0.1")])]);
    assert_eq!(world.serving(), ["192.0.2.1: 10.0.0.1=0"]);
}

#[test]
fn what_the_disk_knew_is_served_until_its_source_has_told_all() {
    let mut world = world();
    world.tell(vec![Event::Restored(vec![
        applied(service_in(OWN, "web", "192.0.2.1")),
        slice_in(OWN, "web", ends(&["10.0.0.1"])),
        applied(service_in(OWN, "old", "192.0.2.2")),
        slice_in(OWN, "old", ends(&["10.0.0.2"])),
        applied(service_in(WEST, "web", "192.0.2.9")),
    ])]);
    world.settle();
    assert_eq!(world.vips(), ["192.0.2.1", "192.0.2.2"]);
    world.tell(vec![applied(service_in(OWN, "web", "192.0.2.1"))]);
    world.tell(vec![Event::SourceSynced(Source::Cluster(WEST))]);
    world.settle();
    assert_eq!(world.vips(), ["192.0.2.1", "192.0.2.2"]);
    world.tell(vec![
        slice_in(OWN, "web", ends(&["10.0.0.1"])),
        Event::SourceSynced(Source::Cluster(OWN)),
    ]);
    world.settle();
    assert_eq!(world.vips(), ["192.0.2.1"]);
    assert_eq!(world.serving(), ["192.0.2.1: 10.0.0.1=1"]);
}

#[test]
fn a_global_service_fails_over_at_once_and_returns_when_it_is_calm() {
    let mut world = world();
    let global = |cluster, vip| ServiceSpec {
        global: Setting::Valid(GlobalSpec {
            failover_threshold: Some(1),
            ..GlobalSpec::default()
        }),
        ..service_in(cluster, "web", vip)
    };
    world.tell(vec![
        applied(global(OWN, "192.0.2.1")),
        applied(global(WEST, "198.51.100.1")),
        slice_in(OWN, "web", ends(&["10.0.0.1"])),
        slice_in(WEST, "web", ends(&["10.2.0.1"])),
    ]);
    let here = ["192.0.2.1: 10.0.0.1=1"];
    let both = ["192.0.2.1: 10.0.0.1=1 10.2.0.1=1"];
    assert_eq!(world.serving(), here);
    world.tell(vec![slice_in(OWN, "web", vec![])]);
    assert_eq!(world.serving(), ["192.0.2.1: 10.2.0.1=1"]);
    world.tell(vec![slice_in(OWN, "web", ends(&["10.0.0.1"]))]);
    world.pass(9);
    assert_eq!(world.serving(), both);
    world.tell(vec![slice_in(OWN, "web", vec![])]);
    world.tell(vec![slice_in(OWN, "web", ends(&["10.0.0.1"]))]);
    world.pass(9);
    assert_eq!(world.serving(), both, "it flapped: the time begins anew");
    world.pass(1);
    let leaving = ["192.0.2.1: 10.0.0.1=1 10.2.0.1=0"];
    assert_eq!(world.serving(), leaving, "those who went there stay");
    // The other cluster's own VIP is its own business.
    assert_eq!(world.vips(), ["192.0.2.1"]);
}
