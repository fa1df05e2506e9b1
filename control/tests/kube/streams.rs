//! Lists and watches followed through everything that servers do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maglane_control::event::{Event, Source};
use maglane_control::kube::{Access, Cluster, ClusterSource, StreamSettings};
use maglane_control::model::{ClusterId, ObjectKind, ObjectName, ObjectRef, ServiceSpec};
use maglane_control::problem::Problem;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::server::{Fault, Request, Server};
use crate::{access, kubeconfig, within};

pub const SERVICES: &str = "/api/v1/services";
pub const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
pub const NODES: &str = "/api/v1/nodes";
pub const IMPORTS: &str = "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports";

fn settings() -> StreamSettings {
    StreamSettings {
        page: 100,
        watch: Duration::from_secs(10),
        answer: Duration::from_secs(2),
        stall: Duration::from_secs(2),
        retry_cap: Duration::from_millis(300),
        probe_every: Duration::from_millis(200),
        ..StreamSettings::default()
    }
}

fn service(name: &str, port: u16) -> Value {
    json!({
        "metadata": {"namespace": "default", "name": name},
        "spec": {"type": "LoadBalancer", "ports": [{"port": port}]},
    })
}

fn slice(name: &str) -> Value {
    json!({
        "metadata": {
            "namespace": "default",
            "name": name,
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": ["10.0.0.1"]}],
    })
}

/// What the controller would know.
struct World {
    source: ClusterSource,
    services: BTreeMap<String, ServiceSpec>,
    slices: BTreeSet<String>,
    imports: BTreeSet<String>,
    problems: Vec<Problem>,
    synced: bool,
    deletions: usize,
    events: usize,
    _kubeconfig: tempfile::TempDir,
}

impl World {
    async fn start(server: &Server, settings: StreamSettings) -> World {
        let (access, dir) = access(server).await;
        World::with(access, dir, settings, [])
    }

    fn with<const N: usize>(
        access: std::sync::Arc<Access>,
        dir: tempfile::TempDir,
        settings: StreamSettings,
        known: [ObjectRef; N],
    ) -> World {
        let cluster = Cluster {
            id: ClusterId::OWN,
            place: "kubernetes".to_owned(),
        };
        World {
            source: ClusterSource::start(access, cluster, settings, known),
            services: BTreeMap::new(),
            slices: BTreeSet::new(),
            imports: BTreeSet::new(),
            problems: vec![],
            synced: false,
            deletions: 0,
            events: 0,
            _kubeconfig: dir,
        }
    }

    /// Takes events until this holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) {
        within(what, async {
            while !holds(self) {
                let events = self.source.next().await;
                assert!(!events.is_empty());
                let deletes =
                    |event: &Event| matches!(event, Event::ServiceDeleted(_) | Event::SliceDeleted(_));
                let syncs = |event: &Event| matches!(event, Event::SourceSynced(_));
                let early = !self.synced && !events.iter().any(syncs) && events.iter().any(deletes);
                assert!(!early, "deleted before the first picture: {events:?}");
                events.into_iter().for_each(|event| self.take(event));
            }
        })
        .await;
    }

    /// Takes events while something else happens.
    async fn during(&mut self, what: &str, happens: impl Future<Output = ()>) {
        within(what, async {
            tokio::pin!(happens);
            loop {
                tokio::select! {
                    () = &mut happens => return,
                    events = self.source.next() => events.into_iter().for_each(|event| self.take(event)),
                }
            }
        })
        .await;
    }

    async fn until_synced(&mut self) {
        self.until("the first picture", |world| world.synced).await;
    }

    fn take(&mut self, event: Event) {
        self.events += 1;
        if let Event::ServiceApplied(spec) = event {
            self.services.insert(spec.name.name.to_string(), *spec);
        } else if let Event::SliceApplied(spec) = event {
            self.slices.insert(spec.name.name.to_string());
        } else if let Event::ServiceDeleted(name) = event {
            self.deletions += 1;
            self.services.remove(&*name.name);
        } else if let Event::SliceDeleted(name) = event {
            self.deletions += 1;
            assert!(self.slices.remove(&*name.name), "{name} was not there");
        } else if let Event::ImportApplied(spec) = event {
            self.imports.insert(spec.name.name.to_string());
        } else if let Event::ImportDeleted(name) = event {
            self.imports.remove(&*name.name);
        } else if let Event::SourceSynced(source) = event {
            assert_eq!(source, Source::Cluster(ClusterId::OWN));
            assert!(!self.synced, "synced twice");
            self.synced = true;
        } else if let Event::SourceProblems { problems, .. } = event {
            self.problems = problems;
        } else {
            assert!(matches!(event, Event::NamespaceApplied(_)), "{event:?}");
        }
    }

    fn port(&self, name: &str) -> u16 {
        self.services.get(name).map_or(0, |service| service.ports[0].port)
    }

    fn names(&self) -> Vec<&str> {
        self.services.keys().map(String::as_str).collect()
    }
}

