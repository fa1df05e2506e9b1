//! The way to the backends and clients changes: narrow links, another MAC address, no neighbours, new routes.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use maglane_perf::Rig;
use maglane_perf::capture::Capture;
use maglane_perf::check::check_file;
use maglane_perf::manifests::Service;
use maglane_perf::rig::{Host, plan};
use maglane_perf::wait::wait_until;

use crate::clients::{Running, connects, download, iperf, iperf_server};
use crate::stage::{SOON, Stage, family, iperf as iperf_service, may_run, say, web};

const VIPS: [(&str, u8); 3] = [("nat", 10), ("l2-dsr", 11), ("ipip", 12)];
const IPERF_VIP: u8 = 20;
/// Long enough to fill any path, short enough to be done with small packets.
const BYTES: u64 = 4 << 20;

fn stage(modes: &[(&str, u8)], more: Vec<Service>) -> Stage {
    let services: Vec<Service> = modes
        .iter()
        .map(|(mode, vip)| web(mode, *vip))
        .chain(more)
        .collect();
    Stage::start(Rig::builder(), &services, &[])
}

/// "Too big" of a router on the way comes to the VIP and must find its backend.
#[test]
fn a_narrow_link_to_the_client() {
    if !may_run("a narrow link to the client") {
        return;
    }
    let stage = stage(&VIPS, vec![]);
    stage.check(stage.rig.narrow_client_path(1, 1280));
    for (mode, vip) in VIPS {
        for vip in plan::vip(vip).both() {
            let (_, took) = download(&stage, "c1", vip, BYTES);
            let told = format!("{mode} {}", family(vip));
            say(&format!(
                "ok {told} {BYTES} bytes over a link of 1280 to the client ({} ms)",
                took.as_millis()
            ));
        }
    }
}

/// A packet too big for the balancer's own way to the backend is answered by the balancer itself.
#[test]
fn a_narrow_link_to_the_backends() {
    if !may_run("a narrow link to the backends") {
        return;
    }
    let mut stage = stage(&[], vec![iperf_service("nat", IPERF_VIP)]);
    stage.check(stage.rig.set_mtu(Host::Balancer(1), "eth1", 1400));
    for (vip, own) in plan::vip(IPERF_VIP)
        .both()
        .into_iter()
        .zip(plan::backend(1).both())
    {
        iperf_server(&mut stage, own);
        let end = iperf(&stage, vip, &["-t", "2"]);
        let bytes = end["sum_received"]["bytes"].as_u64().unwrap_or(0);
        stage.assert(bytes > 0, || format!("{vip}: {end}"));
        say(&format!(
            "ok nat {} {bytes} bytes over a link of 1400 to the backend",
            family(vip)
        ));
    }
}

/// A backend's MAC address changes, and it says so (gratuitous ARP, unsolicited NA), as after a failover.
#[test]
fn a_backend_announces_another_mac_address() {
    change_mac("announced", SOON);
}

/// As above, but it tells nobody: the kernel's own timers, up to 45 s reachable and 8 s of probing, decide.
#[test]
fn a_backend_changes_its_mac_address_silently() {
    change_mac("silent", SOON);
}

fn change_mac(how: &str, limit: Duration) {
    if !may_run("a changed MAC address") {
        return;
    }
    let mut one = web("nat", 10);
    one.endpoints.truncate(1);
    let stage = stage(&[], vec![one]);
    let told = u8::from(how == "announced");
    let keys = ["ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/ndisc_notify"];
    keys.iter().for_each(|key| {
        stage.check(
            stage
                .rig
                .ns("b1")
                .script(&format!("echo {told} > /proc/sys/net/{key}")),
        );
    });
    for (vip, mac) in plan::vip(10)
        .both()
        .into_iter()
        .zip(["02:00:00:00:be:04", "02:00:00:00:be:06"])
    {
        let target = SocketAddr::new(vip, 80);
        connects(&stage, "c1", target, 20);
        let line =
            format!("connects --target {target} --count 10000000 --rate 100 --concurrency 8 --timeout 1000");
        let load = Running::start(&stage, "c2", &line);
        load.wait(&stage, "load", |report| report.answers > 50);
        let begin = Instant::now();
        stage.check(
            stage
                .rig
                .ns("b1")
                .run("ip", &["link", "set", "eth0", "address", mac]),
        );
        wait_steady(&stage, target, limit);
        let ms = begin.elapsed().as_millis();
        connects(&stage, "c1", target, 50);
        load.stop(&stage);
        say(&format!(
            "ok nat {} a backend's new MAC address, {how}: ten connections in a row after {ms} ms",
            family(vip)
        ));
    }
}

