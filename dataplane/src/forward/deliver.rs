//! A client's packet leaves for its backend: policy, TTL, MTU, the mode's own rewriting, MAC addresses.

use maglane_shared::addr::{Addr, Family};
use maglane_shared::counters::DropReason;
use maglane_shared::flow::FlowHash;
use maglane_shared::policy::Policy;
use maglane_shared::service::ForwardingMode;
use maglane_shared::table::{BackendEntry, ForwardingTable, ServiceEntry};
use maglane_shared::tick::Tick;

use super::encap::{self, Oversize, Tunnel, TunnelKind};
use super::icmp::IcmpError;
use super::lookup::Prepared;
use super::parse::Parsed;
use super::select::{Arrival, Source};
use super::{Endpoint, Forwarder, l2, rewrite};
use crate::config::UnknownPort;
use crate::packet::Packet;
use crate::verdict::Verdict;

impl Forwarder {
    #[inline]
    pub(super) fn forward(
        &mut self,
        packet: &mut Packet<'_>,
        prepared: &Prepared<'_>,
        service: &ServiceEntry,
        table: &ForwardingTable,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let (parsed, hash) = (&prepared.parsed, prepared.hash);
        let mut limit = u16::MAX;
        if let Some(policy) = &service.policy {
            limit = conform(policy, packet, parsed)?;
        }
        if parsed.ttl <= 1 {
            return self.expired(packet, parsed, table, now);
        }
        let arrival = Arrival {
            table,
            service,
            client: prepared.src(),
            hash,
            guess: prepared.guess,
            segment: prepared.segment,
            now,
        };
        let steered = match self.select(arrival) {
            Ok(steered) => steered,
            Err(why) => return self.unsteered(packet, prepared, why, table, now),
        };
        let backend = steered.backend;
        let hop = table.routes.hop(steered.hop).ok_or(DropReason::NoRoute)?;
        let destination = hop.destination.ok_or(DropReason::NextHopUnresolved)?;
        let overhead = tunnel_kind(service.mode).map_or(0, |k| encap::overhead(k, backend.addr.family()));
        if let Err(oversize) = encap::fits(parsed, overhead, hop.mtu.min(limit)) {
            return self.too_big(packet, parsed, oversize, table, now);
        }
        let bytes = packet.len() as u64;
        self.rewrite_for(service.mode, packet, parsed, backend, steered.source, hash)?;
        l2::address(packet, destination, hop.source);
        if let Some(stats) = self.counters.service(service.id) {
            stats.carried(bytes);
        }
        if let Some(stats) = self.counters.backend(steered.id) {
            stats.carried(bytes);
        }
        Ok(Verdict::Forward(hop.port))
    }

    #[inline]
    fn rewrite_for(
        &self,
        mode: ForwardingMode,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        backend: &BackendEntry,
        source: Source,
        hash: FlowHash,
    ) -> Result<(), DropReason> {
        let BackendEntry { addr, port, .. } = *backend;
        let to = Some(Endpoint { addr, port });
        match mode {
            ForwardingMode::Nat => {
                rewrite::rewrite(packet, parsed, self.source(addr.family(), source), to);
            }
            ForwardingMode::Dnat => rewrite::rewrite(packet, parsed, None, to),
            ForwardingMode::L2Dsr => {}
            ForwardingMode::Ipip | ForwardingMode::Gue => {
                return self.tunnel(mode, packet, parsed, addr, hash);
            }
        }
        rewrite::decrement_ttl(packet, parsed)
    }

    /// Into a tunnel; also ICMP errors about a tunnelled flow go this way.
    pub(super) fn tunnel(
        &self,
        mode: ForwardingMode,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        dst: Addr,
        hash: FlowHash,
    ) -> Result<(), DropReason> {
        let Some(kind) = tunnel_kind(mode) else {
            return Ok(());
        };
        let src = match (kind, dst.family()) {
            (TunnelKind::Ipip, Family::V4) => Some(encap::outer_source(self.tunnels.ipip_v4, hash)),
            (TunnelKind::Ipip, Family::V6) => Some(encap::outer_source(self.tunnels.ipip_v6, hash)),
            (TunnelKind::Gue, Family::V4) => self.tunnels.gue_v4,
            (TunnelKind::Gue, Family::V6) => self.tunnels.gue_v6,
        };
        let src = src.ok_or(DropReason::FamilyMismatch)?;
        // RFC 2003 §3.1: the encapsulator forwards, so the inner TTL goes down here.
        rewrite::decrement_ttl(packet, parsed)?;
        encap::encapsulate(packet, parsed, &Tunnel { kind, src, dst, hash })
    }

    pub(super) fn expired(
        &mut self,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        table: &ForwardingTable,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        self.refuse(
            packet,
            parsed,
            IcmpError::TimeExceeded,
            DropReason::TtlExceeded,
            &table.hash_key,
            now,
        )
    }

    pub(super) fn too_big(
        &mut self,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        oversize: Oversize,
        table: &ForwardingTable,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        match oversize {
            Oversize::Fragmentable => Err(DropReason::TooBigFragmentable),
            Oversize::Answer { mtu } => {
                let error = IcmpError::TooBig { mtu };
                self.refuse(packet, parsed, error, DropReason::TooBig, &table.hash_key, now)
            }
        }
    }

    pub(super) fn unknown_port(
        &mut self,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        table: &ForwardingTable,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        match self.unknown_port {
            UnknownPort::Drop => Err(DropReason::VipUnknownPort),
            UnknownPort::Refuse => {
                let (error, reason) = (IcmpError::PortUnreachable, DropReason::VipUnknownPort);
                self.refuse(packet, parsed, error, reason, &table.hash_key, now)
            }
        }
    }
}

/// Holds a client's packet against what its service asks for; gives the largest packet towards the backend.
#[inline(never)]
fn conform(policy: &Policy, packet: &mut Packet<'_>, parsed: &Parsed) -> Result<u16, DropReason> {
    if !policy.admits(parsed.src) {
        return Err(DropReason::SourceNotAllowed);
    }
    if let Some(most) = policy.mss {
        rewrite::clamp_segment_size(packet, parsed, most.get());
    }
    Ok(policy.limit(u16::MAX))
}

#[inline]
pub(super) fn tunnel_kind(mode: ForwardingMode) -> Option<TunnelKind> {
    match mode {
        ForwardingMode::Nat | ForwardingMode::Dnat | ForwardingMode::L2Dsr => None,
        ForwardingMode::Ipip => Some(TunnelKind::Ipip),
        ForwardingMode::Gue => Some(TunnelKind::Gue),
    }
}
