//! TCP (RFC 9293 §3.1), UDP (RFC 768) and the kinds of ICMP (RFC 792, RFC 4443).

use maglane_shared::addr::Family;
use maglane_shared::counters::DropReason;

use super::{ErrorKind, Icmp, Parsed, Transport, protocol};
use crate::wire::icmp::{self, v4, v6};
use crate::wire::tcp::{self, Tcp};
use crate::wire::udp::{self, Udp};

/// Reads the transport header of what has been read up to there. `icmp` is the family's own ICMP protocol.
#[inline(always)]
pub(super) fn parse(data: &[u8], protocol: u8, icmp: u8, parsed: &mut Parsed) -> Result<(), DropReason> {
    let body = data
        .get(usize::from(parsed.l4)..usize::from(parsed.end))
        .unwrap_or_default();
    if parsed.fragment.is_some_and(|f| f.offset != 0) {
        parsed.transport = Transport::LaterFragment;
        return Ok(());
    }
    match protocol {
        protocol::TCP => {
            let header = tcp(body, parsed)?;
            parsed.transport = Transport::Tcp {
                src_port: header.src_port(),
                dst_port: header.dst_port(),
                flags: header.flags(),
            };
        }
        protocol::UDP => {
            let header = udp(body, parsed)?;
            parsed.transport = Transport::Udp {
                src_port: header.src_port(),
                dst_port: header.dst_port(),
            };
        }
        _ if protocol == icmp => parsed.transport = Transport::Icmp(message(body, parsed)?),
        _ => return Err(DropReason::ProtocolUnsupported),
    }
    Ok(())
}

/// The reason for a header that is cut short: a first fragment must hold it whole (RFC 1858 §3).
#[cold]
fn cut(parsed: &Parsed, whole: DropReason) -> DropReason {
    match parsed.fragment {
        Some(_) => DropReason::FragmentInvalid,
        None => whole,
    }
}

#[inline(always)]
fn tcp<'a>(body: &'a [u8], parsed: &Parsed) -> Result<Tcp<&'a [u8; tcp::LEN]>, DropReason> {
    let Some(header) = Tcp::at(body, 0) else {
        return Err(cut(parsed, DropReason::TcpTruncated));
    };
    if header.header_len() < tcp::LEN {
        return Err(DropReason::TcpBadDataOffset);
    }
    if header.header_len() > body.len() {
        return Err(cut(parsed, DropReason::TcpBadDataOffset));
    }
    if !header.flags().possible() {
        return Err(DropReason::TcpBadFlags);
    }
    Ok(header)
}

#[inline(always)]
fn udp<'a>(body: &'a [u8], parsed: &Parsed) -> Result<Udp<&'a [u8; udp::LEN]>, DropReason> {
    let Some(header) = Udp::at(body, 0) else {
        return Err(cut(parsed, DropReason::UdpTruncated));
    };
    let len = usize::from(header.datagram_len());
    // A first fragment tells the length of the whole datagram. Bytes after the datagram are legal.
    if len < udp::LEN || (len > body.len() && parsed.fragment.is_none()) {
        return Err(DropReason::UdpBadLength);
    }
    if header.checksum() == 0 && parsed.family() == Family::V6 {
        return Err(DropReason::UdpZeroChecksum);
    }
    Ok(header)
}

#[cold]
fn message(body: &[u8], parsed: &Parsed) -> Result<Icmp, DropReason> {
    let Some(header) = icmp::Icmp::at(body, 0) else {
        return Err(cut(parsed, DropReason::IcmpTruncated));
    };
    Ok(match parsed.family() {
        Family::V4 => kind_v4(&header),
        Family::V6 => kind_v6(&header),
    })
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
        (v6::NEIGHBOR_SOLICITATION | v6::NEIGHBOR_ADVERTISEMENT, _) => Icmp::Neighbor,
        (v6::UNREACHABLE, _) => Icmp::Error(ErrorKind::Unreachable),
        (v6::TOO_BIG, _) => Icmp::Error(ErrorKind::TooBig { mtu: header.mtu() }),
        (v6::TIME_EXCEEDED, _) => Icmp::Error(ErrorKind::TimeExceeded),
        (v6::PARAMETER_PROBLEM, _) => Icmp::Error(ErrorKind::ParameterProblem),
        _ => Icmp::Other,
    }
}
