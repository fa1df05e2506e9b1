//! `maglane l2`.

use anyhow::Result;
use maglane_control::admin::{L2Row, Request, Response};

use super::client::{ask, json, mismatch};
use super::table::{Align, render};
use super::{ClientArgs, Output};

pub fn text(args: &ClientArgs) -> Result<String> {
    let Response::L2(rows) = ask(&args.admin_socket, &Request::L2)? else {
        return Err(mismatch());
    };
    match args.output {
        Output::Json => json(&rows),
        Output::Table => Ok(table(&rows)),
    }
}

fn table(rows: &[L2Row]) -> String {
    let columns = ["VIP", "INTERFACE", "OWNER", "WHY"].map(|title| (title, Align::Left));
    let rows = rows.iter().map(|row| {
        let dash = |text: &str| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text.to_owned()
            }
        };
        vec![
            row.vip.to_string(),
            dash(&row.interfaces.join(",")),
            dash(row.owner.as_deref().unwrap_or_default()),
            row.why.clone(),
        ]
    });
    render(&columns, &rows.collect::<Vec<_>>())
}
