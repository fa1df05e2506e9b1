//! A cluster's Services through `maglane run`: an address from a pool, traffic, conditions, an API server in
//! trouble. Against a real kube-apiserver where one is found, else against the double; a line says which.
//! `TROUBLE_SECONDS=60` makes each trouble that long.

#[path = "kubernetes/allocator.rs"]
mod allocator;
#[path = "kubernetes/readiness.rs"]
mod readiness;
#[path = "kubernetes/scale.rs"]
mod scale;
#[path = "kubernetes/world.rs"]
mod world;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use maglane_perf::cluster::{Cluster, Fault, User};
use maglane_perf::rig::Host;
use serde_json::json;

use crate::clients::{Running, connects, curl};
use crate::stage::{SOON, may_run, say};
use world::{NAMESPACE, SERVICE, World, file, service};

/// How long each kind of trouble lasts.
fn trouble() -> Duration {
    Duration::from_secs(number("TROUBLE_SECONDS", 10))
}

/// Of an environment variable that makes a test longer; what is no number ends the test.
fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text}: write a whole number")),
        Err(_) => default,
    }
}

#[test]
fn kubernetes_a_service_gets_addresses_traffic_and_conditions_and_nothing_is_written_at_rest() {
    if !may_run("a cluster's Service") {
        return;
    }
    let world = World::start().launch();
    world.serve(&[1, 2]);
    let vips = world.wait_served();
    assert_eq!(
        vips,
        [
            "203.0.113.40".parse::<IpAddr>().unwrap(),
            "2001:db8:f00d::40".parse().unwrap()
        ]
    );
    for vip in &vips {
        curl(&world.stage, "c1", *vip);
    }
    say(&format!(
        "ok kubernetes: {} and {} from the pool, served",
        vips[0], vips[1]
    ));
    // kubectl shows what happened.
    let events = "/apis/events.k8s.io/v1/namespaces/default/events";
    world.until("an Event", || {
        let events = world.client().get(events).unwrap_or_default();
        events["items"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|event| event["reason"] == "IPAllocated")
    });
    // Endpoints come and go without a write; so does time.
    let user = format!("system:serviceaccount:{NAMESPACE}:maglane");
    let mark = world.cluster.log().mark();
    for backends in [&[1, 2, 3, 4][..], &[2, 3][..], &[1, 2, 3][..]] {
        world.endpoints(backends);
        world.until("the endpoints in the table", || {
            world.active() == backends.len() as u64
        });
        connects(&world.stage, "c1", SocketAddr::new(vips[0], 80), 50);
    }
    let writes = world.cluster.log().writes(&user, mark);
    let other: Vec<String> = writes
        .iter()
        .map(|entry| entry.path.clone())
        .filter(|path| !path.contains("/leases/"))
        .collect();
    assert_eq!(other, [""; 0], "nothing is written for endpoints");
    // Deleted: the address goes, and the next Service gets it.
    world.stage.check(world.client().delete(SERVICE));
    let target = SocketAddr::new(vips[0], 80);
    let client = world.stage.rig.ns("c1");
    world.until("the address is gone", || {
        let refused =
            client.inside(|| TcpStream::connect_timeout(&target, Duration::from_millis(200)).is_err());
        refused.unwrap_or(false)
    });
    world.serve(&[1, 2, 3]);
    assert_eq!(world.wait_served(), vips);
    curl(&world.stage, "c1", vips[0]);
    say("ok kubernetes: scaled, deleted and made again; no write at rest");
}

#[test]
fn kubernetes_an_api_server_in_trouble_changes_nothing() {
    if !may_run("an API server in trouble") {
        return;
    }
    let world = World::start().launch();
    world.serve(&[1, 2, 3, 4]);
    let vips = world.wait_served();
    let target = SocketAddr::new(vips[0], 80);
    let user = format!("system:serviceaccount:{NAMESPACE}:maglane");
    for (name, fault) in [
        ("frozen", Fault::Frozen),
        ("killed", Fault::Down),
        ("503", Fault::Unavailable),
    ] {
        let line =
            format!("connects --target {target} --count 10000000 --rate 200 --concurrency 8 --timeout 5000");
        let load = Running::start(&world.stage, "c2", &line);
        load.wait(&world.stage, "load", |report| report.answers > 100);
        let table = world.table();
        world.stage.check(world.cluster.fault(fault));
        let begin = std::time::Instant::now();
        let before = load.now().answers;
        load.wait(&world.stage, "time under trouble", |_| {
            begin.elapsed() >= trouble()
        });
        assert_eq!(world.table(), table, "{name}: the table is as it was");
        let mark = world.cluster.log().mark();
        world.stage.check(world.cluster.heal());
        let answers = load.now().answers - before;
        // In step again: a change arrives.
        world.ready(&[true, true, true, false]);
        let took = world.until("resynced", || world.active() == 3);
        world.endpoints(&[1, 2, 3, 4]);
        world.until("resynced", || world.active() == 4);
        let report = load.stop(&world.stage);
        let failed = report.failures + report.connect_failures + report.mismatches;
        world.stage.assert(failed == 0, || format!("{name}: {report}"));
        let writes = world.cluster.log().writes(&user, mark);
        let churn = writes
            .iter()
            .filter(|entry| !entry.path.contains("/leases/"))
            .count();
        assert_eq!(churn, 0, "{name}: no write follows");
        say(&format!(
            "ok kubernetes: API server {name} for {} s: {answers} requests, 0 failed, 0 table changes; a change \
             {} ms after it was back",
            trouble().as_secs(),
            took.as_millis()
        ));
    }
}

