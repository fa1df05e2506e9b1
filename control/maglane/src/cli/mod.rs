//! The command line: one file a subcommand. Raw and optional here; [`crate::settings`] checks and completes.

pub mod backends;
pub mod bfd;
pub mod bgp;
pub mod client;
pub mod drain;
pub mod flows;
pub mod migrate;
pub mod plan;
pub mod run;
pub mod services;
pub mod status;
mod table;
pub mod values;
pub mod version;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub const DEFAULT_SOCKET: &str = "/run/maglane/maglane.sock";

/// Maglane: a layer-4 load balancer for bare-metal Kubernetes (AF_XDP and Maglev).
#[derive(Debug, Parser)]
#[command(
    name = "maglane",
    version,
    max_term_width = 110,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Balance: attach to the interfaces and serve until stopped.
    Run(Box<run::RunArgs>),
    /// How the running instance is: workers, interfaces, source, errors.
    Status(ClientArgs),
    /// Every VIP port with its mode, backends and traffic.
    Services(ClientArgs),
    /// Every backend with its state, share and traffic.
    Backends(backends::BackendsArgs),
    /// Flows the workers remember.
    Flows(flows::FlowsArgs),
    /// BGP sessions, and what they tell.
    Bgp(bgp::BgpArgs),
    /// BFD sessions with their timers.
    Bfd(ClientArgs),
    /// Take this node out of service: withdraw its routes and go on forwarding (--undo: back into service).
    Drain(drain::DrainArgs),
    /// Turn the objects of another load balancer into ours.
    Migrate(migrate::MigrateArgs),
    /// What objects would do to Services, before they are applied; exits with 2 where clients would notice.
    Plan(plan::PlanArgs),
    /// Version, build and the versions of what nodes must agree on.
    Version(version::VersionArgs),
}

/// How a question reaches the running instance and how the answer is printed.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection and output")]
pub struct ClientArgs {
    /// Unix socket of the running instance.
    #[arg(long, env = "MAGLANE_ADMIN_SOCKET", value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub admin_socket: PathBuf,

    /// How to print.
    #[arg(short, long, env = "MAGLANE_OUTPUT", value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned columns, for people.
    Table,
    /// One JSON document with stable names, for programs.
    Json,
}
