mod addresses;
mod announce;
mod node_health;
mod safety;

use std::collections::{BTreeMap, BTreeSet};

use maglane_shared::flow::HashKey;
use maglane_shared::next_hop::PortIndex;
use maglane_shared::service::ForwardingMode;
use proptest::prelude::*;

use super::*;
use crate::announce::BgpPlan;
use crate::effect::{NeighborRef, Question};
use crate::health::{HealthAnswer, ProbeTarget, Verdict};
use crate::model::{EndpointSliceSpec, ServiceSpec};
use crate::plan::plan;
use crate::problem::Severity;
use crate::status::{SessionWrite, StatusWrite, UserEvent};
use crate::testing::{addr, endpoint, link, mac, name, neighbor, port, route, service, slice};

fn settings(workers: u16) -> Settings {
    Settings {
        interfaces: vec!["eth0".into()],
        workers,
        sources: [Source::Kernel, Source::Manifests].into(),
        plan: PlanSettings::default(),
        compile: CompileSettings {
            hash_key: HashKey::default(),
            maglev_table_size: None,
            max_services: 1000,
            max_backends: 1000,
        },
        nat_returns: [(
            addr("10.0.0.250"),
            PortSpan {
                first: 16_384,
                last: 29_999,
            },
        )]
        .into(),
        max_removal_percent: 10,
    }
}

/// The binary and the workers, played by the test: holds the controller against the order of things.
struct World {
    controller: Controller,
    now: Duration,
    /// Every table published, with its VIP addresses.
    tables: Vec<(Generation, BTreeSet<Addr>)>,
    running: Vec<Generation>,
    /// What the interfaces may be steering: the last done, and one that may be half done.
    steered: BTreeSet<Addr>,
    pending: Option<SteerPlan>,
    steers: Vec<SteerPlan>,
    resolved: Vec<NeighborRef>,
    reports: Vec<String>,
    writes: Vec<StatusWrite>,
    told: Vec<UserEvent>,
    /// The newest plan, and what the router was told.
    bgp: BgpPlan,
    router: BTreeSet<Addr>,
    /// The router was waited for in vain.
    waived: bool,
    states: Vec<SessionWrite>,
    probes: Vec<BTreeSet<ProbeTarget>>,
    answers: Vec<BTreeMap<u16, HealthAnswer>>,
}

impl World {
    fn new(workers: u16) -> World {
        World {
            controller: Controller::new(settings(workers), Resume::default()),
            now: Duration::ZERO,
            tables: vec![(Generation(0), BTreeSet::new())],
            running: vec![Generation(0); usize::from(workers)],
            steered: BTreeSet::new(),
            pending: None,
            steers: vec![],
            resolved: vec![],
            reports: vec![],
            writes: vec![],
            told: vec![],
            bgp: BgpPlan::default(),
            router: BTreeSet::new(),
            waived: false,
            states: vec![],
            probes: vec![],
            answers: vec![],
        }
    }

    fn synced(workers: u16) -> World {
        let mut world = World::new(workers);
        world.tell(vec![
            Event::LinksRead(vec![link(2, "eth0")]),
            Event::AddressesRead(vec![addr("10.0.0.254")]),
            Event::RoutesRead(vec![route("10.0.0.0/24", &[(2, None)])]),
            Event::NeighborsRead(vec![]),
            Event::SourceSynced(Source::Kernel),
            Event::SourceSynced(Source::Manifests),
        ]);
        world
    }

    /// Panics where an effect breaks the order.
    fn tell(&mut self, events: Vec<Event>) {
        for effect in self.controller.step_all(events, self.now) {
            match effect {
                Effect::Publish(generation) => self.publish(generation),
                Effect::Steer(plan) => self.steer(plan),
                Effect::AnnounceBgp(plan) => self.announce(plan),
                Effect::WriteSessions(states) => self.states.extend(states),
                Effect::ResolveNeighbors(wanted) => self.resolved.extend(wanted),
                Effect::WriteStatus(writes) => self.writes.extend(writes),
                Effect::Tell(events) => self.told.extend(events),
                Effect::Probe(targets) => self.probes.push(targets),
                Effect::AnswerHealth(answers) => self.answers.push(answers),
                Effect::Report { appeared, cleared } => {
                    self.reports.extend(appeared.iter().map(|p| format!("+{p}")));
                    self.reports.extend(cleared.iter().map(|p| format!("-{p}")));
                }
            }
        }
    }

