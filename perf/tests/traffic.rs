//! The generator's frames are right in every kind and engine, and a forwarder between it and the sink loses none.

use std::net::IpAddr;
use std::time::Duration;

use maglane_perf::Rig;
use maglane_perf::capture::Capture;
use maglane_perf::check::check_file;
use maglane_perf::rig::plan;
use maglane_perf::traffic::sink::Sunk;

const LIMIT: Duration = Duration::from_secs(30);
const COUNT: u64 = 2_000;

/// A rig whose switch port towards the balancer the generator sends from, or why the test is skipped.
fn rig() -> Option<Rig> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: network namespaces need root");
        return None;
    }
    let rig = Rig::builder()
        .queues(1)
        .clients(1)
        .backends(1)
        .build()
        .expect("lay out the rig");
    // XDP frames are taken only by a far end with NAPI.
    rig.ns("lb")
        .run("ethtool", &["-K", "eth0", "gro", "on"])
        .expect("gro on");
    Some(rig)
}

fn mac(rig: &Rig, host: &str, interface: &str) -> String {
    let path = format!("/sys/class/net/{interface}/address");
    rig.ns(host)
        .run("cat", &[&path])
        .expect("an address")
        .trim()
        .to_owned()
}

fn blast(rig: &Rig, target: IpAddr, more: &[&str]) {
    let source = if target.is_ipv4() {
        "10.10.1.10"
    } else {
        "fd10:1::a"
    };
    let (target_mac, target) = (mac(rig, "lb", "eth0"), target.to_string());
    let fixed = [
        "blast",
        "--interface",
        "front-lb1",
        "--target-mac",
        &target_mac,
        "--target",
        &target,
    ];
    let args = [&fixed[..], &["--source", source, "--flows", "40000"], more].concat();
    let finished = rig
        .ns("sw")
        .rig_tool("blast", &args)
        .expect("start")
        .finish(LIMIT)
        .expect("the generator ends");
    assert!(finished.status.success(), "{finished:?}");
}

#[test]
fn frames_of_every_kind_and_engine_are_right() {
    let Some(rig) = rig() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let count = COUNT.to_string();
    for engine in ["live", "socket"] {
        for kind in ["udp", "syn", "ack"] {
            for target in plan::vip(1).both() {
                let file = folder.path().join(format!("{engine}-{kind}-{target}.pcap"));
                let capture = Capture::start(&rig.ns("lb"), "eth0", &file, "dst port 4711").expect("capture");
                let more = [
                    "--kind", kind, "--engine", engine, "--count", &count, "--rate", "50000",
                ];
                blast(
                    &rig,
                    target,
                    &[&more[..], &["--port", "4711", "--size", "80"]].concat(),
                );
                let summary = check_file(&capture.stop().file).expect("a capture");
                assert!(summary.good(), "{engine} {kind} {target}: {summary}");
                assert!(
                    summary.verified * 100 >= COUNT * 95,
                    "{engine} {kind} {target}: {summary}"
                );
            }
        }
    }
}

#[test]
fn the_bare_forwarder_passes_packets_on_to_the_sink() {
    let Some(rig) = rig() else { return };
    let vip = plan::vip(1).v4.to_string();
    let mut sink = rig
        .ns("sw")
        .rig_tool("sink", &["sink", "--interface", "back-lb1"])
        .expect("sink");
    sink.wait_for("ready", LIMIT).expect("the sink is ready");
    let target_mac = mac(&rig, "sw", "back-lb1");
    let args = [
        "reflect",
        "--input",
        "eth0",
        "--output",
        "eth1",
        "--vip",
        &vip,
        "--target-mac",
        &target_mac,
    ];
    let mut reflect = rig.ns("lb").rig_tool("reflect", &args).expect("reflect");
    reflect.wait_for("ready", LIMIT).expect("the forwarder is ready");
    blast(
        &rig,
        plan::vip(1).v4.into(),
        &["--rate", "20000", "--count", "20000"],
    );
    let lines = sink.stop(LIMIT).expect("the sink's last words").stdout;
    let sunk: Sunk = serde_json::from_str(lines.last().expect("a line")).expect("counts");
    assert!((19_000..=20_100).contains(&sunk.packets), "{sunk:?}");
}
