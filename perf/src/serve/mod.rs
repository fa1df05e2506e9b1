//! The backends of every test: an HTTP server and a UDP echo that say who they are.

mod content;
mod http;
mod udp;

use std::net::SocketAddr;

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};

pub use content::body;

/// Connections that may wait for `accept`: a test opens 2,000 at once.
const BACKLOG: i32 = 16_384;

/// What one server answers.
#[derive(Debug, Clone)]
pub struct Settings {
    pub name: String,
    pub http: Vec<SocketAddr>,
    pub udp: Vec<SocketAddr>,
}

/// Serves until the task is dropped; `ready` runs once every socket is bound.
///
/// # Errors
/// When an address can't be bound.
pub async fn serve(settings: Settings, ready: impl FnOnce()) -> anyhow::Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for address in &settings.http {
        let listener = listen(*address)?;
        tasks.spawn(http::run(listener, settings.name.clone()));
    }
    for address in &settings.udp {
        let socket = udp::bind(*address)?;
        tasks.spawn(udp::run(socket, settings.name.clone()));
    }
    ready();
    while let Some(ended) = tasks.join_next().await {
        ended.context("a server task panicked")??;
    }
    Ok(())
}

fn listen(address: SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    let socket = bound(address, Type::STREAM, Protocol::TCP)?;
    socket
        .listen(BACKLOG)
        .with_context(|| format!("listen on {address}"))?;
    Ok(tokio::net::TcpListener::from_std(socket.into())?)
}

/// A non-blocking socket bound to the address; `[::]` takes IPv4 as well.
fn bound(address: SocketAddr, kind: Type, protocol: Protocol) -> anyhow::Result<Socket> {
    let remedy = || format!("bind {protocol:?} {address}: is it free, and does the host own the address?");
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into()).with_context(remedy)?;
    Ok(socket)
}
