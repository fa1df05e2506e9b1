//! IPv6 and its extension headers (RFC 8200).

use maglane_shared::addr::{Addr, Family};
use maglane_shared::counters::DropReason;

use super::{Fragment, Parsed, check_fragment, protocol, transport};
use crate::wire::ipv6::{self, Extension, Ipv6};

/// Extension headers that are followed; honest packets have one or two.
const MAX_EXTENSIONS: usize = 8;

#[inline(always)]
pub(super) fn parse(data: &[u8], l3: usize, parsed: &mut Parsed) -> Result<(), DropReason> {
    let header = Ipv6::at(data, l3).ok_or(DropReason::Ipv6Truncated)?;
    if header.version() != 6 {
        return Err(DropReason::Ipv6BadVersion);
    }
    let payload = l3 + ipv6::LEN;
    let end = payload + usize::from(header.payload_len());
    let data = data.get(..end).ok_or(DropReason::Ipv6BadPayloadLength)?;
    if header.payload_len() == 0 && header.next_header() == ipv6::HOP_BY_HOP {
        // A jumbogram (RFC 2675 §2), or nothing at all.
        return Err(DropReason::Ipv6BadPayloadLength);
    }
    let (src, dst) = (header.src(), header.dst());
    check_addresses(src, dst)?;
    parsed.src = src;
    parsed.dst = dst;
    parsed.l3 = l3 as u16;
    parsed.l4 = payload as u16;
    parsed.end = end as u16;
    parsed.ttl = header.hop_limit();
    parsed.traffic_class = header.traffic_class();
    parsed.family = Family::V6;
    parsed.dont_fragment = true;
    parsed.fragment = None;
    let protocol = match header.next_header() {
        plain @ (protocol::TCP | protocol::UDP | protocol::ICMPV6) => plain,
        extension => {
            let chain = walk(data, payload, extension)?;
            parsed.l4 = chain.offset as u16;
            parsed.fragment = chain.fragment;
            chain.protocol
        }
    };
    transport::parse(data, protocol, protocol::ICMPV6, parsed)
}

/// Sources that RFC 4291 §2.5 and §2.7 rule out. IPv4-mapped addresses never belong on the wire, and
/// would be taken for IPv4 (RFC 4942 §2.2).
#[inline]
fn check_addresses(src: Addr, dst: Addr) -> Result<(), DropReason> {
    let multicast = src.bits() >> 120 == 0xff;
    let unspecified_or_loopback = src.bits() <= 1;
    if multicast || unspecified_or_loopback || src.is_v4() || dst.is_v4() {
        return Err(DropReason::AddressInvalid);
    }
    if src == dst {
        Err(DropReason::LandAttack)
    } else {
        Ok(())
    }
}

/// What lies behind the extension headers.
pub(in crate::forward) struct Chain {
    pub protocol: u8,
    pub offset: usize,
    pub fragment: Option<Fragment>,
}

/// Follows extension headers up to the transport header, or up to the fragment header of a later fragment.
/// `data` ends with the packet.
#[inline]
pub(in crate::forward) fn walk(data: &[u8], offset: usize, next_header: u8) -> Result<Chain, DropReason> {
    let chain = Chain {
        protocol: next_header,
        offset,
        fragment: None,
    };
    match next_header {
        protocol::TCP | protocol::UDP | protocol::ICMPV6 => Ok(chain),
        _ => follow(data, chain),
    }
}

fn follow(data: &[u8], mut chain: Chain) -> Result<Chain, DropReason> {
    for place in 0..=MAX_EXTENSIONS {
        match chain.protocol {
            // Only ever first (RFC 8200 §4.1); elsewhere it ends the chain as an unknown protocol.
            ipv6::HOP_BY_HOP if place == 0 => {}
            ipv6::ROUTING | ipv6::DESTINATION_OPTIONS => {}
            ipv6::FRAGMENT => {
                let later = fragment(data, &mut chain)?;
                if later {
                    return Ok(chain);
                }
                continue;
            }
            _ => return Ok(chain),
        }
        let cut = if chain.fragment.is_some() {
            // The first fragment must hold the whole chain (RFC 7112 §5).
            DropReason::FragmentInvalid
        } else {
            DropReason::Ipv6ExtensionTruncated
        };
        let header = Extension::at(data, chain.offset).ok_or(cut)?;
        if chain.protocol == ipv6::ROUTING && header.segments_left() != 0 {
            return Err(DropReason::Ipv6RoutingHeader);
        }
        chain.protocol = header.next_header();
        chain.offset += header.header_len();
        if chain.offset > data.len() {
            return Err(cut);
        }
    }
    Err(DropReason::Ipv6ExtensionsTooMany)
}

/// Steps over a fragment header; true when the chain cannot be followed further.
fn fragment(data: &[u8], chain: &mut Chain) -> Result<bool, DropReason> {
    let header = Extension::at(data, chain.offset).ok_or(DropReason::Ipv6ExtensionTruncated)?;
    chain.protocol = header.next_header();
    chain.offset += 8;
    if header.fragment_offset() == 0 && !header.more_fragments() {
        return Ok(false);
    }
    let fragment = Fragment {
        id: header.fragment_id(),
        protocol: 0,
        offset: header.fragment_offset(),
        len: (data.len() - chain.offset) as u16,
        more: header.more_fragments(),
    };
    if chain.fragment.is_some() {
        return Err(DropReason::FragmentInvalid);
    }
    check_fragment(fragment, chain.protocol)?;
    chain.fragment = Some(fragment);
    Ok(fragment.offset != 0)
}
