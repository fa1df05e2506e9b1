//! The optional listener: takes connections of configured peers only, and hands each to its peer's task.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::link::LinkSettings;
use super::sockopt::set_md5;

/// Connections not yet looked at by the peer's task; more are turned away.
const BACKLOG: usize = 4;

/// A peer as its source address tells it; the scope counts for link-local addresses only.
type PeerKey = (IpAddr, u32);
type Expected = Arc<Mutex<HashMap<PeerKey, Guest>>>;

struct Guest {
    peer: mpsc::Sender<TcpStream>,
    /// The listening socket holds a key for this address.
    keyed: bool,
}

fn key(address: SocketAddr) -> PeerKey {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => (IpAddr::V6(*v6.ip()), v6.scope_id()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => (address.ip().to_canonical(), 0),
    }
}

/// A listening socket shared by the peers of one local address. Dropping it stops listening.
pub struct Listener {
    socket: Arc<TcpListener>,
    expected: Expected,
    task: JoinHandle<()>,
}

impl Listener {
    /// Listens at `address`; IPv6 sockets take IPv6 only. Needs a tokio runtime.
    pub fn bind(address: SocketAddr, device: Option<&str>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
            socket.set_unicast_hops_v6(255)?;
        } else {
            socket.set_ttl_v4(255)?;
        }
        if let Some(device) = device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        socket.bind(&address.into())?;
        socket.listen(128)?;
        let socket = Arc::new(TcpListener::from_std(socket.into())?);
        let expected = Expected::default();
        let task = tokio::spawn(accept(socket.clone(), expected.clone()));
        Ok(Listener {
            socket,
            expected,
            task,
        })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Expects connections of this peer from now on, signed where it has a key; replaces what was
    /// expected of the same address before, its key included.
    pub fn expect(&self, link: &LinkSettings) -> io::Result<Incoming> {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let was_keyed = expected.get(&key(link.peer)).is_some_and(|guest| guest.keyed);
        let keyed = link.password.is_some();
        if keyed || was_keyed {
            set_md5(
                &*SockRef::from(&*self.socket),
                link.peer.ip(),
                link.password.as_ref(),
            )?;
        }
        let (peer, connections) = mpsc::channel(BACKLOG);
        expected.insert(key(link.peer), Guest { peer, keyed });
        Ok(Incoming { connections })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The connections one peer opened. Dropping it makes the listener turn the peer away.
pub struct Incoming {
    pub(super) connections: mpsc::Receiver<TcpStream>,
}

async fn accept(socket: Arc<TcpListener>, expected: Expected) {
    loop {
        let Ok((stream, from)) = socket.accept().await else {
            // Out of descriptors, most likely: yield, so that somebody may give one back.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let expected = expected.lock().unwrap_or_else(PoisonError::into_inner);
        let known = expected.get(&key(from));
        // A stranger, a peer that is gone, or one whose task is drowning: the stream closes here.
        drop(known.map(|guest| guest.peer.try_send(stream)));
    }
}
