//! WATCH: the changes after a version, then each as it comes, with bookmarks, until its time is over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, channel::Channel};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::kinds::Resource;
use super::object::Object;
use super::read;
use super::selector::Filter;
use super::store::{Change, State, Store};
use crate::cluster::refusal::{Refusal, reply};
use crate::cluster::target::{Params, Target};
use crate::cluster::wire::{Body, BoxError};

/// Without `timeoutSeconds`; the real server ends a watch after 30 to 60 minutes.
const LONGEST: Duration = Duration::from_secs(1800);
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A last bookmark comes this long before the end.
const BOOKMARK_AHEAD: Duration = Duration::from_secs(2);

/// One open watch.
struct Feed {
    store: Arc<Store>,
    resource: Arc<Resource>,
    target: Target,
    filter: Filter,
    /// What the client had seen when it came.
    start: u64,
    /// Everything up to here was told.
    told: u64,
    bookmarks: bool,
}

/// Opens a watch: what it has to tell at once is told first.
pub(super) fn open(
    store: &Arc<Store>,
    resource: Arc<Resource>,
    target: &Target,
    params: &Params,
) -> Result<Response<Body>, Refusal> {
    if params.is_true("sendInitialEvents") {
        return Err(Refusal::bad_request(
            "sendInitialEvents is forbidden: this server cannot stream lists; list, then watch",
        ));
    }
    let limit = params.get("timeoutSeconds").map(str::parse).transpose();
    let limit = limit.map_err(|_| Refusal::bad_request("timeoutSeconds is no number"))?;
    let mut feed = Feed {
        store: Arc::clone(store),
        filter: Filter::new(&resource, target, params)?,
        resource,
        target: target.clone(),
        start: 0,
        told: 0,
        bookmarks: params.is_true("allowWatchBookmarks"),
    };
    let first = feed.begin(read::revision(params)?);
    feed.start = feed.told;
    let (sender, body) = Channel::<Bytes, BoxError>::new(16);
    let limit = limit.map_or(LONGEST, Duration::from_secs);
    tokio::spawn(feed.run(first, sender, Instant::now() + limit));
    let mut response = reply(StatusCode::OK, Bytes::new());
    *response.body_mut() = body.boxed();
    Ok(response)
}

type Lines = Result<VecDeque<Bytes>, Refusal>;

impl Feed {
    /// Without a version (or with 0) every object is told as added first.
    fn begin(&mut self, from: Option<u64>) -> Lines {
        match from {
            Some(revision) if revision > 0 => {
                self.told = revision;
                Ok(VecDeque::new())
            }
            Some(_) | None => {
                let state = self.store.read();
                let objects = state
                    .all(&self.resource)
                    .filter(|object| self.filter.matches(&self.resource, object));
                let lines = objects
                    .map(|object| self.line("ADDED", &object.json(&self.resource)))
                    .collect();
                self.told = state.revision();
                Ok(lines)
            }
        }
    }

    async fn run(
        mut self,
        first: Lines,
        mut sender: http_body_util::channel::Sender<Bytes, BoxError>,
        end: Instant,
    ) {
        let mut bell = self.store.bell();
        let mut lines = first;
        let mut bookmark = self.next_bookmark(end);
        loop {
            match lines {
                Ok(lines) => {
                    for line in lines {
                        if sender.send_data(line).await.is_err() {
                            return;
                        }
                    }
                }
                Err(refusal) => {
                    let line = self.line("ERROR", refusal.status().to_string().as_bytes());
                    let _ = sender.send_data(line).await;
                    return;
                }
            }
            bell.mark_unchanged();
            lines = self.news();
            if !matches!(&lines, Ok(lines) if lines.is_empty()) {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                () = tokio::time::sleep_until(bookmark) => {
                    lines = self.news().map(|mut lines| {
                        // As the real server: no bookmark of what the client came with.
                        lines.extend((self.told > self.start).then(|| self.bookmark()));
                        lines
                    });
                    bookmark = self.next_bookmark(end);
                }
                rung = bell.changed() => if rung.is_err() || self.gone() { return },
            }
        }
    }

    /// What came since the last look.
    fn news(&mut self) -> Lines {
        let store = Arc::clone(&self.store);
        let (changes, revision) = {
            let state = store.read();
            (state.since(&self.resource, self.told)?, state.revision())
        };
        // A version from before a loss of all data is larger than any: it stays, and hears nothing.
        self.told = self.told.max(revision);
        Ok(changes.iter().filter_map(|change| self.event(change)).collect())
    }

    fn event(&self, change: &Change) -> Option<Bytes> {
        let matches = |object: &Arc<Object>| self.filter.matches(&self.resource, object);
        let was = change.before().is_some_and(matches);
        let (kind, is) = match change {
            Change::Written { after, .. } => ("", matches(after)),
            Change::Deleted { .. } => ("DELETED", false),
        };
        match (was, is) {
            (false, false) => None,
            (false, true) => Some(self.told_as("ADDED", change)),
            (true, true) => Some(self.told_as("MODIFIED", change)),
            (true, false) if kind == "DELETED" => Some(self.told_as("DELETED", change)),
            // It is there, but not for this selector: its last matching state with the newest version.
            (true, false) => {
                let mut value = change.before()?.value(&self.resource);
                value["metadata"]["resourceVersion"] = json!(change.object().revision.to_string());
                Some(self.line("DELETED", value.to_string().as_bytes()))
            }
        }
    }

    fn told_as(&self, kind: &str, change: &Change) -> Bytes {
        self.line(kind, &change.object().json(&self.resource))
    }

    fn line(&self, kind: &str, object: &[u8]) -> Bytes {
        let mut line = format!("{{\"type\":\"{kind}\",\"object\":").into_bytes();
        line.extend_from_slice(object);
        line.extend_from_slice(b"}\n");
        line.into()
    }

    fn bookmark(&self) -> Bytes {
        let object: Value = json!({
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version(),
            "metadata": { "resourceVersion": self.told.to_string(), "creationTimestamp": null },
        });
        self.line("BOOKMARK", object.to_string().as_bytes())
    }

    fn next_bookmark(&self, end: Instant) -> Instant {
        let now = Instant::now();
        let ahead = end.checked_sub(BOOKMARK_AHEAD).filter(|ahead| *ahead > now);
        let far = now + LONGEST * 2;
        match (self.bookmarks, ahead) {
            (true, Some(ahead)) => ahead.min(now + BOOKMARK_EVERY),
            (true, None) | (false, _) => far,
        }
    }

    /// The kind is not served any more.
    fn gone(&self) -> bool {
        let state: &State = &self.store.read();
        state.resource(&self.target).is_err()
    }
}
