//! End to end on one veth line, all contenders in one run: who forwards how much on one core, and what is lost.
//!
//! ```text
//!   core A: generator ─ g0 ══ in ─ [device under test, core B] ─ out ══ g1 ─ sink: core A
//! ```
//! Rounds are interleaved and medians taken, since the machine is shared; only ratios of one run mean anything.

mod contender;
mod cores;
mod lane;
mod table;

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

pub use contender::Contender;
pub use cores::{Cores, Placement};
use lane::{Lane, Load};
pub use table::{Row, Table};

/// What to measure.
#[derive(Debug, Clone)]
pub struct Settings {
    pub contenders: Vec<Contender>,
    pub placements: Vec<Placement>,
    pub rounds: usize,
    /// Length of one measurement at full speed, seconds; those at a rate take half.
    pub seconds: f64,
    pub flows: u32,
    /// Frame length without the check sequence, bytes.
    pub size: usize,
    pub cores: Cores,
}

/// Share of a contender's own maximum at which losses are counted.
const EASY: f64 = 0.5;
const HARD: f64 = 0.9;

/// One measurement of one contender.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Packets a second that came through at full speed.
    pub max: f64,
    /// Share lost at half and at nine tenths of that.
    pub loss_easy: f64,
    pub loss_hard: f64,
}

/// Runs all rounds; `tell` gets one line a measurement.
///
/// # Errors
/// When the line can't be laid out. A contender that does not start is left out and told.
pub fn run(settings: &Settings, stop: &AtomicBool, mut tell: impl FnMut(&str)) -> anyhow::Result<Table> {
    let mut table = Table::default();
    for round in 1..=settings.rounds {
        for placement in &settings.placements {
            for contender in settings.contenders.iter().filter(|c| c.fits(*placement)) {
                anyhow::ensure!(!stop.load(Ordering::Relaxed), "interrupted");
                match measure(settings, *contender, *placement) {
                    Ok(sample) => {
                        tell(&format!(
                            "round {round} {placement} {contender}: {:.3} Mpps",
                            sample.max / 1e6
                        ));
                        table.add(*contender, *placement, sample);
                    }
                    Err(error) => tell(&format!(
                        "round {round} {placement} {contender}: left out: {error:#}"
                    )),
                }
            }
        }
    }
    Ok(table)
}

fn measure(settings: &Settings, contender: Contender, placement: Placement) -> anyhow::Result<Sample> {
    let lane = Lane::build(settings.cores, placement).context("lay the line out")?;
    let device = contender.start(&lane)?;
    let load = |rate: f64, seconds: f64| Load {
        flows: settings.flows,
        size: settings.size,
        rate: rate as u64,
        seconds,
        target: contender.target(),
    };
    lane.wait_through(&load(20_000.0, 0.1))
        .with_context(|| device.last_words())?;
    // Flows and caches are warm before anything counts.
    lane.run(&load(100_000.0, 0.3))?;
    let full = lane.run(&load(0.0, settings.seconds))?;
    let max = full.received as f64 / full.seconds;
    let at = |share: f64| anyhow::Ok(lane.run(&load(max * share, settings.seconds / 2.0))?.lost());
    Ok(Sample {
        max,
        loss_easy: at(EASY)?,
        loss_hard: at(HARD)?,
    })
}