    fn publish(&mut self, generation: Generation) {
        let table = self.controller.table();
        assert_eq!((table.generation, table.check()), (generation, Ok(())));
        assert!(generation > self.tables.last().unwrap().0);
        let addrs: BTreeSet<Addr> = table.services.addrs().iter().copied().collect();
        let steered = self
            .steered
            .union(&self.pending.as_ref().map(|p| p.vips.clone()).unwrap_or_default())
            .copied()
            .collect::<BTreeSet<_>>();
        assert!(
            steered.is_subset(&addrs),
            "{steered:?} is steered, but {generation:?} has only {addrs:?}"
        );
        assert!(
            self.waived || self.router.is_subset(&addrs),
            "{:?} is announced, but {generation:?} has only {addrs:?}",
            self.router
        );
        self.tables.push((generation, addrs));
    }

    fn steer(&mut self, plan: SteerPlan) {
        assert!(self.pending.is_none(), "one at a time");
        assert!(
            self.steers
                .last()
                .is_none_or(|last| last.revision < plan.revision)
        );
        assert!(
            self.waived || self.router.is_subset(&plan.vips),
            "{:?} is announced, {:?} would be steered",
            self.router,
            plan.vips
        );
        let oldest = *self.running.iter().min().unwrap();
        for (generation, addrs) in self.tables.iter().filter(|(g, _)| *g >= oldest) {
            assert!(
                plan.vips.is_subset(addrs),
                "{:?} to be steered, a worker may run {generation:?}",
                plan.vips
            );
        }
        self.pending = Some(plan.clone());
        self.steers.push(plan);
    }

    fn steer_done(&mut self) {
        if let Some(plan) = self.pending.take() {
            self.steered = plan.vips;
            self.tell(vec![Event::Steered {
                revision: plan.revision,
            }]);
        }
    }

    fn steer_failed(&mut self) {
        if let Some(plan) = self.pending.take() {
            // Some of it may be in force.
            self.steered.extend(plan.vips);
            self.tell(vec![Event::SteerFailed {
                revision: plan.revision,
                reason: "no room".to_owned(),
            }]);
        }
    }

    /// The worker takes the newest table.
    fn worker_turns(&mut self, worker: usize) {
        let generation = self.tables.last().unwrap().0;
        self.running[worker] = generation;
        self.tell(vec![Event::WorkerGeneration {
            worker: worker as u16,
            generation,
        }]);
    }

    fn settle(&mut self) {
        for _ in 0..4 {
            (0..self.running.len()).for_each(|worker| self.worker_turns(worker));
            self.steer_done();
            self.tell(vec![Event::Tick]);
        }
    }

    fn apply(&mut self, title: &str, vips: &str, ends: &[&str]) {
        let ends = ends.iter().map(|a| endpoint(a)).collect();
        self.tell(vec![
            Event::ServiceApplied(Box::new(service(title, vips).build())),
            Event::SliceApplied(Box::new(slice(&format!("{title}-1"), title, ends))),
        ]);
    }

    fn in_table(&self) -> Vec<String> {
        self.tables
            .last()
            .unwrap()
            .1
            .iter()
            .map(Addr::to_string)
            .collect()
    }

    fn vips(&self) -> Vec<String> {
        self.steered.iter().map(Addr::to_string).collect()
    }
}

#[test]
fn table_first_then_steer() {
    let mut world = World::synced(2);
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    assert_eq!(world.in_table(), ["192.0.2.1"]);
    world.worker_turns(0);
    assert_eq!(
        world.steers.last().map(|p| p.vips.len()).unwrap_or_default(),
        0,
        "worker 1 has not turned"
    );
    world.steer_done();
    world.worker_turns(1);
    world.steer_done();
    assert_eq!(world.vips(), ["192.0.2.1"]);
    let plan = world.steers.last().unwrap();
    assert_eq!(
        plan.nat_returns.keys().copied().collect::<Vec<_>>(),
        [addr("10.0.0.250")]
    );
    assert_eq!(plan.local, [addr("10.0.0.254")].into());
}

