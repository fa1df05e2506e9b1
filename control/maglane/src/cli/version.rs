//! `maglane version`.

use clap::Args;
use maglane_shared::flow::ALGORITHM;
use serde_json::json;

use super::Output;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct VersionArgs {
    /// How to print.
    #[arg(short, long, env = "MAGLANE_OUTPUT", value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Nodes of one fleet must show the same balancing algorithm.
pub fn text(args: &VersionArgs) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match args.output {
        Output::Table => format!("maglane {version}\nbalancing algorithm {ALGORITHM}"),
        Output::Json => json!({ "version": version, "algorithm": ALGORITHM }).to_string(),
    }
}
