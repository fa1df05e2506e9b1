//! `maglane bfd`.

use anyhow::Result;
use maglane_control::admin::{BfdRow, Request, Response};

use super::client::{ask, json, mismatch};
use super::table::{Align, count, render};
use super::{ClientArgs, Output};

pub fn text(args: &ClientArgs) -> Result<String> {
    let Response::Bfd(rows) = ask(&args.admin_socket, &Request::Bfd)? else {
        return Err(mismatch());
    };
    match args.output {
        Output::Json => json(&rows),
        Output::Table => Ok(table(&rows)),
    }
}

fn table(rows: &[BfdRow]) -> String {
    use Align::{Left, Right};
    let columns = [
        ("PEER", Left),
        ("NEIGHBOR", Left),
        ("STATE", Left),
        ("SEND EVERY", Right),
        ("DETECT IN", Right),
        ("SENT", Right),
        ("RECEIVED", Right),
        ("DISCARDED", Right),
        ("FAILURES", Right),
        ("NOTE", Left),
    ];
    let span =
        |micros: Option<u64>| micros.map_or("-".to_owned(), |micros| format!("{} ms", micros.div_ceil(1000)));
    let rows = rows.iter().map(|row| {
        vec![
            row.peer.to_string(),
            row.neighbor.clone(),
            row.state.clone(),
            span(row.transmit_interval_us),
            span(row.detection_time_us),
            count(row.sent),
            count(row.received),
            count(row.discarded),
            row.failures.to_string(),
            row.why.clone(),
        ]
    });
    render(&columns, &rows.collect::<Vec<_>>())
}