#[test]
fn un_steer_first_then_remove() {
    let mut world = World::synced(1);
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    world.apply("dns", "192.0.2.2", &["10.0.0.2"]);
    world.settle();
    world.tell(vec![Event::ServiceDeleted(name("web"))]);
    assert_eq!(world.pending.as_ref().unwrap().vips, [addr("192.0.2.2")].into());
    assert_eq!(
        world.in_table(),
        ["192.0.2.1", "192.0.2.2"],
        "still there until the answer"
    );
    world.steer_done();
    assert_eq!(world.in_table(), ["192.0.2.2"]);
}

#[test]
fn a_vip_that_comes_back_while_it_goes_stays_in_the_table() {
    let mut world = World::synced(1);
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    world.settle();
    world.tell(vec![Event::ServiceDeleted(name("web"))]);
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    assert_eq!(world.in_table(), ["192.0.2.1"]);
    world.settle();
    assert_eq!(
        (world.vips(), world.in_table()),
        (vec!["192.0.2.1".to_owned()], vec!["192.0.2.1".to_owned()])
    );
}

#[test]
fn nothing_happens_before_the_routes_are_known() {
    let mut world = World::new(1);
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    world.tell(vec![Event::SourceSynced(Source::Manifests), Event::Tick]);
    assert_eq!(world.tables.len(), 1);
    world.tell(vec![Event::SourceSynced(Source::Kernel)]);
    assert_eq!(world.in_table(), ["192.0.2.1"]);
}

#[test]
fn a_failed_steer_is_told_and_tried_again_at_the_next_tick() {
    let mut world = World::synced(1);
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    world.steer_done();
    world.worker_turns(0);
    let sent = world.steers.len();
    world.steer_failed();
    assert_eq!(world.steers.len(), sent);
    assert!(
        world
            .reports
            .last()
            .unwrap()
            .starts_with("+the steering program cannot be updated: no room")
    );
    // What may be steered must not leave the table.
    world.tell(vec![Event::ServiceDeleted(name("web"))]);
    assert_eq!(world.in_table(), ["192.0.2.1"]);
    world.tell(vec![Event::Tick]);
    assert_eq!(world.steers.len(), sent + 1);
    world.steer_done();
    assert_eq!(world.in_table(), [""; 0]);
    assert!(
        world
            .reports
            .iter()
            .any(|r| r.starts_with("-the steering program"))
    );
}

#[test]
fn a_changed_mac_is_a_table_with_the_same_services() {
    let mut world = World::synced(1);
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    assert_eq!(world.resolved.len(), 1);
    let before = world.controller.table();
    world.tell(vec![Event::NeighborChanged(neighbor(2, "10.0.0.1", 9))]);
    let after = world.controller.table();
    assert!(after.generation > before.generation);
    assert!(Arc::ptr_eq(&after.services, &before.services) && after.backends.unshared(&before.backends) == 0);
    assert_eq!(world.controller.work(), Work::default());
    let hop = after
        .routes
        .hops
        .iter()
        .find(|hop| hop.neighbor == addr("10.0.0.1"))
        .unwrap();
    assert_eq!(hop.destination, Some(mac(9)));
    let tables = world.tables.len();
    world.tell(vec![
        Event::NeighborChanged(neighbor(2, "10.0.0.1", 9)),
        Event::Tick,
    ]);
    assert_eq!(world.tables.len(), tables, "no news, no table");
}

#[test]
fn a_worker_in_want_of_a_neighbour_gets_it_asked_for() {
    let mut world = World::synced(1);
    world.tell(vec![Event::NeighborWanted {
        port: PortIndex(0),
        addr: addr("10.0.0.9"),
    }]);
    let want = NeighborRef {
        port: PortIndex(0),
        interface: 2,
        addr: addr("10.0.0.9"),
        question: Question::Resolve,
    };
    assert_eq!(world.resolved, [want]);
}

