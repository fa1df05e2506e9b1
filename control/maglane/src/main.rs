//! `maglane`: the binary; the only crate that sees both planes. See [`run`] for its threads.

#![forbid(unsafe_code)]

mod admin;
mod cli;
mod control_loop;
mod control_settings;
mod effects;
mod engine;
mod health;
mod health_ports;
mod http;
mod kubernetes;
mod l2;
mod logging;
mod preflight;
mod run;
mod settings;
mod shutdown;
mod speaker;
mod state_dir;
mod supervisor;
mod view;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run::run(*args),
        Command::Status(args) => print(cli::status::text(&args)),
        Command::Services(args) => print(cli::services::text(&args)),
        Command::Backends(args) => print(cli::backends::text(&args)),
        Command::L2(args) => print(cli::l2::text(&args)),
        Command::Flows(args) => print(cli::flows::text(&args)),
        Command::Bgp(args) => print(cli::bgp::text(&args)),
        Command::Bfd(args) => print(cli::bfd::text(&args)),
        Command::Drain(args) => print(cli::drain::text(&args)),
        Command::Migrate(args) => migrate(&args),
        Command::Plan(args) => plan(&args),
        Command::Version(args) => print(Ok(cli::version::text(&args))),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("maglane: {error:#}");
        ExitCode::FAILURE
    })
}

/// Fails where an object was left out.
fn migrate(args: &cli::migrate::MigrateArgs) -> anyhow::Result<ExitCode> {
    let migrated = cli::migrate::migrate(args)?;
    eprint!("{}", migrated.notes);
    let printed = print(Ok(migrated.objects))?;
    Ok(if migrated.complete {
        printed
    } else {
        ExitCode::FAILURE
    })
}

/// What `maglane plan` exits with where clients would notice.
const DESTRUCTIVE: u8 = 2;

fn plan(args: &cli::plan::PlanArgs) -> anyhow::Result<ExitCode> {
    let planned = cli::plan::plan(args)?;
    eprint!("{}", planned.notes);
    let printed = print(Ok(planned.text))?;
    Ok(if planned.destructive {
        ExitCode::from(DESTRUCTIVE)
    } else {
        printed
    })
}

/// A reader that has seen enough (`| head`) is no failure.
fn print(text: anyhow::Result<String>) -> anyhow::Result<ExitCode> {
    match writeln!(std::io::stdout(), "{}", text?) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}
