//! `maglane status`.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use maglane_control::admin::{Request, Response, StatusReport};

use super::client::{ask, json, mismatch};
use super::table::{Align, count, render};
use super::{ClientArgs, Output};

pub fn text(args: &ClientArgs) -> Result<String> {
    let Response::Status(report) = ask(&args.admin_socket, &Request::Status)? else {
        return Err(mismatch());
    };
    match args.output {
        Output::Json => json(&report),
        Output::Table => Ok(tables(&report)),
    }
}

fn tables(report: &StatusReport) -> String {
    let uptime = humantime::format_duration(Duration::from_secs(report.uptime_seconds as u64));
    let mut text = format!(
        "maglane {}, up {uptime}; {} VIP ports, {} backends, {} VIPs steered\ntable generation {}, workers run {}\n",
        report.version,
        report.services,
        report.backends,
        report.steered_vips,
        report.generation,
        report.running_generation
    );
    text += &updates(report);
    for source in report.sources.iter().filter(|source| !source.synced) {
        let _ = writeln!(text, "{}: not read yet", source.source);
    }
    for section in [workers(report), interfaces(report), drops(report)]
        .into_iter()
        .flatten()
    {
        let _ = write!(text, "\n{section}\n");
    }
    if !report.problems.is_empty() {
        text.push('\n');
    }
    for problem in &report.problems {
        let _ = writeln!(text, "{}: {problem}", problem.severity.name());
    }
    text.trim_end().to_owned()
}

fn updates(report: &StatusReport) -> String {
    let all: u64 = report.table_updates.iter().map(|row| row.count).sum();
    if all == 0 {
        return String::new();
    }
    let within = |share: f64| {
        let mut sum = 0;
        let row = report.table_updates.iter().find(|row| {
            sum += row.count;
            sum as f64 >= all as f64 * share
        });
        row.map_or(u64::MAX, |row| row.within_us)
    };
    let text = |us: u64| match us {
        u64::MAX => "more than 5 s".to_owned(),
        us => format!("within {} ms", us as f64 / 1e3),
    };
    format!(
        "{all} table updates: half {}, 99 % {}\n",
        text(within(0.5)),
        text(within(0.99))
    )
}

fn workers(report: &StatusReport) -> Option<String> {
    use Align::Right;
    let columns = [
        ("WORKER", Right),
        ("TABLE", Right),
        ("RX", Right),
        ("TX", Right),
        ("PASSED", Right),
        ("DROPPED", Right),
        ("FLOWS", Right),
        ("IDLE", Right),
        ("LONGEST GAP", Right),
    ];
    let rows = report.workers.iter().map(|w| {
        vec![
            w.worker.to_string(),
            w.generation.to_string(),
            count(w.rx_packets),
            count(w.tx_packets),
            count(w.passed),
            count(w.dropped),
            count(w.flows),
            format!("{:.0}%", w.idle * 100.0),
            format!("{} us", w.longest_gap_us),
        ]
    });
    Some(render(&columns, &rows.collect::<Vec<_>>()))
}

fn interfaces(report: &StatusReport) -> Option<String> {
    use Align::{Left, Right};
    let columns = [
        ("INTERFACE", Left),
        ("MODE", Left),
        ("REDIRECTED", Right),
        ("PASSED", Right),
    ];
    let rows = report.interfaces.iter().map(|i| {
        vec![
            i.interface.clone(),
            i.mode.clone(),
            count(i.redirected),
            count(i.passed),
        ]
    });
    Some(render(&columns, &rows.collect::<Vec<_>>()))
}

fn drops(report: &StatusReport) -> Option<String> {
    use Align::{Left, Right};
    let columns = [("DROPPED BECAUSE", Left), ("PACKETS", Right), ("MEANING", Left)];
    let rows: Vec<_> = report
        .drops
        .iter()
        .map(|d| vec![d.reason.clone(), count(d.packets), d.help.clone()])
        .collect();
    (!rows.is_empty()).then(|| render(&columns, &rows))
}