#[test]
fn dnat_backends_are_steered_back_once_the_workers_know_them() {
    let mut world = World::synced(1);
    let spec = service("web", "192.0.2.1").mode(ForwardingMode::Dnat).build();
    world.tell(vec![Event::ServiceApplied(Box::new(spec))]);
    let ends = |all: &[&str]| {
        let ends = all.iter().map(|a| endpoint(a)).collect();
        vec![Event::SliceApplied(Box::new(slice("web-1", "web", ends)))]
    };
    world.tell(ends(&["10.0.0.1"]));
    world.settle();
    let returns = |world: &World| -> Vec<String> {
        world
            .steers
            .last()
            .unwrap()
            .dnat_returns
            .iter()
            .map(|e| e.to_string())
            .collect()
    };
    assert_eq!(returns(&world), ["10.0.0.1:80/TCP"]);
    assert!(world.steers.last().unwrap().nat_returns.is_empty());
    world.tell(ends(&["10.0.0.2"]));
    world.steer_done();
    assert_eq!(
        returns(&world),
        [""; 0],
        "10.0.0.2 is not in every worker's table"
    );
    world.settle();
    assert_eq!(returns(&world), ["10.0.0.2:80/TCP"]);
}

#[test]
fn problems_are_told_once_and_told_when_gone() {
    let mut world = World::synced(1);
    world.apply("a", "192.0.2.1", &["10.0.0.1"]);
    world.apply("b", "192.0.2.1", &["10.0.0.1"]);
    let rival: Vec<&String> = world
        .reports
        .iter()
        .filter(|r| r.contains("is held by Service default/a"))
        .collect();
    assert_eq!(rival.len(), 1);
    world.tell(vec![Event::Tick, Event::Tick]);
    let told = world.reports.len();
    world.tell(vec![Event::SourceProblems {
        source: Source::Manifests,
        problems: vec![Problem::error("a broken file", "mend it")],
    }]);
    assert_eq!(world.reports.len(), told + 1);
    let errors = world
        .controller
        .catalog()
        .problems
        .iter()
        .filter(|p| p.severity == Severity::Error)
        .count();
    assert_eq!(errors, 2);
    world.tell(vec![
        Event::ServiceDeleted(name("a")),
        Event::SourceProblems {
            source: Source::Manifests,
            problems: vec![],
        },
    ]);
    assert!(
        world
            .reports
            .iter()
            .any(|r| r.starts_with('-') && r.contains("is held by"))
    );
    assert!(world.reports.iter().any(|r| r == "-a broken file; mend it"));
}

#[test]
fn a_controller_started_anew_leaves_running_traffic_alone() {
    let mut world = World::synced(2);
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    world.apply("old", "192.0.2.9", &["10.0.0.1"]);
    world.settle();
    let id = |world: &World, vip: &str| {
        let table = world.controller.table();
        table
            .services
            .entries()
            .iter()
            .find(|e| e.key.addr == addr(vip))
            .unwrap()
            .id
    };
    let before = id(&world, "192.0.2.1");
    world.controller = Controller::new(settings(2), world.controller.resume());
    let tables = world.tables.len();
    // Half of it told: nothing is taken away.
    let running: Vec<Event> = (0..2)
        .map(|worker| Event::WorkerGeneration {
            worker,
            generation: world.running[usize::from(worker)],
        })
        .collect();
    world.tell(running);
    world.tell(vec![
        Event::LinksRead(vec![link(2, "eth0")]),
        Event::AddressesRead(vec![addr("10.0.0.254")]),
        Event::RoutesRead(vec![route("10.0.0.0/24", &[(2, None)])]),
        Event::SourceSynced(Source::Kernel),
    ]);
    assert_eq!((world.tables.len(), world.pending.is_some()), (tables, false));
    world.apply("web", "192.0.2.1", &["10.0.0.1"]);
    world.tell(vec![Event::SourceSynced(Source::Manifests)]);
    // The plan is sent once more, for nobody knows how the last one ended: without what is gone, with what stays.
    assert_eq!(world.pending.as_ref().unwrap().vips, [addr("192.0.2.1")].into());
    world.settle();
    assert_eq!(
        (world.vips(), world.in_table()),
        (vec!["192.0.2.1".to_owned()], vec!["192.0.2.1".to_owned()])
    );
    assert_eq!(
        id(&world, "192.0.2.1"),
        before,
        "established flows find their service"
    );
}

