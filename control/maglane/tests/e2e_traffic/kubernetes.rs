//! A cluster's Services through `maglane run`: an address from a pool, traffic, conditions, an API server in
//! trouble. Against a real kube-apiserver where one is found, else against the double; a line says which.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use maglane_perf::Rig;
use maglane_perf::cluster::{Client, Cluster, Fault, User};
use maglane_perf::rig::{Host, plan};
use maglane_perf::wait::wait_until;
use serde_json::{Value, json};

use crate::clients::{Running, connects, curl};
use crate::stage::{SOON, Stage, may_run, say};

const NAMESPACE: &str = "maglane-system";
const SERVICE: &str = "/api/v1/namespaces/default/services/web";
/// How long each kind of trouble lasts.
const TROUBLE: Duration = Duration::from_secs(10);

fn service(annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "web", "annotations": annotations },
        "spec": {
            "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
            "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"],
            "ports": [{ "name": "http", "port": 80, "targetPort": 80, "protocol": "TCP" }],
        },
    })
}

struct World {
    // Dropped in this order: the balancer before its cluster before the network.
    stage: Stage,
    cluster: Cluster,
}

fn file(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl World {
    /// The product under the least rights, in a cluster that has its CRDs and a pool.
    fn start() -> World {
        let mut stage = Stage::start(Rig::builder(), &[], &[]);
        stage.balancer = None;
        let namespace = stage.rig.on(Host::Balancer(1));
        let cluster = stage.check(Cluster::builder().namespace(&namespace).start());
        say(&format!("cluster: {}", cluster.name()));
        let world = World { stage, cluster };
        for path in [
            "deploy/manifests/namespace.yaml",
            "deploy/manifests/rbac.yaml",
            "deploy/crds/addresspools.yaml",
            "deploy/crds/addressreservations.yaml",
        ] {
            world.apply(&file(path));
        }
        world.until("the CRDs are served", || {
            world
                .client()
                .get("/apis/maglane.io/v1alpha1/addresspools")
                .is_ok()
        });
        world.apply(
            "{apiVersion: maglane.io/v1alpha1, kind: AddressPool, metadata: {name: main}, \
             spec: {addresses: [203.0.113.40-203.0.113.49, '2001:db8:f00d::40-2001:db8:f00d::49']}}",
        );
        world
    }

    fn launch(self) -> World {
        self.launch_with(&[])
    }

    fn launch_with(mut self, more: &[String]) -> World {
        let kubeconfig = self.stage.folder.path().join("kubeconfig");
        let user = User::service_account(NAMESPACE, "maglane");
        let text = self.stage.check(self.cluster.kubeconfig(&user));
        std::fs::write(&kubeconfig, text).unwrap();
        let state = self.stage.folder.path().join("state");
        let flags = [
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--state-dir={}", state.display()),
            "--default-class".to_owned(),
            "--node-name=lb1".to_owned(),
        ];
        let flags: Vec<&str> = flags.iter().chain(more).map(String::as_str).collect();
        self.stage.launch(&flags);
        self
    }

    fn client(&self) -> &Client {
        self.cluster.client()
    }

    #[track_caller]
    fn apply(&self, text: &str) {
        self.stage.check(self.client().apply_all("default", text));
    }

    #[track_caller]
    fn until(&self, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
        self.stage.check(wait_until(what, SOON, &mut condition))
    }

    /// A dual-stack Service of type LoadBalancer with ready endpoints on these backends.
    fn serve(&self, backends: &[u8]) {
        self.stage
            .check(self.client().apply_object("default", &service(&json!({}))));
        self.endpoints(backends);
    }

    fn endpoints(&self, backends: &[u8]) {
        self.endpoints_in(self.client(), backends);
    }

    fn endpoints_in(&self, client: &Client, backends: &[u8]) {
        for (at, family) in ["IPv4", "IPv6"].into_iter().enumerate() {
            let addresses = backends.iter().map(|n| plan::backend(*n).both()[at]);
            let endpoints: Vec<Value> = addresses
                .map(|addr| json!({ "addresses": [addr.to_string()], "conditions": { "ready": true } }))
                .collect();
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": format!("web-{}", family.to_lowercase()),
                    "labels": {
                        "kubernetes.io/service-name": "web",
                        "endpointslice.kubernetes.io/managed-by": "maglane-test",
                    },
                },
                "addressType": family,
                "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }],
                "endpoints": endpoints,
            });
            self.stage.check(client.apply_object("default", &slice));
        }
    }

    fn read(&self) -> Value {
        self.client().get(SERVICE).unwrap_or_default()
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let service = self.read();
        let ingress = service["status"]["loadBalancer"]["ingress"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        ingress
            .iter()
            .filter_map(|entry| entry["ip"].as_str()?.parse().ok())
            .collect()
    }

    /// `AddressAllocated=True ...`
    fn conditions(&self) -> Vec<String> {
        let service = self.read();
        let conditions = service["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        conditions
            .iter()
            .map(|c| format!("{}={}", text(&c["type"]), text(&c["status"])))
            .collect()
    }

    /// Until the Service has both addresses and every condition holds.
    fn wait_served(&self) -> Vec<IpAddr> {
        let all = ["AddressAllocated", "BackendsUsable", "Programmed"];
        let all: Vec<String> = all.iter().map(|kind| format!("maglane.io/{kind}=True")).collect();
        self.until("addresses and conditions", || {
            self.addresses().len() == 2 && self.conditions() == all
        });
        self.addresses()
    }

    /// Backends of the Service that take new flows, as the balancer sees it.
    fn active(&self) -> u64 {
        let services = self.stage.balancer().ask("services").unwrap_or_default();
        let rows = services.as_array().cloned().unwrap_or_default();
        rows.iter()
            .filter_map(|row| row["active_backends"].as_u64())
            .min()
            .unwrap_or(0)
    }

    /// What is served and by whom, in order. Neighbours may change the table meanwhile: this may not.
    fn table(&self) -> Vec<String> {
        let rows = self.stage.check(self.stage.balancer().ask("backends"));
        let row = |row: &Value| {
            ["vip", "backend", "port", "state", "weight"]
                .map(|key| row[key].to_string())
                .join(" ")
        };
        rows.as_array().into_iter().flatten().map(row).collect()
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
        load.wait(&world.stage, "time under trouble", |_| begin.elapsed() >= TROUBLE);
        assert_eq!(world.table(), table, "{name}: the table is as it was");
        let mark = world.cluster.log().mark();
        world.stage.check(world.cluster.heal());
        let answers = load.now().answers - before;
        // In step again: a change arrives.
        world.endpoints(&[1, 2, 3]);
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
            TROUBLE.as_secs(),
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
    world.endpoints(&[]);
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
