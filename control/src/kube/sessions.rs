//! What this node's BGP sessions have come to, as BgpSessionStates. Every process writes those of its own node,
//! whoever holds the lease; the latest wish for an object counts, one call is made after the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::Request;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::config::{Access, CALL_TIMEOUT};
use super::failure::Failure;
use super::kinds::resource;
use super::writer::{FIELD_MANAGER, addressed};
use crate::model::ObjectRef;
use crate::status::SessionWrite;

const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// Dropping it ends its task; what is still wanted then is written by the next process.
pub struct SessionWriter {
    wishes: Arc<Wishes>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Wishes {
    /// `None`: to be deleted.
    pending: Mutex<BTreeMap<ObjectRef, Option<Value>>>,
    news: Notify,
}

impl SessionWriter {
    pub fn start(access: Arc<Access>) -> SessionWriter {
        let wishes = Arc::<Wishes>::default();
        let work = Work {
            access,
            wishes: Arc::clone(&wishes),
            times: BTreeMap::new(),
            trouble: None,
        };
        SessionWriter {
            wishes,
            task: tokio::spawn(work.run()),
        }
    }

    /// Takes the place of what was wanted before for the object.
    pub fn put(&self, write: SessionWrite) {
        self.wishes.lock().insert(write.object, write.body);
        self.wishes.news.notify_one();
    }
}

impl Drop for SessionWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wishes {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ObjectRef, Option<Value>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Work {
    access: Arc<Access>,
    wishes: Arc<Wishes>,
    /// The condition's status as last seen, and since when.
    times: BTreeMap<ObjectRef, (Value, String)>,
    /// As last said: once until something is written again.
    trouble: Option<Failure>,
}

impl Work {
    async fn run(mut self) {
        let mut backoff = RETRY;
        loop {
            let Some((object, wish)) = self.wishes.lock().pop_first() else {
                self.wishes.news.notified().await;
                continue;
            };
            let body = wish.clone().map(|body| self.dated(&object, body));
            match self.perform(&object, body).await {
                Ok(()) => {
                    self.trouble = None;
                    backoff.reset();
                }
                Err(failure) => {
                    let again = may_pass(&failure);
                    self.say(&object, failure);
                    if again {
                        self.wishes.lock().entry(object).or_insert(wish);
                        sleep(backoff.next(fastrand::u32(..))).await;
                    }
                }
            }
        }
    }

    fn say(&mut self, object: &ObjectRef, failure: Failure) {
        if self.trouble.as_ref() != Some(&failure) {
            tracing::warn!(
                "{object} cannot be written: {failure}; it only shows what `maglane bgp peers` does, so sessions go on \
                 (deploy/ has the definition and the RBAC rules)"
            );
            self.trouble = Some(failure);
        }
    }

    /// A condition keeps its time while its status stays.
    fn dated(&mut self, object: &ObjectRef, mut body: Value) -> Value {
        if let Some(condition) = body.pointer_mut("/status/conditions/0") {
            let status = condition["status"].clone();
            let known = self.times.get(object).filter(|(before, _)| *before == status);
            let time = known.map_or_else(now, |(_, since)| since.clone());
            condition["lastTransitionTime"] = json!(time);
            self.times.insert(object.clone(), (status, time));
        }
        body
    }

    async fn perform(&mut self, object: &ObjectRef, body: Option<Value>) -> Result<(), Failure> {
        let Some(body) = body else {
            self.times.remove(object);
            return match self.call(delete(object)).await {
                Ok(()) | Err(Failure::NotFound(_)) => Ok(()),
                Err(failure) => Err(failure),
            };
        };
        self.call(apply(object, None, &json!({ "spec": body["spec"] })))
            .await?;
        self.call(apply(
            object,
            Some("status"),
            &json!({ "status": body["status"] }),
        ))
        .await
    }

    async fn call(&self, request: Built) -> Result<(), Failure> {
        let request = request.map_err(|error| Failure::Invalid(error.to_string()))?;
        let client = self.access.clients().calls;
        let result = match timeout(CALL_TIMEOUT, client.request_text(request)).await {
            Ok(result) => result.map(drop).map_err(Failure::from),
            Err(_) => Err(Failure::TimedOut(CALL_TIMEOUT)),
        };
        if let Err(Failure::Unauthorized(_)) = &result {
            self.access.renew().await;
        }
        result
    }
}

type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

fn apply(object: &ObjectRef, subresource: Option<&str>, body: &Value) -> Built {
    // Ours alone: nobody else has a say in it.
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(addressed(object, body));
    let name = &object.name.name;
    let collection = Request::new(resource(object.kind).collection(&object.name));
    match subresource {
        Some(subresource) => collection.patch_subresource(subresource, name, &params, &patch),
        None => collection.patch(name, &params, &patch),
    }
}

fn delete(object: &ObjectRef) -> Built {
    let collection = Request::new(resource(object.kind).collection(&object.name));
    collection.delete(&object.name.name, &DeleteParams::default())
}

/// Where the definition is missing, or the body is not taken, asking again is no use.
fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::NotFound(_) | Failure::Invalid(_) => false,
        Failure::Expired
        | Failure::Unauthorized(_)
        | Failure::Forbidden(_)
        | Failure::Conflict(_)
        | Failure::Unavailable { .. }
        | Failure::Unreachable(_)
        | Failure::TimedOut(_)
        | Failure::Garbled(_) => true,
    }
}

/// As `metav1.Time` has it.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
