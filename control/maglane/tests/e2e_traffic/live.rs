//! Manifests edited under a running balancer: a service comes, goes, and outlives a broken file.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use maglane_perf::Rig;
use maglane_perf::rig::plan;
use maglane_perf::wait::wait_until;

use crate::clients::{Running, connects};
use crate::stage::{SOON, Stage, may_run, say, web};

#[test]
fn manifests_edited_live() {
    if !may_run("live manifests") {
        return;
    }
    let first = web("nat", 10);
    let stage = Stage::start(Rig::builder(), std::slice::from_ref(&first), &[]);
    let old = SocketAddr::new(plan::vip(10).v4.into(), 80);
    let line = format!("flows --target {old} --flows 100 --rate 5 --seconds 3600 --timeout 30000");
    let mut flows = Running::start(&stage, "c2", &line);
    flows.wait_ready(&stage);

    let mut second = web("nat", 11);
    second.name = "second".to_owned();
    stage.write(&second);
    stage.wait_served(&second);
    say("ok live a new service is served");

    broken_file(&stage, &second.name);
    for vip in &second.vips {
        connects(&stage, "c1", SocketAddr::new(*vip, 80), 40);
    }
    say("ok live a broken file is told in the status and its service goes on");

    std::fs::remove_file(stage.manifests().join("second.yaml")).unwrap();
    for vip in &second.vips {
        wait_gone(&stage, SocketAddr::new(*vip, 80));
    }
    say("ok live a removed service is served no more");

    flows.wait_answers(&stage, 3);
    let report = flows.stop(&stage);
    stage.assert(report.clean(), || {
        format!("flows of the untouched service: {report}")
    });
    say(&format!(
        "ok live {} answers to 100 flows of the untouched service, none lost",
        report.answers
    ));
}

fn broken_file(stage: &Stage, name: &str) {
    let file = stage.manifests().join(format!("{name}.yaml"));
    std::fs::write(&file, "kind: Service\napiVersion: v1\nmetadata: [").unwrap();
    let told = || {
        stage
            .balancer()
            .table("status")
            .is_ok_and(|status| status.contains(&format!("{name}.yaml")))
    };
    stage.check(wait_until("the broken file in `maglane status`", SOON, told));
}

fn wait_gone(stage: &Stage, target: SocketAddr) {
    let refused = || TcpStream::connect_timeout(&target, Duration::from_millis(500)).is_err();
    let gone = stage
        .rig
        .ns("c1")
        .inside(|| wait_until(&format!("an end of {target}"), SOON, refused));
    stage.check(stage.check(gone));
}
