//! A plain blocking client for tests: raw requests, watches, and objects from YAML. Not what is tested.
//!
//! It blocks the calling thread only; its sockets live on the cluster's own runtime, so that it can be used
//! from async tests and for clusters inside a namespace. Clones have a connection each.

mod objects;
mod watch;

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Request, Response};
use rustls::ClientConfig;
use serde_json::Value;
use tokio::runtime::Handle;

use super::wire::{self, Body, BoxError, full};
use super::{Access, ClusterError};

pub use objects::Discovered;
pub use watch::{Heard, Watch};

const PATIENCE: Duration = Duration::from_secs(60);

pub const JSON: &str = "application/json";
pub const MERGE_PATCH: &str = "application/merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// One user's client.
#[derive(Debug)]
pub struct Client {
    access: Access,
    tls: Arc<ClientConfig>,
    runtime: Handle,
    patience: Duration,
    idle: Mutex<Option<SendRequest<Body>>>,
    known: Mutex<Vec<Discovered>>,
}

/// An answer of any status.
#[derive(Debug, Clone)]
pub struct Reply {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// The body, or null when it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self {
            access: self.access.clone(),
            tls: self.tls.clone(),
            runtime: self.runtime.clone(),
            patience: self.patience,
            idle: Mutex::default(),
            known: Mutex::default(),
        }
    }
}

impl Client {
    pub(super) fn new(access: Access, runtime: Handle) -> Result<Self, ClusterError> {
        Ok(Self {
            tls: wire::client_config(&access.authority, &access.certificate, &access.key)?,
            access,
            runtime,
            patience: PATIENCE,
            idle: Mutex::default(),
            known: Mutex::default(),
        })
    }

    /// The same client, which waits this long for an answer (a minute otherwise).
    #[must_use]
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Asks and gives whatever was answered.
    ///
    /// # Errors
    /// Only when there was no answer.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        content: Option<(&str, String)>,
    ) -> Result<Reply, ClusterError> {
        let request = self.build(method, path, content)?;
        let idle = self.slot().take();
        let (server, tls) = (self.access.server, self.tls.clone());
        let exchange = async move {
            let (mut sender, request) = match idle {
                Some(sender) if sender.is_ready() => (sender, request),
                _ => (wire::connect(server, &tls).await?, request),
            };
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok((sender, head, body))
        };
        let (sender, head, body) = self.wait(exchange).map_err(no_answer(method, path))?;
        *self.slot() = Some(sender);
        Ok(Reply {
            code: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }

    /// # Errors
    /// No answer, or a refusal.
    pub fn get(&self, path: &str) -> Result<Value, ClusterError> {
        self.expect("GET", path, None)
    }

    /// # Errors
    /// As [`Client::get`].
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, ClusterError> {
        self.expect("POST", path, Some((JSON, object.to_string())))
    }

    /// # Errors
    /// As [`Client::get`].
    pub fn replace(&self, path: &str, object: &Value) -> Result<Value, ClusterError> {
        self.expect("PUT", path, Some((JSON, object.to_string())))
    }

    /// # Errors
    /// As [`Client::get`].
    pub fn merge(&self, path: &str, patch: &Value) -> Result<Value, ClusterError> {
        self.expect("PATCH", path, Some((MERGE_PATCH, patch.to_string())))
    }

    /// Server-side apply as `manager`, without force.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn apply(&self, path: &str, manager: &str, object: &Value) -> Result<Value, ClusterError> {
        let path = format!("{path}?fieldManager={manager}");
        self.expect("PATCH", &path, Some((APPLY_PATCH, object.to_string())))
    }

    /// # Errors
    /// As [`Client::get`].
    pub fn delete(&self, path: &str) -> Result<Value, ClusterError> {
        self.expect("DELETE", path, None)
    }

    fn expect(
        &self,
        method: &str,
        path: &str,
        content: Option<(&str, String)>,
    ) -> Result<Value, ClusterError> {
        let reply = self.request(method, path, content)?;
        if reply.code < 400 {
            return Ok(reply.json());
        }
        Err(refused(method, path, reply.code, &reply.body))
    }

    fn build(
        &self,
        method: &str,
        path: &str,
        content: Option<(&str, String)>,
    ) -> Result<Request<Body>, ClusterError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.access.server.to_string());
        let body = match content {
            Some((kind, text)) => {
                request = request.header(CONTENT_TYPE, kind);
                full(text)
            }
            None => full(Bytes::new()),
        };
        request
            .body(body)
            .map_err(|error| no_answer(method, path)(error.to_string()))
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<SendRequest<Body>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the future on the cluster's runtime and blocks this thread until it is done.
    fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, BoxError>> + Send + 'static,
    ) -> Result<T, String> {
        let (told, hear) = mpsc::channel();
        let task = self.runtime.spawn(async move {
            let _ = told.send(future.await.map_err(|error| error.to_string()));
        });
        match hear.recv_timeout(self.patience) {
            Ok(outcome) => outcome,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                task.abort();
                Err(format!("nothing within {:?}", self.patience))
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err("the cluster has ended".to_owned()),
        }
    }

    async fn open(
        server: std::net::SocketAddr,
        tls: Arc<ClientConfig>,
        request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, BoxError> {
        let mut sender = wire::connect(server, &tls).await?;
        Ok(sender.send_request(request).await?)
    }
}

fn no_answer(method: &str, path: &str) -> impl FnOnce(String) -> ClusterError {
    let (method, path) = (method.to_owned(), path.to_owned());
    move |reason| ClusterError::NoAnswer { method, path, reason }
}

fn refused(method: &str, path: &str, code: u16, body: &[u8]) -> ClusterError {
    let status: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let message = match status["message"].as_str() {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(body).trim().to_owned(),
    };
    ClusterError::Refused {
        method: method.to_owned(),
        path: path.to_owned(),
        code,
        message,
    }
}
