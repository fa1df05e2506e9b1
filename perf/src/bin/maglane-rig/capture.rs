//! `capture`: tcpdump with the rig's settings, in this namespace.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use maglane_perf::capture::arguments;

#[derive(Debug, Args)]
pub struct Capture {
    /// Interface to listen on
    #[arg(long)]
    interface: String,
    /// Where the frames go (pcap)
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// tcpdump's filter, for example "port 80"
    #[arg(long, default_value = "")]
    filter: String,
}

impl Capture {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        use std::os::unix::process::CommandExt;
        let arguments = arguments(&self.interface, &self.output, &self.filter);
        let error = std::process::Command::new("tcpdump").args(arguments).exec();
        Err(error).context("start tcpdump: install the package `tcpdump`")
    }
}
