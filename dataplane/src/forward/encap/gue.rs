//! Generic UDP Encapsulation, variant 1: the IP packet follows the UDP header at once
//! (draft-ietf-intarea-gue-09 §4); its version nibble tells the variant.
//!
//! Over IPv4 the UDP checksum is zero (§5.8.1 there). Over IPv6 it is computed, as RFC 8200 §8.1 asks:
//! receivers take a zero one only where told to (RFC 6936 §4). It costs no pass over the payload: an
//! inner packet with a correct TCP or UDP checksum sums to the complement of its pseudo-header. If it
//! is wrong, so is ours, and the backend drops the packet one layer earlier than it would have.

use maglane_shared::addr::Family;
use maglane_shared::counters::DropReason;
use maglane_shared::flow::FlowHash;
use maglane_shared::service::GUE_PORT;

use super::{Tunnel, TunnelKind, outer};
use crate::forward::parse::{Parsed, Transport, protocol};
use crate::packet::Packet;
use crate::wire::checksum::Sum;
use crate::wire::udp::{self, Udp};

/// Bytes between the outer and the inner IP header.
pub(super) const LEN: usize = udp::LEN;

#[inline]
pub(super) fn encapsulate(
    packet: &mut Packet<'_>,
    parsed: &Parsed,
    tunnel: &Tunnel,
) -> Result<(), DropReason> {
    let family = tunnel.dst.family();
    let overhead = super::overhead(TunnelKind::Gue, family);
    outer::wrap(packet, parsed, tunnel, family, protocol::UDP, overhead)?;
    let (data, l3) = (packet.data_mut(), usize::from(parsed.l3));
    let l4 = l3 + usize::from(overhead) - LEN;
    let len = parsed.ip_len() + LEN as u16;
    let src_port = source_port(tunnel.hash);
    let checksum = match family {
        Family::V4 => None,
        Family::V6 => {
            let inner = data.get(l4 + LEN..).unwrap_or_default();
            let header = Sum::default().u16(src_port).u16(GUE_PORT).u16(len);
            let pseudo = header.pseudo_header(tunnel.src, tunnel.dst, protocol::UDP, len);
            Some(pseudo.plus(inner_sum(parsed, inner)).checksum())
        }
    };
    if let Some(mut header) = Udp::at_mut(data, l4) {
        header.set_src_port(src_port);
        header.set_dst_port(GUE_PORT);
        header.set_datagram_len(len);
        match checksum {
            Some(computed) => header.set_checksum(computed),
            None => header.clear_checksum(),
        }
    }
    Ok(())
}

/// The flow's entropy, in the dynamic ports (RFC 6335 §6).
#[inline]
fn source_port(hash: FlowHash) -> u16 {
    0xc000 | hash.low() as u16
}

/// The sum of the inner packet, by the short way where its own checksum covers it.
#[inline]
fn inner_sum(parsed: &Parsed, inner: &[u8]) -> Sum {
    let header_len = usize::from(parsed.l4 - parsed.l3);
    let Some((header, body)) = inner.split_at_checked(header_len) else {
        return Sum::default().bytes(inner);
    };
    let protocol = match parsed.transport {
        Transport::Tcp { .. } => protocol::TCP,
        Transport::Udp { .. } => protocol::UDP,
        Transport::Icmp(_) | Transport::LaterFragment => return Sum::default().bytes(inner),
    };
    if parsed.fragment.is_some() || !covered(protocol, body) {
        return Sum::default().bytes(inner);
    }
    let len = body.len() as u16;
    match parsed.family() {
        // A correct IPv4 header sums to zero.
        Family::V4 => {
            Sum::default().minus(Sum::default().pseudo_header(parsed.src, parsed.dst, protocol, len))
        }
        // The addresses are in the header and in the pseudo-header, and cancel out.
        Family::V6 => {
            let (fixed, addresses) = header.split_at(header.len().min(8));
            let extensions = addresses.get(32..).unwrap_or_default();
            let rest = Sum::default().u16(u16::from(protocol)).u16(len);
            Sum::default().bytes(fixed).bytes(extensions).minus(rest)
        }
    }
}

/// Does the transport checksum cover all of the transport? Not when UDP has none or ends early.
#[inline]
fn covered(protocol: u8, body: &[u8]) -> bool {
    protocol == protocol::TCP
        || Udp::at(body, 0)
            .is_some_and(|header| header.checksum() != 0 && usize::from(header.datagram_len()) == body.len())
}
