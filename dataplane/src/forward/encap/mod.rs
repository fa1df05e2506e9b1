//! Tunnels to backends that decapsulate and answer the client directly.
//!
//! The inner packet is not touched, so its own checksums hold end to end. Outer DSCP and ECN are copies of
//! the inner ones (RFC 2983 §4.1 and RFC 6040 §4.1 normal mode), the outer don't-fragment bit follows the
//! inner one (RFC 2003 §3.1; always set for IPv6), and the flow's hash lends entropy to what
//! receivers and routers hash: the outer source (IP in IP), the UDP source port (GUE), the flow label.

mod gue;
mod ipip;
mod outer;

use maglane_shared::addr::{Addr, Family};
use maglane_shared::counters::DropReason;
use maglane_shared::flow::FlowHash;

use super::parse::Parsed;
use crate::packet::Packet;
use crate::wire::{ipv4, ipv6};

/// The way a packet is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelKind {
    Ipip,
    Gue,
}

/// An outer header to come. `src` and `dst` are of one family, the inner packet of either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    pub kind: TunnelKind,
    pub src: Addr,
    pub dst: Addr,
    pub hash: FlowHash,
}

/// Bytes that a tunnel adds to an IP packet.
#[inline]
pub const fn overhead(kind: TunnelKind, outer: Family) -> u16 {
    let ip = match outer {
        Family::V4 => ipv4::LEN,
        Family::V6 => ipv6::LEN,
    };
    let inside = match kind {
        TunnelKind::Ipip => ipip::LEN,
        TunnelKind::Gue => gue::LEN,
    };
    (ip + inside) as u16
}

/// Wraps the packet; Ethernet and VLAN headers move to the front, Ethernet padding goes. The inner TTL is
/// the caller's to decrement beforehand (RFC 2003 §3.1).
#[inline]
pub fn encapsulate(packet: &mut Packet<'_>, parsed: &Parsed, tunnel: &Tunnel) -> Result<(), DropReason> {
    match tunnel.kind {
        TunnelKind::Ipip => ipip::encapsulate(packet, parsed, tunnel),
        TunnelKind::Gue => gue::encapsulate(packet, parsed, tunnel),
    }
}

/// A source inside `prefix` for this flow: the same for all its packets, different for others, so that a
/// backend's receive-side scaling spreads flows. Never the network's own or its broadcast address.
#[inline]
pub fn outer_source((network, prefix_len): (Addr, u8), hash: FlowHash) -> Addr {
    // The lower half of the hash: the upper half picked the backend, so all its flows resemble each other there.
    let low = FlowHash(hash.0 << 32);
    match network.family() {
        Family::V4 if prefix_len < 31 => {
            let (mask, network) = (u32::MAX >> prefix_len, u32::from_be_bytes(network.v4_bytes()));
            Addr::from_v4_bytes((network & !mask | (low.scale(mask - 1) + 1)).to_be_bytes())
        }
        Family::V6 if prefix_len < 127 => {
            let mask = u128::MAX >> prefix_len;
            let host = match u32::try_from(mask) {
                Ok(mask) => u128::from(low.scale(mask - 1) + 1),
                Err(_) => (u128::from(hash.0) & mask).max(1),
            };
            Addr::from_bits(network.bits() & !mask | host)
        }
        Family::V4 | Family::V6 => network,
    }
}

/// How a packet exceeds the path's MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// The sender must be told to send IP packets of at most `mtu` bytes.
    Answer { mtu: u16 },
    /// The sender allows fragments, which we do not make.
    Fragmentable,
}

/// Does the packet still fit `mtu` (bytes of layer 3) with `overhead` more bytes?
#[inline]
pub fn fits(parsed: &Parsed, overhead: u16, mtu: u16) -> Result<(), Oversize> {
    let room = mtu.saturating_sub(overhead);
    if parsed.ip_len() <= room {
        return Ok(());
    }
    Err(if parsed.dont_fragment {
        Oversize::Answer { mtu: room }
    } else {
        Oversize::Fragmentable
    })
}
