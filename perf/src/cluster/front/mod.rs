//! The door of a cluster: takes connections, knows users by their certificates, logs, and can misbehave.
//!
//! ```text
//!  client ══TLS══► front ──┬──► double        in this process
//!                 log,     └──► kube-apiserver  as an authenticating proxy (X-Remote-User)
//!                 faults
//! ```
//!
//! One door for both servers, so that every fault and every count works with either.

mod answer;
mod body;
mod upstream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::User;
use super::double::Double;
use super::fault::{Conditions, Door, Gate, Weather};
use super::log::RequestLog;

pub(super) use upstream::Upstream;

const HANDSHAKE: Duration = Duration::from_secs(10);

/// Who answers behind the door.
#[derive(Debug, Clone)]
pub(super) enum Backend {
    Double(Arc<Double>),
    Real(Arc<Upstream>),
}

/// Users by their certificates.
#[derive(Debug, Default)]
pub(super) struct Users(Mutex<HashMap<Vec<u8>, User>>);

impl Users {
    pub fn add(&self, certificate: &CertificateDer<'_>, user: User) {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        users.insert(certificate.to_vec(), user);
    }

    fn bearer(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<User> {
        let users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        users.get(chain?.first()?.as_ref()).cloned()
    }
}

/// What the connections share.
#[derive(Debug)]
pub(super) struct Front {
    pub address: SocketAddr,
    pub tls: Arc<ServerConfig>,
    pub backend: Backend,
    pub gate: Gate,
    pub log: RequestLog,
    pub users: Users,
    /// The serial of the conditions that the door has put into force.
    pub in_force: watch::Sender<u64>,
}

impl Front {
    /// Serves until the task is dropped.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        let mut conditions = self.gate.follow();
        let mut listener = Some(listener);
        loop {
            let there = conditions.wait_for(|now| now.door != Door::Gone).await;
            let Ok(serial) = there.map(|now| now.serial) else {
                return;
            };
            let open = match listener.take() {
                Some(listener) => listener,
                None => self.bind().await,
            };
            self.in_force.send_replace(serial);
            let connections = self.take_connections(open, &mut conditions).await;
            // Dropped, not shut down: whoever is connected sees a reset, as from a killed process.
            drop(connections);
            self.in_force.send_replace(conditions.borrow_and_update().serial);
        }
    }

    /// Until nobody is to listen any more.
    async fn take_connections(
        self: &Arc<Self>,
        listener: TcpListener,
        conditions: &mut watch::Receiver<Conditions>,
    ) -> JoinSet<()> {
        let mut connections = JoinSet::new();
        loop {
            let now = conditions.borrow_and_update().clone();
            match now.door {
                Door::Gone => return connections,
                Door::Slammed => connections.shutdown().await,
                Door::Open => {}
            }
            self.in_force.send_replace(now.serial);
            tokio::select! {
                changed = conditions.changed() => if changed.is_err() { return connections },
                Some(_) = connections.join_next() => {}
                accepted = listener.accept(), if now.weather != Weather::Frozen => {
                    if let (Ok((stream, _)), Door::Open) = (accepted, now.door) {
                        connections.spawn(Arc::clone(self).connection(stream));
                    }
                }
            }
        }
    }

    /// The old address again. Another process may hold it for a moment as its own source port.
    async fn bind(&self) -> TcpListener {
        loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let handshake = TlsAcceptor::from(Arc::clone(&self.tls)).accept(stream);
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await else {
            return;
        };
        let user = self.users.bearer(stream.get_ref().1.peer_certificates());
        let session = Arc::new(answer::Session::new(Arc::clone(&self), user));
        let service = service_fn(move |request| Arc::clone(&session).answer(request));
        // An error is the client's going away, or a connection that was to be closed without an answer.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }
}
