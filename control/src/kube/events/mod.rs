//! Kubernetes Events (events.k8s.io/v1): what users see under `kubectl describe`.
//!
//! Best effort: nothing waits for them and a failure is only counted. Own code rather than kube's `Recorder`,
//! which drops notes that differ and fails for minutes once its Event was deleted (KUBERNETES §1.8). The same
//! reason with the same note about the same object is one Event with a count; another note is another Event.

mod series;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::kube::config::{Access, CALL_TIMEOUT};
use crate::kube::failure::Failure;
use crate::kube::kinds::resource;
use crate::kube::writer::FIELD_MANAGER;
use crate::model::ObjectRef;
use series::{Series, Telling, TooFast};

/// Notes that wait for the server; more are dropped.
const WAITING: usize = 1000;
const CONTROLLER: &str = "maglane.io/maglane";
/// The API server refuses longer ones.
const LONGEST_NOTE: usize = 1024;
const LONGEST_INSTANCE: usize = 128;

/// Why something happened, as users and their alerts know it. The names are for ever; MetalLB's where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// MetalLB's spelling.
    IPAllocated,
    AllocationFailed,
    /// An address was taken away: its pool no longer has it.
    ClearAssignment,
    /// An address of the other family could not be added.
    AdditionalAssignFailed,
    LoadBalancerFailed,
    /// MetalLB's spelling: a node announces the address.
    NodeAssigned,
    AnnounceFailed,
    /// A setting of the object cannot be used.
    InvalidSetting,
    PoolConflict,
    /// A change is refused because it would take addresses from Services.
    DisruptionRefused,
}

impl Reason {
    pub const ALL: [Reason; 10] = [
        Reason::IPAllocated,
        Reason::AllocationFailed,
        Reason::ClearAssignment,
        Reason::AdditionalAssignFailed,
        Reason::LoadBalancerFailed,
        Reason::NodeAssigned,
        Reason::AnnounceFailed,
        Reason::InvalidSetting,
        Reason::PoolConflict,
        Reason::DisruptionRefused,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Reason::IPAllocated => "IPAllocated",
            Reason::AllocationFailed => "AllocationFailed",
            Reason::ClearAssignment => "ClearAssignment",
            Reason::AdditionalAssignFailed => "AdditionalAssignFailed",
            Reason::LoadBalancerFailed => "LoadBalancerFailed",
            Reason::NodeAssigned => "nodeAssigned",
            Reason::AnnounceFailed => "announceFailed",
            Reason::InvalidSetting => "InvalidSetting",
            Reason::PoolConflict => "PoolConflict",
            Reason::DisruptionRefused => "DisruptionRefused",
        }
    }

    /// Does it call for somebody's attention?
    pub const fn is_warning(self) -> bool {
        match self {
            Reason::IPAllocated | Reason::NodeAssigned => false,
            Reason::AllocationFailed
            | Reason::ClearAssignment
            | Reason::AdditionalAssignFailed
            | Reason::LoadBalancerFailed
            | Reason::AnnounceFailed
            | Reason::InvalidSetting
            | Reason::PoolConflict
            | Reason::DisruptionRefused => true,
        }
    }

    /// What was being done, for the field `action`.
    const fn action(self) -> &'static str {
        match self {
            Reason::IPAllocated
            | Reason::AllocationFailed
            | Reason::ClearAssignment
            | Reason::AdditionalAssignFailed
            | Reason::LoadBalancerFailed => "AllocateAddress",
            Reason::NodeAssigned | Reason::AnnounceFailed => "Announce",
            Reason::InvalidSetting | Reason::PoolConflict | Reason::DisruptionRefused => "Configure",
        }
    }
}

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
        let scribe = Scribe {
            access,
            instance: cut(instance, LONGEST_INSTANCE),
            series: Series::default(),
            tally: Arc::clone(&tally),
            start: Instant::now(),
        };
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

struct Scribe {
    access: Arc<Access>,
    instance: String,
    series: Series,
    tally: Arc<Tally>,
    start: Instant,
}

impl Scribe {
    async fn run(mut self, mut told: mpsc::Receiver<Note>) {
        loop {
            let due = self.series.due().map(|due| self.start + due);
            let wait = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let telling = tokio::select! {
                note = told.recv() => {
                    let Some(note) = note else { return };
                    self.series.note(note, self.start.elapsed())
                }
                () = wait => Ok(self.series.next(self.start.elapsed())),
            };
            match telling {
                Ok(Some(telling)) => self.perform(telling).await,
                Ok(None) => {}
                Err(TooFast) => drop(self.tally.dropped.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }

    async fn perform(&mut self, telling: Telling) {
        let result = match &telling {
            Telling::First { name, note } => self.create(name, note).await,
            Telling::Again { name, note, count } => self.count(name, note, *count).await,
        };
        match result {
            Ok(()) => drop(self.tally.written.fetch_add(1, Ordering::Relaxed)),
            Err(failure) => {
                self.tally.failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!("Event about {}: {failure}", telling.note().object);
                // Most of all when it was deleted: the next note makes a new one.
                self.series.lost(telling.note());
            }
        }
    }

    async fn create(&self, name: &str, note: &Note) -> Result<(), Failure> {
        let event = event(name, note, &self.instance, Timestamp::now());
        let create = async {
            let post = PostParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            self.events(note).create(&post, &event).await
        };
        self.call(create).await
    }

    async fn count(&self, name: &str, note: &Note, count: i32) -> Result<(), Failure> {
        let series = EventSeries {
            count,
            last_observed_time: MicroTime(Timestamp::now()),
        };
        let patch = Patch::Merge(json!({ "series": series }));
        let patched = async {
            self.events(note)
                .patch(name, &PatchParams::default(), &patch)
                .await
        };
        self.call(patched).await
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, kube::Error>>) -> Result<(), Failure> {
        let answer = timeout(CALL_TIMEOUT, call).await;
        let result = match answer {
            Ok(result) => result.map(drop).map_err(Failure::from),
            Err(_) => Err(Failure::TimedOut(CALL_TIMEOUT)),
        };
        if let Err(Failure::Unauthorized(_)) = &result {
            self.access.renew().await;
        }
        result
    }

    fn events(&self, note: &Note) -> Api<Event> {
        Api::namespaced(self.access.clients().calls, namespace(&note.object))
    }
}

/// Events about objects without a namespace live in `default`.
fn namespace(object: &ObjectRef) -> &str {
    match &*object.name.namespace {
        "" => "default",
        namespace => namespace,
    }
}

fn event(name: &str, note: &Note, instance: &str, now: Timestamp) -> Event {
    let object = &note.object;
    let resource = resource(object.kind);
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace(object).to_owned()),
            ..ObjectMeta::default()
        },
        action: Some(note.reason.action().to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(cut(&note.text, LONGEST_NOTE)),
        reason: Some(note.reason.name().to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(resource.api_version.to_owned()),
            kind: Some(resource.kind.to_owned()),
            namespace: some(&object.name.namespace),
            name: some(&object.name.name),
            uid: some(&note.uid),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(
            if note.reason.is_warning() {
                "Warning"
            } else {
                "Normal"
            }
            .to_owned(),
        ),
        ..Event::default()
    }
}

/// At most so many bytes, with a mark where something is missing.
fn cut(text: &str, longest: usize) -> String {
    const MARK: &str = "...";
    if text.len() <= longest {
        return text.to_owned();
    }
    let mut end = longest - MARK.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", &text[..end])
}
