//! Addresses, ports and TTL changed in place; every checksum follows by the difference (RFC 1624), so a
//! payload damaged on the way here stays recognisably damaged.
//!
//! [`parse`](super::parse::parse) has checked the lengths; where a header is missing nonetheless, nothing
//! is written.

use maglane_shared::addr::{Addr, Family};
use maglane_shared::counters::DropReason;

use super::parse::{Parsed, Transport};
use crate::packet::Packet;
use crate::wire::checksum::{self, Sum};
use crate::wire::icmp::Icmp;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::tcp::{self, Tcp, TcpFlags};
use crate::wire::udp::Udp;

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub addr: Addr,
    pub port: u16,
}

/// Gives the packet another source, destination or both, of its own family. Later fragments and ICMP
/// messages have no ports to change; theirs are ignored.
#[inline]
pub fn rewrite(packet: &mut Packet<'_>, parsed: &Parsed, src: Option<Endpoint>, dst: Option<Endpoint>) {
    let data = packet.data_mut();
    let addresses = address(data, parsed, src.map(|e| e.addr), dst.map(|e| e.addr));
    let l4 = usize::from(parsed.l4);
    match parsed.transport {
        Transport::Tcp {
            src_port,
            dst_port,
            flags: _,
        } => {
            let ports = Ports::new((src_port, dst_port), src, dst);
            if let Some(mut tcp) = Tcp::at_mut(data, l4) {
                tcp.set_src_port(ports.src);
                tcp.set_dst_port(ports.dst);
                tcp.set_checksum(ports.change(addresses).update(tcp.checksum()));
            }
        }
        Transport::Udp { src_port, dst_port } => {
            let ports = Ports::new((src_port, dst_port), src, dst);
            if let Some(mut udp) = Udp::at_mut(data, l4) {
                udp.set_src_port(ports.src);
                udp.set_dst_port(ports.dst);
                if udp.checksum() != 0 {
                    udp.set_checksum(ports.change(addresses).update(udp.checksum()));
                }
            }
        }
        Transport::Icmp(_) => message(data, parsed, addresses),
        Transport::LaterFragment => {}
    }
}

/// Old and new ports.
struct Ports {
    old: (u16, u16),
    src: u16,
    dst: u16,
}

impl Ports {
    #[inline]
    fn new(old: (u16, u16), src: Option<Endpoint>, dst: Option<Endpoint>) -> Self {
        Ports {
            old,
            src: src.map_or(old.0, |e| e.port),
            dst: dst.map_or(old.1, |e| e.port),
        }
    }

    #[inline]
    fn change(&self, addresses: Sum) -> Sum {
        addresses
            .replace_u16(self.old.0, self.src)
            .replace_u16(self.old.1, self.dst)
    }
}

/// ICMPv6 covers the addresses (RFC 4443 §2.3), ICMP does not.
fn message(data: &mut [u8], parsed: &Parsed, addresses: Sum) {
    match (parsed.family(), Icmp::at_mut(data, usize::from(parsed.l4))) {
        (Family::V6, Some(mut icmp)) => icmp.set_checksum(addresses.update(icmp.checksum())),
        (Family::V6, None) | (Family::V4, _) => {}
    }
}

/// Changes the addresses in the IP header alone and returns by what, for the checksums behind it.
#[inline]
pub(super) fn address(data: &mut [u8], parsed: &Parsed, src: Option<Addr>, dst: Option<Addr>) -> Sum {
    let old = (parsed.src, parsed.dst);
    address_at(data, usize::from(parsed.l3), parsed.family(), old, src, dst)
}

/// As [`address`], for an IP header at `l3`, which may be a quoted one.
#[inline]
pub(super) fn address_at(
    data: &mut [u8],
    l3: usize,
    family: Family,
    old: (Addr, Addr),
    src: Option<Addr>,
    dst: Option<Addr>,
) -> Sum {
    let (src, dst) = (src.unwrap_or(old.0), dst.unwrap_or(old.1));
    debug_assert!(
        [old.0, old.1, src, dst]
            .iter()
            .all(|addr| addr.family() == family)
    );
    let change = Sum::default().replace_addr(family, old.0, src);
    let change = change.replace_addr(family, old.1, dst);
    match family {
        Family::V4 => {
            if let Some(mut header) = Ipv4::at_mut(data, l3) {
                header.set_src(src);
                header.set_dst(dst);
                header.set_checksum(change.update(header.checksum()));
            }
        }
        Family::V6 => {
            if let Some(mut header) = Ipv6::at_mut(data, l3) {
                header.set_src(src);
                header.set_dst(dst);
            }
        }
    }
    change
}

/// One hop less (RFC 1812 §5.3.1, RFC 8200 §3). A packet that would arrive nowhere is refused unchanged.
#[inline]
pub fn decrement_ttl(packet: &mut Packet<'_>, parsed: &Parsed) -> Result<(), DropReason> {
    if parsed.ttl <= 1 {
        return Err(DropReason::TtlExceeded);
    }
    let (data, l3) = (packet.data_mut(), usize::from(parsed.l3));
    match parsed.family() {
        Family::V4 => {
            if let Some(mut header) = Ipv4::at_mut(data, l3) {
                header.set_ttl(parsed.ttl - 1);
                header.set_checksum(checksum::one_hop_less(header.checksum()));
            }
        }
        Family::V6 => {
            if let Some(mut header) = Ipv6::at_mut(data, l3) {
                header.set_hop_limit(parsed.ttl - 1);
            }
        }
    }
    Ok(())
}

/// Takes the maximum segment size that a SYN or SYN-ACK announces down to `most`. A packet about to be
/// answered for its TTL stays as it came, since the answer quotes it.
pub fn clamp_segment_size(packet: &mut Packet<'_>, parsed: &Parsed, most: u16) {
    let (l4, end) = (usize::from(parsed.l4), usize::from(parsed.end));
    match parsed.transport {
        Transport::Tcp { flags, .. } if flags.contains(TcpFlags::SYN) && parsed.ttl > 1 => {
            let segment = packet.data_mut().get_mut(l4..end).unwrap_or_default();
            clamp(segment, most);
        }
        Transport::Tcp { .. } | Transport::Udp { .. } | Transport::Icmp(_) | Transport::LaterFragment => {}
    }
}

fn clamp(segment: &mut [u8], most: u16) -> Option<()> {
    let header = Tcp::at(segment, 0)?;
    let (len, checksum) = (header.header_len(), header.checksum());
    let at = tcp::LEN + tcp::segment_size_at(segment.get(tcp::LEN..len)?)?;
    let value = segment.get_mut(at..)?.first_chunk_mut()?;
    let old = u16::from_be_bytes(*value);
    if old <= most {
        return None;
    }
    *value = most.to_be_bytes();
    // At an odd offset the bytes lie in two words of the sum, the other way round.
    let change = match at % 2 {
        0 => Sum::default().replace_u16(old, most),
        _ => Sum::default().replace_u16(old.swap_bytes(), most.swap_bytes()),
    };
    Tcp::at_mut(segment, 0)?.set_checksum(change.update(checksum));
    Some(())
}
