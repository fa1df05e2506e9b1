//! The packet quoted in an ICMP error (RFC 792, RFC 4443 §2.4, RFC 5508 §4.2): whose flow is it, and how
//! is it changed so that its sender recognises it.
//!
//! ICMP errors are rare and their quotes cut short: the message's own checksum is verified, then made
//! anew; the checksums inside the quote can only follow by the difference.

use maglane_shared::addr::{Addr, Family, Protocol};
use maglane_shared::counters::DropReason;

use super::parse::{ErrorKind, Icmp, Parsed, Transport, ipv6, protocol};
use super::rewrite::{self, Endpoint};
use crate::packet::Packet;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{Ipv6, LEN as IPV6_LEN, MIN_MTU};
use crate::wire::tcp::Tcp;
use crate::wire::udp::Udp;
use crate::wire::{self, icmp};

/// Smallest MTU that an IPv4 error may claim (RFC 791 §3.2, RFC 1191 §3).
const MIN_MTU_V4: u32 = 68;

/// Source and destination as the quoted packet had them: its source is whoever the error is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    pub src: Endpoint,
    pub dst: Endpoint,
    pub protocol: Protocol,
    /// Offsets of its headers in bytes from the start of the frame.
    pub l3: u16,
    pub l4: u16,
}

/// Reads the quote in an ICMP error, after verifying the error's checksum.
pub fn quoted(data: &[u8], parsed: &Parsed) -> Result<Quoted, DropReason> {
    let Transport::Icmp(Icmp::Error(kind)) = parsed.transport else {
        return Err(DropReason::IcmpTypeIgnored);
    };
    if parsed.fragment.is_some() || !plausible(kind, parsed.family()) {
        return Err(DropReason::IcmpTypeIgnored);
    }
    verify(data, parsed)?;
    let data = data.get(..usize::from(parsed.end)).unwrap_or_default();
    let l3 = usize::from(parsed.l4) + icmp::LEN;
    match parsed.family() {
        Family::V4 => quoted_v4(data, l3),
        Family::V6 => quoted_v6(data, l3),
    }
}

/// An MTU below the family's least is an attack or an accident (RFC 8201 §4); 0 is an old router's (RFC 1191 §5).
fn plausible(kind: ErrorKind, family: Family) -> bool {
    match (kind, family) {
        (ErrorKind::TooBig { mtu }, Family::V4) => mtu == 0 || mtu >= MIN_MTU_V4,
        (ErrorKind::TooBig { mtu }, Family::V6) => mtu >= u32::from(MIN_MTU),
        (ErrorKind::Unreachable | ErrorKind::TimeExceeded | ErrorKind::ParameterProblem, _) => true,
    }
}

/// Holds an ICMP or ICMPv6 message against its checksum.
pub(super) fn verify(data: &[u8], parsed: &Parsed) -> Result<(), DropReason> {
    if message_sum(data, parsed).fold() == 0xffff {
        Ok(())
    } else {
        Err(DropReason::IcmpBadChecksum)
    }
}

/// The whole message, and the pseudo-header in IPv6 (RFC 4443 §2.3).
fn message_sum(data: &[u8], parsed: &Parsed) -> Sum {
    let message = data
        .get(usize::from(parsed.l4)..usize::from(parsed.end))
        .unwrap_or_default();
    let sum = Sum::default().bytes(message);
    match parsed.family() {
        Family::V4 => sum,
        Family::V6 => sum.pseudo_header(parsed.src, parsed.dst, protocol::ICMPV6, message.len() as u16),
    }
}

fn quoted_v4(data: &[u8], l3: usize) -> Result<Quoted, DropReason> {
    let header = Ipv4::at(data, l3).ok_or(DropReason::IcmpTruncated)?;
    if header.version() != 4 || header.header_len() < wire::ipv4::LEN || header.fragment_offset() != 0 {
        return Err(DropReason::IcmpTruncated);
    }
    let l4 = l3 + header.header_len();
    ports(data, (l3, l4), header.protocol(), header.src(), header.dst())
}

