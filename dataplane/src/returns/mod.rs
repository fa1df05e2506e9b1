//! How replies of translated flows find back: (backend, our side) -> (client, service), shared by all workers.
//!
//! Replies may arrive on any queue, so the table is one for the node: lines of atomics under a sequence
//! number each (a seqlock), no lock. Whoever inserts a mapping owns it and alone removes it; anyone may
//! read, and note on it that a reply was seen. A mapping never changes between insert and remove, so a torn
//! read means that it was coming or going: a miss. Two workers that want the same mapping at once both
//! publish, then look again, and the one that sees the other withdraws: never two flows on one source port.
//!
//! A key has [`PROBES`] places in a row; when all are taken, insertion fails (a `nat` flow then tries
//! another source port). Capacity is at least twice the flows of all workers.

mod slot;

use maglane_shared::addr::Protocol;
use maglane_shared::flow::{FlowHash, FlowKey, HashKey};
use maglane_shared::next_hop::HopIndex;
use maglane_shared::service::ServiceId;
use maglane_shared::sync::{Ordering, fence};
use maglane_shared::tick::Tick;

use crate::forward::Endpoint;
use slot::Slot;

/// Consecutive places where a key may lie; two under loom, which tries every interleaving of their reads.
pub const PROBES: usize = if cfg!(loom) { 2 } else { 8 };

/// Which address replies come back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// One of our source addresses (`nat`), by its index in the backend's family.
    Snat(u8),
    /// The client's own (`dnat`).
    Client,
}

/// One translated flow, seen from the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    pub backend: Endpoint,
    pub via: Via,
    /// The port replies come back to; the client's in `dnat` mode.
    pub port: u16,
    pub protocol: Protocol,
    pub client: Endpoint,
    pub service: ServiceId,
}

/// What a reply's own headers say; `to` decides in `dnat` mode, [`Via::Snat`] stands for it in `nat` mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyKey {
    pub backend: Endpoint,
    pub to: Endpoint,
    pub via: Via,
    pub protocol: Protocol,
}

impl ReplyKey {
    /// The hash that places a mapping; the reply's own flow hash.
    #[inline]
    pub fn hash(&self, key: &HashKey) -> FlowHash {
        FlowKey {
            client: self.backend.addr,
            vip: self.to.addr,
            client_port: self.backend.port,
            vip_port: self.to.port,
            protocol: self.protocol,
        }
        .hash(key)
    }
}

/// Place of a mapping, for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnSlot(u32);

/// What a look-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub slot: ReturnSlot,
    pub client: Endpoint,
    pub service: ServiceId,
    note: u64,
}

/// Why a mapping could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another flow has this source port towards this backend.
    Taken,
    /// All places of this key hold other keys.
    Full,
}

/// What the backend's direction of a flow has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Replies {
    pub last_seen: Tick,
    pub fin: bool,
    pub rst: bool,
}

/// See the module's head.
#[derive(Debug)]
pub struct NatReturns {
    slots: Box<[Slot]>,
    mask: u32,
}

impl NatReturns {
    /// Room for `flows` mappings at half load.
    pub fn new(flows: usize) -> Self {
        let len = (flows * 2).next_power_of_two().max(PROBES);
        let mut slots: Vec<Slot> = Vec::with_capacity(len);
        maglane_xsk::advise_huge_pages(slots.spare_capacity_mut());
        slots.resize_with(len, Slot::default);
        NatReturns {
            slots: slots.into_boxed_slice(),
            mask: (len - 1) as u32,
        }
    }

    #[inline]
    pub fn prefetch(&self, hash: FlowHash) {
        maglane_xsk::prefetch_ref(&self.slots[(hash.low() & self.mask) as usize]);
    }

    #[inline]
    pub fn find(&self, hash: FlowHash, key: &ReplyKey) -> Option<Found> {
        self.places(hash).find_map(|at| {
            let (mapping, note) = self.slots[at as usize].read()?;
            let found = Found {
                slot: ReturnSlot(at),
                client: mapping.client,
                service: mapping.service,
                note,
            };
            mapping.answers(key).then_some(found)
        })
    }

    /// Publishes a mapping under the hash of its replies. The caller owns it from here on.
    pub fn insert(&self, hash: FlowHash, mapping: &Mapping, now: Tick) -> Result<ReturnSlot, Refused> {
        let own = self
            .places(hash)
            .find(|&at| self.slots[at as usize].claim(mapping, now))
            .ok_or(Refused::Full)?;
        // Pairs with the same fence in a rival: of two that store first and then look, one sees the other.
        fence(Ordering::SeqCst);
        let rival = self
            .places(hash)
            .any(|at| at != own && self.slots[at as usize].rivals(mapping));
        if rival {
            self.slots[own as usize].clear();
            return Err(Refused::Taken);
        }
        Ok(ReturnSlot(own))
    }

    /// Only for the owner of the mapping.
    pub fn remove(&self, slot: ReturnSlot) {
        self.slots[slot.0 as usize].clear();
    }

    /// Is this mapping still there? For flows that borrow one.
    pub fn holds(&self, slot: ReturnSlot, mapping: &Mapping) -> bool {
        self.slots[slot.0 as usize]
            .read()
            .is_some_and(|(held, _)| held == *mapping)
    }

    /// A packet of the flow was seen. Writes only once a second, so that replies and the owner do not
    /// throw the line at each other.
    #[inline]
    pub fn touch(&self, slot: ReturnSlot, now: Tick) {
        self.slots[slot.0 as usize].touch(now);
    }

    /// A reply that closes the flow was seen.
    pub fn note_close(&self, found: &Found, close: Close) {
        self.slots[found.slot.0 as usize].note_close(found.note, close);
    }

    /// What replies have shown; for the owner.
    pub fn replies(&self, slot: ReturnSlot) -> Replies {
        self.slots[slot.0 as usize].replies()
    }

    /// The next hop last noted on the mapping, if it was picked under this version of the routes.
    #[inline]
    pub fn cached_hop(&self, found: &Found, routes: u32) -> Option<HopIndex> {
        slot::hop_in(found.note, routes)
    }

    #[inline]
    pub fn cache_hop(&self, found: &Found, routes: u32, hop: HopIndex) {
        self.slots[found.slot.0 as usize].note_hop(found.note, routes, hop);
    }

    #[inline]
    fn places(&self, hash: FlowHash) -> impl Iterator<Item = u32> + use<> {
        let (home, mask) = (hash.low(), self.mask);
        (0..PROBES as u32).map(move |i| home.wrapping_add(i) & mask)
    }
}

/// How the backend ended the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    Fin,
    Rst,
}

impl Mapping {
    fn answers(&self, key: &ReplyKey) -> bool {
        self.same_place(key.backend, key.via, key.to.port, key.protocol)
            && match self.via {
                Via::Snat(_) => true,
                Via::Client => self.client == key.to,
            }
    }

    /// Would the two answer to the same replies?
    fn clashes(&self, other: &Mapping) -> bool {
        self.same_place(other.backend, other.via, other.port, other.protocol)
            && match self.via {
                Via::Snat(_) => true,
                Via::Client => self.client == other.client,
            }
    }

    fn same_place(&self, backend: Endpoint, via: Via, port: u16, protocol: Protocol) -> bool {
        self.backend == backend && self.via == via && self.port == port && self.protocol == protocol
    }
}

const _: () = assert!(cfg!(loom) || size_of::<Slot>() == 64);

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;
