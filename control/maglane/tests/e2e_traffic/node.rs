//! SIGKILL under load: the node's own connections on the same interfaces live on, nothing stays attached.

use std::net::SocketAddr;

use maglane_perf::Rig;
use maglane_perf::rig::plan;
use maglane_perf::wait::wait_until;

use crate::clients::{Running, connects};
use crate::stage::{SOON, Stage, family, may_run, say, web};

const VIP: u8 = 10;
/// A server of the node's own; not a port of any service.
const OWN_PORT: u16 = 8080;

#[test]
fn sigkill_under_load() {
    if !may_run("SIGKILL") {
        return;
    }
    let mut stage = Stage::start(Rig::builder(), &[web("nat", VIP)], &[]);
    serve_on_node(&mut stage);
    let own: Vec<Running> = own_addresses()
        .map(|(host, address)| own_flows(&stage, host, address))
        .into();
    let targets = plan::vip(VIP).both().map(|vip| SocketAddr::new(vip, 80));
    let through = targets.map(|target| Running::start(&stage, "c2", &endless(target)));
    through
        .iter()
        .for_each(|load| load.wait(&stage, "load through the VIPs", |report| report.answers > 200));
    stage
        .balancer
        .take()
        .unwrap_or_else(|| panic!("no balancer"))
        .guard
        .kill();
    wait_until("the end of the programs", SOON, || programs(&stage) == 0).unwrap();
    for flows in &own {
        flows.wait_answers(&stage, 5);
    }
    stage.launch(&[]);
    for target in targets {
        stage.check(maglane_perf::balancer::wait_serving(
            &stage.rig.ns("c1"),
            target,
            SOON,
        ));
        connects(&stage, "c1", target, 50);
    }
    stage.assert(programs(&stage) == 2, || {
        "no program on each interface after the restart".to_owned()
    });
    for ((host, address), flows) in own_addresses().into_iter().zip(own) {
        let report = flows.stop(&stage);
        stage.assert(report.clean(), || {
            format!("own flows {host} to {address}: {report}")
        });
        let kind = family(address.ip());
        say(&format!(
            "ok node {kind} SIGKILL: {} answers from {address} to {host}, none lost",
            report.answers
        ));
    }
    for load in through {
        load.stop(&stage);
    }
    say("ok node restart after SIGKILL: traffic through the VIPs again, no program had stayed");
}

fn own_addresses() -> [(&'static str, SocketAddr); 4] {
    let [front, back] = [plan::balancer_front(1), plan::balancer_back(1)].map(|dual| dual.both());
    let at = |address| SocketAddr::new(address, OWN_PORT);
    [
        ("c1", at(front[0])),
        ("c1", at(front[1])),
        ("b1", at(back[0])),
        ("b1", at(back[1])),
    ]
}

fn serve_on_node(stage: &mut Stage) {
    let http = format!("[::]:{OWN_PORT}");
    let args = ["serve", "--name", "node", "--http", &http, "--udp", "[::]:8081"];
    let mut guard = stage.check(stage.rig.ns("lb").rig_tool("the node's own server", &args));
    stage.check(guard.wait_for("ready", SOON));
    stage.keep(guard);
}

fn own_flows(stage: &Stage, host: &str, address: SocketAddr) -> Running {
    let line = format!("flows --target {address} --flows 20 --rate 20 --seconds 3600 --timeout 60000");
    let mut flows = Running::start(stage, host, &line);
    flows.wait_ready(stage);
    flows
}

fn endless(target: SocketAddr) -> String {
    format!("connects --target {target} --count 10000000 --rate 300 --concurrency 8 --timeout 2000")
}

fn programs(stage: &Stage) -> usize {
    stage
        .check(stage.rig.ns("lb").run("ip", &["-d", "link", "show"]))
        .matches("prog/xdp")
        .count()
}
