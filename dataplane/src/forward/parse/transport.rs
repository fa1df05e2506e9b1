//! TCP (RFC 9293 §3.1), UDP (RFC 768) and the kinds of ICMP (RFC 792, RFC 4443).

use std::ops::Range;

use maglane_shared::counters::DropReason;

use super::{ErrorKind, Fragment, Icmp, Transport, protocol};
use crate::wire::icmp::{self, v4, v6};
use crate::wire::tcp::{self, Tcp};
use crate::wire::udp::{self, Udp};

/// Reads the transport header at the start of `body`. `icmp` is the family's own ICMP protocol.
#[inline]
pub(super) fn parse(
    data: &[u8],
    body: Range<usize>,
    protocol: u8,
    icmp: u8,
    fragment: Option<Fragment>,
) -> Result<Transport, DropReason> {
    let body = data.get(body).unwrap_or_default();
    if fragment.is_some_and(|f| f.offset != 0) {
        return Ok(Transport::LaterFragment);
    }
    match protocol {
        protocol::TCP => tcp(body, fragment),
        protocol::UDP => udp(body, icmp == protocol::ICMPV6, fragment),
        _ if protocol == icmp => message(body, icmp == protocol::ICMPV6, fragment),
        _ => Err(DropReason::ProtocolUnsupported),
    }
}

/// The reason for a header that is cut short: a first fragment must hold it whole (RFC 1858 §3).
#[inline]
fn cut(fragment: Option<Fragment>, whole: DropReason) -> DropReason {
    if fragment.is_some() {
        DropReason::FragmentInvalid
    } else {
        whole
    }
}

#[inline]
fn tcp(body: &[u8], fragment: Option<Fragment>) -> Result<Transport, DropReason> {
    let Some(header) = Tcp::at(body, 0) else {
        return Err(cut(fragment, DropReason::TcpTruncated));
    };
    if header.header_len() < tcp::LEN {
        return Err(DropReason::TcpBadDataOffset);
    }
    if header.header_len() > body.len() {
        return Err(cut(fragment, DropReason::TcpBadDataOffset));
    }
    if !header.flags().possible() {
        return Err(DropReason::TcpBadFlags);
    }
    Ok(Transport::Tcp {
        src_port: header.src_port(),
        dst_port: header.dst_port(),
        flags: header.flags(),
    })
}

#[inline]
fn udp(body: &[u8], is_v6: bool, fragment: Option<Fragment>) -> Result<Transport, DropReason> {
    let Some(header) = Udp::at(body, 0) else {
        return Err(cut(fragment, DropReason::UdpTruncated));
    };
    let len = usize::from(header.datagram_len());
    // A first fragment tells the length of the whole datagram. Bytes after the datagram are legal.
    if len < udp::LEN || (len > body.len() && fragment.is_none()) {
        return Err(DropReason::UdpBadLength);
    }
    if is_v6 && header.checksum() == 0 {
        return Err(DropReason::UdpZeroChecksum);
    }
    Ok(Transport::Udp {
        src_port: header.src_port(),
        dst_port: header.dst_port(),
    })
}

fn message(body: &[u8], is_v6: bool, fragment: Option<Fragment>) -> Result<Transport, DropReason> {
    let Some(header) = icmp::Icmp::at(body, 0) else {
        return Err(cut(fragment, DropReason::IcmpTruncated));
    };
    let kind = if is_v6 { kind_v6(&header) } else { kind_v4(&header) };
    Ok(Transport::Icmp(kind))
}

fn kind_v4(header: &icmp::Icmp<&[u8; icmp::LEN]>) -> Icmp {
    match (header.kind(), header.code()) {
        (v4::ECHO_REQUEST, 0) => Icmp::EchoRequest,
        // The upper half of the field is unused (RFC 1191 §4), or a length (RFC 4884 §4.1).
        (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED) => Icmp::Error(ErrorKind::TooBig {
            mtu: header.mtu() & 0xffff,
        }),
        (v4::UNREACHABLE, _) => Icmp::Error(ErrorKind::Unreachable),
        (v4::TIME_EXCEEDED, _) => Icmp::Error(ErrorKind::TimeExceeded),
        (v4::PARAMETER_PROBLEM, _) => Icmp::Error(ErrorKind::ParameterProblem),
        _ => Icmp::Other,
    }
}

fn kind_v6(header: &icmp::Icmp<&[u8; icmp::LEN]>) -> Icmp {
    match (header.kind(), header.code()) {
        (v6::ECHO_REQUEST, 0) => Icmp::EchoRequest,
        (v6::UNREACHABLE, _) => Icmp::Error(ErrorKind::Unreachable),
        (v6::TOO_BIG, _) => Icmp::Error(ErrorKind::TooBig { mtu: header.mtu() }),
        (v6::TIME_EXCEEDED, _) => Icmp::Error(ErrorKind::TimeExceeded),
        (v6::PARAMETER_PROBLEM, _) => Icmp::Error(ErrorKind::ParameterProblem),
        _ => Icmp::Other,
    }
}
