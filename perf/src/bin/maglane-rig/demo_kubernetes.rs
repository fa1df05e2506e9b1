//! `demo-kubernetes`: what `make demo-kubernetes` runs.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use maglane_perf::demo::kubernetes;

#[derive(Debug, Args)]
pub struct DemoKubernetes {
    /// How long the API server is frozen, and then dead, seconds
    #[arg(long, env = "TROUBLE_SECONDS", default_value_t = 10.0)]
    trouble: f64,
}

impl DemoKubernetes {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let interrupted = super::traffic::stop_flag()?;
        let good = kubernetes::run(Duration::from_secs_f64(self.trouble), &interrupted)?;
        Ok(ExitCode::from(u8::from(!good)))
    }
}
