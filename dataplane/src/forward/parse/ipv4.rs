//! IPv4 (RFC 791, RFC 1812 §4.2.2, RFC 1122 §3.2.1.3).

use maglane_shared::addr::Addr;
use maglane_shared::counters::DropReason;

use super::{Fragment, Parsed, check_fragment, protocol, transport};
use crate::wire::ipv4::{self, Ipv4};

#[inline]
pub(super) fn parse(data: &[u8], l3: usize) -> Result<Parsed, DropReason> {
    let header = Ipv4::at(data, l3).ok_or(DropReason::Ipv4Truncated)?;
    if header.version() != 4 {
        return Err(DropReason::Ipv4BadVersion);
    }
    let l4 = l3 + header.header_len();
    let end = l3 + usize::from(header.total_len());
    let options = match header.header_len() {
        ipv4::LEN => &[],
        _ => data
            .get(l3 + ipv4::LEN..l4)
            .ok_or(DropReason::Ipv4BadHeaderLength)?,
    };
    if end < l4 || end > data.len() {
        return Err(DropReason::Ipv4BadTotalLength);
    }
    if header.sum().bytes(options).fold() != 0xffff {
        return Err(DropReason::Ipv4BadChecksum);
    }
    let (src, dst) = (header.src(), header.dst());
    check_source(src, dst)?;
    let fragment = fragment(&header, end - l4)?;
    let transport = transport::parse(data, l4..end, header.protocol(), protocol::ICMP, fragment)?;
    Ok(Parsed {
        src,
        dst,
        l3: l3 as u16,
        l4: l4 as u16,
        end: end as u16,
        ttl: header.ttl(),
        traffic_class: header.traffic_class(),
        dont_fragment: header.dont_fragment(),
        fragment,
        transport,
    })
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

#[inline]
fn fragment(header: &Ipv4<&[u8; ipv4::LEN]>, len: usize) -> Result<Option<Fragment>, DropReason> {
    if !header.more_fragments() && header.fragment_offset() == 0 {
        return Ok(None);
    }
    let fragment = Fragment {
        id: u32::from(header.id()),
        protocol: header.protocol(),
        offset: header.fragment_offset(),
        len: len as u16,
        more: header.more_fragments(),
    };
    check_fragment(fragment, header.protocol())?;
    Ok(Some(fragment))
}
