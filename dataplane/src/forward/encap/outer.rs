//! The outer IP header, the same for every tunnel.

use maglane_shared::addr::Family;
use maglane_shared::counters::DropReason;

use super::Tunnel;
use crate::forward::icmp::TTL;
use crate::forward::parse::{Parsed, protocol};
use crate::packet::Packet;
use crate::wire::ethernet;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};

/// The protocol number of the inner packet (RFC 2003 §3.1, RFC 2473 §3).
#[inline]
pub(super) fn inner_protocol(parsed: &Parsed) -> u8 {
    match parsed.family() {
        Family::V4 => protocol::IPV4,
        Family::V6 => protocol::IPV6,
    }
}

/// Inserts `overhead` bytes in front of the inner packet and writes the outer IP header, of family `outer`,
/// into them.
#[inline]
pub(super) fn wrap(
    packet: &mut Packet<'_>,
    parsed: &Parsed,
    tunnel: &Tunnel,
    outer: Family,
    protocol: u8,
    overhead: u16,
) -> Result<(), DropReason> {
    let total = parsed.ip_len().checked_add(overhead).ok_or(DropReason::TooBig)?;
    let (l3, overhead) = (usize::from(parsed.l3), usize::from(overhead));
    packet.set_len(usize::from(parsed.end))?;
    packet.insert(l3, overhead)?;
    let data = packet.data_mut();
    if parsed.family() != outer {
        set_ether_type(data, l3, outer);
    }
    match outer {
        Family::V4 => {
            let id = outer_id(data, parsed, l3 + overhead);
            write_v4(data, parsed, tunnel, protocol, total, id);
        }
        Family::V6 => write_v6(data, parsed, tunnel, protocol, total),
    }
    Ok(())
}

/// The EtherType, the last two bytes before `l3` behind any VLAN tags, is the outer header's.
fn set_ether_type(data: &mut [u8], l3: usize, outer: Family) {
    let ether_type = match outer {
        Family::V4 => ethernet::IPV4,
        Family::V6 => ethernet::IPV6,
    };
    if let Some(field) = data
        .get_mut(l3.wrapping_sub(2)..l3)
        .and_then(|rest| rest.first_chunk_mut())
    {
        *field = ether_type.to_be_bytes();
    }
}

/// A fragmentable packet's own id serves outside too: its sender keeps it unique (RFC 6864 §4.2), and the
/// outer addresses follow the flow. Unfragmentable packets need none.
#[inline]
fn outer_id(data: &[u8], parsed: &Parsed, inner: usize) -> u16 {
    match parsed.family() {
        Family::V4 => Ipv4::at(data, inner).map_or(0, |header| header.id()),
        Family::V6 => 0,
    }
}

#[inline]
fn write_v4(data: &mut [u8], parsed: &Parsed, tunnel: &Tunnel, protocol: u8, total_len: u16, id: u16) {
    if let Some(mut header) = Ipv4::at_mut(data, usize::from(parsed.l3)) {
        header.write(&ipv4::Header {
            total_len,
            protocol,
            traffic_class: parsed.traffic_class,
            ttl: TTL,
            id,
            dont_fragment: parsed.dont_fragment,
            src: tunnel.src,
            dst: tunnel.dst,
        });
    }
}

#[inline]
fn write_v6(data: &mut [u8], parsed: &Parsed, tunnel: &Tunnel, protocol: u8, total: u16) {
    if let Some(mut header) = Ipv6::at_mut(data, usize::from(parsed.l3)) {
        let payload = total - ipv6::LEN as u16;
        // RFC 6438 §3.1: the label carries the flow's entropy.
        header.start(payload, protocol, parsed.traffic_class, TTL, tunnel.hash.low());
        header.set_src(tunnel.src);
        header.set_dst(tunnel.dst);
    }
}
