//! IP in IP: RFC 2003 (4 in 4), RFC 4213 §3 (6 in 4), RFC 2473 (4 and 6 in 6).

use maglane_shared::counters::DropReason;

use super::{Tunnel, TunnelKind, outer};
use crate::forward::parse::Parsed;
use crate::packet::Packet;

/// Bytes between the outer and the inner IP header.
pub(super) const LEN: usize = 0;

#[inline]
pub(super) fn encapsulate(
    packet: &mut Packet<'_>,
    parsed: &Parsed,
    tunnel: &Tunnel,
) -> Result<(), DropReason> {
    let family = tunnel.dst.family();
    let overhead = super::overhead(TunnelKind::Ipip, family);
    let protocol = outer::inner_protocol(parsed);
    outer::wrap(packet, parsed, tunnel, family, protocol, overhead)
}
