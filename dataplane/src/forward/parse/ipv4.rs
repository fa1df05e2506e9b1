//! IPv4 (RFC 791, RFC 1812 §4.2.2, RFC 1122 §3.2.1.3).

use std::ops::Range;

use maglane_shared::addr::{Addr, Family};
use maglane_shared::counters::DropReason;

use super::{Fragment, Parsed, check_fragment, protocol, transport};
use crate::wire::ipv4::{self, Ipv4};

#[inline(always)]
pub(super) fn parse(data: &[u8], l3: usize, parsed: &mut Parsed) -> Result<(), DropReason> {
    let header = Ipv4::at(data, l3).ok_or(DropReason::Ipv4Truncated)?;
    if header.version() != 4 {
        return Err(DropReason::Ipv4BadVersion);
    }
    let l4 = l3 + header.header_len();
    let end = l3 + usize::from(header.total_len());
    let sum = match header.header_len() {
        ipv4::LEN => header.sum(),
        _ => header.sum().bytes(options(data, l3 + ipv4::LEN..l4)?),
    };
    if end < l4 || end > data.len() {
        return Err(DropReason::Ipv4BadTotalLength);
    }
    if sum.fold() != 0xffff {
        return Err(DropReason::Ipv4BadChecksum);
    }
    let (src, dst) = (header.src(), header.dst());
    check_source(src, dst)?;
    parsed.src = src;
    parsed.dst = dst;
    parsed.l3 = l3 as u16;
    parsed.l4 = l4 as u16;
    parsed.end = end as u16;
    parsed.ttl = header.ttl();
    parsed.traffic_class = header.traffic_class();
    parsed.family = Family::V4;
    parsed.dont_fragment = header.dont_fragment();
    parsed.fragment = None;
    if header.more_fragments() || header.fragment_offset() != 0 {
        parsed.fragment = Some(fragment(&header, end - l4)?);
    }
    transport::parse(data, header.protocol(), protocol::ICMP, parsed)
}

#[cold]
fn options(data: &[u8], range: Range<usize>) -> Result<&[u8], DropReason> {
    data.get(range).ok_or(DropReason::Ipv4BadHeaderLength)
}

/// Addresses no packet may come from (RFC 1122 §3.2.1.3): "this network", loopback, multicast, broadcast.
#[inline]
fn check_source(src: Addr, dst: Addr) -> Result<(), DropReason> {
    let bytes = src.v4_bytes();
    if matches!(bytes[0], 0 | 127 | 224..=239) || bytes == [255; 4] {
        return Err(DropReason::AddressInvalid);
    }
    if src == dst {
        Err(DropReason::LandAttack)
    } else {
        Ok(())
    }
}

#[cold]
fn fragment(header: &Ipv4<&[u8; ipv4::LEN]>, len: usize) -> Result<Fragment, DropReason> {
    let fragment = Fragment {
        id: u32::from(header.id()),
        protocol: header.protocol(),
        offset: header.fragment_offset(),
        len: len as u16,
        more: header.more_fragments(),
    };
    check_fragment(fragment, header.protocol())?;
    Ok(fragment)
}
