//! `up` and `cleanup`: a rig to play with by hand.

use std::process::ExitCode;

use clap::Args;
use maglane_perf::rig::{self, Rig, Shape};

#[derive(Debug, Args)]
pub struct Up {
    /// Name of the run: namespaces are called mgl-<RUN_ID>-<host>
    #[arg(long, default_value = "play")]
    run_id: String,
    /// Queues of each balancer interface
    #[arg(long, default_value_t = 2)]
    queues: u16,
    /// Clients c1..
    #[arg(long, default_value_t = 2)]
    clients: u8,
    /// Balancers lb1.., spread over by the router when several
    #[arg(long, default_value_t = 1)]
    balancers: u8,
    /// Backends b1..
    #[arg(long, default_value_t = 4)]
    backends: u8,
    /// One interface per balancer, on the backends' net
    #[arg(long)]
    flat: bool,
}

impl Up {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let shape = if self.flat { Shape::Flat } else { Shape::TwoArmed };
        let mut rig = Rig::builder()
            .run_id(&self.run_id)
            .queues(self.queues)
            .clients(self.clients)
            .balancers(self.balancers)
            .backends(self.backends)
            .shape(shape)
            .build()?;
        rig.keep();
        println!("{}", rig.picture());
        println!("remove it with: maglane-rig cleanup --run-id {}", self.run_id);
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub struct Cleanup {
    /// The run to remove; without it, the runs that exist are listed
    #[arg(long)]
    run_id: Option<String>,
}

impl Cleanup {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.run_id {
            Some(run_id) => println!("{} namespaces removed", rig::cleanup(&run_id)?),
            None => println!("runs: {}", rig::run_ids()?.join(" ")),
        }
        Ok(ExitCode::SUCCESS)
    }
}
