//! `check`: judge captures.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use maglane_perf::check::check_file;

#[derive(Debug, Args)]
pub struct Check {
    /// Captures to read, pcap or pcapng; repeat for more
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pcap: Vec<PathBuf>,
    /// One JSON object a file
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut good = true;
        for path in &self.pcap {
            let summary = check_file(path)?;
            good &= summary.good();
            if self.json {
                println!("{}", serde_json::to_string(&summary)?);
            } else {
                println!("{}: {summary}", path.display());
            }
        }
        Ok(ExitCode::from(u8::from(!good)))
    }
}
