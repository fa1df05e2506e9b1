//! ARP (RFC 826), probes, announcements and conflicts (RFC 5227).

use maglane_shared::addr::{Addr, MacAddr};
use maglane_shared::counters::DropReason;

use super::{Heard, Message};
use crate::wire::arp::{self, Arp, Party};
use crate::wire::ethernet::{self, Ethernet};

const BROADCAST: MacAddr = MacAddr([0xff; 6]);
const NOBODY: Addr = Addr::from_v4_bytes([0; 4]);

/// `at` is where the ARP packet begins.
pub(super) fn reply(
    frame: &[u8],
    at: usize,
    mac: MacAddr,
    owned: impl Fn(Addr) -> bool,
) -> Result<Heard, DropReason> {
    let malformed = DropReason::NeighborMalformed;
    let to = Ethernet::at(frame, 0).ok_or(malformed)?.destination();
    let packet = Arp::at(frame, at).ok_or(malformed)?;
    let (sender, sender_mac) = (packet.sender(), packet.sender_mac());
    if !packet.is_ethernet_ipv4() || sender_mac.is_multicast() || sender_mac == MacAddr::ZERO {
        return Err(malformed);
    }
    if sender_mac == mac {
        return Err(DropReason::NeighborIgnored);
    }
    if owned(sender) {
        return Ok(Heard::Claimed {
            addr: sender,
            by: sender_mac,
        });
    }
    if packet.operation() != arp::REQUEST || (to != mac && to != BROADCAST) {
        return Err(DropReason::NeighborIgnored);
    }
    let target = packet.target();
    if !owned(target) {
        return Err(DropReason::NeighborNotOwned);
    }
    let ours = Party { mac, addr: target };
    let asker = Party {
        mac: sender_mac,
        addr: sender,
    };
    let answer = arp::packet(arp::REPLY, ours, asker);
    let link = frame.get(2 * 6..at).unwrap_or_default();
    Ok(Heard::Asked {
        asker: (sender != NOBODY).then_some(sender),
        answer: Message::new(sender_mac, mac, link, [&answer, &[]]),
    })
}

/// As request and as reply.
pub(super) fn announcements(addr: Addr, mac: MacAddr) -> [Message; 2] {
    let ours = Party { mac, addr };
    let all = |mac| Party { mac, addr };
    // The target's MAC address: not asked for in a request (RFC 5227 §2.3), everybody's in a reply.
    [(arp::REQUEST, MacAddr::ZERO), (arp::REPLY, BROADCAST)].map(|(operation, target)| {
        let packet = arp::packet(operation, ours, all(target));
        Message::new(BROADCAST, mac, &ethernet::ARP.to_be_bytes(), [&packet, &[]])
    })
}
