//! Sockets of BFD: one a kind and family to receive, one a session to send (RFC 5881 §4, RFC 5883 §5).

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::sys::socket::{SetSockOpt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::bfd::{Hops, MULTI_HOP_PORT, SINGLE_HOP_PORT, SOURCE_PORTS};

/// DSCP CS6, network control, as the whole traffic class octet.
const TRAFFIC_CLASS: u32 = 0xc0;
/// RFC 5881 §5 and RFC 5082: what no router forwarded still has this.
const TTL: u32 = 255;
/// Ports tried before giving up; each is free with near certainty.
const TRIES: u64 = 64;

/// Which port, and which family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) multi_hop: bool,
    pub(super) v6: bool,
}

impl Kind {
    pub(super) const COUNT: usize = 4;

    pub(super) const fn of(peer: IpAddr, hops: Hops) -> Kind {
        Kind {
            multi_hop: matches!(hops, Hops::Multi { .. }),
            v6: peer.is_ipv6(),
        }
    }

    pub(super) const fn place(self) -> usize {
        self.multi_hop as usize * 2 + self.v6 as usize
    }

    pub(super) const fn at(place: usize) -> Kind {
        Kind {
            multi_hop: place & 2 != 0,
            v6: place & 1 != 0,
        }
    }

    pub(super) const fn port(self) -> u16 {
        if self.multi_hop {
            MULTI_HOP_PORT
        } else {
            SINGLE_HOP_PORT
        }
    }

    const fn any(self) -> IpAddr {
        if self.v6 {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        }
    }
}

/// A socket that hears all peers of a kind, with TTL and interface of every packet.
pub(super) fn listen(kind: Kind) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(kind.any(), kind.port());
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if kind.v6 {
        socket.set_only_v6(true)?;
        sockopt::Ipv6RecvHopLimit.set(&socket, &true)?;
        sockopt::Ipv6RecvPacketInfo.set(&socket, &true)?;
    } else {
        sockopt::Ipv4RecvTtl.set(&socket, &true)?;
        sockopt::Ipv4PacketInfo.set(&socket, &true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A socket to send from: a port of its own, TTL 255.
pub(super) fn sender(kind: Kind, source: Option<IpAddr>, device: Option<&str>) -> io::Result<UdpSocket> {
    let source = source.unwrap_or(kind.any());
    let domain = if kind.v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Nobody has anything to say to this port; what comes all the same shall not cost memory.
    socket.set_recv_buffer_size(0)?;
    socket.bind_device(device.map(str::as_bytes))?;
    if kind.v6 {
        socket.set_only_v6(true)?;
        socket.set_unicast_hops_v6(TTL)?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_ttl_v4(TTL)?;
        socket.set_tos_v4(TRAFFIC_CLASS)?;
        socket.set_freebind_v4(true)?;
    }
    bind_somewhere(&socket, source, device)?;
    Ok(socket.into())
}

fn bind_somewhere(socket: &Socket, source: IpAddr, device: Option<&str>) -> io::Result<()> {
    let chance = RandomState::new();
    let span = u64::from(SOURCE_PORTS.end() - SOURCE_PORTS.start()) + 1;
    let scope = match source {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => device.map_or(Ok(0), interface)?,
        IpAddr::V4(_) | IpAddr::V6(_) => 0,
    };
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for attempt in 0..TRIES {
        let port = SOURCE_PORTS.start() + (chance.hash_one(attempt) % span) as u16;
        match socket.bind(&at(source, port, scope).into()) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

pub(super) fn at(address: IpAddr, port: u16, scope: u32) -> SocketAddr {
    let mut full = SocketAddr::new(address, port);
    if let SocketAddr::V6(v6) = &mut full {
        v6.set_scope_id(scope);
    }
    full
}

/// The index of an interface.
pub(super) fn interface(name: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name)?)
}
