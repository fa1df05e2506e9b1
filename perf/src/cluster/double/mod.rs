//! The API double: as much of kube-apiserver as Maglane and its tests touch, in memory, in this process.
//!
//! ```text
//!  request ─► authorize (RBAC) ─► read · watch ─► store ◄─ write ◄─ patch · fields (server-side apply)
//!                                                   ▲       └─ admit (defaults, rules of kinds)
//!                                                 kinds (built-in, and those of definitions)
//! ```
//!
//! One version a kind; no strategic merge patch, no CEL, no schema check of custom objects, no streamed lists.
//! `perf/tests/cluster.rs` runs the same cases against the real server.

mod admit;
mod authorize;
mod clock;
mod discovery;
mod fields;
mod kinds;
mod object;
mod patch;
mod read;
mod seed;
mod selector;
mod store;
mod watch;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use self::kinds::{Resource, Scope};
use self::store::Store;
use self::write::{Write, Written};
use super::User;
use super::refusal::{Cause, Refusal, reply};
use super::target::{Params, Target, Verb, verb};
use super::wire::{Body, BoxError};

#[derive(Debug)]
pub(super) struct Double {
    store: Arc<Store>,
}

/// A request whose body has come whole.
struct Call {
    method: String,
    path: String,
    params: Params,
    headers: HeaderMap,
    body: Bytes,
}

impl Double {
    pub fn new() -> Self {
        let double = Self {
            store: Arc::new(Store::new()),
        };
        double.store.write(seed::plant);
        double
    }

    /// The watch cache is empty afterwards: older versions than now have expired.
    pub fn restart(&self) {
        self.store.write(store::State::forget_changes);
    }

    /// All objects are gone, and revisions begin anew.
    pub fn wipe(&self) {
        self.store.write(|state| {
            state.wipe();
            seed::plant(state);
        });
    }

    pub async fn answer(
        &self,
        request: Request<Incoming>,
        user: Option<&User>,
    ) -> Result<Response<Body>, BoxError> {
        let (head, body) = request.into_parts();
        let call = Call {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            params: Params::parse(head.uri.query()),
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        };
        let outcome = match Target::parse(&call.path) {
            Some(target) => self.resource(&call, target, user),
            None => self.other(&call, user),
        };
        Ok(outcome.unwrap_or_else(|refusal| refusal.response()))
    }