fn lists(path: &'static str) -> impl Fn(&Request) -> bool {
    move |request| request.path == path && request.is_list()
}

fn watches(path: &'static str) -> impl Fn(&Request) -> bool {
    move |request| request.path == path && request.is_watch()
}

#[tokio::test]
async fn everything_is_told_in_pages_and_then_every_change() {
    let server = Server::start().await;
    for at in 0..250 {
        server.put(SERVICES, service(&format!("s{at}"), 80));
    }
    server.put(SLICES, slice("web-1"));
    let mut world = World::start(&server, settings()).await;
    world.until_synced().await;
    assert_eq!((world.services.len(), world.slices.len()), (250, 1));
    let pages = server.requests(|request| request.path == SERVICES && !request.is_watch());
    assert_eq!(pages.len(), 3, "100 a page");
    server.put(SERVICES, service("s7", 8080));
    server.put(SERVICES, service("new", 81));
    server.delete(SERVICES, "s8");
    world.until("the changes", |w| w.deletions == 1).await;
    assert_eq!(
        (world.port("s7"), world.port("new"), world.port("s8")),
        (8080, 81, 0)
    );
    assert_eq!(world.problems, []);
}

#[tokio::test]
async fn a_watch_whose_time_is_over_goes_on_without_a_list() {
    let server = Server::start().await;
    server.put(SERVICES, service("web", 80));
    let short = StreamSettings {
        watch: Duration::from_secs(1),
        ..settings()
    };
    let mut world = World::start(&server, short).await;
    world.until_synced().await;
    world
        .during("three watches", server.asked(3, watches(SERVICES)))
        .await;
    server.put(SERVICES, service("web", 81));
    world.until("the change", |w| w.port("web") == 81).await;
    assert_eq!(server.requests(lists(SERVICES)).len(), 1);
}

#[tokio::test]
async fn a_cut_connection_goes_on_without_a_list_and_misses_nothing() {
    let server = Server::start().await;
    server.put(SERVICES, service("web", 80));
    let mut world = World::start(&server, settings()).await;
    world.until_synced().await;
    world.during("a watch", server.asked(1, watches(SERVICES))).await;
    for port in 81..100 {
        server.cut();
        server.put(SERVICES, service("web", port));
        world.until("the change", |w| w.port("web") == port).await;
    }
    assert_eq!(server.requests(lists(SERVICES)).len(), 1);
    assert_eq!(world.deletions, 0);
}