#[test]
fn kubernetes_a_node_forwards_after_a_restart_with_the_api_server_down() {
    if !may_run("a restart with the API server down") {
        return;
    }
    let mut world = World::start().launch();
    world.serve(&[1, 2]);
    let vips = world.wait_served();
    let state = world.stage.folder.path().join("state");
    let saved = |name: &str| std::fs::read_to_string(state.join(name)).unwrap_or_default();
    let address = format!("\"Valid\":[\"{}\"", vips[0]);
    world.until("the state on disk", || {
        ["state-a", "state-b"]
            .iter()
            .any(|name| saved(name).contains(&address))
    });
    world.stage.check(world.cluster.fault(Fault::Down));
    world.stage.balancer = None;
    let world = world.launch();
    let target = SocketAddr::new(vips[0], 80);
    let took = world.stage.check(maglane_perf::balancer::wait_serving(
        &world.stage.rig.ns("c1"),
        target,
        SOON,
    ));
    curl(&world.stage, "c1", vips[1]);
    say(&format!(
        "ok kubernetes: started with the API server down, serving after {} ms",
        took.as_millis()
    ));
    world.stage.check(world.cluster.heal());
    world.endpoints(&[1, 2, 3]);
    world.until("in step with the cluster", || world.active() == 3);
}

#[test]
fn kubernetes_a_global_service_spreads_over_two_clusters_and_fails_over() {
    if !may_run("a Service of two clusters") {
        return;
    }
    let world = World::start();
    let namespace = world.stage.rig.on(Host::Balancer(1));
    let west = world
        .stage
        .check(Cluster::builder().namespace(&namespace).start());
    for path in ["deploy/manifests/namespace.yaml", "deploy/manifests/rbac.yaml"] {
        world.stage.check(west.client().apply_all("default", &file(path)));
    }
    let kubeconfig = world.stage.folder.path().join("west");
    let user = User::service_account(NAMESPACE, "maglane");
    std::fs::write(&kubeconfig, world.stage.check(west.kubeconfig(&user))).unwrap();
    let world = world.launch_with(&[format!("--cluster=west={}", kubeconfig.display())]);
    let both = service(&json!({ "maglane.io/global": "true" }));
    for client in [world.client(), west.client()] {
        world.stage.check(client.apply_object("default", &both));
    }
    world.endpoints(&[1, 2]);
    world.endpoints_in(west.client(), &[3, 4]);
    let target = SocketAddr::new(world.wait_served()[0], 80);
    world.until("the backends of both", || world.active() == 4);
    let report = connects(&world.stage, "c1", target, 400);
    assert_eq!(report.backends.len(), 4, "{report}");
    say(&format!(
        "ok kubernetes: two clusters, spread {:.3}",
        report.spread
    ));
    // Local first, the other cluster when nobody is ready here.
    let tiered = service(&json!({ "maglane.io/global": "true", "maglane.io/failover-threshold": "1" }));
    world.stage.check(world.client().apply_object("default", &tiered));
    world.until("the own cluster alone", || world.active() == 2);
    let line =
        format!("connects --target {target} --count 10000000 --rate 200 --concurrency 8 --timeout 5000");
    let load = Running::start(&world.stage, "c2", &line);
    load.wait(&world.stage, "load", |report| report.answers > 100);
    world.ready(&[false, false]);
    let names = |report: &maglane_perf::load::Report| report.backends.len();
    load.wait(&world.stage, "answers of the other cluster", |report| {
        names(report) == 4
    });
    world.endpoints(&[1, 2]);
    world.until("both, for a while", || world.active() == 4);
    let back = world.until("the own cluster alone again", || world.active() == 2);
    let report = load.stop(&world.stage);
    let failed = report.failures + report.connect_failures + report.mismatches;
    world.stage.assert(failed == 0, || format!("failover: {report}"));
    say(&format!(
        "ok kubernetes: failed over and back after {:.1} s, {} requests, 0 failed",
        back.as_secs_f64(),
        report.answers
    ));
}
