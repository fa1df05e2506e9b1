//! `maglane services`.

use anyhow::Result;
use maglane_control::admin::{Request, Response, ServiceRow};

use super::client::{ask, json, mismatch};
use super::table::{Align, count, render};
use super::{ClientArgs, Output};

pub fn text(args: &ClientArgs) -> Result<String> {
    let Response::Services(rows) = ask(&args.admin_socket, &Request::Services)? else {
        return Err(mismatch());
    };
    match args.output {
        Output::Json => json(&rows),
        Output::Table => Ok(table(&rows)),
    }
}

fn table(services: &[ServiceRow]) -> String {
    use Align::{Left, Right};
    let columns = [
        ("SERVICE", Left),
        ("VIP", Left),
        ("MODE", Left),
        ("STEERED", Left),
        ("ACTIVE", Right),
        ("DRAINING", Right),
        ("PACKETS", Right),
        ("BYTES", Right),
        ("NEW FLOWS", Right),
        ("FLOWS", Right),
    ];
    let rows = services.iter().map(|s| {
        vec![
            s.service.to_string(),
            s.vip.to_string(),
            s.mode.to_string(),
            if s.steered { "yes" } else { "no" }.to_owned(),
            s.active_backends.to_string(),
            s.draining_backends.to_string(),
            count(s.packets),
            count(s.bytes),
            count(s.new_flows),
            count(s.active_flows),
        ]
    });
    render(&columns, &rows.collect::<Vec<_>>())
}