#[test]
fn four_hundred_ports_change_together_in_one_table() {
    let mut world = World::synced(1);
    let ports: Vec<_> = (1..=400).map(|n| port("", "TCP", n)).collect();
    let listed = |a: &str| EndpointSliceSpec {
        ports: None,
        ..slice("web-1", "web", vec![endpoint(a), endpoint("10.0.0.9")])
    };
    world.tell(vec![
        Event::ServiceApplied(Box::new(service("web", "192.0.2.1").ports(ports).build())),
        Event::SliceApplied(Box::new(listed("10.0.0.1"))),
    ]);
    assert_eq!(
        world.controller.work(),
        Work {
            entries: 400,
            maglev_tables: 1
        }
    );
    world.apply("other", "192.0.2.2", &["10.0.0.1"]);
    assert_eq!(
        world.controller.work(),
        Work {
            entries: 1,
            maglev_tables: 1
        }
    );
    let tables = world.tables.len();
    let clock = std::time::Instant::now();
    world.tell(vec![Event::SliceApplied(Box::new(listed("10.0.0.2")))]);
    println!("400 ports got another backend in {:?}", clock.elapsed());
    assert_eq!(
        (world.tables.len(), world.controller.work()),
        (
            tables + 1,
            Work {
                entries: 400,
                maglev_tables: 1
            }
        )
    );
}

/// Figures, not bounds. What a changed MAC, or nothing at all, costs beside ten thousand services.
#[test]
fn a_changed_mac_beside_ten_thousand_services() {
    let mut wide = settings(1);
    wide.compile.max_services = 20_000;
    wide.compile.max_backends = 20_000;
    let mut world = World::new(1);
    world.controller = Controller::new(wide, Resume::default());
    let mut events = vec![
        Event::LinksRead(vec![link(2, "eth0")]),
        Event::RoutesRead(vec![route("10.0.0.0/8", &[(2, None)])]),
        Event::SourceSynced(Source::Kernel),
        Event::SourceSynced(Source::Manifests),
    ];
    for n in 0..10_000u32 {
        let (title, tail) = (format!("svc-{n}"), format!("{}.{}", n >> 8, n & 255));
        let ends = vec![endpoint(&format!("10.1.{tail}"))];
        events.push(Event::ServiceApplied(Box::new(
            service(&title, &format!("203.1.{tail}")).build(),
        )));
        events.push(Event::SliceApplied(Box::new(slice(&title, &title, ends))));
    }
    world.tell(events);
    world.settle();
    assert_eq!(world.steered.len(), 10_000);
    for (what, event) in [
        (
            "a changed MAC",
            Event::NeighborChanged(neighbor(2, "10.1.0.1", 9)),
        ),
        ("a tick", Event::Tick),
    ] {
        let clock = std::time::Instant::now();
        let effects = world.controller.step(event, world.now);
        println!(
            "{what} beside 10,000 services: {:?}, {} effects",
            clock.elapsed(),
            effects.len()
        );
        assert_eq!(world.controller.work(), Work::default());
    }
}

#[derive(Clone, Debug)]
enum Act {
    Apply {
        title: u8,
        vips: BTreeSet<u8>,
        mode: usize,
    },
    Delete(u8),
    Endpoints {
        title: u8,
        ends: BTreeSet<u8>,
    },
    Neighbor(u8, u8),
    Worker(usize),
    SteerDone,
    SteerFailed,
    Tick,
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let vips = prop::collection::btree_set(1u8..5, 1..3);
    let act = prop_oneof![
        4 => (0u8..4, vips, 0usize..5).prop_map(|(title, vips, mode)| Act::Apply { title, vips, mode }),
        3 => (0u8..4).prop_map(Act::Delete),
        3 => (0u8..4, prop::collection::btree_set(1u8..6, 0..4))
            .prop_map(|(title, ends)| Act::Endpoints { title, ends }),
        1 => (1u8..6, 1u8..4).prop_map(|(a, m)| Act::Neighbor(a, m)),
        6 => (0usize..3).prop_map(Act::Worker),
        4 => Just(Act::SteerDone),
        1 => Just(Act::SteerFailed),
        1 => Just(Act::Tick),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 0..60)
}

