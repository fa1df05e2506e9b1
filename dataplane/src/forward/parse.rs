//! From bytes to what the pipeline decides on; every malformed packet has a reason of its own.
//!
//! Ethernet with up to two VLAN tags, IPv4 with options, IPv6 with extension headers, then TCP, UDP or
//! ICMP. Nothing is copied or allocated, and nothing past the transport header is read. What passes here
//! may be rewritten without further checks: lengths agree, the IPv4 header checksum is right, and an
//! address's family ([`Addr::is_v4`]) is that of its header.

mod ipv4;
pub(super) mod ipv6;
mod transport;

use maglane_shared::addr::{Addr, Family};
use maglane_shared::counters::DropReason;

use crate::wire::ethernet::{self, Ethernet};
use crate::wire::tcp::TcpFlags;
use crate::wire::vlan::{self, Vlan};

/// IP protocol numbers (IANA).
pub mod protocol {
    pub const ICMP: u8 = 1;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ICMPV6: u8 = 58;
}

/// Where a packet's headers are and what they say. Offsets are in bytes from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    pub src: Addr,
    pub dst: Addr,
    pub l3: u16,
    pub l4: u16,
    /// End of the IP packet; Ethernet padding may follow.
    pub end: u16,
    /// TTL or hop limit as it arrived.
    pub ttl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Of both addresses.
    pub family: Family,
    /// Always so for IPv6 (RFC 8200 §5).
    pub dont_fragment: bool,
    /// `None` for whole packets, those in an "atomic fragment" (RFC 6946) too.
    pub fragment: Option<Fragment>,
    pub transport: Transport,
}

impl Parsed {
    /// What is to be written over.
    pub const EMPTY: Parsed = Parsed {
        src: Addr::UNSPECIFIED,
        dst: Addr::UNSPECIFIED,
        l3: 0,
        l4: 0,
        end: 0,
        ttl: 0,
        traffic_class: 0,
        family: Family::V6,
        dont_fragment: false,
        fragment: None,
        transport: Transport::LaterFragment,
    };

    #[inline]
    pub fn family(&self) -> Family {
        self.family
    }

    /// The IP packet, in bytes: what an MTU limits.
    #[inline]
    pub fn ip_len(&self) -> u16 {
        self.end - self.l3
    }

    /// IPv4 options or IPv6 extension headers are present.
    #[inline]
    pub fn has_options(&self) -> bool {
        let plain = match self.family() {
            Family::V4 => crate::wire::ipv4::LEN,
            Family::V6 => crate::wire::ipv6::LEN,
        };
        usize::from(self.l4 - self.l3) != plain
    }
}

/// What tells the fragments of one packet apart from others, and where this one belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub id: u32,
    /// The IPv4 protocol, which is part of the identity (RFC 791 §3.2); 0 in IPv6, where it is not.
    pub protocol: u8,
    /// In bytes, a multiple of 8.
    pub offset: u16,
    /// Bytes of the fragmented part in this fragment.
    pub len: u16,
    pub more: bool,
}

/// The transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp {
        src_port: u16,
        dst_port: u16,
        flags: TcpFlags,
    },
    Udp {
        src_port: u16,
        dst_port: u16,
    },
    Icmp(Icmp),
    /// A fragment other than the first, which carries no transport header.
    LaterFragment,
}

/// An ICMP or ICMPv6 message. Its checksum is only verified when it is answered or rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp {
    EchoRequest,
    /// Carries the start of the packet it is about, 8 bytes into the message.
    Error(ErrorKind),
    /// A neighbour solicitation or advertisement.
    Neighbor,
    Other,
}

/// What an ICMP error says about the quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    Unreachable,
    /// Fragmentation needed, or packet too big.
    TooBig {
        mtu: u32,
    },
    TimeExceeded,
    ParameterProblem,
}

/// Reads a frame. At most 65,535 bytes of it are looked at.
pub fn parse(data: &[u8]) -> Result<Parsed, DropReason> {
    let mut parsed = Parsed::EMPTY;
    parse_into(data, &mut parsed)?;
    Ok(parsed)
}

/// As [`parse`], written where it stays: a copy so soon would wait for the bytes still on their way to the
/// cache (store forwarding fails where one load spans several stores), 5 ns each time. Left half-written
/// on an error.
#[inline(always)]
pub fn parse_into(data: &[u8], parsed: &mut Parsed) -> Result<(), DropReason> {
    let data = data.get(..usize::from(u16::MAX)).unwrap_or(data);
    let (ether_type, l3) = link(data)?;
    match ether_type {
        ethernet::IPV4 => ipv4::parse(data, l3, parsed),
        ethernet::IPV6 => ipv6::parse(data, l3, parsed),
        _ => Err(DropReason::EtherTypeUnknown),
    }
}

/// The EtherType behind the VLAN tags, and where its header begins.
#[inline]
fn link(data: &[u8]) -> Result<(u16, usize), DropReason> {
    let header = Ethernet::at(data, 0).ok_or(DropReason::EthernetTruncated)?;
    if header.destination().is_multicast() {
        return Err(DropReason::EthernetMulticast);
    }
    match header.ether_type() {
        ethernet::VLAN | ethernet::SERVICE_VLAN => tagged(data),
        ether_type => Ok((ether_type, ethernet::LEN)),
    }
}

/// As [`link`], for frames to anybody.
#[cold]
pub(super) fn ether_type(data: &[u8]) -> Option<(u16, usize)> {
    match Ethernet::at(data, 0)?.ether_type() {
        ethernet::VLAN | ethernet::SERVICE_VLAN => tagged(data).ok(),
        ether_type => Some((ether_type, ethernet::LEN)),
    }
}

#[cold]
fn tagged(data: &[u8]) -> Result<(u16, usize), DropReason> {
    for tags in 1..=2 {
        let offset = ethernet::LEN + tags * vlan::LEN;
        let tag = Vlan::at(data, offset - vlan::LEN).ok_or(DropReason::EthernetTruncated)?;
        let ether_type = tag.ether_type();
        if !matches!(ether_type, ethernet::VLAN | ethernet::SERVICE_VLAN) {
            return Ok((ether_type, offset));
        }
    }
    Err(DropReason::VlanTooDeep)
}

/// Holds a fragment against the rules that need no memory of others (RFC 791 §3.2, RFC 8200 §4.5).
#[inline]
fn check_fragment(fragment: Fragment, protocol: u8) -> Result<(), DropReason> {
    let past_end = fragment.offset.checked_add(fragment.len).is_none();
    let ragged = fragment.more && !fragment.len.is_multiple_of(8);
    // A second fragment at 8 rewrites the TCP flags a filter has judged (RFC 1858 §4, RFC 3128).
    let overwrites_tcp = fragment.offset == 8 && protocol == protocol::TCP;
    if past_end || ragged || fragment.len == 0 || overwrites_tcp {
        return Err(DropReason::FragmentInvalid);
    }
    Ok(())
}