/// Ten connections in a row, each within a quarter of a second.
fn wait_steady(stage: &Stage, target: SocketAddr, limit: Duration) {
    let mut row = 0;
    let answered = || {
        let opened = TcpStream::connect_timeout(&target, Duration::from_millis(250)).is_ok();
        row = if opened { row + 1 } else { 0 };
        row == 10
    };
    let steady = stage
        .rig
        .ns("c1")
        .inside(|| wait_until("ten connections in a row", limit, answered));
    stage.check(stage.check(steady));
}

#[test]
fn neighbours_forgotten_and_routes_changed_under_flows() {
    if !may_run("routes and neighbours") {
        return;
    }
    let stage = stage(&VIPS[..1], vec![]);
    let vips = plan::vip(VIPS[0].1).both();
    let flows = vips.map(|vip| {
        let target = SocketAddr::new(vip, 80);
        let line = format!("flows --target {target} --flows 100 --rate 5 --seconds 3600 --timeout 60000");
        let mut flows = Running::start(&stage, "c2", &line);
        flows.wait_ready(&stage);
        flows
    });
    stage.check(
        stage
            .rig
            .ns("lb")
            .script("ip -4 neigh flush all\nip -6 neigh flush all"),
    );
    flows.iter().for_each(|flows| flows.wait_answers(&stage, 3));
    say("ok nat neighbours forgotten and found again under flows");
    for (told, gateways) in [
        ("another router", ONLY_BACK),
        ("two routers", BOTH),
        ("the first again", ONLY_FRONT),
    ] {
        stage.check(stage.rig.ns("lb").script(&default_routes(gateways)));
        for (interface, expected) in [("front", gateways.front), ("back", gateways.back)] {
            if expected {
                vips.iter().for_each(|vip| wait_seen(&stage, interface, *vip));
            }
        }
        flows.iter().for_each(|flows| flows.wait_answers(&stage, 2));
        say(&format!("ok nat answers follow the route to {told}"));
    }
    for flows in flows {
        let report = flows.stop(&stage);
        stage.assert(report.clean(), || format!("flows over changing routes: {report}"));
    }
    say("ok nat 200 flows over forgotten neighbours and three route changes, none lost");
}

/// Which of the router's two addresses the balancer sends answers to.
#[derive(Clone, Copy)]
struct Gateways {
    front: bool,
    back: bool,
}

const ONLY_FRONT: Gateways = Gateways {
    front: true,
    back: false,
};
const ONLY_BACK: Gateways = Gateways {
    front: false,
    back: true,
};
const BOTH: Gateways = Gateways {
    front: true,
    back: true,
};

fn default_routes(gateways: Gateways) -> String {
    let hops = |front: IpAddr, back: IpAddr| {
        [(gateways.front, front, "eth0"), (gateways.back, back, "eth1")]
            .iter()
            .filter(|(wanted, _, _)| *wanted)
            .map(|(_, address, interface)| format!(" nexthop via {address} dev {interface}"))
            .collect::<String>()
    };
    let (front, back) = (plan::router_front(), plan::router_back());
    // An IPv6 `replace` of one next hop with several keeps the old route beside the new: deleted first.
    format!(
        "ip route replace default{}\nip -6 route del default\nip -6 route add default{}\n",
        hops(front.v4.into(), back.v4.into()),
        hops(front.v6.into(), back.v6.into())
    )
}

/// Waits until answers from the VIP leave through the router's `interface`.
fn wait_seen(stage: &Stage, interface: &str, vip: IpAddr) {
    let file = stage.folder.path().join("route.pcap");
    let filter = format!("src host {vip}");
    let capture = stage.check(Capture::start(&stage.rig.ns("r"), interface, &file, &filter));
    let begun = || std::fs::metadata(&file).is_ok_and(|file| file.len() > 100);
    stage.check(wait_until(
        &format!("answers of {vip} through {interface}"),
        SOON,
        begun,
    ));
    let captured = capture.stop();
    let summary = stage.check(check_file(&captured.file).map_err(|error| format!("{error:#}")));
    stage.assert(summary.good(), || format!("through {interface}: {summary}"));
}
