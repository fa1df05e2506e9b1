//! What the demo shows: a live picture on a terminal, plain lines anywhere else.

use std::time::Duration;

use super::tui::Tui;

/// One backend as shown.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: String,
    pub flows: u64,
    pub udp: u64,
    /// New connections it got.
    pub fresh: u64,
    pub draining: bool,
}

/// The state of a stage.
#[derive(Debug, Clone)]
pub struct Picture {
    pub mode: &'static str,
    pub elapsed: Duration,
    pub rows: Vec<Row>,
    pub requests: u64,
    pub failures: u64,
    pub p99_us: u64,
    pub spread: f64,
}

/// Where it is shown.
pub enum Screen {
    Plain { last: Duration },
    Live(Box<Tui>),
}

impl Screen {
    /// A live screen of a stage, or plain lines when asked or when the terminal can't.
    pub fn open(plain: bool, length: Duration) -> Self {
        let live = if plain { None } else { Tui::open(length).ok() };
        live.map_or(Self::Plain { last: Duration::ZERO }, |tui| {
            Self::Live(Box::new(tui))
        })
    }

    pub fn note(&mut self, text: &str) {
        match self {
            Self::Plain { .. } => println!("{text}"),
            Self::Live(tui) => tui.note(text),
        }
    }

    pub fn show(&mut self, picture: &Picture) {
        match self {
            Self::Plain { last } if picture.elapsed >= *last + Duration::from_secs(1) => {
                *last = picture.elapsed;
                println!("{}", line(picture));
            }
            Self::Plain { .. } => {}
            Self::Live(tui) => tui.draw(picture),
        }
    }
}

fn line(picture: &Picture) -> String {
    let rows: Vec<String> = picture
        .rows
        .iter()
        .map(|row| {
            let mark = if row.draining { "(draining)" } else { "" };
            format!(
                "{}{mark} {} flows {} new {} udp",
                row.name, row.flows, row.fresh, row.udp
            )
        })
        .collect();
    format!(
        "{:>5.1} s  {:<6}  {}  |  {} requests {} failures p99 {} us spread {:.2}",
        picture.elapsed.as_secs_f64(),
        picture.mode,
        rows.join(", "),
        picture.requests,
        picture.failures,
        picture.p99_us,
        picture.spread
    )
}