    fn other(&self, call: &Call, user: Option<&User>) -> Result<Response<Body>, Refusal> {
        if !authorize::may_read(user, &call.path) {
            return Err(Refusal::forbidden_path(name(user), &call.method, &call.path));
        }
        match call.path.as_str() {
            "/healthz" | "/livez" | "/readyz" => {
                let mut response = reply(StatusCode::OK, "ok");
                let text = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, text);
                Ok(response)
            }
            "/version" => {
                let version = json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.0+double" });
                Ok(reply(StatusCode::OK, version.to_string()))
            }
            path => Ok(reply(
                StatusCode::OK,
                discovery::answer(&self.store.read(), path)?.to_string(),
            )),
        }
    }

    fn resource(&self, call: &Call, target: Target, user: Option<&User>) -> Result<Response<Body>, Refusal> {
        let verb = verb(&call.method, &target, &call.params).ok_or_else(Refusal::method_not_allowed)?;
        let resource = {
            let state = self.store.read();
            if !authorize::may(&state, user, verb, &target) {
                return Err(Refusal::forbidden(name(user), verb, &target));
            }
            state.resource(&target)?
        };
        check_place(&resource, &target, verb)?;
        match verb {
            Verb::Get => {
                let body = read::get(&self.store.read(), &resource, &target)?;
                Ok(reply(StatusCode::OK, body))
            }
            Verb::List => {
                let page = read::list(&self.store.read(), resource, &target, &call.params)?;
                Ok(reply(StatusCode::OK, page.body()))
            }
            Verb::Watch => watch::open(&self.store, resource, &target, &call.params),
            Verb::Create | Verb::Update | Verb::Patch => self.put(call, &resource, target, verb),
            Verb::Delete => {
                let options = options(call)?;
                let write = call.write(&resource, target);
                let left = self.store.write(|state| write.delete(state, &options))?;
                Ok(reply(StatusCode::OK, left.to_string()))
            }
            Verb::DeleteCollection => self.delete_all(call, &resource, &target),
        }
    }

    fn put(
        &self,
        call: &Call,
        resource: &Resource,
        target: Target,
        verb: Verb,
    ) -> Result<Response<Body>, Refusal> {
        let write = call.write(resource, target);
        let written = if verb == Verb::Patch {
            let kind = call.header(CONTENT_TYPE.as_str());
            if kind.starts_with("application/apply-patch") && call.params.get("fieldManager").is_none() {
                let options = Target {
                    group: "meta.k8s.io".to_owned(),
                    ..Target::default()
                };
                let cause = Cause::required("fieldManager");
                return Err(Refusal::invalid("PatchOptions", &options, &[cause]));
            }
            let patch = patch::read(kind, &call.body)?;
            self.store.write(|state| write.patch(state, patch))?
        } else {
            let mut object = patch::object(&call.body)?;
            // Typed clients leave these out of the body; the path says them.
            for (field, value) in [
                ("apiVersion", resource.api_version()),
                ("kind", resource.kind.clone()),
            ] {
                if object[field].is_null() {
                    object[field] = json!(value);
                }
            }
            match verb {
                Verb::Create => self.store.write(|state| write.create(state, object))?,
                Verb::Get
                | Verb::List
                | Verb::Watch
                | Verb::Update
                | Verb::Patch
                | Verb::Delete
                | Verb::DeleteCollection => self.store.write(|state| write.update(state, object))?,
            }
        };
        let Written { created, value } = written;
        let code = if created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Ok(reply(code, value.to_string()))
    }

    fn delete_all(
        &self,
        call: &Call,
        resource: &Resource,
        target: &Target,
    ) -> Result<Response<Body>, Refusal> {
        let filter = selector::Filter::new(resource, target, &call.params)?;
        self.store.write(|state| {
            let keys: Vec<_> = state
                .all(resource)
                .filter(|object| filter.matches(resource, object))
                .map(|object| object.key.clone())
                .collect();
            for key in keys {
                let one = Target {
                    namespace: key.namespace,
                    name: Some(key.name),
                    ..target.clone()
                };
                call.write(resource, one).delete(state, &Value::Null)?;
            }
            Ok(())
        })?;
        let done = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" });
        Ok(reply(StatusCode::OK, done.to_string()))
    }
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    fn write<'a>(&'a self, resource: &'a Resource, target: Target) -> Write<'a> {
        let agent = self
            .header(USER_AGENT.as_str())
            .split('/')
            .next()
            .unwrap_or_default();
        let agent = if agent.is_empty() { "unknown" } else { agent };
        Write {
            resource,
            target,
            params: &self.params,
            manager: self.params.get("fieldManager").unwrap_or(agent).to_owned(),
        }
    }
}

fn name(user: Option<&User>) -> &str {
    user.map_or("system:anonymous", |user| &user.name)
}

/// Namespaced objects are in a namespace, and only they.
fn check_place(resource: &Resource, target: &Target, verb: Verb) -> Result<(), Refusal> {
    let inside = !target.namespace.is_empty();
    let good = match (resource.scope, verb) {
        (Scope::Cluster, _) => !inside,
        (Scope::Namespaced, Verb::List | Verb::Watch) => inside || target.name.is_none(),
        (Scope::Namespaced, _) => inside,
    };
    if good {
        Ok(())
    } else {
        Err(Refusal::no_such_resource())
    }
}

/// The `DeleteOptions`, if there are any.
fn options(call: &Call) -> Result<Value, Refusal> {
    if call.body.is_empty() {
        Ok(Value::Null)
    } else {
        patch::object(&call.body)
    }
}
