//! `maglane drain`: takes this node out of service, and back.

use anyhow::Result;
use clap::Args;
use maglane_control::admin::{Request, Response};

use super::ClientArgs;
use super::Output;
use super::client::{ask, json, mismatch};

#[derive(Debug, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    client: ClientArgs,

    /// Put the node back into service.
    #[arg(long)]
    undo: bool,
}

pub fn text(args: &DrainArgs) -> Result<String> {
    let Response::Draining(draining) = ask(&args.client.admin_socket, &Request::Drain(!args.undo))? else {
        return Err(mismatch());
    };
    match (args.client.output, draining) {
        (Output::Json, draining) => json(&serde_json::json!({ "draining": draining })),
        (Output::Table, true) => Ok(
            "draining: routes are withdrawn, packets are forwarded on; see `maglane bgp peers`".to_owned(),
        ),
        (Output::Table, false) => Ok("in service: routes are announced again".to_owned()),
    }
}
