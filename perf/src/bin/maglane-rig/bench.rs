//! `bench`: what `perf/e2e.sh` runs.

use std::process::ExitCode;

use clap::Args;
use maglane_perf::bench::{Contender, Cores, Placement, Settings, run};

#[derive(Debug, Args)]
pub struct Bench {
    /// Devices to measure; all of them by default
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<Contender>,
    /// Rounds, interleaved; medians are printed
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One measurement at full speed, seconds (two more take half of it each)
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Flows, by source port and address
    #[arg(long, default_value_t = 1)]
    flows: u32,
    /// Frame length without the check sequence, bytes (60 is what benches call 64)
    #[arg(long, default_value_t = 60)]
    size: usize,
    /// Core of the generator and the sink
    #[arg(long, default_value_t = 0)]
    generator_core: usize,
    /// Core of the device under test
    #[arg(long, default_value_t = 1)]
    device_core: usize,
    /// Only with all of the device's kernel work on its own core
    #[arg(long)]
    one_core: bool,
}

impl Bench {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let settings = Settings {
            contenders: if self.only.is_empty() {
                Contender::ALL.to_vec()
            } else {
                self.only
            },
            placements: match self.one_core {
                true => vec![Placement::OneCore],
                false => vec![Placement::OneCore, Placement::Split],
            },
            rounds: self.rounds,
            seconds: self.seconds,
            flows: self.flows,
            size: self.size,
            cores: Cores {
                generator: self.generator_core,
                device: self.device_core,
            },
        };
        let stop = super::traffic::stop_flag()?;
        let table = run(&settings, &stop, |line| eprintln!("{line}"))?;
        println!(
            "{} flows, frames of {} bytes (without check sequence)\n{table}",
            self.flows, self.size
        );
        Ok(ExitCode::SUCCESS)
    }
}