fn quoted_v6(data: &[u8], l3: usize) -> Result<Quoted, DropReason> {
    let header = Ipv6::at(data, l3).ok_or(DropReason::IcmpTruncated)?;
    let (src, dst) = (header.src(), header.dst());
    if header.version() != 6 || src.is_v4() || dst.is_v4() {
        return Err(DropReason::IcmpTruncated);
    }
    let chain =
        ipv6::walk(data, l3 + IPV6_LEN, header.next_header()).map_err(|_| DropReason::IcmpTruncated)?;
    if chain.fragment.is_some_and(|f| f.offset != 0) {
        return Err(DropReason::IcmpTruncated);
    }
    ports(data, (l3, chain.offset), chain.protocol, src, dst)
}

/// Both protocols keep their ports in the first four of the eight bytes that every quote has (RFC 792).
fn ports(
    data: &[u8],
    (l3, l4): (usize, usize),
    protocol: u8,
    src: Addr,
    dst: Addr,
) -> Result<Quoted, DropReason> {
    let protocol = match protocol {
        protocol::TCP => Protocol::Tcp,
        protocol::UDP => Protocol::Udp,
        _ => return Err(DropReason::IcmpUnknownFlow),
    };
    let header = Udp::at(data, l4).ok_or(DropReason::IcmpTruncated)?;
    Ok(Quoted {
        src: Endpoint {
            addr: src,
            port: header.src_port(),
        },
        dst: Endpoint {
            addr: dst,
            port: header.dst_port(),
        },
        protocol,
        l3: l3 as u16,
        l4: l4 as u16,
    })
}

/// Gives the quoted packet (`inner`) and the error that carries it (`outer`) other addresses of their family.
pub fn rewrite_quoted(
    packet: &mut Packet<'_>,
    parsed: &Parsed,
    quoted: &Quoted,
    inner: (Option<Endpoint>, Option<Endpoint>),
    outer: (Option<Addr>, Option<Addr>),
) {
    let end = usize::from(parsed.end);
    let data = packet.data_mut().get_mut(..end).unwrap_or_default();
    let old = (quoted.src.addr, quoted.dst.addr);
    let (src, dst) = (inner.0.unwrap_or(quoted.src), inner.1.unwrap_or(quoted.dst));
    let (l3, family) = (usize::from(quoted.l3), parsed.family());
    let change = rewrite::address_at(data, l3, family, old, Some(src.addr), Some(dst.addr))
        .replace_u16(quoted.src.port, src.port)
        .replace_u16(quoted.dst.port, dst.port);
    quoted_transport(data, quoted, (src.port, dst.port), change);
    rewrite::address(data, parsed, outer.0, outer.1);
    let moved = Parsed {
        src: outer.0.unwrap_or(parsed.src),
        dst: outer.1.unwrap_or(parsed.dst),
        ..*parsed
    };
    fill_checksum(data, &moved);
}

/// The quoted ports, and the checksum where the quote reaches that far.
fn quoted_transport(data: &mut [u8], quoted: &Quoted, ports: (u16, u16), change: Sum) {
    let l4 = usize::from(quoted.l4);
    // UDP's first four bytes are TCP's too.
    if let Some(mut header) = Udp::at_mut(data, l4) {
        header.set_src_port(ports.0);
        header.set_dst_port(ports.1);
    }
    match quoted.protocol {
        Protocol::Tcp => {
            if let Some(mut tcp) = Tcp::at_mut(data, l4) {
                tcp.set_checksum(change.update(tcp.checksum()));
            }
        }
        Protocol::Udp => {
            if let Some(mut header) = Udp::at_mut(data, l4).filter(|header| header.checksum() != 0) {
                header.set_checksum(change.update(header.checksum()));
            }
        }
    }
}

/// Makes the message's checksum anew. `parsed` has the addresses it goes out with.
pub(super) fn fill_checksum(data: &mut [u8], parsed: &Parsed) {
    let l4 = usize::from(parsed.l4);
    if let Some(mut header) = icmp::Icmp::at_mut(data, l4) {
        header.set_checksum(0);
    }
    let checksum = message_sum(data, parsed).checksum();
    if let Some(mut header) = icmp::Icmp::at_mut(data, l4) {
        header.set_checksum(checksum);
    }
}
