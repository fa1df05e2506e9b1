//! Status writes: the latest wanted status of each object, put there by server-side apply.
//!
//! Only while the lease says so, at most eight at once, within a rate, each object with a back-off of its own.
//! Fields that others own are not taken from them unless asked: a conflict is counted, and a quarrel becomes a
//! [`Problem`] that names the rival (FAILURES K8). What is wanted when the right to write ends is dropped:
//! whoever puts it must put it again when the right is back.

mod problems;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::kube::config::{Access, CALL_TIMEOUT};
use crate::kube::failure::Failure;
use crate::kube::kinds::resource;
use crate::kube::lease::Holder;
use crate::model::ObjectRef;
use crate::problem::Problem;
use queue::{Attempt, Queue};

/// Our name in `metadata.managedFields`.
pub const FIELD_MANAGER: &str = "maglane";

/// A write that could not be over in time is not begun.
const SHORTEST: Duration = Duration::from_millis(500);
/// How often quiet entries are looked for when nothing else happens.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// What happens to fields of the status that another manager owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// They stay as they are; that is a conflict.
    Respect,
    /// They become ours.
    Take,
}

/// The wanted status of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusWrite {
    pub object: ObjectRef,
    /// `{"status": {...}}`: every field that is to be ours. With `metadata.resourceVersion` it applies to that
    /// version of the object alone.
    pub body: Value,
    pub ownership: Ownership,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Written(ObjectRef),
    /// The object is no longer there.
    Gone(ObjectRef),
    /// The server does not take this body; see [`Writer::problems`].
    Refused(ObjectRef),
    /// Another manager owns fields of it; see [`Writer::problems`]. It is tried again, seldom.
    Contested(ObjectRef),
}

/// Since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub writes: u64,
    pub conflicts: u64,
    /// Calls that may do better the next time.
    pub failures: u64,
    pub refused: u64,
    pub gone: u64,
}

type Done = (Attempt, Result<(), Failure>);

/// The writer of one cluster. It works while [`Writer::next`] is awaited.
pub struct Writer {
    access: Arc<Access>,
    holder: Holder,
    queue: Queue,
    calls: FuturesUnordered<BoxFuture<'static, Done>>,
    start: Instant,
}

impl Writer {
    pub fn new(access: Arc<Access>, holder: Holder) -> Writer {
        Writer {
            access,
            holder,
            queue: Queue::new(),
            calls: FuturesUnordered::new(),
            start: Instant::now(),
        }
    }

    /// Wants this status; dropped when we may not write.
    pub fn put(&mut self, write: StatusWrite) {
        let now = Instant::now();
        if self.holder.may_write(now) {
            self.queue.put(write, now - self.start);
        }
    }

    /// All that stands in the way of writes now.
    pub fn problems(&self) -> Vec<Problem> {
        self.queue.problems().cloned().collect()
    }

    pub fn counts(&self) -> Counts {
        self.queue.counts
    }

    /// What became of writes; nothing when only [`Writer::problems`] has changed. May be dropped while it waits:
    /// nothing is lost.
    pub async fn next(&mut self) -> Vec<Outcome> {
        loop {
            self.begin();
            let tidy = Instant::now() + TIDY_EVERY;
            let wake = self.queue.ready_at().map_or(tidy, |at| tidy.min(self.start + at));
            tokio::select! {
                Some(done) = self.calls.next() => {
                    let outcomes = self.end(done);
                    if !outcomes.is_empty() {
                        return outcomes;
                    }
                }
                () = sleep_until(wake) => if self.queue.forget(self.start.elapsed()) {
                    return vec![];
                },
                () = self.holder.changed() => {}
            }
        }
    }

    /// Waits until no call is under way; nothing new is begun. For before the lease is given back.
    pub async fn finish(&mut self) {
        self.queue.clear();
        while let Some(done) = self.calls.next().await {
            self.end(done);
        }
    }

    fn begin(&mut self) {
        let now = Instant::now();
        let Some(until) = self.holder.until().filter(|until| now < *until) else {
            self.queue.clear();
            return;
        };
        if until < now + SHORTEST {
            return;
        }
        while let Some(attempt) = self.queue.take(now - self.start) {
            let end = until.min(now + CALL_TIMEOUT);
            self.calls
                .push(perform(Arc::clone(&self.access), attempt, end).boxed());
        }
    }

    /// Takes all that is done along.
    fn end(&mut self, first: Done) -> Vec<Outcome> {
        let mut outcomes = vec![];
        let mut next = Some(first);
        while let Some((attempt, result)) = next {
            let now = self.start.elapsed();
            outcomes.extend(self.queue.done(attempt, result, now, fastrand::u32(..)));
            next = self.calls.next().now_or_never().flatten();
        }
        outcomes
    }
}

async fn perform(access: Arc<Access>, attempt: Attempt, end: Instant) -> Done {
    let begun = Instant::now();
    let result = match timeout_at(end, apply(&access, &attempt)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::TimedOut(begun.elapsed())),
    };
    if let Err(Failure::Unauthorized(_)) = &result {
        access.renew().await;
    }
    (attempt, result)
}

async fn apply(access: &Access, attempt: &Attempt) -> Result<(), Failure> {
    let Attempt {
        object,
        body,
        ownership,
    } = attempt;
    let mut params = PatchParams::apply(FIELD_MANAGER);
    params.force = *ownership == Ownership::Take;
    let patch = Patch::Apply(addressed(object, body));
    let request = Request::new(resource(object.kind).collection(&object.name))
        .patch_subresource("status", &object.name.name, &params, &patch)
        .map_err(|error| Failure::Invalid(error.to_string()))?;
    access.clients().calls.request_text(request).await?;
    Ok(())
}

/// The body with what server-side apply must know of the object.
pub(super) fn addressed(object: &ObjectRef, body: &Value) -> Value {
    let resource = resource(object.kind);
    let mut fields = body.as_object().cloned().unwrap_or_default();
    fields.insert("apiVersion".to_owned(), json!(resource.api_version));
    fields.insert("kind".to_owned(), json!(resource.kind));
    let metadata = fields.get("metadata").and_then(Value::as_object);
    let mut metadata = metadata.cloned().unwrap_or_default();
    metadata.insert("name".to_owned(), json!(object.name.name));
    fields.insert("metadata".to_owned(), Value::Object(metadata));
    Value::Object(fields)
}
