//! `--state-dir`: the objects as last known, so that a node forwards after a restart while no API server answers.
//!
//! Two files are written in turn, each to a temporary name, synced and renamed; the newest that is whole counts.
//! Writing is a thread's business: the control loop never waits for a disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use maglane_control::event::Event;
use maglane_control::snapshot;
use maglane_control::store::Store;

const NAMES: [&str; 2] = ["state-a", "state-b"];
/// Changes within this time are written together.
const EVERY: Duration = Duration::from_secs(1);

/// What the directory holds: the events of the newest whole file, and a word about each that is not.
pub fn load(dir: &Path) -> Result<(Vec<Event>, Vec<String>)> {
    let open = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let probe = dir.join("probe");
        File::create(&probe)?;
        fs::remove_file(probe)
    };
    open().with_context(|| {
        format!(
            "--state-dir {}: cannot be written; name a directory that lasts and that this user may write",
            dir.display()
        )
    })?;
    let mut complaints = vec![];
    for path in newest_first(dir) {
        let read = fs::read(&path).map_err(|error| error.to_string());
        match read.and_then(|bytes| snapshot::decode(&bytes).map_err(|error| error.to_string())) {
            Ok(events) => return Ok((events, complaints)),
            Err(error) => complaints.push(format!("--state-dir: {} {error}; it is not used", path.display())),
        }
    }
    Ok((vec![], complaints))
}

fn newest_first(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = NAMES
        .iter()
        .filter_map(|name| {
            let path = dir.join(name);
            let modified = fs::metadata(&path).and_then(|m| m.modified()).ok()?;
            Some((modified, path))
        })
        .collect();
    files.sort();
    files.into_iter().rev().map(|(_, path)| path).collect()
}

/// Takes stores and writes the last of them.
#[derive(Debug)]
pub struct StateWriter {
    stores: SyncSender<Store>,
    thread: JoinHandle<()>,
    /// [`Store::revision`] of the last one sent, and when.
    revision: u64,
    sent: Option<Instant>,
}

impl StateWriter {
    pub fn start(dir: PathBuf) -> Result<StateWriter> {
        let (stores, queue) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || write_all(&dir, &queue))
            .context("starting the thread that writes --state-dir")?;
        Ok(StateWriter {
            stores,
            thread,
            revision: 0,
            sent: None,
        })
    }

    /// Hands the store over, when it has changed and its time has come.
    pub fn offer(&mut self, store: &Store) {
        if store.revision() == self.revision || self.sent.is_some_and(|sent| sent.elapsed() < EVERY) {
            return;
        }
        match self.stores.try_send(store.clone()) {
            Ok(()) => {
                self.revision = store.revision();
                self.sent = Some(Instant::now());
            }
            // The disk is slow, or the thread is gone; it has said why.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

impl StateWriter {
    /// Writes what is not yet written; waits for the disk.
    pub fn finish(self, store: &Store) {
        if store.revision() != self.revision {
            // A thread that is gone has said why.
            let _ = self.stores.send(store.clone());
        }
        drop(self.stores);
        let _ = self.thread.join();
    }
}

fn write_all(dir: &Path, queue: &Receiver<Store>) {
    let mut failed = false;
    let mut names = NAMES.iter().cycle();
    // Not over the newest.
    if newest_first(dir)
        .first()
        .is_some_and(|newest| newest.ends_with(NAMES[0]))
    {
        names.next();
    }
    for store in queue {
        let Some(name) = names.next() else { return };
        match write(dir, name, &snapshot::encode(&store)) {
            Ok(()) if failed => {
                tracing::info!("settled: --state-dir is written again");
                failed = false;
            }
            Ok(()) => {}
            Err(error) => {
                if !failed {
                    tracing::error!(
                        "--state-dir {}: {error}; forwarding goes on, but a restart would find older state",
                        dir.display()
                    );
                }
                failed = true;
            }
        }
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(bytes: &[u8]) -> usize {
        snapshot::decode(bytes).unwrap().len()
    }

    #[test]
    fn the_newest_whole_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), (vec![], vec![]));
        let empty = snapshot::encode(&Store::default());
        write(dir.path(), "state-a", &empty).unwrap();
        assert_eq!(events(&fs::read(dir.path().join("state-a")).unwrap()), 0);
        write(dir.path(), "state-b", b"torn").unwrap();
        let (events, complaints) = load(dir.path()).unwrap();
        assert_eq!(events, vec![]);
        assert!(
            complaints.len() == 1 && complaints[0].contains("state-b"),
            "{complaints:?}"
        );
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_refused() {
        let error = load(Path::new("/proc/maglane")).unwrap_err();
        assert!(format!("{error:#}").contains("--state-dir /proc/maglane: cannot be written"));
    }
}
