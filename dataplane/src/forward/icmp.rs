//! ICMP of our own making: echo replies and errors, made in place in the frame they answer.
//! MAC addresses are [`l2::turn_round`](super::l2::turn_round)'s; limits are the pipeline's.

use maglane_shared::addr::{Addr, Family};
use maglane_shared::counters::DropReason;

use super::parse::{Icmp, Parsed, Transport, protocol};
use super::{quoted, rewrite};
use crate::packet::Packet;
use crate::wire::checksum::Sum;
use crate::wire::icmp::{self, v4, v6};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};

/// TTL or hop limit of what we send ourselves (RFC 1700).
pub(super) const TTL: u8 = 64;

/// Largest error, IP header included (RFC 1812 §4.3.2.3: so that it fits anywhere).
const MAX_V4: usize = 576;
/// RFC 4443 §2.4 (c).
const MAX_V6: usize = ipv6::MIN_MTU as usize;

/// Network control, the precedence of ICMP errors (RFC 1812 §4.3.2.5).
const TRAFFIC_CLASS: u8 = 0xc0;

/// Turns an echo request for a VIP into its reply (RFC 1122 §3.2.2.6, RFC 4443 §4.2). Fragments and packets
/// with IPv4 options or IPv6 extension headers are not answered: a source route would have to be reversed.
pub fn echo_reply(packet: &mut Packet<'_>, parsed: &Parsed) -> Result<(), DropReason> {
    let plain = parsed.fragment.is_none() && !parsed.has_options();
    if parsed.transport != Transport::Icmp(Icmp::EchoRequest) || !plain {
        return Err(DropReason::IcmpTypeIgnored);
    }
    quoted::verify(packet.data(), parsed)?;
    let data = packet.data_mut();
    let (request, reply) = match parsed.family() {
        Family::V4 => (v4::ECHO_REQUEST, v4::ECHO_REPLY),
        Family::V6 => (v6::ECHO_REQUEST, v6::ECHO_REPLY),
    };
    // Swapped addresses leave both the header's and the pseudo-header's sum as it is.
    rewrite::address(data, parsed, Some(parsed.dst), Some(parsed.src));
    set_ttl(data, parsed);
    if let Some(mut header) = icmp::Icmp::at_mut(data, usize::from(parsed.l4)) {
        let change = Sum::default().replace_u16(u16::from(request) << 8, u16::from(reply) << 8);
        header.set_kind(reply);
        header.set_checksum(change.update(header.checksum()));
    }
    Ok(())
}

fn set_ttl(data: &mut [u8], parsed: &Parsed) {
    let l3 = usize::from(parsed.l3);
    match parsed.family() {
        Family::V4 => {
            if let Some(mut header) = Ipv4::at_mut(data, l3) {
                let change = Sum::default().replace_u16(u16::from(parsed.ttl) << 8, u16::from(TTL) << 8);
                header.set_ttl(TTL);
                header.set_checksum(change.update(header.checksum()));
            }
        }
        Family::V6 => {
            if let Some(mut header) = Ipv6::at_mut(data, l3) {
                header.set_hop_limit(TTL);
            }
        }
    }
}

/// What we tell a sender about its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    TimeExceeded,
    /// The largest IP packet, in bytes, that can be carried.
    TooBig {
        mtu: u16,
    },
    PortUnreachable,
}

impl IcmpError {
    /// Type and code.
    fn kind(self, family: Family) -> (u8, u8) {
        match (self, family) {
            (IcmpError::TimeExceeded, Family::V4) => (v4::TIME_EXCEEDED, 0),
            (IcmpError::TimeExceeded, Family::V6) => (v6::TIME_EXCEEDED, 0),
            (IcmpError::TooBig { .. }, Family::V4) => (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED),
            (IcmpError::TooBig { .. }, Family::V6) => (v6::TOO_BIG, 0),
            (IcmpError::PortUnreachable, Family::V4) => (v4::UNREACHABLE, v4::PORT_UNREACHABLE),
            (IcmpError::PortUnreachable, Family::V6) => (v6::UNREACHABLE, v6::PORT_UNREACHABLE),
        }
    }

