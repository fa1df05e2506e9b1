//! A rig with a cluster: `maglane run` in it under the rights of `deploy/`, and what the cluster says.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use maglane_perf::Rig;
use maglane_perf::cluster::{Client, Cluster, User};
use maglane_perf::rig::{Host, plan};
use maglane_perf::wait::wait_until;
use serde_json::{Value, json};

use crate::stage::{SOON, Stage, say};

pub const NAMESPACE: &str = "maglane-system";
pub const SERVICE: &str = "/api/v1/namespaces/default/services/web";

pub fn service(annotations: &Value) -> Value {
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

pub struct World {
    // Dropped in this order: the balancer before its cluster before the network.
    pub stage: Stage,
    pub cluster: Cluster,
}

pub fn file(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl World {
    /// The product under the least rights, in a cluster that has its CRDs and a pool.
    pub fn start() -> World {
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

    pub fn launch(self) -> World {
        self.launch_with(&[])
    }

    pub fn launch_with(mut self, more: &[String]) -> World {
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

    pub fn client(&self) -> &Client {
        self.cluster.client()
    }

    #[track_caller]
    pub fn apply(&self, text: &str) {
        self.stage.check(self.client().apply_all("default", text));
    }

    #[track_caller]
    pub fn until(&self, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
        self.stage.check(wait_until(what, SOON, &mut condition))
    }

    /// A dual-stack Service of type LoadBalancer with ready endpoints on these backends.
    pub fn serve(&self, backends: &[u8]) {
        self.stage
            .check(self.client().apply_object("default", &service(&json!({}))));
        self.endpoints(backends);
    }

    pub fn endpoints(&self, backends: &[u8]) {
        self.endpoints_in(self.client(), backends);
    }

    pub fn endpoints_in(&self, client: &Client, backends: &[u8]) {
        let ready = vec![json!({ "ready": true }); backends.len()];
        self.endpoints_as(client, backends, &ready);
    }

    /// As many backends, ready or draining.
    pub fn ready(&self, ready: &[bool]) {
        let conditions: Vec<Value> = ready
            .iter()
            .map(|ready| json!({ "ready": ready, "serving": true, "terminating": false }))
            .collect();
        let backends: Vec<u8> = (1..).take(ready.len()).collect();
        self.endpoints_as(self.client(), &backends, &conditions);
    }

    /// With these conditions.
    fn endpoints_as(&self, client: &Client, backends: &[u8], conditions: &[Value]) {
        for (at, family) in ["IPv4", "IPv6"].into_iter().enumerate() {
            let addresses = backends.iter().map(|n| plan::backend(*n).both()[at].to_string());
            let endpoints: Vec<Value> = addresses
                .zip(conditions)
                .map(|(addr, conditions)| json!({ "addresses": [addr], "conditions": conditions }))
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

    pub fn read(&self) -> Value {
        self.client().get(SERVICE).unwrap_or_default()
    }

    pub fn addresses(&self) -> Vec<IpAddr> {
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
    pub fn conditions(&self) -> Vec<String> {
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

    /// Until the Service has both addresses and every condition up to Programmed holds; here nobody announces.
    pub fn wait_served(&self) -> Vec<IpAddr> {
        let all = [
            "SettingsValid",
            "AddressAllocated",
            "BackendsUsable",
            "Programmed",
        ];
        let all = all.map(|kind| format!("maglane.io/{kind}=True"));
        self.until("addresses and conditions", || {
            let conditions = self.conditions();
            self.addresses().len() == 2 && all.iter().all(|condition| conditions.contains(condition))
        });
        self.addresses()
    }

    /// Backends of the Service that take new flows, as the balancer sees it.
    pub fn active(&self) -> u64 {
        let services = self.stage.balancer().ask("services").unwrap_or_default();
        let rows = services.as_array().cloned().unwrap_or_default();
        rows.iter()
            .filter_map(|row| row["active_backends"].as_u64())
            .min()
            .unwrap_or(0)
    }

    /// What is served and by whom, in order. Neighbours may change the table meanwhile: this may not.
    pub fn table(&self) -> Vec<String> {
        let rows = self.stage.check(self.stage.balancer().ask("backends"));
        let row = |row: &Value| {
            ["vip", "backend", "port", "state", "weight"]
                .map(|key| row[key].to_string())
                .join(" ")
        };
        rows.as_array().into_iter().flatten().map(row).collect()
    }
}