#[tokio::test]
async fn after_410_what_was_deleted_meanwhile_is_found_and_what_is_unchanged_is_not_told_again() {
    let server = Server::start().await;
    for at in 0..50 {
        server.put(SERVICES, service(&format!("s{at}"), 80));
    }
    let mut world = World::start(&server, settings()).await;
    world.until_synced().await;
    world.during("a watch", server.asked(1, watches(SERVICES))).await;
    let told = world.events;
    server.fault("/", Fault::Hang);
    server.delete_silently(SERVICES, "s3");
    server.put(SERVICES, service("s4", 81));
    server.compact();
    server.heal();
    world
        .until("the deletion", |w| w.deletions == 1 && w.port("s4") == 81)
        .await;
    assert_eq!(world.services.len(), 49);
    // The change, the deletion; s4 may come by the watch before it is told off.
    assert!(world.events - told <= 3, "{} events", world.events - told);
}

#[tokio::test]
async fn a_server_that_is_away_changes_nothing_and_is_one_problem_until_it_is_back() {
    let server = Server::start().await;
    server.put(SERVICES, service("kept", 80));
    server.put(SERVICES, service("dropped", 80));
    let mut world = World::start(&server, settings()).await;
    world.until_synced().await;
    server.stop().await;
    world.until("the problem", |w| !w.problems.is_empty()).await;
    assert_eq!(world.problems.len(), 1);
    let text = world.problems[0].to_string();
    assert!(text.starts_with("kubernetes: "), "{text}");
    assert!(text.contains("Connection refused"), "{text}");
    assert_eq!((world.names(), world.deletions), (vec!["dropped", "kept"], 0));
    server.delete_silently(SERVICES, "dropped");
    let back = Instant::now();
    within("the port", server.restart()).await;
    world
        .until("the news", |w| w.problems.is_empty() && w.deletions == 1)
        .await;
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    assert_eq!(world.names(), ["kept"]);
}

#[tokio::test]
async fn refusals_and_overload_change_nothing_and_pass() {
    let faults = [
        (Fault::Status(403), "403"),
        (Fault::Status(429), "429"),
        (Fault::Status(503), "503"),
        (Fault::Close, "closed"),
    ];
    for (fault, word) in faults {
        let server = Server::start().await;
        server.put(SERVICES, service("web", 80));
        let mut world = World::start(&server, settings()).await;
        world.until_synced().await;
        server.fault("/", fault);
        server.cut();
        let problem = |w: &World| w.problems.iter().any(|p| p.message.contains(word));
        world.until("the problem", problem).await;
        assert_eq!((world.names(), world.deletions), (vec!["web"], 0));
        server.heal();
        world.until("its end", |w| w.problems.is_empty()).await;
        server.put(SERVICES, service("web", 81));
        world.until("the change", |w| w.port("web") == 81).await;
    }
}

#[tokio::test]
async fn a_start_with_a_server_that_refuses_waits_for_it() {
    let server = Server::start().await;
    server.put(SERVICES, service("web", 80));
    server.fault("/", Fault::Status(403));
    let mut world = World::start(&server, settings()).await;
    let rule = "get, list and watch addresspools, addressreservations, bfdprofiles, bgpadvertisements, bgppeers, \
                communities, endpointslices, l2advertisements, leases, namespaces, nodes, serviceimports, services";
    let named = |w: &World| w.problems.iter().any(|problem| problem.remedy.contains(rule));
    world.until("the problem with the rule", named).await;
    assert!(!world.synced);
    server.heal();
    world.until_synced().await;
    assert_eq!(world.names(), ["web"]);
}

#[tokio::test]
async fn a_frozen_server_is_noticed_and_what_it_had_to_say_comes_after_it() {
    let server = Server::start().await;
    server.put(SERVICES, service("web", 80));
    let short = StreamSettings {
        watch: Duration::from_secs(1),
        ..settings()
    };
    let mut world = World::start(&server, short).await;
    world.until_synced().await;
    server.fault("/", Fault::Hang);
    server.put(SERVICES, service("web", 81));
    world.until("the problem", |w| !w.problems.is_empty()).await;
    let text = world.problems[0].to_string();
    assert!(text.contains("no answer within"), "{text}");
    assert_eq!((world.port("web"), world.deletions), (80, 0));
    server.heal();
    world
        .until("the change", |w| w.port("web") == 81 && w.problems.is_empty())
        .await;
}

