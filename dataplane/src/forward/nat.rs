//! Source ports for `nat`, and the way back for `nat` and `dnat`.
//!
//! The candidates for a flow's source address and port follow from its hash alone. So a worker that meets
//! a flow of another worker (the NIC's hashing changed, an ICMP error arrived elsewhere) finds its mapping
//! at the same candidates, and a flow whose entry was lost mostly gets the same port again. A port is
//! taken only towards one backend and protocol: with n backends there are n times as many.

use maglane_shared::addr::{Addr, Family};
use maglane_shared::counters::DropReason;
use maglane_shared::flow::FlowHash;
use maglane_shared::next_hop::{HopIndex, NoHop};
use maglane_shared::table::{BackendEntry, ForwardingTable, ServiceEntry};

use super::select::{Arrival, Source};
use super::{Endpoint, Forwarder, no_hop};
use crate::config::Snat;
use crate::flow_table::{FlowEntry, Translation};
use crate::returns::{Found, Mapping, Refused, ReplyKey, Via};

/// Source ports tried for a new flow. With 80 % of a backend's ports taken, one flow in 1,200 finds none.
const CANDIDATES: u32 = 32;

/// What a new flow was given.
#[derive(Clone, Copy)]
pub(super) struct Made {
    pub translation: Translation,
    pub source: Source,
}

impl Made {
    pub(super) const NOTHING: Made = Made {
        translation: Translation::None,
        source: Source { address: 0, port: 0 },
    };
}

impl Snat {
    /// The `n`th candidate of a flow: one 32-bit number spread over addresses, then over ports.
    fn candidate(&self, hash: FlowHash, n: u32, family: Family) -> Option<(Source, Endpoint)> {
        let addresses = self.addresses(family);
        let spread = u64::from(hash.low().wrapping_add(n.wrapping_mul(0x9e37_79b9))) * addresses.len() as u64;
        let index = (spread >> 32) as usize;
        let ports = u64::from(self.ports.end() - self.ports.start()) + 1;
        let port = self.ports.start() + ((u64::from(spread as u32) * ports) >> 32) as u16;
        let addr = *addresses.get(index)?;
        let source = Source {
            address: index as u8,
            port,
        };
        Some((source, Endpoint { addr, port }))
    }
}

impl Forwarder {
    /// A source for a new `nat` flow: its present mapping, if a worker has one, or the first free candidate.
    pub(super) fn translate(
        &self,
        arrival: &Arrival<'_>,
        backend: &BackendEntry,
    ) -> Result<Made, DropReason> {
        let family = backend.addr.family();
        same_family(arrival.service, family)?;
        let mut refused = DropReason::NatPortsExhausted;
        for n in 0..CANDIDATES {
            let candidate = self.snat.candidate(arrival.hash, n, family);
            let (source, to) = candidate.ok_or(DropReason::NatPortsExhausted)?;
            let mapping = new_mapping(arrival, backend, Via::Snat(source.address), source.port);
            match self.publish(arrival, &mapping, to) {
                Ok(translation) => return Ok(Made { translation, source }),
                Err(Refused::Taken) => {}
                Err(Refused::Full) => refused = DropReason::NatTableFull,
            }
        }
        Err(refused)
    }

    /// `dnat` keeps the client's address and port, so there is one candidate only.
    pub(super) fn keep_client(
        &self,
        arrival: &Arrival<'_>,
        backend: &BackendEntry,
    ) -> Result<Made, DropReason> {
        same_family(arrival.service, backend.addr.family())?;
        let mapping = new_mapping(arrival, backend, Via::Client, arrival.client.port);
        match self.publish(arrival, &mapping, arrival.client) {
            Ok(translation) => Ok(Made {
                translation,
                ..Made::NOTHING
            }),
            Err(Refused::Taken) => Err(DropReason::NatPortsExhausted),
            Err(Refused::Full) => Err(DropReason::NatTableFull),
        }
    }

    /// Finds or makes `mapping`. A packet that makes no flow entry (a reset) uses it without making it.
    fn publish(
        &self,
        arrival: &Arrival<'_>,
        mapping: &Mapping,
        to: Endpoint,
    ) -> Result<Translation, Refused> {
        let key = reply_key(mapping, to);
        let hash = key.hash(&arrival.table.hash_key);
        match self.returns.find(hash, &key) {
            Some(found) if found.client == mapping.client && found.service == mapping.service => {
                self.returns.touch(found.slot, arrival.now);
                Ok(Translation::Borrowed(found.slot))
            }
            Some(_) => Err(Refused::Taken),
            None if arrival.segment.first().is_none() => Ok(Translation::None),
            None => self
                .returns
                .insert(hash, mapping, arrival.now)
                .map(Translation::Owned),
        }
    }

