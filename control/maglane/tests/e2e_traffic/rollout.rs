//! A backend leaves and comes back under 2,000 established flows: not one flow of the others may notice.
//!
//! The flows of a removed backend end, rightly: of those it is only asked that they come back elsewhere.

use std::net::{IpAddr, SocketAddr};

use maglane_perf::Rig;
use maglane_perf::load::Report;
use maglane_perf::manifests::{EndpointState, Service};
use maglane_perf::rig::plan;
use maglane_perf::wait::wait_until;

use crate::clients::{Running, load};
use crate::stage::{SOON, Stage, family, may_run, say, web};

const FLOWS: u64 = 2000;
const VIP: u8 = 10;
/// The backend that goes.
const LEAVER: usize = 4;
const STAYERS: [&str; 3] = ["b1", "b2", "b3"];

#[test]
fn nat() {
    roll("nat");
}

#[test]
fn l2_dsr() {
    roll("l2-dsr");
}

fn roll(mode: &str) {
    if !may_run("a rollout") {
        return;
    }
    let stage = Stage::start(Rig::builder(), &[web(mode, VIP)], &[]);
    for vip in plan::vip(VIP).both() {
        drain(&stage, mode, vip);
        remove(&stage, mode, vip);
    }
}

fn start(stage: &Stage, vip: IpAddr) -> Running {
    let target = SocketAddr::new(vip, 80);
    let line = format!("flows --target {target} --flows {FLOWS} --rate 1 --seconds 3600 --timeout 30000");
    let mut flows = Running::start(stage, "c1", &line);
    flows.wait_ready(stage);
    flows.wait_answers(stage, 1);
    let report = flows.now();
    stage.assert(report.established == FLOWS && report.backends.len() == 4, || {
        format!("at the start: {report}")
    });
    flows
}

/// Writes the service with the leaver in this state, or without it.
fn change(stage: &Stage, mode: &str, state: Option<EndpointState>) -> Service {
    let mut service = web(mode, VIP);
    match state {
        Some(state) => service.endpoints[LEAVER - 1].state = state,
        None => service.endpoints.truncate(LEAVER - 1),
    }
    stage.write(&service);
    service
}

/// Until new connections do (or don't) reach the leaver. One that was being opened to it may rightly end.
fn wait_new(stage: &Stage, vip: IpAddr, reached: bool) {
    let what = if reached {
        "new connections to b4"
    } else {
        "an end of new connections to b4"
    };
    let outcome = wait_until(what, SOON, || {
        let target = SocketAddr::new(vip, 80);
        let line = format!("connects --target {target} --count 60 --concurrency 8 --timeout 30000");
        let report = load(stage, "c2", &line);
        report.backends.contains_key("b4") == reached
    });
    stage.check(outcome);
}

fn survivors_whole(stage: &Stage, told: &str, report: &Report) {
    let broken = |name: &&str| {
        report
            .backends
            .get(*name)
            .is_none_or(|b| b.lost_flows + b.moved_flows > 0)
    };
    let lost: Vec<&&str> = STAYERS.iter().filter(|name| broken(name)).collect();
    stage.assert(lost.is_empty() && report.mismatches == 0, || {
        format!(
            "{told}: flows of {lost:?} were hurt: {report}\n{:#?}",
            report.backends
        )
    });
}

/// Its flows stay until they end, new ones go elsewhere.
fn drain(stage: &Stage, mode: &str, vip: IpAddr) {
    let told = format!("{mode} {}", family(vip));
    let flows = start(stage, vip);
    change(stage, mode, Some(EndpointState::Terminating));
    wait_new(stage, vip, false);
    flows.wait_answers(stage, 2);
    change(stage, mode, Some(EndpointState::Ready));
    wait_new(stage, vip, true);
    flows.wait_answers(stage, 1);
    let report = flows.stop(stage);
    stage.assert(report.clean(), || format!("{told} drain: {report}"));
    say(&format!(
        "ok {told} drain under {FLOWS} flows: {} answers, 0 flows lost",
        report.answers
    ));
}

fn remove(stage: &Stage, mode: &str, vip: IpAddr) {
    let told = format!("{mode} {}", family(vip));
    let flows = start(stage, vip);
    let own = flows.now().backends["b4"].flows;
    change(stage, mode, None);
    wait_new(stage, vip, false);
    flows.wait(stage, "the flows of b4 elsewhere", |report| {
        report.backends["b4"].moved_flows >= own
    });
    flows.wait_answers(stage, 2);
    change(stage, mode, Some(EndpointState::Ready));
    wait_new(stage, vip, true);
    flows.wait_answers(stage, 2);
    let report = flows.stop(stage);
    survivors_whole(stage, &told, &report);
    let kept: u64 = STAYERS.iter().map(|name| report.backends[*name].flows).sum();
    say(&format!(
        "ok {told} removal and return of one of four under {FLOWS} flows: 0 of {kept} flows of the others lost, \
         {own} of its own moved"
    ));
}
