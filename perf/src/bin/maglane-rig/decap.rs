//! `decap`: be a backend's tunnel end.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::Args;
use maglane_perf::decap;

#[derive(Debug, Args)]
pub struct Decap {}

impl Decap {
    #[allow(clippy::unused_self, reason = "every subcommand is run alike")]
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let counts = decap::start()?;
        println!("ready, inner packets enter through {}", decap::DEVICE);
        super::load::runtime()?.block_on(async {
            super::load::stopped(super::load::stop_signal()?).await;
            let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            println!(
                "handed on {} refused {}",
                read(&counts.handed_on),
                read(&counts.refused)
            );
            Ok(ExitCode::SUCCESS)
        })
    }
}
