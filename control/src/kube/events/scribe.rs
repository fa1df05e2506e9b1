//! Writes what [`Series`] says to the API server, one call after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::series::{Series, Telling, TooFast};
use super::{Note, Tally};
use crate::kube::config::{Access, CALL_TIMEOUT};
use crate::kube::failure::Failure;
use crate::kube::kinds::resource;
use crate::kube::writer::FIELD_MANAGER;
use crate::model::ObjectRef;

const CONTROLLER: &str = "maglane.io/maglane";
/// The API server refuses longer ones.
pub(super) const LONGEST_NOTE: usize = 1024;
const LONGEST_INSTANCE: usize = 128;

pub(super) struct Scribe {
    access: Arc<Access>,
    instance: String,
    series: Series,
    tally: Arc<Tally>,
    start: Instant,
}

impl Scribe {
    pub fn new(access: Arc<Access>, instance: &str, tally: Arc<Tally>) -> Scribe {
        Scribe {
            access,
            instance: cut(instance, LONGEST_INSTANCE),
            series: Series::default(),
            tally,
            start: Instant::now(),
        }
    }

    /// Ends when nobody can tell anything any more.
    pub async fn run(mut self, mut told: mpsc::Receiver<Note>) {
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

pub(super) fn event(name: &str, note: &Note, instance: &str, now: Timestamp) -> Event {
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
pub(super) fn cut(text: &str, longest: usize) -> String {
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