#[tokio::test]
async fn a_wiped_etcd_is_found_although_the_watches_say_nothing() {
    let server = Server::start().await;
    for at in 0..20 {
        server.put(SERVICES, service(&format!("s{at}"), 80));
    }
    let mut world = World::start(&server, settings()).await;
    world.until_synced().await;
    world.during("watches", server.asked(1, watches(SERVICES))).await;
    within(
        "a probe",
        server.asked(1, |request| request.path == "/api/v1/namespaces"),
    )
    .await;
    server.wipe();
    server.put(SERVICES, service("s1", 81));
    // The watches are from a version that is yet to come: they would be silent for ever.
    world.until("the new history", |w| w.deletions == 19).await;
    assert_eq!((world.names(), world.port("s1")), (vec!["s1"], 81));
    server.put(SERVICES, service("s2", 82));
    world.until("the change", |w| w.port("s2") == 82).await;
}

#[tokio::test]
async fn one_broken_object_is_one_problem_and_the_others_go_on() {
    let server = Server::start().await;
    server.put(SERVICES, service("a", 80));
    let mut broken = service("b", 80);
    broken["spec"]["ports"] = json!("eighty");
    server.put(SERVICES, broken.clone());
    server.put(SERVICES, service("c", 80));
    let mut world = World::start(&server, settings()).await;
    world.until("all", |w| w.synced && !w.problems.is_empty()).await;
    assert_eq!(world.names(), ["a", "c"]);
    assert_eq!(world.problems.len(), 1);
    let text = world.problems[0].to_string();
    assert!(text.contains("Service default/b: spec.ports: "), "{text}");
    // Mended, then broken in a watch: its last good state holds.
    server.put(SERVICES, service("b", 81));
    world
        .until("the mended object", |w| {
            w.port("b") == 81 && w.problems.is_empty()
        })
        .await;
    server.put(SERVICES, broken);
    server.put(SERVICES, service("c", 82));
    world
        .until("the other change", |w| {
            w.port("c") == 82 && !w.problems.is_empty()
        })
        .await;
    assert_eq!((world.port("b"), world.deletions), (81, 0));
    server.delete(SERVICES, "b");
    world
        .until("its deletion", |w| w.deletions == 1 && w.problems.is_empty())
        .await;
}

#[tokio::test]
async fn a_fault_in_thousands_of_objects_is_told_in_a_hundred_lines() {
    let server = Server::start().await;
    for at in 0..2000 {
        let mut broken = service(&format!("s{at}"), 80);
        broken["spec"]["ports"][0]["port"] = json!(at + 70_000);
        server.put(SERVICES, broken);
    }
    let mut world = World::start(&server, settings()).await;
    world.until("all", |w| w.synced && w.problems.len() == 101).await;
    let last = world.problems.last().unwrap().to_string();
    assert!(last.contains("1900 more objects"), "{last}");
}

#[tokio::test]
async fn nothing_is_deleted_while_one_kind_was_not_read() {
    let server = Server::start().await;
    server.put(SERVICES, service("a", 80));
    server.put(SERVICES, service("b", 80));
    server.fault(SLICES, Fault::Hang);
    let patient = StreamSettings {
        stall: Duration::from_secs(30),
        ..settings()
    };
    let (access, dir) = access(&server).await;
    let old = ObjectRef {
        kind: ObjectKind::Service,
        name: ObjectName::of(ClusterId::OWN, "default", "from-a-snapshot"),
    };
    let mut world = World::with(access, dir, patient, [old]);
    world.until("the services", |w| w.services.len() == 2).await;
    world.during("a watch", server.asked(1, watches(SERVICES))).await;
    server.delete(SERVICES, "a");
    // Whatever was told after the deletion proves that it was seen.
    server.put(SERVICES, service("b", 81));
    world.until("the change", |w| w.port("b") == 81).await;
    assert_eq!((world.deletions, world.synced), (0, false));
    server.heal();
    world.until_synced().await;
    assert_eq!((world.names(), world.deletions), (vec!["b"], 2));
}

