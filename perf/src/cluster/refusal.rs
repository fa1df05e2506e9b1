//! The API's way to say no: a `Status` object, with the reasons and texts of the real server.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::target::{Target, Verb};
use super::wire::{Body, full};

/// One refusal.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    details: Value,
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: String) -> Self {
        Self {
            code,
            reason,
            message,
            details: json!({}),
            retry_after: None,
        }
    }

    fn about(mut self, target: &Target) -> Self {
        self.details = json!({ "kind": target.resource });
        if let Some(name) = &target.name {
            self.details["name"] = json!(name);
        }
        if !target.group.is_empty() {
            self.details["group"] = json!(target.group);
        }
        self
    }

    fn because(mut self, causes: &[Cause]) -> Self {
        let causes = causes
            .iter()
            .map(|cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field }));
        self.details["causes"] = causes.collect();
        self
    }

    /// The path is nothing that is served.
    pub fn no_such_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(404, "NotFound", message.to_owned())
    }

    pub fn not_found(target: &Target) -> Self {
        Self::new(404, "NotFound", format!("{} not found", title(target))).about(target)
    }

    pub fn exists(target: &Target) -> Self {
        Self::new(409, "AlreadyExists", format!("{} already exists", title(target))).about(target)
    }

    /// Somebody else wrote first.
    pub fn stale(target: &Target) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {}: the object has been modified; please apply your changes to \
             the latest version and try again",
            title(target)
        );
        Self::new(409, "Conflict", message).about(target)
    }

    pub fn precondition(target: &Target, what: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {}: Precondition failed: {what}",
            title(target)
        );
        Self::new(409, "Conflict", message).about(target)
    }

    /// Fields that other managers own.
    pub fn owned(message: String, causes: &[Cause]) -> Self {
        Self::new(409, "Conflict", message).because(causes)
    }

    pub fn invalid(kind: &str, target: &Target, causes: &[Cause]) -> Self {
        let texts: Vec<String> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        let texts = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let name = target.name.as_deref().unwrap_or_default();
        let message = format!("{} {name:?} is invalid: {texts}", qualified(kind, &target.group));
        Self::new(422, "Invalid", message).about(target).because(causes)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message.into())
    }

    pub fn media_type(kind: &str) -> Self {
        let message = format!("the body of the request was in an unknown format: {kind}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message.to_owned())
    }

    /// The asked-for version is forgotten: list again.
    pub fn expired(message: String) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The asked-for version is still to come.
    pub fn from_the_future(asked: u64, now: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {now}");
        let cause = Cause::new("ResourceVersionTooLarge", "", "Too large resource version");
        let mut refusal = Self::new(504, "Timeout", message).because(&[cause]);
        refusal.details["retryAfterSeconds"] = json!(1);
        refusal.retry_after = Some(1);
        refusal
    }

    pub fn forbidden(user: &str, verb: Verb, target: &Target) -> Self {
        let place = match target.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        let message = format!(
            "{} is forbidden: User {user:?} cannot {verb} resource {:?} in API group {:?} {place}",
            title(target),
            target.full_resource(),
            target.group
        );
        Self::new(403, "Forbidden", message).about(target)
    }

    pub fn forbidden_path(user: &str, method: &str, path: &str) -> Self {
        let method = method.to_lowercase();
        Self::new(
            403,
            "Forbidden",
            format!("forbidden: User {user:?} cannot {method} path {path:?}"),
        )
    }

    pub fn unavailable() -> Self {
        let message = "the server is currently unable to handle the request";
        Self::new(503, "ServiceUnavailable", message.to_owned())
    }

    pub fn throttled(seconds: u64) -> Self {
        let message = "the server has received too many requests and has asked us to try again later";
        let mut refusal = Self::new(429, "TooManyRequests", message.to_owned());
        refusal.details["retryAfterSeconds"] = json!(seconds);
        refusal.retry_after = Some(seconds);
        refusal
    }

    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if self
            .details
            .as_object()
            .is_some_and(|details| !details.is_empty())
        {
            status["details"] = self.details.clone();
        }
        status
    }

    pub fn response(&self) -> Response<Body> {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = reply(code, self.status().to_string());
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// One field's part in a refusal.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    reason: &'static str,
    field: String,
    message: String,
}

impl Cause {
    pub fn new(reason: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason,
            field: field.into(),
            message: message.into(),
        }
    }

    pub fn required(field: impl Into<String>) -> Self {
        Self::new("FieldValueRequired", field, "Required value")
    }

    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self::new(
            "FieldValueInvalid",
            field,
            format!("Invalid value: {value}: {why}"),
        )
    }
}

/// A JSON answer.
pub(super) fn reply(code: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `endpointslices.discovery.k8s.io "web-1"`
fn title(target: &Target) -> String {
    let kind = qualified(&target.resource, &target.group);
    match &target.name {
        Some(name) => format!("{kind} {name:?}"),
        None => kind,
    }
}

fn qualified(kind: &str, group: &str) -> String {
    if group.is_empty() {
        kind.to_owned()
    } else {
        format!("{kind}.{group}")
    }
}