    fn mtu(self) -> u16 {
        match self {
            IcmpError::TooBig { mtu } => mtu,
            IcmpError::TimeExceeded | IcmpError::PortUnreachable => 0,
        }
    }
}

/// May an error be sent about this packet? Not about an ICMP error, or a message that could be one, nor
/// about later fragments (RFC 1812 §4.3.2.7, RFC 4443 §2.4 (e)). Multicast never gets this far.
pub fn may_answer(parsed: &Parsed) -> bool {
    match parsed.transport {
        Transport::Tcp { .. } | Transport::Udp { .. } | Transport::Icmp(Icmp::EchoRequest) => true,
        Transport::Icmp(Icmp::Error(_) | Icmp::Neighbor | Icmp::Other) | Transport::LaterFragment => false,
    }
}

/// Turns the packet, as it arrived, into the error about it, from `from` (of its family) to its source. The
/// Ethernet header with its VLAN tags moves to the front; the quote stays where it is.
pub fn icmp_error(
    packet: &mut Packet<'_>,
    parsed: &Parsed,
    error: IcmpError,
    from: Addr,
) -> Result<(), DropReason> {
    if !may_answer(parsed) {
        return Err(DropReason::IcmpTypeIgnored);
    }
    let (ip_len, max) = match parsed.family() {
        Family::V4 => (ipv4::LEN, MAX_V4),
        Family::V6 => (ipv6::LEN, MAX_V6),
    };
    let (l3, added) = (usize::from(parsed.l3), ip_len + icmp::LEN);
    let total = (added + usize::from(parsed.ip_len())).min(max);
    packet.insert(l3, added)?;
    packet.set_len(l3 + total)?;
    let data = packet.data_mut();
    let answer = Answer {
        from,
        total: total as u16,
        protocol: match parsed.family() {
            Family::V4 => protocol::ICMP,
            Family::V6 => protocol::ICMPV6,
        },
        traffic_class: TRAFFIC_CLASS,
    };
    write_ip(data, parsed, &answer);
    if let Some(mut header) = icmp::Icmp::at_mut(data, l3 + ip_len) {
        let (kind, code) = error.kind(parsed.family());
        header.start(kind, code, error.mtu());
    }
    let sent = Parsed {
        src: from,
        dst: parsed.src,
        l4: (l3 + ip_len) as u16,
        end: (l3 + total) as u16,
        ..*parsed
    };
    quoted::fill_checksum(data, &sent);
    Ok(())
}

/// The IP packet of an answer, header included, of the family of what it answers.
pub(super) struct Answer {
    pub from: Addr,
    /// In bytes.
    pub total: u16,
    pub protocol: u8,
    pub traffic_class: u8,
}

/// Writes the IP header of an answer where that of the answered packet was.
pub(super) fn write_ip(data: &mut [u8], parsed: &Parsed, answer: &Answer) {
    let Answer {
        from,
        total,
        protocol,
        traffic_class,
    } = *answer;
    let l3 = usize::from(parsed.l3);
    match parsed.family() {
        Family::V4 => {
            if let Some(mut header) = Ipv4::at_mut(data, l3) {
                // Never fragmented, so any id will do (RFC 6864 §4.1).
                header.write(&ipv4::Header {
                    total_len: total,
                    protocol,
                    traffic_class,
                    ttl: TTL,
                    id: 0,
                    dont_fragment: true,
                    src: from,
                    dst: parsed.src,
                });
            }
        }
        Family::V6 => {
            if let Some(mut header) = Ipv6::at_mut(data, l3) {
                header.start(total - ipv6::LEN as u16, protocol, traffic_class, TTL, 0);
                header.set_src(from);
                header.set_dst(parsed.src);
            }
        }
    }
}
