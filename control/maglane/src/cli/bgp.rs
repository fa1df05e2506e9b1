//! `maglane bgp peers|routes`.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use maglane_control::admin::{PeerRow, Request, Response, RouteRow};
use maglane_control::announce::Withheld;

use super::client::{ask, json, mismatch};
use super::table::{Align, count, render};
use super::{ClientArgs, Output};

#[derive(Debug, Args)]
pub struct BgpArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every BgpPeer with the state of its session.
    Peers(ClientArgs),
    /// What each peer is to be told.
    Routes(ClientArgs),
}

pub fn text(args: &BgpArgs) -> Result<String> {
    match &args.what {
        What::Peers(client) => {
            let Response::BgpPeers(rows) = ask(&client.admin_socket, &Request::BgpPeers)? else {
                return Err(mismatch());
            };
            match client.output {
                Output::Json => json(&rows),
                Output::Table => Ok(peers(&rows)),
            }
        }
        What::Routes(client) => {
            let Response::BgpRoutes(rows) = ask(&client.admin_socket, &Request::BgpRoutes)? else {
                return Err(mismatch());
            };
            match client.output {
                Output::Json => json(&rows),
                Output::Table => Ok(routes(&rows)),
            }
        }
    }
}

fn peers(rows: &[PeerRow]) -> String {
    use Align::{Left, Right};
    let columns = [
        ("PEER", Left),
        ("NEIGHBOR", Left),
        ("STATE", Left),
        ("UP", Left),
        ("BFD", Left),
        ("PLANNED", Right),
        ("TOLD", Right),
        ("UPDATES", Right),
        ("ENDED", Right),
        ("NOTE", Left),
    ];
    let rows = rows.iter().map(|row| {
        vec![
            row.peer.to_string(),
            row.neighbor.clone(),
            row.state.clone(),
            row.up_ms.map_or("-".to_owned(), uptime),
            row.bfd.clone().unwrap_or("-".to_owned()),
            row.planned.to_string(),
            row.told.to_string(),
            count(row.counters.updates_out),
            count(row.counters.sessions_down),
            note(row),
        ]
    });
    render(&columns, &rows.collect::<Vec<_>>())
}

fn uptime(ms: u64) -> String {
    humantime::format_duration(Duration::from_secs(ms / 1000)).to_string()
}

fn note(row: &PeerRow) -> String {
    match (row.withheld, &row.last_error) {
        (Some(Withheld::Bfd), _) => "told nothing: BFD is not up for long enough".to_owned(),
        (Some(Withheld::Workers), _) => "told nothing: a worker or the program does not forward".to_owned(),
        (None, Some(error)) => error.clone(),
        (None, None) => String::new(),
    }
}

fn routes(rows: &[RouteRow]) -> String {
    use Align::{Left, Right};
    let columns = [
        ("PEER", Left),
        ("PREFIX", Left),
        ("TOLD", Left),
        ("LOCAL PREF", Right),
        ("MED", Right),
        ("COMMUNITIES", Left),
    ];
    let number = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
    let rows = rows.iter().map(|row| {
        vec![
            row.peer.to_string(),
            row.prefix.clone(),
            if row.told { "yes" } else { "no" }.to_owned(),
            number(row.local_pref),
            number(row.med),
            row.communities.join(" "),
        ]
    });
    render(&columns, &rows.collect::<Vec<_>>())
}
