//! A watch as a test sees it: one event after the other, or nothing for a while, or its end.

use std::sync::mpsc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use super::{Client, ClusterError, no_answer, refused};
use crate::cluster::wire::BoxError;

/// An open watch; dropping it closes its connection.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::Receiver<Value>,
    task: tokio::task::AbortHandle,
}

/// What a watch had to say within a time.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Event(Value),
    /// The server or the network ended it.
    End,
    Silence,
}

impl Heard {
    /// `ADDED`, `BOOKMARK` and so on; empty when it was no event.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Event(event) => event["type"].as_str().unwrap_or_default(),
            Self::End | Self::Silence => "",
        }
    }

    /// The event's object; null when it was no event.
    #[must_use]
    pub fn object(&self) -> &Value {
        match self {
            Self::Event(event) => &event["object"],
            Self::End | Self::Silence => &Value::Null,
        }
    }
}

impl Watch {
    /// Waits for the next event.
    pub fn next(&self, limit: Duration) -> Heard {
        match self.events.recv_timeout(limit) {
            Ok(event) => Heard::Event(event),
            Err(mpsc::RecvTimeoutError::Disconnected) => Heard::End,
            Err(mpsc::RecvTimeoutError::Timeout) => Heard::Silence,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Opens a watch on a connection of its own; `path` has `watch=1` and what else the test wants.
    ///
    /// # Errors
    /// When there is no answer, or a refusal instead of a stream.
    pub fn watch(&self, path: &str) -> Result<Watch, ClusterError> {
        let request = self.build("GET", path, None)?;
        let opened = Self::open(self.access.server, self.tls.clone(), request);
        let response = self.wait(opened).map_err(no_answer("WATCH", path))?;
        let code = response.status().as_u16();
        if code >= 400 {
            let body = self
                .wait(async { Ok(response.into_body().collect().await?.to_bytes()) })
                .map_err(no_answer("WATCH", path))?;
            return Err(refused("WATCH", path, code, &body));
        }
        let (told, events) = mpsc::channel();
        let task = self.runtime.spawn(async move {
            let _: Result<(), BoxError> = follow(response.into_body(), &told).await;
        });
        Ok(Watch {
            events,
            task: task.abort_handle(),
        })
    }
}

async fn follow(mut body: Incoming, told: &mpsc::Sender<Value>) -> Result<(), BoxError> {
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end);
            buffer.advance(1);
            told.send(serde_json::from_slice(&line)?)?;
        }
    }
    Ok(())
}
