//! The real server behind the door: requests are passed on with the user's name, as by any proxy that
//! authenticates (`--requestheader-client-ca-file` of kube-apiserver).

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::{Request, Response};
use rustls::ClientConfig;
use tokio::sync::Mutex;

use crate::cluster::User;
use crate::cluster::wire::{self, Body, BoxError};

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");

/// How to reach the server.
#[derive(Debug)]
pub(in crate::cluster) struct Upstream {
    pub server: SocketAddr,
    pub tls: Arc<ClientConfig>,
}

/// One connection of a client has one to the server: closing the first closes the second, as a watch needs.
#[derive(Default)]
pub(super) struct Line(Mutex<Option<SendRequest<Body>>>);

impl Upstream {
    pub(super) async fn forward(
        &self,
        line: &Line,
        request: Request<Incoming>,
        user: Option<&User>,
    ) -> Result<Response<Body>, BoxError> {
        let (mut head, body) = request.into_parts();
        identify(&mut head.headers, user)?;
        let request = Request::from_parts(head, body.map_err(BoxError::from).boxed());
        let mut idle = line.0.lock().await;
        let mut sender = match idle.take().filter(SendRequest::is_ready) {
            Some(sender) => sender,
            None => wire::connect(self.server, &self.tls).await?,
        };
        let response = sender.send_request(request).await?;
        *idle = Some(sender);
        Ok(response.map(|body| body.map_err(BoxError::from).boxed()))
    }
}

fn identify(headers: &mut HeaderMap, user: Option<&User>) -> Result<(), BoxError> {
    for name in [USER, GROUP, CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    let (name, groups) = match user {
        Some(user) => (user.name.as_str(), user.groups()),
        None => ("system:anonymous", vec!["system:unauthenticated"]),
    };
    headers.insert(USER, HeaderValue::from_str(name)?);
    for group in groups {
        headers.append(GROUP, HeaderValue::from_str(group)?);
    }
    Ok(())
}
