//! Replays what a controller was told: `replay/<case>/events.jsonl` is a recording (`maglane run --record FILE`),
//! `effects.jsonl` what must follow from it, with the table of each publication. `UPDATE=1 cargo test -p
//! maglane-control --test replay` rewrites the effects; read the difference. A bug report is a new folder.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use maglane_control::effect::Effect;
use maglane_control::record::{Header, Step};
use maglane_control::step::{Controller, Resume};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    cases
}

/// `192.0.2.1:80/TCP nat 10.0.0.1:80=1 10.0.0.2:80=0`
fn table(controller: &mut Controller) -> Vec<String> {
    let catalog = controller.catalog();
    let line = |port: &maglane_control::compile::CompiledPort| {
        let backends = port
            .backends
            .iter()
            .map(|b| format!(" {}:{}={}", b.addr, b.port, b.weight));
        format!(
            "{} {}{}",
            port.planned.key,
            port.planned.mode,
            backends.collect::<String>()
        )
    };
    catalog.ports.iter().map(|port| line(port)).collect()
}

fn replay(events: &str) -> (String, usize) {
    let mut lines = events.lines();
    let header: Header = serde_json::from_str(lines.next().unwrap()).unwrap();
    let mut controller = Controller::new(header.settings(), Resume::default());
    let mut text = String::new();
    let mut recorded = 0;
    for line in lines {
        let step: Step = serde_json::from_str(line).unwrap();
        let effects = controller.step_all(step.events, Duration::from_micros(step.now_us));
        if !step.effects.is_empty() {
            assert_eq!(
                effects, step.effects,
                "at {} us: another effect than recorded",
                step.now_us
            );
            recorded += 1;
        }
        for effect in effects {
            writeln!(text, "{}", serde_json::to_string(&effect).unwrap()).unwrap();
            if let Effect::Publish(_) = effect {
                writeln!(
                    text,
                    "{}",
                    serde_json::to_string(&table(&mut controller)).unwrap()
                )
                .unwrap();
            }
        }
    }
    (text, recorded)
}

#[test]
fn every_recording_comes_out_as_it_did() {
    let cases = cases();
    assert!(!cases.is_empty());
    for case in cases {
        let events = fs::read_to_string(case.join("events.jsonl")).unwrap();
        let (effects, _) = replay(&events);
        let file = case.join("effects.jsonl");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, &effects).unwrap();
        }
        let wanted = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(effects, wanted, "{}", case.display());
    }
}

/// The same recording, twice.
#[test]
fn a_replay_depends_on_nothing_else() {
    for case in cases() {
        let events = fs::read_to_string(case.join("events.jsonl")).unwrap();
        assert_eq!(replay(&events), replay(&events));
    }
}
