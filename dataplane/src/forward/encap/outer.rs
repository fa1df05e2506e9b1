//! The outer IP header, the same for every tunnel.

use maglane_shared::addr::Family;
use maglane_shared::counters::DropReason;

use super::Tunnel;
use crate::forward::icmp::TTL;
use crate::forward::parse::{Parsed, protocol};
use crate::packet::Packet;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};

/// The protocol number of the inner packet (RFC 2003 §3.1, RFC 2473 §3).
#[inline]
pub(super) fn inner_protocol(parsed: &Parsed) -> u8 {
    match parsed.family() {
        Family::V4 => protocol::IPV4,
        Family::V6 => protocol::IPV6,
    }
}

/// Inserts `overhead` bytes in front of the inner packet and writes the outer IP header into them.
#[inline]
pub(super) fn wrap(
    packet: &mut Packet<'_>,
    parsed: &Parsed,
    tunnel: &Tunnel,
    protocol: u8,
    overhead: u16,
) -> Result<(), DropReason> {
    let total = parsed.ip_len().checked_add(overhead).ok_or(DropReason::TooBig)?;
    let (l3, end) = (usize::from(parsed.l3), usize::from(parsed.end));
    packet.set_len(end)?;
    packet.insert(l3, usize::from(overhead))?;
    let data = packet.data_mut();
    match tunnel.dst.family() {
        Family::V4 => write_v4(data, l3, parsed, tunnel, protocol, total, usize::from(overhead)),
        Family::V6 => write_v6(data, l3, parsed, tunnel, protocol, total),
    }
    Ok(())
}

#[inline]
fn write_v4(
    data: &mut [u8],
    l3: usize,
    parsed: &Parsed,
    tunnel: &Tunnel,
    protocol: u8,
    total: u16,
    overhead: usize,
) {
    // A fragmentable packet's own id serves outside too: it is unique for as long as the flow's sender
    // keeps to RFC 6864 §4.2, and the outer addresses and hash follow the flow.
    let id = match parsed.family() {
        Family::V4 => Ipv4::at(data, l3 + overhead).map_or(0, |inner| inner.id()),
        Family::V6 => 0,
    };
    if let Some(mut header) = Ipv4::at_mut(data, l3) {
        header.start(total, protocol, parsed.traffic_class, TTL);
        header.set_id(id);
        if parsed.dont_fragment {
            header.forbid_fragments();
        }
        header.set_src(tunnel.src);
        header.set_dst(tunnel.dst);
        header.fill_checksum();
    }
}

#[inline]
fn write_v6(data: &mut [u8], l3: usize, parsed: &Parsed, tunnel: &Tunnel, next_header: u8, total: u16) {
    if let Some(mut header) = Ipv6::at_mut(data, l3) {
        let payload = total - ipv6::LEN as u16;
        // RFC 6438 §3.1: the label carries the flow's entropy.
        header.start(payload, next_header, parsed.traffic_class, TTL, tunnel.hash.low());
        header.set_src(tunnel.src);
        header.set_dst(tunnel.dst);
    }
}
