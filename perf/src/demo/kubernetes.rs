//! The demo with a Kubernetes API server: a pool, a Service made with kubectl, an address, traffic; then scaling, a
//! drain, an API server that freezes and one that dies while flows run, a deletion and a return.
//!
//! There is no kubelet and no controller here: the EndpointSlices are written in their place.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::Interrupted;
use super::clients::Client;
use crate::balancer::{Balancer, wait_serving};
use crate::cluster::{Choice, Cluster, ClusterError, Fault, User};
use crate::load::Report;
use crate::rig::{Host, Namespace, Rig, plan};
use crate::wait::wait_until;

const NAMESPACE: &str = "maglane-system";
const FLOWS: usize = 2000;
const SOON: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);
/// What `deploy/` has before the pods.
const DEPLOY: [&str; 4] = [
    include_str!("../../../deploy/manifests/namespace.yaml"),
    include_str!("../../../deploy/manifests/rbac.yaml"),
    include_str!("../../../deploy/crds/addresspools.yaml"),
    include_str!("../../../deploy/crds/addressreservations.yaml"),
];
const POOL: &str = "apiVersion: maglane.io/v1alpha1
kind: AddressPool
metadata: {name: main}
spec: {addresses: [203.0.113.40-203.0.113.49, '2001:db8:f00d::40-2001:db8:f00d::49']}
";
const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: LoadBalancer
  allocateLoadBalancerNodePorts: false
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  ports: [{name: http, port: 80, targetPort: 80}]
";
const PATH: &str = "/api/v1/namespaces/default/services/web";

/// Runs it; true when no request failed.
///
/// # Errors
/// When there is no API server, or the network or the balancer does not start.
pub fn run(trouble: Duration, interrupted: &Interrupted) -> anyhow::Result<bool> {
    let run_id = format!("demo{:x}", std::process::id());
    println!("Laying out 2 clients, a router, a balancer and 4 backends ...");
    let rig = Rig::builder().backends(4).run_id(&run_id).build()?;
    println!("\n{}", rig.picture());
    let folder = std::env::temp_dir().join(format!("maglane-{run_id}"));
    let outcome = in_rig(&rig, &folder, trouble, interrupted);
    // Of a run that failed at once there may be none.
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

fn in_rig(rig: &Rig, folder: &Path, trouble: Duration, interrupted: &Interrupted) -> anyhow::Result<bool> {
    std::fs::create_dir_all(folder)?;
    let node = rig.on(Host::Balancer(1));
    let cluster = match Cluster::builder().choice(Choice::Real).namespace(&node).start() {
        Err(ClusterError::NoProgram(name)) => bail!(
            "no {name} is found: set KUBEBUILDER_ASSETS to a directory that holds kube-apiserver, etcd and kubectl \
             (setup-envtest of sigs.k8s.io/controller-runtime fetches them); `make demo` needs none of it"
        ),
        other => other?,
    };
    let demo = Demo::open(rig, cluster, node, folder)?;
    demo.story(trouble, interrupted)
}

struct Demo<'r> {
    rig: &'r Rig,
    cluster: Cluster,
    node: Namespace,
    /// Of an administrator, for kubectl.
    kubeconfig: PathBuf,
    has_kubectl: bool,
    // Dropped first of those that run: nobody is served while the backends go.
    balancer: Balancer,
    _servers: Vec<crate::process::Guard>,
}

impl<'r> Demo<'r> {
    fn open(rig: &'r Rig, cluster: Cluster, node: Namespace, folder: &Path) -> anyhow::Result<Self> {
        let servers = rig.serve_all()?;
        for text in DEPLOY {
            cluster.client().apply_all("default", text)?;
        }
        wait_until("the CRDs are served", SOON, || {
            let pools = cluster.client().get("/apis/maglane.io/v1alpha1/addresspools");
            pools.is_ok()
        })?;
        let file = |name: &str, user: &User| -> anyhow::Result<PathBuf> {
            let path = folder.join(name);
            std::fs::write(&path, cluster.kubeconfig(user)?)?;
            Ok(path)
        };
        let product = file("maglane.kubeconfig", &User::service_account(NAMESPACE, "maglane"))?;
        let kubeconfig = file("admin.kubeconfig", &User::admin())?;
        let flags = [
            format!("--kubeconfig={}", product.display()),
            "--default-class".to_owned(),
            "--node-name=lb1".to_owned(),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let balancer = Balancer::start(rig, 1, folder, &flags).context("start the balancer")?;
        println!(
            "{} is up; maglane runs under the rights of deploy/manifests/rbac.yaml\n",
            cluster.name()
        );
        let has_kubectl = node.run("sh", &["-c", "command -v kubectl"]).is_ok();
        Ok(Self {
            has_kubectl,
            rig,
            cluster,
            node,
            kubeconfig,
            balancer,
            _servers: servers,
        })
    }

    fn story(&self, trouble: Duration, interrupted: &Interrupted) -> anyhow::Result<bool> {
        self.apply("the pool", POOL)?;
        let addresses = self.serve(&[1, 2])?;
        let target = SocketAddr::new(addresses[0], 80);
        let mut flows = Client::start(
            &self.rig.ns("c1"),
            &format!("flows --target {target} --flows {FLOWS} --rate 1 --seconds 3600"),
        )?;
        flows.wait_ready()?;
        println!("{FLOWS} HTTP flows are open");
        self.endpoints(&[(1, true), (2, true), (3, true), (4, true)])?;
        self.until("4 backends", || self.active() == 4)?;
        println!("scaled to 4 backends");
        self.endpoints(&[(1, true), (2, false), (3, true), (4, true)])?;
        self.until("3 backends", || self.active() == 3)?;
        println!("b2 drains: its flows stay, new ones go elsewhere");
        for (what, fault) in [("freezes", Fault::Frozen), ("is killed", Fault::Down)] {
            let before = flows.latest();
            self.cluster.fault(fault)?;
            println!("the API server {what} ...");
            let begin = Instant::now();
            while begin.elapsed() < trouble && !interrupted.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
            }
            self.cluster.heal()?;
            let now = flows.latest();
            println!(
                "... for {:.0} s: {} requests, {} failed",
                trouble.as_secs_f64(),
                now.requests - before.requests,
                failed(&now) - failed(&before)
            );
        }
        let report = flows.stop();
        self.leave_and_return(target)?;
        println!("\n$ maglane services\n{}", self.balancer.table("services")?);
        ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
        let good = failed(&report) == 0 && report.requests > 0;
        println!(
            "\ndemo-kubernetes: {}, {}, {} requests, {} failures",
            if good { "ok" } else { "FAILED" },
            self.cluster.name(),
            report.requests,
            failed(&report)
        );
        Ok(good)
    }

