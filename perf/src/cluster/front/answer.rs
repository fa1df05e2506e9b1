//! One connection's requests: the weather first, then the server, and a line in the log.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::sync::watch;

use super::body::Gated;
use super::upstream::Line;
use super::{Backend, Front};
use crate::cluster::User;
use crate::cluster::fault::{Conditions, Weather, thawed};
use crate::cluster::log::Entry;
use crate::cluster::refusal::Refusal;
use crate::cluster::target::{Params, Target, Verb, verb};
use crate::cluster::wire::{Body, BoxError};

/// One client's connection.
pub(super) struct Session {
    front: Arc<Front>,
    user: Option<User>,
    line: Line,
}

/// What a request asks for.
struct Asked {
    verb: Option<Verb>,
    target: Option<Target>,
    path: String,
}

impl Session {
    pub fn new(front: Arc<Front>, user: Option<User>) -> Self {
        Self {
            front,
            user,
            line: Line::default(),
        }
    }

    /// An error closes the connection without an answer.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
        let mut conditions = self.front.gate.follow();
        let asked = Asked::of(&request);
        let now = thawed(&mut conditions).await;
        let outcome = match refusal(&now.weather, self.user_name(), &request, &asked) {
            Some(refusal) => Ok(refusal.response()),
            None => {
                linger(&now.weather, &asked).await;
                self.forward(request).await
            }
        };
        // Frozen meanwhile: nothing leaves.
        let _ = thawed(&mut conditions).await;
        self.log(&asked, &outcome);
        outcome.map(|response| gated(response, &asked, now.epoch, conditions))
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
        match &self.front.backend {
            Backend::Double(double) => double.answer(request, self.user.as_ref()).await,
            Backend::Real(upstream) => upstream.forward(&self.line, request, self.user.as_ref()).await,
        }
    }

    fn user_name(&self) -> &str {
        self.user.as_ref().map_or("", |user| &user.name)
    }

    fn log(&self, asked: &Asked, outcome: &Result<Response<Body>, BoxError>) {
        self.front.log.push(Entry {
            at: Instant::now(),
            user: self.user_name().to_owned(),
            verb: asked.verb,
            target: asked.target.clone().unwrap_or_default(),
            path: asked.path.clone(),
            code: outcome.as_ref().map_or(0, |response| response.status().as_u16()),
        });
    }
}

impl Asked {
    fn of(request: &Request<Incoming>) -> Self {
        let target = Target::parse(request.uri().path());
        let params = Params::parse(request.uri().query());
        Self {
            verb: target
                .as_ref()
                .and_then(|target| verb(request.method().as_str(), target, &params)),
            target,
            path: request.uri().to_string(),
        }
    }
}

fn refusal(weather: &Weather, user: &str, request: &Request<Incoming>, asked: &Asked) -> Option<Refusal> {
    match weather {
        Weather::Clear | Weather::Frozen | Weather::SlowList { .. } => None,
        Weather::Unavailable => Some(Refusal::unavailable()),
        Weather::Throttled(after) => Some(Refusal::throttled(after.as_secs().max(1))),
        Weather::Forbidden => Some(match (&asked.target, asked.verb) {
            (Some(target), Some(verb)) => Refusal::forbidden(user, verb, target),
            (_, _) => Refusal::forbidden_path(user, request.method().as_str(), request.uri().path()),
        }),
    }
}

async fn linger(weather: &Weather, asked: &Asked) {
    if let (Weather::SlowList { resource, delay }, Some(Verb::List), Some(target)) =
        (weather, asked.verb, &asked.target)
        && target.resource == *resource
    {
        tokio::time::sleep(*delay).await;
    }
}

/// Only watches outlive their head by long: they stay behind the gate.
fn gated(
    response: Response<Body>,
    asked: &Asked,
    epoch: u64,
    conditions: watch::Receiver<Conditions>,
) -> Response<Body> {
    if asked.verb == Some(Verb::Watch) {
        response.map(|body| Gated::new(body, conditions, epoch).boxed())
    } else {
        response
    }
}
