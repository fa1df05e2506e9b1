//! Two balancers announce to a real FRR in the router's namespace: ECMP, a wedged worker, SIGKILL, drain.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use maglane_perf::rig::plan;
use maglane_perf::wait::wait_until;
use maglane_perf::{Balancer, Guard, Rig};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clients::{Running, connects};
use crate::stage::{SOON, Stage, may_run, say, web};

const VIP: u8 = 10;
/// 250 ms (FAILURES P1) on an idle machine; this one runs two balancers, the router and the clients on its few cores.
const OUT_OF_ECMP: Duration = Duration::from_millis(400);

const OBJECTS: &str = "\
apiVersion: maglane.io/v1alpha1
kind: BgpPeer
metadata: {name: router}
spec: {myASN: 64512, peerASN: 65001, peerAddress: 10.20.0.1, bfdProfile: fast}
---
apiVersion: maglane.io/v1alpha1
kind: BfdProfile
metadata: {name: fast}
spec: {receiveInterval: 50, transmitInterval: 50, detectMultiplier: 3}
---
apiVersion: maglane.io/v1alpha1
kind: BgpAdvertisement
metadata: {name: all}
spec: {communities: ['65010:99']}
";

/// Two balancers, their router, and the service they announce.
struct Fabric {
    second: Option<Balancer>,
    _frr: Vec<Guard>,
    stage: Stage,
}

impl Fabric {
    fn start() -> Fabric {
        let builder = Rig::builder().balancers(2).without_vip_routes();
        let stage = Stage::start(builder, &[], &["--drain-timeout=10s"]);
        let vip = plan::vip(VIP).v4;
        stage.check(stage.rig.own_vip(vip.into()));
        let frr = frr(&stage);
        let mut service = web("l2-dsr", VIP);
        service.vips = vec![vip.into()];
        std::fs::write(stage.manifests().join("bgp.yaml"), OBJECTS).unwrap();
        stage.write(&service);
        let mut fabric = Fabric {
            second: None,
            _frr: frr,
            stage,
        };
        fabric.second = Some(fabric.another());
        fabric
    }

    fn another(&self) -> Balancer {
        let flags = ["--drain-timeout=10s"];
        self.stage.check(Balancer::start(
            &self.stage.rig,
            2,
            self.stage.folder.path(),
            &flags,
        ))
    }

    /// Next hops of the VIP in the router's kernel.
    fn next_hops(&self) -> usize {
        let vip = plan::vip(VIP).v4;
        let shown = self
            .stage
            .rig
            .ns("r")
            .run("ip", &["-4", "route", "show", &vip.to_string()]);
        shown.map_or(0, |text| text.matches(" via 10.20.0.").count())
    }

    fn wait_next_hops(&self, wanted: usize) -> Duration {
        let what = format!("{wanted} next hops in the router");
        let told = wait_until(&what, SOON, || self.next_hops() == wanted);
        told.unwrap_or_else(|error| {
            let router = self.stage.rig.ns("r");
            let vty = self.stage.folder.path().display();
            let shown = router.script(&format!(
                "vtysh --vty_socket {vty} -c 'show bgp summary' -c 'show bfd peers'"
            ));
            panic!("{error}\n{}\n{}\n{shown:?}", self.peers(), self.stage.story())
        })
    }

    fn peers(&self) -> String {
        let ask = |words| {
            let answer = self.stage.balancer().table(words);
            answer.unwrap_or_else(|error| error.to_string())
        };
        ["bgp peers", "bgp routes", "bfd"].map(ask).join("\n")
    }

    fn load(&self) -> Running {
        let line = format!(
            "flows --target {} --flows 200 --rate 20 --seconds 3600 --timeout 10000",
            target()
        );
        let mut load = Running::start(&self.stage, "c2", &line);
        load.wait_ready(&self.stage);
        load
    }
}

fn target() -> SocketAddr {
    SocketAddr::new(plan::vip(VIP).v4.into(), 80)
}

