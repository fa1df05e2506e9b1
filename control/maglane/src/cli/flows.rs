//! `maglane flows`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use maglane_control::admin::{DEFAULT_FLOWS, FlowFilter, FlowReport, FlowRow, Request, Response};
use maglane_shared::addr::{Addr, Protocol};

use super::client::{ask, json, mismatch};
use super::table::{Align, render};
use super::{ClientArgs, Output};

#[derive(Clone, Debug, Args)]
pub struct FlowsArgs {
    #[command(flatten)]
    pub client: ClientArgs,
    #[command(flatten)]
    pub filter: FilterArgs,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Filter")]
pub struct FilterArgs {
    /// Only flows to this VIP [default: all]
    #[arg(long, env = "MAGLANE_VIP", value_name = "IP")]
    pub vip: Option<Addr>,

    /// Only flows to this port of a VIP [default: all]
    #[arg(long, env = "MAGLANE_PORT", value_name = "PORT")]
    pub port: Option<u16>,

    /// Only flows of this protocol [default: all]
    #[arg(long, env = "MAGLANE_PROTOCOL", value_enum)]
    pub protocol: Option<ProtocolArg>,

    /// Only flows from this client [default: all]
    #[arg(long, env = "MAGLANE_FROM", value_name = "IP")]
    pub from: Option<Addr>,

    /// Only flows to this backend [default: all]
    #[arg(long, env = "MAGLANE_BACKEND", value_name = "IP")]
    pub backend: Option<Addr>,

    /// Show at most this number of flows.
    #[arg(long, env = "MAGLANE_LIMIT", value_name = "FLOWS", default_value_t = DEFAULT_FLOWS)]
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    Tcp,
    Udp,
}

pub fn text(args: &FlowsArgs) -> Result<String> {
    let request = Request::Flows(filter(&args.filter));
    let Response::Flows(report) = ask(&args.client.admin_socket, &request)? else {
        return Err(mismatch());
    };
    match args.client.output {
        Output::Json => json(&report),
        Output::Table => Ok(table(&report)),
    }
}

fn filter(args: &FilterArgs) -> FlowFilter {
    FlowFilter {
        vip: args.vip,
        port: args.port,
        protocol: args.protocol.map(|protocol| match protocol {
            ProtocolArg::Tcp => Protocol::Tcp,
            ProtocolArg::Udp => Protocol::Udp,
        }),
        client: args.from,
        backend: args.backend,
        limit: args.limit,
    }
}

fn table(report: &FlowReport) -> String {
    use Align::{Left, Right};
    let columns = [
        ("CLIENT", Left),
        ("VIP", Left),
        ("BACKEND", Left),
        ("NAT PORT", Right),
        ("STATE", Left),
        ("IDLE", Right),
        ("WORKER", Right),
    ];
    let rows: Vec<_> = report.flows.iter().map(row).collect();
    let shown = format!("{} of {} flows", report.flows.len(), report.matching);
    format!("{}\n{shown}", render(&columns, &rows))
}

fn row(flow: &FlowRow) -> Vec<String> {
    vec![
        SocketAddr::new(flow.client.ip(), flow.client_port).to_string(),
        flow.vip.to_string(),
        SocketAddr::new(flow.backend.ip(), flow.backend_port).to_string(),
        flow.nat_port.map(|port| port.to_string()).unwrap_or_default(),
        flow.state.clone(),
        format!(
            "{:.1} s",
            Duration::from_millis(u64::from(flow.idle_ms)).as_secs_f64()
        ),
        flow.worker.to_string(),
    ]
}
