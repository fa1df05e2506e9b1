//! ICMP towards a VIP or one of our source addresses: pings are answered, errors follow their flow.
//!
//! An error quotes the packet it is about (RFC 792, RFC 4443 §2.4). Quoted with a VIP as source it is about a
//! reply, and goes to the flow's backend; quoted towards a backend it is about a client's packet, and goes to
//! that client. Either way the quote is translated back too, so that its sender knows it (RFC 5508 §4.2).
//! No entry is made or changed: any worker of any node can do this (FAILURES D25).

use maglane_shared::addr::VipKey;
use maglane_shared::counters::DropReason;
use maglane_shared::flow::FlowKey;
use maglane_shared::service::ForwardingMode;
use maglane_shared::table::{BackendEntry, ForwardingTable};
use maglane_shared::tick::Tick;

use super::parse::{Icmp, Parsed};
use super::quoted::{Quoted, quoted, rewrite_quoted};
use super::select::{Arrival, Source};
use super::{Endpoint, Forwarder, l2, rewrite};
use crate::flow_table::Segment;
use crate::packet::Packet;
use crate::returns::{Found, ReplyKey, Via};
use crate::verdict::Verdict;

impl Forwarder {
    #[cold]
    pub(super) fn message(
        &mut self,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        message: Icmp,
        table: &ForwardingTable,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let to_vip = table.services.is_vip(parsed.dst);
        match message {
            Icmp::EchoRequest if to_vip => self.echo(packet, parsed, &table.hash_key, now),
            Icmp::Error(_) => self.error(packet, parsed, table, now),
            // Only in fragments, which RFC 6980 §5 rules out.
            Icmp::Neighbor => Err(DropReason::NeighborMalformed),
            Icmp::EchoRequest | Icmp::Other if to_vip => Err(DropReason::IcmpTypeIgnored),
            Icmp::EchoRequest | Icmp::Other => Ok(Verdict::Pass),
        }
    }

    fn error(
        &mut self,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        table: &ForwardingTable,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let quoted = quoted(packet.data(), parsed)?;
        if parsed.ttl <= 1 {
            return Err(DropReason::TtlExceeded);
        }
        // An error is addressed to whoever sent what it quotes; anything else is forged.
        if parsed.dst != quoted.src.addr {
            return Err(DropReason::IcmpUnknownFlow);
        }
        let vip = VipKey {
            addr: quoted.src.addr,
            port: quoted.src.port,
            protocol: quoted.protocol,
        };
        if let Some(service) = table.services.lookup(&vip) {
            let hash = FlowKey {
                client: quoted.dst.addr,
                vip: vip.addr,
                client_port: quoted.dst.port,
                vip_port: vip.port,
                protocol: vip.protocol,
            }
            .hash(&table.hash_key);
            // A segment of no consequence: the quoted packet was not the client's.
            let arrival = Arrival {
                table,
                service,
                client: quoted.dst,
                hash,
                guess: None,
                segment: Segment::Rst,
                now,
            };
            return self.error_to_backend(packet, parsed, &quoted, &arrival);
        }
        self.error_to_client(packet, parsed, &quoted, table)
    }

    /// About a reply: on to the backend that sent it.
    fn error_to_backend(
        &mut self,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        quoted: &Quoted,
        arrival: &Arrival<'_>,
    ) -> Result<Verdict, DropReason> {
        if !arrival.service.admits(arrival.client.addr) {
            return Err(DropReason::SourceNotAllowed);
        }
        let steered = self.peek(arrival)?;
        let backend = steered.backend;
        let hop = arrival.table.routes.hop(steered.hop).ok_or(DropReason::NoRoute)?;
        let destination = hop.destination.ok_or(DropReason::NextHopUnresolved)?;
        match arrival.service.mode {
            ForwardingMode::Nat | ForwardingMode::Dnat => {
                self.translate_to_backend(packet, parsed, quoted, backend, steered.source)?;
                rewrite::decrement_ttl(packet, parsed)?;
            }
            ForwardingMode::L2Dsr => rewrite::decrement_ttl(packet, parsed)?,
            ForwardingMode::Ipip | ForwardingMode::Gue => {
                self.tunnel(arrival.service.mode, packet, parsed, backend.addr, arrival.hash)?;
            }
        }
        l2::address(packet, destination, hop.source);
        Ok(Verdict::Forward(hop.port))
    }

    /// About a client's packet: back to the client.
    fn error_to_client(
        &mut self,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        quoted: &Quoted,
        table: &ForwardingTable,
    ) -> Result<Verdict, DropReason> {
        let via = self.via(quoted.src);
        let key = ReplyKey {
            backend: quoted.dst,
            to: quoted.src,
            via,
            protocol: quoted.protocol,
        };
        let hash = key.hash(&table.hash_key);
        let Some(found) = self.returns.find(hash, &key) else {
            let ours = via != Via::Client || table.services.is_vip(parsed.dst);
            return if ours {
                Err(DropReason::IcmpUnknownFlow)
            } else {
                Ok(Verdict::Pass)
            };
        };
        let Found { client, service, .. } = found;
        let service = table.services.get(service).ok_or(DropReason::IcmpUnknownFlow)?;
        let hop = self.hop_towards_client(table, &found, hash)?;
        let hop = table.routes.hop(hop).ok_or(DropReason::NoRoute)?;
        let destination = hop.destination.ok_or(DropReason::NextHopUnresolved)?;
        let VipKey { addr, port, .. } = service.key;
        let inner = (Some(client), Some(Endpoint { addr, port }));
        rewrite_quoted(packet, parsed, quoted, inner, (Some(addr), Some(client.addr)));
        rewrite::decrement_ttl(packet, parsed)?;
        l2::address(packet, destination, hop.source);
        Ok(Verdict::Forward(hop.port))
    }

    /// The backend knows itself, not the VIP, and in `nat` mode our source, not the client.
    fn translate_to_backend(
        &self,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        quoted: &Quoted,
        backend: &BackendEntry,
        source: Source,
    ) -> Result<(), DropReason> {
        let BackendEntry { addr, port, .. } = *backend;
        if addr.family() != parsed.family() {
            return Err(DropReason::FamilyMismatch);
        }
        let source = self.source(addr.family(), source);
        let inner = (Some(Endpoint { addr, port }), source);
        rewrite_quoted(
            packet,
            parsed,
            quoted,
            inner,
            (source.map(|s| s.addr), Some(addr)),
        );
        Ok(())
    }
}
