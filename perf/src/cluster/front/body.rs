//! A watch's body behind the gate: it stalls while the cluster is frozen, and for good once it is silenced.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::sync::watch;

use crate::cluster::fault::{Conditions, Weather, thawed};
use crate::cluster::wire::{Body, BoxError};

type Wait = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

pub(super) struct Gated {
    inner: Body,
    conditions: watch::Receiver<Conditions>,
    /// The epoch in which the watch was opened.
    epoch: u64,
    wait: Option<Wait>,
}

impl Gated {
    pub fn new(inner: Body, conditions: watch::Receiver<Conditions>, epoch: u64) -> Self {
        Self {
            inner,
            conditions,
            epoch,
            wait: None,
        }
    }

    pub fn boxed(self) -> Body {
        BodyExt::boxed(self)
    }

    /// What has to end before a frame may pass.
    fn obstacle(&self) -> Option<Wait> {
        let now = self.conditions.borrow();
        if now.epoch > self.epoch {
            return Some(Box::pin(std::future::pending()));
        }
        if now.weather == Weather::Frozen {
            let mut conditions = self.conditions.clone();
            return Some(Box::pin(async move {
                thawed(&mut conditions).await;
            }));
        }
        None
    }
}

impl hyper::body::Body for Gated {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.wait.is_none() {
            self.wait = self.obstacle();
        }
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(context));
            self.wait = None;
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }
}
