//! ARP and neighbour discovery for the virtual addresses this node owns: pure builders, and the worker's answer.
//!
//! Only what is asked is answered, and only by the owner: requests that came by broadcast, multicast or to our MAC
//! address; out of the interface asked, with the VLAN tags of the question. Another host that claims an owned
//! address is a conflict, counted and told. Past the fence there is silence. RFC 826, RFC 5227, RFC 4861 §7.

mod arp;
mod message;
mod ndp;

use std::sync::Arc;

use maglane_shared::addr::{Addr, MacAddr};
use maglane_shared::counters::DropReason;
use maglane_shared::facts::Conflict;
use maglane_shared::next_hop::{NoHop, PortIndex};
use maglane_shared::owned::{Fence, Owned};
use maglane_shared::publish::{self, Reader};
use maglane_shared::table::ForwardingTable;
use maglane_shared::tick::Tick;

use super::Forwarder;
use super::lookup::Role;
use super::parse::{self, protocol};
use crate::packet::Packet;
use crate::verdict::Verdict;
use crate::wire::ethernet;
use crate::wire::icmp::{Icmp, v6};
use crate::wire::ipv6::{self, Ipv6};
use arrayvec::ArrayVec;
pub use message::Message;

/// What a message comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A question for an address of ours.
    Asked {
        /// Who will send to us next; unknown in a probe.
        asker: Option<Addr>,
        answer: Message,
    },
    /// Another host says that an address of ours is his.
    Claimed {
        addr: Addr,
        by: MacAddr,
    },
    Refused(DropReason),
}

/// What to do about an ARP or neighbour discovery frame, on an interface with this MAC address that owns these.
pub fn reply(frame: &[u8], mac: MacAddr, owned: impl Fn(Addr) -> bool) -> Heard {
    let heard = match parse::ether_type(frame) {
        Some((ethernet::ARP, at)) => arp::reply(frame, at, mac, owned),
        Some((ethernet::IPV6, at)) => ndp::reply(frame, at, mac, owned),
        Some(_) | None => Err(DropReason::NeighborMalformed),
    };
    heard.unwrap_or_else(Heard::Refused)
}

/// What tells everybody on the link that `addr` is at `mac` now: ARP as request and as reply, for hosts heed one or
/// the other (RFC 5227 §3); or an unsolicited advertisement that overrides (RFC 4861 §7.2.6).
pub fn announcements(addr: Addr, mac: MacAddr) -> ArrayVec<Message, 2> {
    if addr.is_v4() {
        arp::announcements(addr, mac).into_iter().collect()
    } else {
        [ndp::announcement(addr, mac)].into_iter().collect()
    }
}

/// A refused frame may be about neighbours: those come by broadcast, are no IP, or have no source address.
#[cold]
pub(super) fn role<'t>(data: &[u8], port: PortIndex, reason: DropReason) -> Role<'t> {
    let concerned = match parse::ether_type(data) {
        Some((ethernet::ARP, _)) => true,
        Some((ethernet::IPV6, at)) => {
            let plain = Ipv6::at(data, at).is_some_and(|ip| ip.next_header() == protocol::ICMPV6);
            let kind = Icmp::at(data, at + ipv6::LEN).map(|icmp| icmp.kind());
            plain && matches!(kind, Some(v6::NEIGHBOR_SOLICITATION | v6::NEIGHBOR_ADVERTISEMENT))
        }
        Some(_) | None => false,
    };
    if concerned {
        Role::Neighbor(port)
    } else {
        Role::Refused(reason)
    }
}

/// The right to answer, as one worker sees it.
#[derive(Debug)]
pub(super) struct Answering {
    /// Looked at only when somebody asks.
    pub owned: Reader<Owned>,
    pub fence: Arc<Fence>,
}

impl Default for Answering {
    /// For nothing.
    fn default() -> Self {
        let (_, mut readers) = publish::channel(&Arc::default(), 1);
        Answering {
            owned: readers.remove(0),
            fence: Arc::default(),
        }
    }
}

impl Forwarder {
    #[cold]
    pub(super) fn neighbor(
        &mut self,
        packet: &mut Packet<'_>,
        port: PortIndex,
        table: &ForwardingTable,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let mac = table.routes.port_macs.get(usize::from(port.0));
        let mac = *mac.ok_or(DropReason::PortUnknown)?;
        self.answering.owned.refresh();
        let owned = self.answering.owned.get();
        let heard = reply(packet.data(), mac, |addr| {
            owned.is_some_and(|owned| owned.contains(port, addr))
        });
        let open = self.answering.fence.is_open(now);
        match heard {
            Heard::Refused(reason) => Err(reason),
            Heard::Asked { asker, answer } => {
                self.counters.neighbor_requests.add(1);
                if !open {
                    return Err(DropReason::NeighborFenced);
                }
                packet.set_len(answer.bytes().len())?;
                packet.data_mut().copy_from_slice(answer.bytes());
                self.counters.neighbor_answers.add(1);
                self.expect(asker, table);
                Ok(Verdict::Reply)
            }
            Heard::Claimed { .. } if !open => Err(DropReason::NeighborFenced),
            Heard::Claimed { addr, by } => {
                // Full: there is more to tell of than anybody reads.
                let _ = self.facts.conflicts.push(Conflict { port, addr, mac: by });
                Err(DropReason::NeighborConflict)
            }
        }
    }

    /// Whoever asks for a VIP sends to it next: replies to him need his MAC address.
    fn expect(&self, asker: Option<Addr>, table: &ForwardingTable) {
        let Some(asker) = asker else { return };
        match table.routes.group_for(asker) {
            // Full: his first packet asks again.
            Err(NoHop::Unresolved(port)) => drop(self.facts.unresolved.push((port, asker))),
            Ok(_) | Err(NoHop::NoRoute) => {}
        }
    }
}