    /// Makes the Service, waits for its addresses and asks both.
    fn serve(&self, backends: &[u8]) -> anyhow::Result<Vec<IpAddr>> {
        self.apply("the Service", SERVICE)?;
        let states: Vec<(u8, bool)> = backends.iter().map(|n| (*n, true)).collect();
        self.endpoints(&states)?;
        let mut addresses = vec![];
        self.until("addresses in the Service's status", || {
            addresses = self.addresses();
            addresses.len() == 2
        })?;
        for address in &addresses {
            wait_serving(&self.rig.ns("c1"), SocketAddr::new(*address, 80), SOON)?;
            let url = match address {
                IpAddr::V4(address) => format!("http://{address}/"),
                IpAddr::V6(address) => format!("http://[{address}]/"),
            };
            let answer = self.rig.ns("c1").run("curl", &["-s", "-g", "-m", "5", &url])?;
            println!("c1$ curl {url} -> {}", answer.trim());
        }
        self.kubectl(&["get", "service", "web"])?;
        self.kubectl(&["get", "addresspools"])?;
        Ok(addresses)
    }

    fn leave_and_return(&self, target: SocketAddr) -> anyhow::Result<()> {
        self.delete_service()?;
        self.until("the VIP is not served", || {
            self.balancer
                .ask("services")
                .is_ok_and(|rows| rows.as_array().is_some_and(Vec::is_empty))
        })?;
        println!("{target} is not served; the Service is made again");
        self.serve(&[1, 2, 3, 4]).map(drop)
    }

    /// As a person would; where there is no kubectl, through the API.
    fn apply(&self, what: &str, text: &str) -> anyhow::Result<()> {
        if !self.has_kubectl {
            self.cluster
                .client()
                .apply_all("default", text)
                .with_context(|| format!("apply {what}"))?;
            println!("{what} is applied through the API: no kubectl is in $PATH");
            return Ok(());
        }
        let path = self.kubeconfig.with_file_name("object.yaml");
        std::fs::write(&path, text)?;
        println!("{text}");
        self.kubectl(&["apply", "-f", &path.to_string_lossy()])
    }

    fn delete_service(&self) -> anyhow::Result<()> {
        if self.has_kubectl {
            return self.kubectl(&["delete", "service", "web"]);
        }
        self.cluster.client().delete(PATH)?;
        Ok(())
    }

    /// Nothing where there is none: its absence costs a table, not the demo.
    fn kubectl(&self, args: &[&str]) -> anyhow::Result<()> {
        if !self.has_kubectl {
            return Ok(());
        }
        let config = format!("--kubeconfig={}", self.kubeconfig.display());
        let all: Vec<&str> = std::iter::once(config.as_str())
            .chain(args.iter().copied())
            .collect();
        println!("admin$ kubectl {}", args.join(" "));
        println!("{}", self.node.run("kubectl", &all)?);
        Ok(())
    }

    /// In the place of the endpoint controller: which backends there are, and whether they take new flows.
    fn endpoints(&self, backends: &[(u8, bool)]) -> anyhow::Result<()> {
        for (at, family) in ["IPv4", "IPv6"].into_iter().enumerate() {
            let endpoint = |(n, ready): &(u8, bool)| {
                json!({
                    "addresses": [plan::backend(*n).both()[at].to_string()],
                    "conditions": { "ready": ready, "serving": true, "terminating": !ready },
                })
            };
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": format!("web-{}", family.to_lowercase()),
                    "labels": { "kubernetes.io/service-name": "web" },
                },
                "addressType": family,
                "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }],
                "endpoints": backends.iter().map(endpoint).collect::<Vec<Value>>(),
            });
            self.cluster.client().apply_object("default", &slice)?;
        }
        Ok(())
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let service = self.cluster.client().get(PATH).unwrap_or_default();
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array().cloned();
        let ips = ingress.unwrap_or_default();
        ips.iter()
            .filter_map(|entry| entry["ip"].as_str()?.parse().ok())
            .collect()
    }

    /// Backends that take new flows, of the port that has fewest.
    fn active(&self) -> u64 {
        let rows = self.balancer.ask("services").unwrap_or_default();
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter()
            .filter_map(|row| row["active_backends"].as_u64())
            .min()
            .unwrap_or(0)
    }

    fn until(&self, what: &str, condition: impl FnMut() -> bool) -> anyhow::Result<()> {
        wait_until(what, SOON, condition)?;
        Ok(())
    }
}

fn failed(report: &Report) -> u64 {
    report.failures + report.connect_failures + report.mismatches
}
