//! A TCP reset of our own (RFC 9293 §3.10.7.1), made in place in the frame it answers. MAC addresses are
//! [`l2::turn_round`](super::l2::turn_round)'s; limits are the pipeline's.

use maglane_shared::addr::Family;
use maglane_shared::counters::DropReason;

use super::icmp::{Answer, write_ip};
use super::parse::{Parsed, Transport, protocol};
use crate::packet::Packet;
use crate::wire::checksum::Sum;
use crate::wire::tcp::{self, Tcp, TcpFlags};
use crate::wire::{ipv4, ipv6};

/// What a reset says, so that the sender of a segment believes it.
struct Reset {
    /// Source and destination.
    ports: (u16, u16),
    sequence: u32,
    acknowledgment: u32,
    flags: TcpFlags,
}

/// Turns a TCP segment into the reset of its connection, from where it was sent to. Resets are not answered,
/// and of a fragmented segment nobody here knows the length.
pub fn tcp_reset(packet: &mut Packet<'_>, parsed: &Parsed) -> Result<(), DropReason> {
    let reset = Reset::of(packet.data(), parsed).ok_or(DropReason::ResetNotSent)?;
    let ip_len = match parsed.family() {
        Family::V4 => ipv4::LEN,
        Family::V6 => ipv6::LEN,
    };
    let (l3, total) = (usize::from(parsed.l3), ip_len + tcp::LEN);
    packet.set_len(l3 + total)?;
    let data = packet.data_mut();
    let answer = Answer {
        from: parsed.dst,
        total: total as u16,
        protocol: protocol::TCP,
        traffic_class: 0,
    };
    write_ip(data, parsed, &answer);
    let sum = Sum::default().pseudo_header(parsed.dst, parsed.src, protocol::TCP, tcp::LEN as u16);
    reset.write(data.get_mut(l3 + ip_len..).unwrap_or_default(), sum);
    Ok(())
}

impl Reset {
    fn of(data: &[u8], parsed: &Parsed) -> Option<Self> {
        let (src_port, dst_port, flags) = match parsed.transport {
            Transport::Tcp {
                src_port,
                dst_port,
                flags,
            } => (src_port, dst_port, flags),
            Transport::Udp { .. } | Transport::Icmp(_) | Transport::LaterFragment => return None,
        };
        if parsed.fragment.is_some() || flags.contains(TcpFlags::RST) {
            return None;
        }
        let header = Tcp::at(data, usize::from(parsed.l4))?;
        let ports = (dst_port, src_port);
        if flags.contains(TcpFlags::ACK) {
            return Some(Reset {
                ports,
                sequence: header.acknowledgment(),
                acknowledgment: 0,
                flags: TcpFlags::RST,
            });
        }
        // SYN and FIN take a number each.
        let data = u32::from(parsed.end - parsed.l4).saturating_sub(header.header_len() as u32);
        let controls = [TcpFlags::SYN, TcpFlags::FIN].into_iter();
        let controls = controls.filter(|flag| flags.contains(*flag)).count() as u32;
        Some(Reset {
            ports,
            sequence: 0,
            acknowledgment: header.sequence().wrapping_add(data + controls),
            flags: TcpFlags::RST.union(TcpFlags::ACK),
        })
    }

    /// `pseudo` is the sum of the pseudo-header.
    fn write(&self, segment: &mut [u8], pseudo: Sum) {
        if let Some(mut header) = Tcp::at_mut(segment, 0) {
            header.start(self.ports, self.sequence, self.acknowledgment, self.flags);
        }
        let checksum = pseudo.bytes(segment).checksum();
        if let Some(mut header) = Tcp::at_mut(segment, 0) {
            header.set_checksum(checksum);
        }
    }
}
