//! Kubernetes Events (events.k8s.io/v1): what users see under `kubectl describe`.
//!
//! Best effort: nothing waits for them and a failure is only counted. Own code rather than kube's `Recorder`,
//! which drops notes that differ and fails for minutes once its Event was deleted (KUBERNETES §1.8). The same
//! reason with the same note about the same object is one Event with a count; another note is another Event.

mod reason;
mod scribe;
mod series;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::kube::config::Access;
use crate::model::ObjectRef;
use scribe::Scribe;

pub use reason::Reason;

/// Notes that wait for the server; more are dropped.
const WAITING: usize = 1000;

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    pub object: ObjectRef,
    /// `metadata.uid`; empty where it is not known, then `kubectl describe` does not show the Event.
    pub uid: String,
    pub reason: Reason,
    /// Cut where it is longer than the API server takes.
    pub text: String,
}

/// Since start.
#[derive(Debug, Default)]
struct Tally {
    written: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// Since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events created or counted up.
    pub written: u64,
    pub failed: u64,
    /// Notes that came too fast.
    pub dropped: u64,
}

/// Takes notes and makes Events of them. Dropping it ends its task.
#[derive(Debug)]
pub struct Recorder {
    notes: mpsc::Sender<Note>,
    tally: Arc<Tally>,
    task: JoinHandle<()>,
}

impl Recorder {
    /// `instance` tells this process from others, as the pod's name. Call inside a tokio runtime.
    pub fn start(access: Arc<Access>, instance: &str) -> Recorder {
        let (notes, told) = mpsc::channel(WAITING);
        let tally = Arc::new(Tally::default());
        let scribe = Scribe::new(access, instance, Arc::clone(&tally));
        Recorder {
            notes,
            tally,
            task: tokio::spawn(scribe.run(told)),
        }
    }

    /// Never waits.
    pub fn tell(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn counts(&self) -> Counts {
        Counts {
            written: self.tally.written.load(Ordering::Relaxed),
            failed: self.tally.failed.load(Ordering::Relaxed),
            dropped: self.tally.dropped.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}
