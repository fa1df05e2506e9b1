//! Golden packets: `golden/<case>/{table.yaml, in.pcap, out.pcap, counters.txt}`.
//!
//! `table.yaml` and `in.pcap` go in, `out.pcap` and `counters.txt` must come out. `UPDATE=1 cargo test -p
//! maglane-dataplane --test golden` rewrites the files: the inputs of cases written in `support/cases` from
//! there, the outputs of all from what the code does; read the difference before you commit it. A folder
//! without such a source (a bug report: someone's capture and a table) is run just the same. A frame came
//! in on the interface whose MAC address it was sent to; its time stamp is the clock, in milliseconds.
//! An independent reader recomputes every checksum of every frame that comes out.

#[allow(dead_code, reason = "each test binary uses its own part")]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use maglane_shared::counters::DropReason;
use support::cases;
use support::check::check;
use support::run::{Timed, read_pcap, run, to_pcap};
use support::table::Setup;

/// Reasons that arise outside the pipeline; tests of the worker have these names.
const OF_THE_WORKER: [DropReason; 2] = [DropReason::PortUnknown, DropReason::TxRingFull];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some()
}

fn folders() -> BTreeSet<PathBuf> {
    fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Writes or compares one file; true when it is as wanted.
fn agree(path: &Path, wanted: &[u8]) -> bool {
    if updating() {
        fs::write(path, wanted).unwrap();
    }
    fs::read(path).is_ok_and(|found| found == wanted)
}

#[test]
fn every_case_comes_out_as_recorded() {
    let mut failed = vec![];
    for case in cases::all() {
        let folder = folder().join(case.name);
        if updating() {
            fs::create_dir_all(&folder).unwrap();
        }
        let same = agree(&folder.join("table.yaml"), case.table.as_bytes());
        if !same || !agree(&folder.join("in.pcap"), &to_pcap(&case.packets)) {
            failed.push(format!("{}: its source has changed", case.name));
        }
    }
    for folder in folders() {
        let setup = Setup::read(&fs::read_to_string(folder.join("table.yaml")).unwrap());
        let outcome = run(&setup, &read_pcap(&folder.join("in.pcap")));
        let wanted = if updating() {
            vec![]
        } else {
            read_pcap(&folder.join("out.pcap"))
        };
        if !agree(&folder.join("out.pcap"), &to_pcap(&outcome.frames)) {
            failed.push(format!(
                "{}: {}",
                folder.display(),
                first_difference(&wanted, &outcome.frames)
            ));
        }
        if !agree(&folder.join("counters.txt"), outcome.account.as_bytes()) {
            failed.push(format!("{}: it is now\n{}", folder.display(), outcome.account));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn first_difference(wanted: &[Timed], found: &[Timed]) -> String {
    let at = wanted
        .iter()
        .zip(found)
        .position(|(w, f)| w != f)
        .unwrap_or(wanted.len().min(found.len()));
    let hex = |frames: &[Timed]| match frames.get(at) {
        None => "nothing".to_owned(),
        Some(timed) => timed.frame.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    format!(
        "frame {} out\nwanted {}\nfound  {}",
        at + 1,
        hex(wanted),
        hex(found)
    )
}

#[test]
fn every_frame_that_comes_out_has_right_checksums() {
    if updating() {
        return; // The files are being written; run again without UPDATE.
    }
    let mut frames = 0;
    for folder in folders() {
        for (number, Timed { frame, .. }) in read_pcap(&folder.join("out.pcap")).iter().enumerate() {
            println!("{} frame {}", folder.display(), number + 1);
            check(frame);
            frames += 1;
        }
    }
    assert!(frames > 100, "only {frames} frames");
}

#[test]
fn every_drop_reason_has_a_case_of_its_name() {
    if updating() {
        return;
    }
    for reason in DropReason::ALL
        .iter()
        .filter(|reason| !OF_THE_WORKER.contains(reason))
    {
        let path = folder()
            .join(format!("drop_{}", reason.label()))
            .join("counters.txt");
        let account = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(
            account.contains(&format!("drop {}", reason.label())),
            "{}: {account}",
            path.display()
        );
    }
}