fn frr(stage: &Stage) -> Vec<Guard> {
    let router = stage.rig.ns("r");
    let folder = stage.folder.path();
    let neighbors = ["10.20.0.11", "10.20.0.12"].map(|peer| {
        format!(
            " neighbor {peer} remote-as 64512\n neighbor {peer} timers connect 1\n neighbor {peer} bfd 3 50 50\n"
        )
    });
    let bgpd = format!(
        "router bgp 65001\n bgp router-id 10.20.0.1\n no bgp ebgp-requires-policy\n{} \
         address-family ipv4 unicast\n  maximum-paths 4\n exit-address-family\n",
        neighbors.concat()
    );
    for (name, text) in [("zebra", ""), ("bfdd", ""), ("bgpd", &bgpd)] {
        std::fs::write(folder.join(format!("{name}.conf")), text).unwrap();
    }
    let at = folder.display();
    stage.check(router.script(&format!(
        "chmod 755 {at}; chown frr {at}/*.conf; mkdir -p {at}/run; chown frr {at}/run; \
         sysctl -qw net.ipv4.fib_multipath_hash_policy=1"
    )));
    ["zebra", "bfdd", "bgpd"]
        .map(|name| {
            let mut args = format!(
                "-f 10 /usr/lib/frr/{name} -u frr -g frr -z {at}/run/zserv --vty_socket {at}/run -f {at}/{name}.conf -i {at}/run/{name}.pid"
            );
            if name == "bfdd" {
                args.push_str(&format!(" --bfdctl {at}/run/bfdd.sock"));
            }
            let guard = router.spawn(name, "chrt", args.split(' ').map(str::to_owned));
            let guard = stage.check(guard);
            let socket = folder.join(format!("run/{name}.vty"));
            stage.check(wait_until(name, SOON, || socket.exists()));
            guard
        })
        .into()
}

#[test]
fn bgp_with_a_real_router() {
    if !may_run("BGP with FRR") {
        return;
    }
    if !std::path::Path::new("/usr/lib/frr/bgpd").exists() {
        return say("skipped: BGP with FRR: /usr/lib/frr/bgpd is not installed");
    }
    let mut fabric = Fabric::start();
    fabric.wait_next_hops(2);
    connects(&fabric.stage, "c1", target(), 40);
    say("ok bgp two balancers, one route with two next hops, and connections through it");
    wedged_worker(&fabric);
    killed(&mut fabric);
    drained(fabric);
}

/// A worker that does not turn takes its node out, and comes back with it.
fn wedged_worker(fabric: &Fabric) {
    let worker = thread_of(fabric, "worker-0");
    let load = fabric.load();
    ptrace::seize(worker, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(worker).unwrap();
    let stopped = Instant::now();
    fabric.wait_next_hops(1);
    let out = stopped.elapsed();
    fabric
        .stage
        .assert(out < OUT_OF_ECMP, || format!("out of ECMP after {out:?}"));
    nix::sys::wait::waitpid(worker, Some(nix::sys::wait::WaitPidFlag::__WALL)).unwrap();
    ptrace::detach(worker, None).unwrap();
    fabric.wait_next_hops(2);
    let report = load.stop(&fabric.stage);
    say(&format!(
        "ok bgp a wedged worker is out of ECMP after {} ms, and back; flows: {report}",
        out.as_millis()
    ));
}

fn thread_of(fabric: &Fabric, name: &str) -> Pid {
    let pid = fabric.stage.balancer().guard.pid();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let named = |path: &std::path::Path| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let task = tasks
        .flatten()
        .map(|entry| entry.path())
        .find(|path| named(path))
        .unwrap();
    let id = task
        .file_name()
        .and_then(|id| id.to_str())
        .and_then(|id| id.parse().ok());
    Pid::from_raw(id.unwrap())
}

fn killed(fabric: &mut Fabric) {
    let load = fabric.load();
    fabric.second.take().unwrap().guard.kill();
    let dead = Instant::now();
    fabric.wait_next_hops(1);
    let out = dead.elapsed();
    load.wait_answers(&fabric.stage, 3);
    let report = load.stop(&fabric.stage);
    fabric
        .stage
        .assert(report.resets == 0, || format!("after SIGKILL: {report}"));
    say(&format!(
        "ok bgp SIGKILL: out of ECMP after {} ms; flows: {report}",
        out.as_millis()
    ));
    fabric.second = Some(fabric.another());
    fabric.wait_next_hops(2);
}

/// SIGTERM: withdrawn, forwarded on, gone; nobody notices.
fn drained(mut fabric: Fabric) {
    let load = fabric.load();
    let mut leaving = fabric.second.take().unwrap();
    kill(
        Pid::from_raw(i32::try_from(leaving.guard.pid()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    fabric.wait_next_hops(1);
    fabric
        .stage
        .check(wait_until("the end of the drained balancer", SOON, || {
            !leaving.guard.running()
        }));
    load.wait_answers(&fabric.stage, 3);
    let report = load.stop(&fabric.stage);
    fabric.stage.assert(report.clean(), || {
        format!("drained: {report}\n{:?}", leaving.guard.stderr())
    });
    say(&format!("ok bgp drain: no flow noticed; {report}"));
}
