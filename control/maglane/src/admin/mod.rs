//! Answers on the admin socket: one JSON request a line, one JSON response a line
//! ([`maglane_control::admin`] has the types). Only the socket's owner gets this far.

mod dump;
mod socket;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use maglane_control::admin::{self, Request, Response, Status};
use maglane_shared::counters::Counters;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::run::Shared;
use crate::view::{self, VERSION, View, Views};
pub use socket::AdminSocket;

/// Longest request.
const REQUEST_BYTES: u64 = 64 << 10;
/// Longest conversation.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers until the runtime ends.
pub async fn serve(listener: UnixListener, shared: Arc<Shared>, views: Views) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let conversation = converse(stream, Arc::clone(&shared), views.clone());
                tokio::spawn(tokio::time::timeout(PATIENCE, conversation));
            }
            Err(error) => {
                tracing::warn!(%error, "admin socket: a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, shared: Arc<Shared>, views: Views) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = String::new();
        match (&mut read).take(REQUEST_BYTES).read_line(&mut line).await {
            Ok(length) if length > 0 => {}
            Ok(_) | Err(_) => return,
        }
        let response = match serde_json::from_str(&line) {
            Ok(request) => answer(request, &shared, &views).await,
            Err(error) => Response::Failed(format!("not a request of this version: {error}")),
        };
        let mut text =
            serde_json::to_string(&response).unwrap_or_else(|error| format!("{{\"failed\":\"{error}\"}}"));
        text.push('\n');
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(request: Request, shared: &Arc<Shared>, views: &Views) -> Response {
    let records = match &request {
        Request::Flows(_) => dump::collect(shared).await,
        Request::Status
        | Request::Services
        | Request::Backends
        | Request::Errors
        | Request::BgpPeers
        | Request::BgpRoutes
        | Request::Bfd
        | Request::Drain(_) => vec![],
    };
    let Some(view) = views.get().await else {
        return Response::Failed("the control loop is ending; ask again in a second".to_owned());
    };
    let shared = Arc::clone(shared);
    let made = tokio::task::spawn_blocking(move || match request {
        Request::Status => Response::Status(Box::new(status(&shared, view))),
        Request::Services => {
            Response::Services(admin::services(&view.catalog, &view.meter, &counters(&shared)))
        }
        Request::Backends => {
            Response::Backends(admin::backends(&view.catalog, &view.meter, &counters(&shared)))
        }
        Request::Flows(filter) => Response::Flows(admin::flows(&view.catalog, records, &filter)),
        Request::Errors => Response::Errors(admin::errors(&view.catalog)),
        Request::BgpPeers => Response::BgpPeers(admin::peers(&shared.speaker.peers())),
        Request::BgpRoutes => Response::BgpRoutes(admin::routes(&shared.speaker.peers())),
        Request::Bfd => Response::Bfd(admin::bfd(&shared.speaker.peers())),
        Request::Drain(draining) => {
            shared.drain.send_replace(draining);
            Response::Draining(draining)
        }
    });
    made.await
        .unwrap_or_else(|error| Response::Failed(error.to_string()))
}

fn status(shared: &Shared, view: View) -> admin::StatusReport {
    let scrape = view::scrape(shared, view);
    admin::status(Status {
        catalog: &scrape.catalog,
        workers: &scrape.workers,
        interfaces: &scrape.interfaces,
        updates: &scrape.updates,
        version: VERSION,
        uptime: scrape.uptime,
    })
}

fn counters(shared: &Shared) -> Vec<Arc<Counters>> {
    shared
        .engine
        .watches
        .iter()
        .map(|watch| Arc::clone(&watch.counters))
        .collect()
}
