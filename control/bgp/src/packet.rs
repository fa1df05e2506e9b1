//! Packets with what the kernel says about them: who sent them, how far they came, where they arrived.
//! Reading one allocates nothing.

use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, cmsg_space, recvmsg};

/// What is read of a packet. A BFD control packet has at most 52 octets, and of a router advertisement the first 16 count.
const PAYLOAD: usize = 64;
const CONTROL: usize = cmsg_space::<libc::in6_pktinfo>() + 2 * cmsg_space::<libc::c_int>();

/// Room for one packet and what the kernel says about it.
#[derive(Debug)]
pub(crate) struct Buffers {
    payload: [u8; PAYLOAD],
    control: [u8; CONTROL],
}

/// A packet as received.
#[derive(Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) source: IpAddr,
    /// 0 where the kernel did not say.
    pub(crate) ttl: u8,
    pub(crate) interface: u32,
}

impl Buffers {
    pub(crate) const fn new() -> Self {
        Buffers {
            payload: [0; PAYLOAD],
            control: [0; CONTROL],
        }
    }

    /// The next packet of the socket; `None` when there is none, or an error stands in its place.
    pub(crate) fn receive(&mut self, socket: &impl AsRawFd) -> Option<Datagram<'_>> {
        let (mut source, mut ttl, mut interface) = (None, 0, 0);
        let length = {
            let mut parts = [IoSliceMut::new(&mut self.payload)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let control = Some(&mut self.control[..]);
            let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, control, flags).ok()?;
            for part in message.cmsgs().ok()? {
                note(&part, &mut ttl, &mut interface);
            }
            if let Some(address) = &message.address {
                let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
                source = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())));
            }
            message.bytes
        };
        Some(Datagram {
            payload: &self.payload[..length.min(PAYLOAD)],
            source: source?,
            ttl,
            interface,
        })
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "nix's enum, and it differs by platform"
)]
fn note(part: &ControlMessageOwned, ttl: &mut u8, interface: &mut u32) {
    match part {
        ControlMessageOwned::Ipv4Ttl(value) | ControlMessageOwned::Ipv6HopLimit(value) => {
            *ttl = u8::try_from(*value).unwrap_or(0);
        }
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            *interface = u32::try_from(info.ipi_ifindex).unwrap_or(0);
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => *interface = info.ipi6_ifindex,
        _ => {}
    }
}
