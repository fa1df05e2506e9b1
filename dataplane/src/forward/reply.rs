//! A backend's packet on its way back: to the VIP's address and port, and on to the client.
//!
//! What is no reply of ours may still be ours to carry: for a `dnat` backend this node is the router.

use maglane_shared::addr::VipKey;
use maglane_shared::counters::DropReason;
use maglane_shared::next_hop::HopIndex;
use maglane_shared::table::ForwardingTable;
use maglane_shared::tick::Tick;

use super::lookup::Prepared;
use super::parse::Parsed;
use super::{Endpoint, Forwarder, encap, l2, rewrite};
use crate::flow_table::Segment;
use crate::packet::Packet;
use crate::returns::{Close, ReplyKey, Via};
use crate::verdict::Verdict;

/// New addresses of a packet that goes back.
struct Rewrite {
    src: Endpoint,
    dst: Endpoint,
}

impl Forwarder {
    #[inline]
    pub(super) fn reply(
        &mut self,
        packet: &mut Packet<'_>,
        prepared: &Prepared<'_>,
        via: Via,
        table: &ForwardingTable,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let (parsed, hash) = (&prepared.parsed, prepared.hash);
        let key = ReplyKey {
            backend: prepared.src(),
            to: prepared.dst(),
            via,
            protocol: prepared.protocol,
        };
        let Some(found) = self.returns.find(hash, &key) else {
            return self.no_reply(packet, prepared, via, table, now);
        };
        let service = table
            .services
            .get(found.service)
            .ok_or(DropReason::NatReturnUnknown)?;
        if let Some(most) = service.policy.as_ref().and_then(|p| p.mss) {
            rewrite::clamp_segment_size(packet, parsed, most.get());
        }
        let hop = self.hop_towards_client(table, &found, hash)?;
        match prepared.segment {
            Segment::Fin => self.returns.note_close(&found, Close::Fin),
            Segment::Rst => self.returns.note_close(&found, Close::Rst),
            Segment::Syn | Segment::Other | Segment::Datagram => {}
        }
        self.returns.touch(found.slot, now);
        let VipKey { addr, port, .. } = service.key;
        let back = Rewrite {
            src: Endpoint { addr, port },
            dst: found.client,
        };
        self.route(packet, parsed, hop, Some(back), table, now)
    }

    #[cold]
    fn no_reply(
        &mut self,
        packet: &mut Packet<'_>,
        prepared: &Prepared<'_>,
        via: Via,
        table: &ForwardingTable,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        match via {
            Via::Snat(_) => Err(DropReason::NatReturnUnknown),
            Via::Client => {
                let Endpoint { addr, port } = prepared.src();
                let from = VipKey {
                    addr,
                    port,
                    protocol: prepared.protocol,
                };
                if !table.services.is_dnat_backend(&from) {
                    return Ok(Verdict::Pass);
                }
                let parsed = &prepared.parsed;
                let hop = self.hop_towards(table, parsed.dst, prepared.hash)?;
                self.route(packet, parsed, hop, None, table, now)
            }
        }
    }

    /// As any router would, after the rewriting.
    #[inline]
    fn route(
        &mut self,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        hop: HopIndex,
        back: Option<Rewrite>,
        table: &ForwardingTable,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let hop = table.routes.hop(hop).ok_or(DropReason::NoRoute)?;
        let destination = hop.destination.ok_or(DropReason::NextHopUnresolved)?;
        if parsed.ttl <= 1 {
            return self.expired(packet, parsed, table, now);
        }
        if let Err(oversize) = encap::fits(parsed, 0, hop.mtu) {
            return self.too_big(packet, parsed, oversize, table, now);
        }
        if let Some(Rewrite { src, dst }) = back {
            rewrite::rewrite(packet, parsed, Some(src), Some(dst));
        }
        rewrite::decrement_ttl(packet, parsed)?;
        l2::address(packet, destination, hop.source);
        Ok(Verdict::Forward(hop.port))
    }
}
