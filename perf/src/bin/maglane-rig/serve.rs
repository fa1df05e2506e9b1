//! `serve`: be a backend.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use maglane_perf::{load, serve};

#[derive(Debug, Args)]
pub struct Serve {
    /// The name that every answer carries
    #[arg(long)]
    name: String,
    /// Serve HTTP here; repeat for more; [::] takes IPv4 too
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Vec<SocketAddr>,
    /// Echo UDP here; repeat for more; answers leave from the address that was asked
    #[arg(long, value_name = "ADDRESS:PORT")]
    udp: Vec<SocketAddr>,
}

impl Serve {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::ensure!(
            !(self.http.is_empty() && self.udp.is_empty()),
            "give --http or --udp"
        );
        load::raise_file_limit();
        let name = self.name.clone();
        let settings = serve::Settings {
            name: self.name,
            http: self.http,
            udp: self.udp,
        };
        super::load::runtime()?.block_on(async {
            let stop = super::load::stop_signal()?;
            tokio::select! {
                outcome = serve::serve(settings, || println!("ready {name}")) => outcome?,
                () = super::load::stopped(stop) => {}
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
