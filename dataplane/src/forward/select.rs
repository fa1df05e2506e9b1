//! A client's packet meets its flow: known flows keep their backend, newcomers get one from Maglev.
//!
//! A flow keeps its backend for as long as that exists and does not drain; [`depart`](super::depart) says
//! what follows then. Ids are never reused, so a removed backend's flows never find another (FAILURES D17, D19).

use maglane_shared::counters::{DropReason, FlowState};
use maglane_shared::flow::{FlowHash, FlowKey};
use maglane_shared::next_hop::HopIndex;
use maglane_shared::service::{BackendId, BackendState, ForwardingMode};
use maglane_shared::table::{BackendEntry, ForwardingTable, ServiceEntry};
use maglane_shared::tick::Tick;

use super::depart::{Fate, Going, Unsteered, fate};
use super::{Endpoint, Forwarder, nat, no_hop};
use crate::flow_table::{FlowEntry, FlowId, FlowIndex, Segment, Translation};

/// A client's packet for a service.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'t> {
    pub table: &'t ForwardingTable,
    pub service: &'t ServiceEntry,
    pub client: Endpoint,
    pub hash: FlowHash,
    /// Where its flow probably is.
    pub guess: Option<FlowIndex>,
    pub segment: Segment,
    pub now: Tick,
}

/// Where it goes.
#[derive(Clone, Copy)]
pub(super) struct Steered<'t> {
    pub id: BackendId,
    pub backend: &'t BackendEntry,
    pub hop: HopIndex,
    pub source: Source,
}

/// What replaces the client in `nat` mode: index of one of our addresses and a port, 0 without NAT.
/// Small, because it is carried for every packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    pub address: u8,
    pub port: u16,
}

impl Arrival<'_> {
    fn id(&self) -> FlowId {
        FlowId {
            client: self.client.addr,
            service: self.service.id,
            client_port: self.client.port,
        }
    }

    fn key(&self) -> FlowKey {
        let vip = self.service.key;
        FlowKey {
            client: self.client.addr,
            vip: vip.addr,
            client_port: self.client.port,
            vip_port: vip.port,
            protocol: vip.protocol,
        }
    }

    /// The hash that picks the backend of a newcomer.
    pub(super) fn selection_hash(&self) -> FlowHash {
        self.key()
            .selection_hash(&self.table.hash_key, self.service.hash_inputs, self.hash)
    }
}

impl Forwarder {
    /// The arrival comes by value: known flows need a few registers of it, and it is put together in memory
    /// for newcomers only.
    #[inline(always)]
    pub(super) fn select<'t>(&mut self, arrival: Arrival<'t>) -> Result<Steered<'t>, Unsteered> {
        let id = arrival.id();
        if let Some(at) = self.flows.find_near(arrival.guess, arrival.hash, &id) {
            if let Some(steered) = self.known(arrival, at)? {
                self.counters.flow_hits.add(1);
                return Ok(steered);
            }
            let over = self.flows.remove(at);
            self.account_end(&over);
        }
        self.counters.flow_misses.add(1);
        Ok(self.newcomer(arrival, id)?)
    }

    /// The flow's own backend; `None` when the entry has had its time.
    #[inline(always)]
    fn known<'t>(&mut self, arrival: Arrival<'t>, at: FlowIndex) -> Result<Option<Steered<'t>>, Unsteered> {
        let Arrival {
            table,
            service,
            segment,
            now,
            ..
        } = arrival;
        let entry = self.flows.get_mut(at);
        let backend = table.backend(entry.backend);
        let going = match backend.map(|b| b.state) {
            Some(BackendState::Active) => None,
            Some(BackendState::Draining) => Some(Going::Draining),
            None => Some(Going::Gone),
        };
        match going.map_or(Fate::Stay, |going| fate(service, entry.state, segment, going)) {
            Fate::Stay => {}
            Fate::Leave => return Ok(None),
            Fate::Reset => {
                // The entry stays, so that what is still on its way is answered alike.
                entry.state = FlowState::Closed;
                entry.last_seen = now;
                return Err(Unsteered::Reset);
            }
        }
        let Some(backend) = backend else {
            return Ok(None);
        };
        if segment.restarts(entry.state) {
            return Ok(None);
        }
        if let Translation::Borrowed(slot) = entry.translation {
            if !self
                .returns
                .holds(slot, &nat::mapping_of(entry, service, backend))
            {
                return Ok(None);
            }
            self.returns.touch(slot, now);
        }
        entry.last_seen = now;
        entry.state = segment.next(entry.state);
        if entry.routes != table.routes.version {
            entry.hop = table.routes.pick(backend.hops, arrival.hash).map_err(no_hop)?;
            entry.routes = table.routes.version;
        }
        let source = Source {
            address: entry.nat_address,
            port: entry.nat_port,
        };
        let (id, hop) = (entry.backend, entry.hop);
        Ok(Some(Steered {
            id,
            backend,
            hop,
            source,
        }))
    }

    /// Where the flow's packets go, for a packet that is not the flow's own. Leaves no trace.
    pub(super) fn peek<'t>(&self, arrival: &Arrival<'t>) -> Result<Steered<'t>, DropReason> {
        let Arrival {
            table, service, hash, ..
        } = *arrival;
        let known = self.flows.find(hash, &arrival.id()).map(|at| self.flows.get(at));
        if let Some((entry, backend)) = known.and_then(|e| Some((e, table.backend(e.backend)?))) {
            let hop = table.routes.pick(backend.hops, hash).map_err(no_hop)?;
            let source = Source {
                address: entry.nat_address,
                port: entry.nat_port,
            };
            return Ok(Steered {
                id: entry.backend,
                backend,
                hop,
                source,
            });
        }
        let (id, backend) = self.choose(arrival)?;
        let hop = table.routes.pick(backend.hops, hash).map_err(no_hop)?;
        let source = match service.mode {
            ForwardingMode::Nat => self
                .present_source(arrival, backend)
                .ok_or(DropReason::IcmpUnknownFlow)?,
            ForwardingMode::Dnat | ForwardingMode::L2Dsr | ForwardingMode::Ipip | ForwardingMode::Gue => {
                Source::default()
            }
        };
        Ok(Steered {
            id,
            backend,
            hop,
            source,
        })
    }

    #[inline(never)]
    fn newcomer<'t>(&mut self, arrival: Arrival<'t>, id: FlowId) -> Result<Steered<'t>, DropReason> {
        let Arrival {
            table,
            service,
            hash,
            segment,
            now,
            ..
        } = arrival;
        let (backend_id, backend) = self.choose(&arrival)?;
        let hop = table.routes.pick(backend.hops, hash).map_err(no_hop)?;
        let made = match service.mode {
            ForwardingMode::Nat => self.translate(&arrival, backend)?,
            ForwardingMode::Dnat => self.keep_client(&arrival, backend)?,
            ForwardingMode::L2Dsr | ForwardingMode::Ipip | ForwardingMode::Gue => nat::Made::NOTHING,
        };
        let steered = Steered {
            id: backend_id,
            backend,
            hop,
            source: made.source,
        };
        let Some(state) = segment.first() else {
            return Ok(steered);
        };
        let entry = FlowEntry {
            id,
            backend: backend_id,
            last_seen: now,
            routes: table.routes.version,
            translation: made.translation,
            hop,
            idle: service.policy.as_ref().and_then(|p| p.idle),
            nat_port: made.source.port,
            nat_address: made.source.address,
            state,
        };
        self.remember(hash, entry, now)?;
        Ok(steered)
    }
}
