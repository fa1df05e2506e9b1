//! What the controller was told and what it wanted done, one JSON line a step: `maglane run --record FILE` writes
//! it, `tests/replay` plays it back. Secrets are not in it: the hash key stays out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use maglane_shared::addr::Addr;
use serde::{Deserialize, Serialize};

use crate::compile::CompileSettings;
use crate::effect::{Effect, PortSpan};
use crate::event::{Event, Source};
use crate::l2::L2Settings;
use crate::plan::PlanSettings;
use crate::step::Settings;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub version: String,
    pub interfaces: Vec<Box<str>>,
    pub workers: u16,
    pub sources: BTreeSet<Source>,
    pub plan: PlanSettings,
    pub maglev_table_size: Option<u32>,
    pub max_services: u32,
    pub max_backends: u32,
    pub nat_returns: BTreeMap<Addr, PortSpan>,
    pub max_removal_percent: u8,
    #[serde(default)]
    pub l2: L2Settings,
}

/// Every further line: one call of [`crate::step::Controller::step_all`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Since the controller's start, microseconds.
    pub now_us: u64,
    pub events: Vec<Event>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
}

impl Header {
    pub fn of(settings: &Settings) -> Header {
        let Settings {
            interfaces,
            workers,
            sources,
            plan,
            compile,
            nat_returns,
            max_removal_percent,
            l2,
        } = settings.clone();
        Header {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            interfaces,
            workers,
            sources,
            plan,
            maglev_table_size: compile.maglev_table_size,
            max_services: compile.max_services,
            max_backends: compile.max_backends,
            nat_returns,
            max_removal_percent,
            l2,
        }
    }

    /// With the well-known hash key.
    pub fn settings(self) -> Settings {
        Settings {
            interfaces: self.interfaces,
            workers: self.workers,
            sources: self.sources,
            plan: self.plan,
            compile: CompileSettings {
                hash_key: maglane_shared::flow::HashKey::default(),
                maglev_table_size: self.maglev_table_size,
                max_services: self.max_services,
                max_backends: self.max_backends,
            },
            nat_returns: self.nat_returns,
            max_removal_percent: self.max_removal_percent,
            l2: self.l2,
        }
    }
}

/// Writes a recording. A step that only says that time passes, and changes nothing, is left out.
#[derive(Debug)]
pub struct Recorder<W> {
    out: W,
}

impl<W: Write> Recorder<W> {
    pub fn new(mut out: W, settings: &Settings) -> io::Result<Recorder<W>> {
        line(&mut out, &Header::of(settings))?;
        Ok(Recorder { out })
    }

    pub fn step(&mut self, now: Duration, events: &[Event], effects: &[Effect]) -> io::Result<()> {
        let idle = |event: &Event| matches!(event, Event::Tick);
        if effects.is_empty() && events.iter().all(idle) {
            return Ok(());
        }
        let step = Step {
            now_us: u64::try_from(now.as_micros()).unwrap_or(u64::MAX),
            events: events.to_vec(),
            effects: effects.to_vec(),
        };
        line(&mut self.out, &step)
    }
}

/// Written whole and handed over at once, so that a recording ends with a whole line whatever ends the process.
fn line<T: Serialize>(out: &mut impl Write, value: &T) -> io::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    out.write_all(&text)?;
    out.flush()
}
