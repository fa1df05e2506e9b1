//! How to reach a peer by TCP: addresses, device, TTL, key, and the options every BGP socket gets.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream as StdStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::sockopt::{Password, set_md5, set_min_ttl};

/// DSCP CS6, network control, as the whole traffic class octet.
const TRAFFIC_CLASS: u32 = 0xc0;

/// How far the peer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// RFC 5082: send with TTL 255, take nothing that crossed more than `hops` - 1 routers. The peer must
    /// do the same. `hops` is 1 for a peer on the link.
    Gtsm { hops: u8 },
    /// Send with this TTL: 1 for a peer on the link, more for eBGP multihop.
    Ttl(u8),
    /// The kernel's default TTL: internal sessions.
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// Address and port of the peer; the scope id of a link-local address included.
    pub peer: SocketAddr,
    /// The address to dial from; the kernel chooses without one.
    pub source: Option<IpAddr>,
    /// The interface or VRF device to bind to.
    pub device: Option<String>,
    pub distance: Distance,
    pub password: Option<Password>,
    /// Unacknowledged data older than this ends the connection: the hold time (RFC 5482 §3).
    pub user_timeout: Option<Duration>,
}

impl LinkSettings {
    /// A peer on the link, port 179.
    pub fn new(peer: IpAddr) -> Self {
        LinkSettings {
            peer: SocketAddr::new(peer, 179),
            source: None,
            device: None,
            distance: Distance::Ttl(1),
            password: None,
            user_timeout: Some(Duration::from_secs(90)),
        }
    }

    /// Opens a connection; the error names the step that failed.
    pub(super) async fn dial(&self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.peer), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if let Some(device) = &self.device {
            socket
                .bind_device(Some(device.as_bytes()))
                .map_err(|e| named(&e, &format!("bind to {device}")))?;
        }
        if self.password.is_some() {
            set_md5(&socket, self.peer.ip(), self.password.as_ref())
                .map_err(|e| named(&e, "set the TCP MD5 key"))?;
        }
        self.apply(&SockRef::from(&socket))?;
        if let Some(source) = self.source {
            let address = SocketAddr::new(source, 0);
            socket
                .bind(&address.into())
                .map_err(|e| named(&e, &format!("bind to source {source}")))?;
        }
        let stream: StdStream = socket.into();
        let connecting = TcpSocket::from_std_stream(stream).connect(self.peer);
        connecting
            .await
            .map_err(|e| named(&e, &format!("connect to {}", self.peer)))
    }

    /// The options that do not depend on who opened the connection.
    pub(super) fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(self.user_timeout)?;
        let v4 = self.peer.is_ipv4();
        if v4 {
            socket.set_tos_v4(TRAFFIC_CLASS)?
        } else {
            socket.set_tclass_v6(TRAFFIC_CLASS)?
        }
        let ttl = match self.distance {
            Distance::Gtsm { hops } => {
                set_min_ttl(&**socket, self.peer.ip(), 255 - hops.saturating_sub(1))
                    .map_err(|e| named(&e, "set the least TTL"))?;
                255
            }
            Distance::Ttl(ttl) => u32::from(ttl),
            Distance::Any => return Ok(()),
        };
        if v4 {
            socket.set_ttl_v4(ttl)
        } else {
            socket.set_unicast_hops_v6(ttl)
        }
    }
}

fn named(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