#[tokio::test]
async fn garbage_is_followed_by_a_list() {
    let server = Server::start().await;
    server.put(SERVICES, service("web", 80));
    let mut world = World::start(&server, settings()).await;
    world.until_synced().await;
    world.during("a watch", server.asked(1, watches(SERVICES))).await;
    server.fault(SERVICES, Fault::Garbage("<html>no</html>\n"));
    server.cut();
    world.during("a list", server.asked(2, lists(SERVICES))).await;
    server.heal();
    server.put(SERVICES, service("web", 81));
    world.until("the change", |w| w.port("web") == 81).await;
    assert_eq!(world.deletions, 0);
}

#[tokio::test]
async fn a_server_that_ends_every_watch_at_once_is_not_asked_without_pause() {
    let server = Server::start().await;
    server.put(SERVICES, service("web", 80));
    server.fault(SERVICES, Fault::EndAtOnce);
    let mut world = World::start(&server, settings()).await;
    world.until_synced().await;
    let begun = Instant::now();
    world
        .during("ten watches", server.asked(10, watches(SERVICES)))
        .await;
    // Nine pauses of at least half of 200, then of half of 300 ms.
    assert!(
        begun.elapsed() > Duration::from_millis(1000),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn replaced_credentials_are_read_from_the_file() {
    let server = Server::start().await;
    server.put(SERVICES, service("web", 80));
    let (access, dir) = access(&server).await;
    let path = dir.path().join("kubeconfig");
    let mut world = World::with(access, dir, settings(), []);
    world.until_synced().await;
    server.demand_token("second");
    server.cut();
    world.until("the problem", |w| !w.problems.is_empty()).await;
    assert!(
        world.problems[0].remedy.contains("credentials"),
        "{}",
        world.problems[0]
    );
    std::fs::write(path, kubeconfig(&server, "second")).unwrap();
    server.put(SERVICES, service("web", 81));
    world
        .until("the change", |w| w.port("web") == 81 && w.problems.is_empty())
        .await;
}

#[tokio::test]
async fn everything_is_read_anew_now_and_then() {
    let server = Server::start().await;
    server.put(SERVICES, service("a", 80));
    server.put(SERVICES, service("b", 80));
    let often = StreamSettings {
        relist_every: Duration::from_secs(1),
        ..settings()
    };
    let mut world = World::start(&server, often).await;
    world.until_synced().await;
    world.during("a watch", server.asked(1, watches(SERVICES))).await;
    // A deletion that the watch never told.
    server.delete_silently(SERVICES, "a");
    world.until("the deletion", |w| w.deletions == 1).await;
    assert_eq!(world.names(), ["b"]);
}

/// The group is known to this server, its newest version is not.
#[tokio::test]
async fn service_imports_are_read_in_whichever_version_the_server_has() {
    let server = Server::start().await;
    server.put(IMPORTS, import("web", "ClusterSetIP"));
    server.put(IMPORTS, import("db", "Headless"));
    let mut world = World::start(&server, settings()).await;
    world.until_synced().await;
    assert_eq!(world.imports, ["web".to_owned()].into());
    server.put(IMPORTS, import("mail", "ClusterSetIP"));
    world.until("an import", |world| world.imports.len() == 2).await;
    server.delete(IMPORTS, "web");
    world.until("its end", |world| world.imports.len() == 1).await;
    let newer = lists("/apis/multicluster.x-k8s.io/v1beta1/serviceimports");
    assert_eq!(server.requests(newer).len(), 1, "asked for once");
}

fn import(name: &str, kind: &str) -> Value {
    json!({
        "metadata": {"namespace": "default", "name": name},
        "spec": {"type": kind, "ports": []},
    })
}
