//! `demo`: what `make demo` runs.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;
use maglane_perf::demo;

#[derive(Debug, Args)]
pub struct Demo {
    /// Traffic in all, seconds (8 at least)
    #[arg(long, env = "DEMO_SECONDS", default_value_t = 40.0)]
    seconds: f64,
    /// Plain lines even on a terminal
    #[arg(long)]
    plain: bool,
}

impl Demo {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let plain = self.plain || std::env::var_os("CI").is_some() || !std::io::stdout().is_terminal();
        let settings = demo::Settings {
            seconds: self.seconds.max(8.0),
            plain,
        };
        let interrupted = super::traffic::stop_flag()?;
        let good = demo::run(&settings, &interrupted)?;
        Ok(ExitCode::from(u8::from(!good)))
    }
}
