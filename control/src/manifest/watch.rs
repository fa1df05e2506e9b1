//! The directory itself: inotify tells when to read, the library what it means.
//!
//! Files are read once they are complete: closed after writing, renamed into place, linked. A ConfigMap mount
//! swaps the link `..data`, which reads everything again. Where inotify is blind (targets of other links,
//! network file systems, a directory replaced as a whole) a look at the files' stamps every [`LOOK_EVERY`]
//! finds out; a file is then read when it has not changed between two looks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchMask};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::library::Library;
use crate::error::ControlError;
use crate::event::{Event, Source};
use crate::problem::Problem;

const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Room for some hundred events a read.
const BUFFER: usize = 16 * 1024;

/// Tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<(Stamp, fs::Metadata)> {
        let m = fs::metadata(path)?;
        let stamp = Stamp {
            device: m.dev(),
            inode: m.ino(),
            size: m.size(),
            modified: (m.mtime(), m.mtime_nsec()),
        };
        Ok((stamp, m))
    }
}

/// What is to be read.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    Files(BTreeSet<String>),
    Everything,
}

/// The source: `--manifests DIR`.
pub struct ManifestSource {
    dir: PathBuf,
    events: EventStream<[u8; BUFFER]>,
    /// Device and inode of the watched directory.
    watched: Option<(u64, u64)>,
    library: Library,
    /// As last read.
    read: BTreeMap<String, Stamp>,
    /// As last looked at.
    seen: BTreeMap<String, Stamp>,
    look: Interval,
    started: bool,
}

impl ManifestSource {
    /// Call inside a tokio runtime. Reads nothing yet.
    pub fn open(dir: &Path) -> Result<ManifestSource, ControlError> {
        let fail = |source| ControlError::Watch {
            dir: dir.to_owned(),
            source,
        };
        let events = Inotify::init()
            .and_then(|i| i.into_event_stream([0; BUFFER]))
            .map_err(fail)?;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset();
        let mut source = ManifestSource {
            dir: dir.to_owned(),
            events,
            watched: None,
            library: Library::default(),
            read: BTreeMap::new(),
            seen: BTreeMap::new(),
            look,
            started: false,
        };
        source.watch().map_err(fail)?;
        Ok(source)
    }

    /// What has changed: at first everything there is, with `SourceSynced`; then whatever comes, never nothing.
    /// May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Vec<Event> {
        if !self.started {
            self.started = true;
            self.read_everything();
            let mut events = self.library.news();
            events.push(Event::SourceSynced(Source::Manifests));
            return events;
        }
        loop {
            let reading = self.wait().await;
            self.carry_out(reading);
            let events = self.library.news();
            if !events.is_empty() {
                return events;
            }
        }
    }

    /// Waits for something to read; takes all that has come meanwhile along.
    async fn wait(&mut self) -> Reading {
        let first = tokio::select! {
            event = self.events.next() => event,
            _ = self.look.tick() => return self.look_around(),
        };
        let mut reading = Reading::Files(BTreeSet::new());
        let mut next = first;
        while let Some(event) = next {
            match event {
                Ok(event) => self.note(&event, &mut reading),
                Err(_) => reading = Reading::Everything,
            }
            next = self.events.next().now_or_never().flatten();
        }
        reading
    }

    fn note(&mut self, event: &EventOwned, reading: &mut Reading) {
        let lost = EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED | EventMask::UNMOUNT;
        if event.mask.intersects(lost) {
            self.watched = None;
        }
        let Some(name) = event.name.as_ref().and_then(|name| name.to_str()) else {
            *reading = Reading::Everything;
            return;
        };
        if name.starts_with("..") {
            *reading = Reading::Everything;
        } else if is_manifest(name) && (event.mask != EventMask::CREATE || self.is_link(name)) {
            match reading {
                Reading::Files(names) => drop(names.insert(name.to_owned())),
                Reading::Everything => {}
            }
        }
    }

    /// A created link is complete; a created file is not: it is read when its writer closes it.
    fn is_link(&self, name: &str) -> bool {
        fs::symlink_metadata(self.dir.join(name)).is_ok_and(|m| m.is_symlink() || m.nlink() > 1)
    }

    /// Compares stamps. Sees to the watch as well.
    fn look_around(&mut self) -> Reading {
        let here = fs::metadata(&self.dir).map(|m| (m.dev(), m.ino())).ok();
        if here.is_none() || here != self.watched {
            // Gone, back again, or another directory under the same name.
            return Reading::Everything;
        }
        let now: BTreeMap<String, Stamp> = manifests_in(&self.dir).unwrap_or_default();
        let gone = self
            .library
            .names()
            .filter(|name| !now.contains_key(*name))
            .map(str::to_owned);
        let settled = now.iter().filter(|(name, stamp)| {
            self.read.get(*name) != Some(stamp) && self.seen.get(*name) == Some(stamp)
        });
        let names = settled.map(|(name, _)| name.clone()).chain(gone).collect();
        self.seen = now;
        Reading::Files(names)
    }

    fn carry_out(&mut self, reading: Reading) {
        match reading {
            Reading::Files(names) => names.iter().for_each(|name| self.read_file(name)),
            Reading::Everything => self.read_everything(),
        }
    }

    fn read_everything(&mut self) {
        let listed = self.watch().and_then(|()| manifests_in(&self.dir));
        let names: BTreeSet<String> = match listed {
            Ok(files) => files
                .into_keys()
                .chain(self.library.names().map(str::to_owned))
                .collect(),
            Err(error) => {
                // The directory as a whole is gone: that is an accident, not the deletion of every object.
                let remedy = "put it back; until then everything goes on as last read";
                let problem = Problem::error(format!("cannot be read: {error}"), remedy);
                self.library
                    .set_trouble(Some(problem.at(format!("--manifests {}", self.dir.display()))));
                return;
            }
        };
        self.library.set_trouble(None);
        names.iter().for_each(|name| self.read_file(name));
    }

    fn read_file(&mut self, name: &str) {
        let path = self.dir.join(name);
        let content = Stamp::of(&path).and_then(|(stamp, _)| Ok((stamp, fs::read(&path)?)));
        match content {
            Ok((stamp, bytes)) => {
                self.library.put(name, &bytes);
                self.read.insert(name.to_owned(), stamp);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.library.remove(name);
                self.read.remove(name);
            }
            Err(error) => self.library.unreadable(name, &error.to_string()),
        }
    }

    /// Watches the directory that now has the name.
    fn watch(&mut self) -> io::Result<()> {
        let metadata = fs::metadata(&self.dir)?;
        let here = (metadata.dev(), metadata.ino());
        if self.watched == Some(here) {
            return Ok(());
        }
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::MOVE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ATTRIB
            | WatchMask::ONLYDIR;
        self.events.watches().add(&self.dir, mask)?;
        self.watched = Some(here);
        Ok(())
    }
}

pub(super) fn is_manifest(name: &str) -> bool {
    !name.starts_with('.') && [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

/// Regular files, also through links, that look like manifests.
fn manifests_in(dir: &Path) -> io::Result<BTreeMap<String, Stamp>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        if !is_manifest(&name) {
            continue;
        }
        // A file that goes away between listing and looking was not there.
        if let Ok((stamp, metadata)) = Stamp::of(&dir.join(&name))
            && metadata.is_file()
        {
            files.insert(name, stamp);
        }
    }
    Ok(files)
}