    /// The source that some worker has given this flow; `None` when it is not a known one.
    pub(super) fn present_source(&self, arrival: &Arrival<'_>, backend: &BackendEntry) -> Option<Source> {
        (0..CANDIDATES).find_map(|n| {
            let (source, to) = self.snat.candidate(arrival.hash, n, backend.addr.family())?;
            let mapping = new_mapping(arrival, backend, Via::Snat(source.address), source.port);
            let key = reply_key(&mapping, to);
            let found = self.returns.find(key.hash(&arrival.table.hash_key), &key)?;
            (found.client == mapping.client && found.service == mapping.service).then_some(source)
        })
    }

    /// What replaces the client in `nat` mode.
    #[inline]
    pub(super) fn source(&self, family: Family, source: Source) -> Option<Endpoint> {
        if source.port == 0 {
            return None;
        }
        let addr = *self.snat.addresses(family).get(usize::from(source.address))?;
        Some(Endpoint {
            addr,
            port: source.port,
        })
    }

    /// Which mapping a packet would be a reply of: by our address, else by the client's own.
    #[inline]
    pub(super) fn via(&self, to: Endpoint) -> Via {
        if !self.snat.ports.contains(&to.port) {
            return Via::Client;
        }
        let position = self
            .snat
            .addresses(to.addr.family())
            .iter()
            .position(|&a| a == to.addr);
        position.map_or(Via::Client, |index| Via::Snat(index as u8))
    }

    /// The next hop towards a client, kept on its mapping.
    #[inline]
    pub(super) fn hop_towards_client(
        &self,
        table: &ForwardingTable,
        found: &Found,
        hash: FlowHash,
    ) -> Result<HopIndex, DropReason> {
        let version = table.routes.version;
        if let Some(hop) = self.returns.cached_hop(found, version) {
            return Ok(hop);
        }
        let hop = self.hop_towards(table, found.client.addr, hash)?;
        self.returns.cache_hop(found, version, hop);
        Ok(hop)
    }

    /// The next hop towards any address. Asks the control side to resolve a neighbour nobody has asked for.
    pub(super) fn hop_towards(
        &self,
        table: &ForwardingTable,
        addr: Addr,
        hash: FlowHash,
    ) -> Result<HopIndex, DropReason> {
        let group = table.routes.group_for(addr).map_err(|reason| {
            if let NoHop::Unresolved(port) = reason {
                // A full mailbox already holds enough to do.
                let _ = self.facts.unresolved.push((port, addr));
            }
            no_hop(reason)
        })?;
        table.routes.pick(group, hash).map_err(no_hop)
    }
}

/// Addresses of both sides of a translation are of one family; only tunnels cross.
fn same_family(service: &ServiceEntry, backend: Family) -> Result<(), DropReason> {
    if service.key.addr.family() == backend {
        Ok(())
    } else {
        Err(DropReason::FamilyMismatch)
    }
}

fn reply_key(mapping: &Mapping, to: Endpoint) -> ReplyKey {
    ReplyKey {
        backend: mapping.backend,
        to,
        via: mapping.via,
        protocol: mapping.protocol,
    }
}

fn new_mapping(arrival: &Arrival<'_>, backend: &BackendEntry, via: Via, port: u16) -> Mapping {
    Mapping {
        backend: Endpoint {
            addr: backend.addr,
            port: backend.port,
        },
        via,
        port,
        protocol: arrival.service.key.protocol,
        client: arrival.client,
        service: arrival.service.id,
    }
}

/// The mapping that an entry relies on.
pub(super) fn mapping_of(entry: &FlowEntry, service: &ServiceEntry, backend: &BackendEntry) -> Mapping {
    let (via, port) = match entry.nat_port {
        0 => (Via::Client, entry.id.client_port),
        port => (Via::Snat(entry.nat_address), port),
    };
    Mapping {
        backend: Endpoint {
            addr: backend.addr,
            port: backend.port,
        },
        via,
        port,
        protocol: service.key.protocol,
        client: Endpoint {
            addr: entry.id.client,
            port: entry.id.client_port,
        },
        service: entry.id.service,
    }
}
