//! What one VIP must carry in any mode, one check a function.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};

use maglane_perf::rig::plan;

use crate::clients::{connects, curl, download, iperf, iperf_server, load};
use crate::stage::{SOON, Stage, say};
use crate::watch::rate;

pub fn pages(stage: &Stage, told: &str, vip: IpAddr) {
    let body = curl(stage, "c1", vip);
    stage.assert(body.contains("\"backend\":"), || body.clone());
    let report = connects(stage, "c1", SocketAddr::new(vip, 80), 200);
    stage.assert(report.backends.len() == 4, || {
        format!("{told}: not every backend is used: {report}")
    });
    say(&format!(
        "ok {told} 200 new connections over 4 backends, spread {:.2}",
        report.spread
    ));
}

/// UDP may lose a datagram on a stalled machine, but no flow may stay unanswered or change its backend.
pub fn datagrams(stage: &Stage, told: &str, vip: IpAddr) {
    let target = SocketAddr::new(vip, 5353);
    let line = format!("udp --target {target} --flows 40 --rate 20 --seconds 1 --timeout 10000");
    let report = load(stage, "c1", &line);
    let answered: u64 = report.backends.values().map(|backend| backend.flows).sum();
    let good = report.mismatches == 0 && answered == 40 && report.failures * 50 <= report.requests;
    stage.assert(good && report.backends.len() == 4, || {
        format!("{told} UDP: {report}")
    });
    say(&format!(
        "ok {told} UDP echo: {} datagrams answered, {} lost",
        report.answers, report.failures
    ));
}

pub fn long_download(stage: &Stage, told: &str, vip: IpAddr, bytes: u64, expected: &str) {
    let (sum, took) = download(stage, "c1", vip, bytes);
    stage.assert(sum == expected, || {
        format!("{told}: SHA-256 of {bytes} bytes is {sum}, not {expected}")
    });
    say(&format!(
        "ok {told} download of {bytes} bytes ({}), SHA-256 equal",
        rate(bytes, took)
    ));
}

pub fn ping(stage: &Stage, told: &str, vip: IpAddr) {
    let vip = vip.to_string();
    let text = stage.check(
        stage
            .rig
            .ns("c1")
            .run("ping", &["-c", "3", "-i", "0.2", "-W", "10", "-q", &vip]),
    );
    stage.assert(text.contains(" 3 received"), || format!("{told}: {text}"));
    say(&format!("ok {told} ping"));
}

/// Two hops reach the balancer with nothing left: it must say so. Three reach the backend.
pub fn time_to_live(stage: &Stage, told: &str, vip: IpAddr) {
    let client = stage.rig.ns("c1");
    let gateway = plan::router_towards_client(1);
    let (flag, gateway): (_, IpAddr) = if vip.is_ipv4() {
        ("-4", gateway.v4.into())
    } else {
        ("-6", gateway.v6.into())
    };
    let route = |hops: &str| format!("ip {flag} route replace {vip} via {gateway} hoplimit {hops}");
    stage.check(client.script(&route("2")));
    let target = SocketAddr::new(vip, 80);
    let outcome = stage.check(client.inside(|| TcpStream::connect_timeout(&target, SOON)));
    let why = outcome.err().map(|error| error.kind());
    stage.assert(why == Some(ErrorKind::HostUnreachable), || {
        format!("{told}, TTL 2: {why:?}")
    });
    stage.check(client.script(&route("3")));
    curl(stage, "c1", vip);
    stage.check(client.script(&format!("ip {flag} route del {vip}")));
    say(&format!(
        "ok {told} TTL: exceeded at the balancer, told to the client; one more reaches the backend"
    ));
}

/// The server must answer UDP from the address it was asked at: the VIP, where that reaches the backend.
pub fn iperf_both(stage: &mut Stage, mode: &str, told: &str, vip: IpAddr) {
    let dual = plan::vip(crate::modes::IPERF_VIP);
    let (asked, own) = if vip.is_ipv4() {
        (IpAddr::from(dual.v4), IpAddr::from(plan::backend(1).v4))
    } else {
        (dual.v6.into(), plan::backend(1).v6.into())
    };
    let bind = if matches!(mode, "nat" | "dnat") {
        own
    } else {
        asked
    };
    iperf_server(stage, bind);
    let tcp = iperf(stage, asked, &["-t", "1"]);
    let received = tcp["sum_received"]["bytes"].as_u64().unwrap_or(0);
    stage.assert(received > 0, || format!("{told} iperf3 TCP: {tcp}"));
    say(&format!(
        "ok {told} iperf3 TCP, {received} bytes towards the backend in 1 s"
    ));
    let udp = iperf(stage, asked, &["-u", "-b", "5M", "-l", "1200", "-t", "1"]);
    let [packets, lost] = ["packets", "lost_packets"].map(|key| udp["sum"][key].as_u64().unwrap_or(0));
    stage.assert(packets > 0 && lost * 4 < packets * 3, || {
        format!("{told} iperf3 UDP: {udp}")
    });
    say(&format!("ok {told} iperf3 UDP, {packets} datagrams, {lost} lost"));
}
