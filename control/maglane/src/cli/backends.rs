//! `maglane backends`.

use anyhow::Result;
use clap::Args;
use maglane_control::admin::{BackendRow, Request, Response};
use maglane_shared::addr::Addr;
use maglane_shared::service::BackendState;

use super::client::{ask, json, mismatch};
use super::table::{Align, count, render};
use super::{ClientArgs, Output};

#[derive(Clone, Debug, Args)]
pub struct BackendsArgs {
    #[command(flatten)]
    pub client: ClientArgs,

    /// Only backends of this VIP [default: all]
    #[arg(long, env = "MAGLANE_VIP", value_name = "IP", help_heading = "Filter")]
    pub vip: Option<Addr>,
}

pub fn text(args: &BackendsArgs) -> Result<String> {
    let Response::Backends(rows) = ask(&args.client.admin_socket, &Request::Backends)? else {
        return Err(mismatch());
    };
    let rows: Vec<BackendRow> = rows
        .into_iter()
        .filter(|row| args.vip.is_none_or(|vip| row.vip.addr == vip))
        .collect();
    match args.client.output {
        Output::Json => json(&rows),
        Output::Table => Ok(table(&rows)),
    }
}

fn table(backends: &[BackendRow]) -> String {
    use Align::{Left, Right};
    let columns = [
        ("VIP", Left),
        ("BACKEND", Left),
        ("STATE", Left),
        ("WEIGHT", Right),
        ("SHARE", Right),
        ("PACKETS", Right),
        ("BYTES", Right),
        ("NEW FLOWS", Right),
        ("FLOWS", Right),
        ("SERVICE", Left),
    ];
    let rows = backends.iter().map(|b| {
        vec![
            b.vip.to_string(),
            std::net::SocketAddr::new(b.backend.ip(), b.port).to_string(),
            state(b.state).to_owned(),
            b.weight.to_string(),
            format!("{:.1}%", b.share * 100.0),
            count(b.packets),
            count(b.bytes),
            count(b.new_flows),
            count(b.active_flows),
            b.service.to_string(),
        ]
    });
    render(&columns, &rows.collect::<Vec<_>>())
}

fn state(state: BackendState) -> &'static str {
    match state {
        BackendState::Active => "active",
        BackendState::Draining => "draining",
    }
}
