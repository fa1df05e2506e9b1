//! Neighbours of unnumbered sessions: found by the router advertisements they send, and told of us by ours
//! (RFC 4861 §4.2), with a router lifetime of 0: nobody is to route through us.
//!
//! Only on the one interface asked for, sent three seconds apart at first and then every ten; hop limit 255 both
//! ways (§6.1.2); multicast loop off, or we would find ourselves.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use nix::sys::socket::{SetSockOpt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::packet::Buffers;

const ROUTER_ADVERTISEMENT: u8 = 134;
/// RFC 4861 §6.1.2: the least octets of an advertisement.
const LEAST: usize = 16;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const BEAT: Duration = Duration::from_secs(1);
/// In beats: every third at first, every tenth later.
const BURST: u64 = 9;

/// The search on one interface. Dropping it ends it.
#[derive(Debug)]
pub struct Discovery {
    found: watch::Receiver<Option<Ipv6Addr>>,
    task: JoinHandle<()>,
}

/// Begins to advertise and to listen. Needs a tokio runtime and CAP_NET_RAW.
pub fn start(interface: &str) -> io::Result<Discovery> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    // Not UDP, but all that is asked of it: to say when there is something to read.
    let socket = UdpSocket::from_std(open(interface, index)?.into())?;
    let (tell, found) = watch::channel(None);
    Ok(Discovery {
        found,
        task: tokio::spawn(search(socket, index, tell)),
    })
}

impl Discovery {
    /// The neighbour's address, once there is one.
    pub async fn neighbor(&mut self) -> Ipv6Addr {
        loop {
            if let Some(address) = *self.found.borrow_and_update() {
                return address;
            }
            if self.found.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Until another address than the one last returned is found.
    pub async fn moved(&mut self) {
        if self.found.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn open(interface: &str, index: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_if_v6(index)?;
    socket.join_multicast_v6(&ALL_ROUTERS, index)?;
    sockopt::Ipv6RecvHopLimit.set(&socket, &true)?;
    sockopt::Ipv6RecvPacketInfo.set(&socket, &true)?;
    Ok(socket)
}

/// RFC 4861 §4.2, without options; the kernel fills in the checksum (RFC 3542 §3.1).
const fn advertisement() -> [u8; LEAST] {
    let mut message = [0; LEAST];
    message[0] = ROUTER_ADVERTISEMENT;
    message
}

async fn search(socket: UdpSocket, index: u32, tell: watch::Sender<Option<Ipv6Addr>>) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beat = 0u64;
    let mut buffers = Buffers::new();
    loop {
        tokio::select! {
            _ = beats.tick() => {
                if beat < BURST && beat.is_multiple_of(3) || beat.is_multiple_of(10) {
                    advertise(&socket, index);
                }
                beat += 1;
            }
            ready = socket.readable() => {
                if ready.is_err() {
                    return;
                }
                let read = || heard(&socket, index, &mut buffers).ok_or(io::ErrorKind::WouldBlock.into());
                if let Ok(address) = socket.try_io(Interest::READABLE, read) {
                    tell.send_if_modified(|known| known.replace(address) != Some(address));
                }
            }
        }
    }
}

/// A link that is down, most likely, where it fails: the next beat tries again.
fn advertise(socket: &UdpSocket, index: u32) {
    let target = SocketAddrV6::new(ALL_NODES, 0, 0, index);
    let _ = socket2::SockRef::from(socket).send_to(&advertisement(), &target.into());
}

/// The next router that advertises itself; `None` when nothing more waits.
fn heard(socket: &UdpSocket, index: u32, buffers: &mut Buffers) -> Option<Ipv6Addr> {
    while let Some(datagram) = buffers.receive(socket) {
        let sound = datagram.ttl == 255
            && datagram.interface == index
            && datagram.payload.len() >= LEAST
            && datagram.payload[0] == ROUTER_ADVERTISEMENT
            && datagram.payload[1] == 0;
        if let (true, IpAddr::V6(source)) = (sound, datagram.source)
            && source.is_unicast_link_local()
        {
            return Some(source);
        }
    }
    None
}
