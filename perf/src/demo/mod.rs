//! One minute with Maglane: a network, real traffic through two VIPs, a drain, a new backend, one verdict.
//!
//! ```text
//!  lay out ─► serve ─► maglane run ─► stage nat ─► stage l2-dsr ─► verdict (exit 0 only if nothing failed)
//!                                       │ curl, 1000 flows, UDP, new connections; drain b2; add b5
//! ```

mod clients;
pub mod kubernetes;
mod screen;
mod stage;
mod tui;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;

use crate::balancer::{Balancer, drops};
use crate::rig::{Rig, plan};
use screen::Screen;
use stage::{Outcome, Stage};

/// Backends; the last one joins while traffic runs.
const BACKENDS: u8 = 5;

/// How long and how to show it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Traffic in all, both stages together.
    pub seconds: f64,
    pub plain: bool,
}

/// Set by SIGINT and SIGTERM; every stage looks at it.
pub type Interrupted = Arc<AtomicBool>;

/// Runs the demo; true when no request failed.
///
/// # Errors
/// When the network can't be laid out or the balancer does not start.
pub fn run(settings: &Settings, interrupted: &Interrupted) -> anyhow::Result<bool> {
    println!("Laying out 2 clients, a router, a balancer with 2 queues and {BACKENDS} backends ...");
    let run_id = format!("demo{:x}", std::process::id());
    let rig = Rig::builder().backends(BACKENDS).run_id(&run_id).build()?;
    let folder = std::env::temp_dir().join(format!("maglane-{run_id}"));
    let outcome = in_rig(&rig, &folder, settings, interrupted);
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

fn in_rig(rig: &Rig, folder: &Path, settings: &Settings, interrupted: &Interrupted) -> anyhow::Result<bool> {
    println!("\n{}", rig.picture());
    let _servers = rig.serve_all()?;
    let stages = [("nat", 1_u8), ("l2-dsr", 2)].map(|(mode, vip)| Stage {
        mode,
        vip,
        length: Duration::from_secs_f64(settings.seconds / 2.0),
    });
    for stage in &stages {
        stage.write_manifest(folder)?;
        for vip in plan::vip(stage.vip).both() {
            rig.own_vip(vip)?;
        }
    }
    let balancer = Balancer::start(rig, 1, folder, &[]).context("start the balancer")?;
    println!(
        "maglane runs in mgl-{}-lb1; its manifests are in {}\n",
        rig.spec().run_id,
        folder.display()
    );
    let mut outcome = Outcome::default();
    for stage in &stages {
        let mut screen = Screen::open(settings.plain, stage.length);
        outcome.add(&stage.run(rig, folder, &mut screen, interrupted)?);
    }
    anyhow::ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
    let status = balancer
        .ask("status")
        .context("ask the balancer for its status")?;
    println!(
        "\n$ maglane services\n{}",
        balancer.table("services").unwrap_or_default()
    );
    println!("{}", outcome.line(&drops(&status)));
    Ok(outcome.good())
}
