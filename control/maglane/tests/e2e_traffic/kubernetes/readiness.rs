//! Endpoints whose readiness comes and goes while flows run: nobody is reset, new flows go to the ready ones.

use std::net::SocketAddr;

use super::World;
use crate::clients::Running;
use crate::stage::{may_run, say};

const FLOWS: usize = 2000;
const TOGGLES: usize = 100;

#[test]
fn kubernetes_readiness_toggled_a_hundred_times_resets_no_flow() {
    if !may_run("readiness under flows") {
        return;
    }
    let world = World::start().launch();
    world.serve(&[1, 2, 3, 4]);
    let target = SocketAddr::new(world.wait_served()[0], 80);
    let line = format!("flows --target {target} --flows {FLOWS} --rate 2 --seconds 3600 --timeout 5000");
    let mut load = Running::start(&world.stage, "c1", &line);
    load.wait_ready(&world.stage);
    for toggle in 0..TOGGLES {
        let mut ready = [true; 4];
        // Each in its turn, every other time back again.
        ready[toggle / 2 % 4] = toggle % 2 == 1;
        world.ready(&ready);
        let active = ready.iter().filter(|ready| **ready).count() as u64;
        world.until("the readiness in the table", || world.active() == active);
    }
    load.wait_answers(&world.stage, 2);
    let report = load.stop(&world.stage);
    world
        .stage
        .assert(report.clean(), || format!("{TOGGLES} toggles: {report}"));
    say(&format!(
        "ok kubernetes: readiness toggled {TOGGLES} times under {FLOWS} flows: {} requests, 0 resets, 0 failures, 0 moved",
        report.requests
    ));
}
