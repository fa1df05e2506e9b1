//! GET of one object and of many: pages, selectors, versions.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::kinds::Resource;
use super::object::{Object, ObjectKey};
use super::selector::Filter;
use super::store::State;
use crate::cluster::refusal::Refusal;
use crate::cluster::target::{Params, Target};

/// Which objects go into an answer. Bodies are written after the lock is given back.
pub(super) struct Page {
    pub resource: Arc<Resource>,
    pub revision: u64,
    objects: Vec<Arc<Object>>,
    next: Option<String>,
    remaining: Option<usize>,
}

/// Where a list goes on: in the state at a revision, after an object.
struct Continue {
    revision: u64,
    after: ObjectKey,
}

pub(super) fn get(state: &State, resource: &Resource, target: &Target) -> Result<Bytes, Refusal> {
    let object = find(state, resource, target)?;
    Ok(object.json(resource))
}

pub(super) fn find<'a>(
    state: &'a State,
    resource: &Resource,
    target: &Target,
) -> Result<&'a Arc<Object>, Refusal> {
    state
        .get(resource, &key(target))
        .ok_or_else(|| Refusal::not_found(target))
}

pub(super) fn key(target: &Target) -> ObjectKey {
    ObjectKey {
        namespace: target.namespace.clone(),
        name: target.name.clone().unwrap_or_default(),
    }
}

pub(super) fn list(
    state: &State,
    resource: Arc<Resource>,
    target: &Target,
    params: &Params,
) -> Result<Page, Refusal> {
    let filter = Filter::new(&resource, target, params)?;
    let limit = params.get("limit").map(str::parse::<usize>).transpose();
    let limit = limit
        .map_err(|_| Refusal::bad_request("limit is no number"))?
        .unwrap_or(0);
    let from = params.get("continue").map(Continue::read).transpose()?;
    let revision = match &from {
        Some(from) => from.revision,
        None => asked_revision(state, params)?,
    };
    let mut objects = if revision == state.revision() {
        state.all(&resource).cloned().collect()
    } else {
        state.all_at(&resource, revision).map_err(|_| too_late())?
    };
    objects.retain(|object| filter.matches(&resource, object));
    if let Some(from) = from {
        objects.retain(|object| object.key > from.after);
    }
    let rest = if limit == 0 {
        0
    } else {
        objects.len().saturating_sub(limit)
    };
    objects.truncate(objects.len() - rest);
    let next = objects
        .last()
        .filter(|_| rest > 0)
        .map(|last| Continue::written(revision, &last.key));
    Ok(Page {
        resource,
        revision,
        objects,
        next,
        // Not counted when there are selectors, as the real server does not.
        remaining: Some(rest).filter(|rest| *rest > 0 && !filter.selects()),
    })
}

/// The newest state, unless exactly one version is asked for.
fn asked_revision(state: &State, params: &Params) -> Result<u64, Refusal> {
    let now = state.revision();
    let Some(asked) = revision(params)?.filter(|asked| *asked > 0) else {
        return Ok(now);
    };
    if asked > now {
        return Err(Refusal::from_the_future(asked, now));
    }
    let exact = params.get("resourceVersionMatch") == Some("Exact");
    Ok(if exact { asked } else { now })
}

/// The parameter `resourceVersion`.
pub(super) fn revision(params: &Params) -> Result<Option<u64>, Refusal> {
    let Some(text) = params.get("resourceVersion") else {
        return Ok(None);
    };
    let number = text.parse().map_err(|_| {
        Refusal::bad_request(format!(
            "resourceVersion: Invalid value: {text:?}: it is no number"
        ))
    })?;
    Ok(Some(number))
}

fn too_late() -> Refusal {
    Refusal::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new \
         list without the continue parameter."
            .to_owned(),
    )
}

impl Continue {
    fn read(token: &str) -> Result<Self, Refusal> {
        let bad = || Refusal::bad_request("continue key is not valid");
        let text = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
        let token: Value = serde_json::from_slice(&text).map_err(|_| bad())?;
        let text = |field: &str| token[field].as_str().map(str::to_owned).ok_or_else(bad);
        Ok(Self {
            revision: token["rv"].as_u64().ok_or_else(bad)?,
            after: ObjectKey {
                namespace: text("namespace")?,
                name: text("name")?,
            },
        })
    }

    fn written(revision: u64, after: &ObjectKey) -> String {
        let token = json!({ "rv": revision, "namespace": after.namespace, "name": after.name });
        URL_SAFE_NO_PAD.encode(token.to_string())
    }
}

impl Page {
    /// Items of built-in kinds go without `apiVersion` and `kind`, as the real server leaves them out.
    pub fn body(&self) -> Bytes {
        let mut metadata = json!({ "resourceVersion": self.revision.to_string() });
        if let Some(next) = &self.next {
            metadata["continue"] = json!(next);
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = json!(remaining);
        }
        let head = format!(
            "{{\"kind\":\"{}List\",\"apiVersion\":{:?},\"metadata\":{metadata},\"items\":[",
            self.resource.kind,
            self.resource.api_version()
        );
        let length: usize = self.objects.iter().map(|object| object.bare().len() + 128).sum();
        let mut out = Vec::with_capacity(head.len() + length);
        out.extend_from_slice(head.as_bytes());
        for (at, object) in self.objects.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            if self.resource.custom {
                object.write(&self.resource, &mut out);
            } else {
                out.extend_from_slice(object.bare());
            }
        }
        out.extend_from_slice(b"]}\n");
        out.into()
    }
}