/// The objects as the sources have them, to tell a controller started anew.
#[derive(Default)]
struct Objects {
    services: BTreeMap<u8, ServiceSpec>,
    slices: BTreeMap<u8, EndpointSliceSpec>,
}

impl Objects {
    fn perform(&mut self, act: Act, world: &mut World) {
        match act {
            Act::Apply { title, vips, mode } => {
                let vips: Vec<String> = vips.iter().map(|n| format!("192.0.2.{n}")).collect();
                let spec = service(&title.to_string(), &vips.join(","))
                    .mode(ForwardingMode::ALL[mode])
                    .build();
                self.services.insert(title, spec.clone());
                world.tell(vec![Event::ServiceApplied(Box::new(spec))]);
            }
            Act::Delete(title) => {
                self.services.remove(&title);
                world.tell(vec![Event::ServiceDeleted(name(&title.to_string()))]);
            }
            Act::Endpoints { title, ends } => {
                let ends = ends.iter().map(|n| endpoint(&format!("10.0.0.{n}"))).collect();
                let spec = slice(&format!("s{title}"), &title.to_string(), ends);
                self.slices.insert(title, spec.clone());
                world.tell(vec![Event::SliceApplied(Box::new(spec))]);
            }
            Act::Neighbor(a, m) => {
                world.tell(vec![Event::NeighborChanged(neighbor(
                    2,
                    &format!("10.0.0.{a}"),
                    m,
                ))]);
            }
            Act::Worker(worker) => world.worker_turns(worker),
            Act::SteerDone => world.steer_done(),
            Act::SteerFailed => world.steer_failed(),
            Act::Tick => world.tell(vec![Event::Tick]),
            Act::Restart => self.restart(world),
        }
    }

    fn restart(&self, world: &mut World) {
        // An answer to the old controller is lost; what was asked for may be in force.
        if let Some(plan) = world.pending.take() {
            world.steered.extend(plan.vips);
        }
        world.controller = Controller::new(settings(3), world.controller.resume());
        let mut events: Vec<Event> = (0u16..)
            .zip(&world.running)
            .map(|(worker, generation)| Event::WorkerGeneration {
                worker,
                generation: *generation,
            })
            .collect();
        events.extend([
            Event::LinksRead(vec![link(2, "eth0")]),
            Event::RoutesRead(vec![route("10.0.0.0/24", &[(2, None)])]),
            Event::SourceSynced(Source::Kernel),
        ]);
        events.extend(
            self.services
                .values()
                .map(|spec| Event::ServiceApplied(Box::new(spec.clone()))),
        );
        events.extend(
            self.slices
                .values()
                .map(|spec| Event::SliceApplied(Box::new(spec.clone()))),
        );
        world.tell(events);
        world.tell(vec![Event::SourceSynced(Source::Manifests)]);
    }
}

proptest! {
    /// The order of things is asserted in [`World`].
    #[test]
    fn no_interleaving_steers_too_early_or_removes_too_early(acts in acts()) {
        let mut world = World::synced(3);
        let mut objects = Objects::default();
        for act in acts {
            world.now += Duration::from_millis(100);
            objects.perform(act, &mut world);
        }
        world.settle();
        // In the end everything wanted is served, and nothing else; the plan is that of a fresh start.
        let mut store = Store::default();
        objects.services.into_values().for_each(|spec| drop(store.apply_service(spec)));
        objects.slices.into_values().for_each(|spec| drop(store.apply_slice(spec)));
        let want = plan(&store, &PlanSettings::default(), &BTreeSet::new());
        let addrs: BTreeSet<Addr> = want.ports.iter().map(|port| port.key.addr).collect();
        prop_assert_eq!(&world.tables.last().unwrap().1, &addrs);
        prop_assert_eq!(&world.steered, &addrs);
        prop_assert_eq!(&world.controller.plan, &want);
    }
}
