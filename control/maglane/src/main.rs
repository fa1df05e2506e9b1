//! `maglane`: the binary; the only crate that sees both planes. See [`run`] for its threads.

#![forbid(unsafe_code)]

mod admin;
mod cli;
mod control_loop;
mod engine;
mod health;
mod http;
mod logging;
mod preflight;
mod run;
mod settings;
mod shutdown;
mod supervisor;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run::run(*args),
        Command::Version(args) => {
            println!("{}", cli::version::text(&args));
            Ok(ExitCode::SUCCESS)
        }
        _ => todo!(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("maglane: {error:#}");
        ExitCode::FAILURE
    })
}
