//! Each forwarding mode in both families: pages, spread, UDP, a long download, iperf3, ping, TTL, captures.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Instant;

use maglane_perf::Rig;
use maglane_perf::manifests::Service;
use maglane_perf::rig::plan;

use crate::checks::{datagrams, iperf_both, long_download, pages, ping, time_to_live};
use crate::clients::{connects, download, load};
use crate::stage::{Stage, family, iperf as iperf_service, may_run, say, web};
use crate::watch::{Sides, balanced, conserved, received};

const VIP: u8 = 10;
pub const IPERF_VIP: u8 = 20;

#[test]
fn nat() {
    let Some(stage) = exercise("nat") else { return };
    both_workers(&stage);
    own_traffic(&stage);
    hairpin(&stage);
    balanced(&stage);
    conserved(stage);
}

#[test]
fn dnat() {
    let Some(stage) = exercise("dnat") else { return };
    conserved(stage);
}

#[test]
fn l2_dsr() {
    let Some(stage) = exercise("l2-dsr") else { return };
    conserved(stage);
}

#[test]
fn ipip() {
    let Some(stage) = exercise("ipip") else { return };
    mixed_families(&stage, "ipip");
    conserved(stage);
}

#[test]
fn gue() {
    let Some(stage) = exercise("gue") else { return };
    mixed_families(&stage, "gue");
    conserved(stage);
}

/// What every mode must carry. `None` when not root.
fn exercise(mode: &str) -> Option<Stage> {
    if !may_run(mode) {
        return None;
    }
    let services = [web(mode, VIP), iperf_service(mode, IPERF_VIP)];
    let mut stage = Stage::start(Rig::builder(), &services, &[]);
    let bytes = download_length();
    let (expected, _) = download(&stage, "b1", Ipv6Addr::LOCALHOST.into(), bytes);
    for vip in plan::vip(VIP).both() {
        let told = format!("{mode} {}", family(vip));
        let sides = Sides::start(&stage);
        pages(&stage, &told, vip);
        datagrams(&stage, &told, vip);
        long_download(&stage, &told, vip, bytes, &expected);
        ping(&stage, &told, vip);
        let seen = sides.finish(&stage);
        stage.assert(seen.resets == 0 && seen.verified > 1000, || {
            format!("{told}: {seen:?}")
        });
        say(&format!(
            "ok {told} captures: {} frames, 0 bad checksums, 0 resets ({} frames not captured)",
            seen.frames, seen.missed
        ));
        time_to_live(&stage, &told, vip);
        iperf_both(&mut stage, mode, &told, vip);
    }
    let frames = balanced(&stage);
    say(&format!(
        "ok {mode} books: {frames} frames received, all sent, passed or dropped by reason"
    ));
    Some(stage)
}

/// A VIP of one family on backends that have only the other.
fn mixed_families(stage: &Stage, mode: &str) {
    for (vip, slice) in plan::vip(30).both().into_iter().zip(["IPv6", "IPv4"]) {
        stage.check(stage.rig.own_vip(vip));
        let name = format!("mixed-{}", slice.to_lowercase());
        let service = Service::standard(&name, 30, mode, 4);
        let both: Vec<String> = service.vips.iter().map(ToString::to_string).collect();
        let documents = service.yaml().replace(&both.join(","), &vip.to_string());
        let kept: Vec<&str> = documents
            .split("---\n")
            .filter(|text| text.contains("kind: Service") || text.contains(slice))
            .collect();
        let draft = stage.folder.path().join("mixed.draft");
        std::fs::write(&draft, kept.join("---\n")).unwrap();
        std::fs::rename(&draft, stage.manifests().join(format!("{name}.yaml"))).unwrap();
        stage.wait_served(&Service {
            vips: vec![vip],
            ..service
        });
        let report = connects(stage, "c1", SocketAddr::new(vip, 80), 100);
        stage.assert(report.backends.len() == 4, || {
            format!("{mode} {vip} over {slice}: {report}")
        });
        say(&format!(
            "ok {mode} {} VIP on {slice} backends: 100 new connections",
            family(vip)
        ));
    }
}

/// With two queues a flow's answers may come in on the other worker's.
fn both_workers(stage: &Stage) {
    let target = SocketAddr::new(plan::vip(VIP).v4.into(), 80);
    let before = received(&stage.status());
    let line = format!("flows --target {target} --flows 400 --rate 4 --seconds 2 --timeout 30000");
    let report = load(stage, "c1", &line);
    stage.assert(report.clean(), || format!("400 flows: {report}"));
    let after = received(&stage.status());
    let each: Vec<u64> = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before)
        .collect();
    stage.assert(each.len() == 2 && each.iter().all(|&packets| packets > 0), || {
        format!("by worker: {each:?}")
    });
    say(&format!(
        "ok nat 400 flows over two workers, packets by worker {each:?}"
    ));
}

/// What the node itself sends to a backend is none of ours.
fn own_traffic(stage: &Stage) {
    for backend in plan::backend(1).both() {
        connects(stage, "lb", SocketAddr::new(backend, 80), 50);
        say(&format!(
            "ok nat {} the node's own 50 connections to a backend",
            family(backend)
        ));
    }
}

/// A backend is a client of its own service.
fn hairpin(stage: &Stage) {
    for vip in plan::vip(VIP).both() {
        let begin = Instant::now();
        let report = connects(stage, "b1", SocketAddr::new(vip, 80), 100);
        stage.assert(report.backends.contains_key("b1"), || {
            format!("never itself: {report}")
        });
        let ms = begin.elapsed().as_millis();
        say(&format!(
            "ok nat {} hairpin: a backend asked its own VIP 100 times ({ms} ms)",
            family(vip)
        ));
    }
}

/// `E2E_BYTES`, as `1GiB`, `64MiB` or a number; 64 MiB without.
fn download_length() -> u64 {
    let Ok(text) = std::env::var("E2E_BYTES") else {
        return 64 << 20;
    };
    let (digits, shift) = match (text.strip_suffix("GiB"), text.strip_suffix("MiB")) {
        (Some(digits), _) => (digits, 30),
        (None, Some(digits)) => (digits, 20),
        (None, None) => (text.as_str(), 0),
    };
    digits
        .trim()
        .parse::<u64>()
        .unwrap_or_else(|_| panic!("E2E_BYTES={text}: give 1GiB, 64MiB or a number"))
        << shift
}
