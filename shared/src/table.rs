//! The forwarding table: one immutable snapshot of everything a worker needs to decide about a packet.
//!
//! Its parts are shared between snapshots by `Arc`: a changed MAC replaces [`RouteTable`] only, a changed
//! service only its own Maglev table and the chunks with its backends. A published table never changes.

mod backends;

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::addr::{Addr, VipKey};
use crate::flow::{FlowHash, HashInputs, HashKey};
use crate::maglev::MaglevTable;
use crate::next_hop::{HopGroupId, RouteTable};
use crate::policy::Policy;
use crate::service::{BackendId, BackendState, ForwardingMode, ServiceId, VipKind};

pub use backends::BackendTable;

/// Number of a published table; grows by one with each publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize)]
pub struct Generation(pub u64);

/// One VIP port. All that packets of known flows ask of it is in its first cache line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct ServiceEntry {
    pub key: VipKey,
    pub id: ServiceId,
    /// What most services do without; see [`Policy::shared`].
    pub policy: Option<Arc<Policy>>,
    pub kind: VipKind,
    pub mode: ForwardingMode,
    pub hash_inputs: HashInputs,
    pub maglev: Arc<MaglevTable>,
    /// Backends in the order of the Maglev table's members.
    pub backends: Arc<[BackendId]>,
}

const _: () = assert!(std::mem::offset_of!(ServiceEntry, backends) <= 64);

impl ServiceEntry {
    /// Is a client of this address let in?
    #[inline]
    pub fn admits(&self, client: Addr) -> bool {
        self.policy.as_ref().is_none_or(|policy| policy.admits(client))
    }
}

/// One backend, addressed by [`BackendId::slot`]. Half a cache line, never astride two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(32))]
pub struct BackendEntry {
    pub addr: Addr,
    pub port: u16,
    pub state: BackendState,
    /// [`BackendId::epoch`] of the present holder of the slot; 0 = vacant.
    pub epoch: u32,
    pub hops: HopGroupId,
}

const _: () = assert!(size_of::<BackendEntry>() == 32);

impl BackendEntry {
    pub const VACANT: BackendEntry = BackendEntry {
        addr: Addr::UNSPECIFIED,
        port: 0,
        state: BackendState::Draining,
        epoch: 0,
        hops: HopGroupId(u32::MAX),
    };
}

/// VIP ports by key: open addressing, at most half full, so a miss ends after a probe or two.
#[derive(Debug, Default)]
pub struct ServiceTable {
    entries: Box<[ServiceEntry]>,
    /// (tag, index into `entries`); index `u32::MAX` = vacant. Power of two.
    index: Box<[(u32, u32)]>,
    /// Index into `entries` by [`ServiceId::slot`].
    by_slot: Box<[u32]>,
    /// Virtual addresses, sorted, for packets that have no port (echo requests, unknown ports).
    addrs: Box<[Addr]>,
    /// Endpoints of `dnat` backends: this node is the router of what they send.
    dnat_backends: HashSet<VipKey>,
}

const VACANT: u32 = u32::MAX;

impl ServiceTable {
    /// Keys must be unique; see [`ForwardingTable::check`].
    pub fn new(entries: Vec<ServiceEntry>) -> Self {
        let buckets = (entries.len() * 2).next_power_of_two().max(2);
        let mut index = vec![(0, VACANT); buckets].into_boxed_slice();
        let slots = entries.iter().map(|e| e.id.slot as usize + 1).max().unwrap_or(0);
        let mut by_slot = vec![VACANT; slots].into_boxed_slice();
        for (i, entry) in entries.iter().enumerate() {
            let tag = tag_of(&entry.key);
            let mut at = tag as usize & (buckets - 1);
            while index[at].1 != VACANT {
                at = (at + 1) & (buckets - 1);
            }
            index[at] = (tag, i as u32);
            by_slot[entry.id.slot as usize] = i as u32;
        }
        let whole = entries.iter().filter(|e| e.kind == VipKind::Address);
        let mut addrs: Vec<Addr> = whole.map(|e| e.key.addr).collect();
        addrs.sort_unstable();
        addrs.dedup();
        ServiceTable {
            entries: entries.into(),
            index,
            by_slot,
            addrs: addrs.into(),
            dnat_backends: HashSet::new(),
        }
    }

    /// Adds the endpoints (address, port, protocol) that `dnat` services forward to.
    pub fn with_dnat_backends(self, dnat_backends: HashSet<VipKey>) -> Self {
        ServiceTable {
            dnat_backends,
            ..self
        }
    }

    /// This table with other contents in some entries; their keys, kinds and ids are in it already.
    pub fn replacing(&self, changed: impl IntoIterator<Item = ServiceEntry>) -> Self {
        let mut entries = self.entries.clone();
        for entry in changed {
            let held = &mut entries[self.by_slot[entry.id.slot as usize] as usize];
            debug_assert_eq!((held.id, held.key, held.kind), (entry.id, entry.key, entry.kind));
            *held = entry;
        }
        ServiceTable {
            entries,
            index: self.index.clone(),
            by_slot: self.by_slot.clone(),
            addrs: self.addrs.clone(),
            dnat_backends: self.dnat_backends.clone(),
        }
    }

    /// The same VIP ports of the same kinds, and the same `dnat` backends, whatever else is in the entries?
    pub fn takes_the_same(&self, other: &ServiceTable) -> bool {
        fn keys(table: &ServiceTable) -> impl Iterator<Item = (VipKey, VipKind)> {
            table.entries.iter().map(|entry| (entry.key, entry.kind))
        }
        keys(self).eq(keys(other)) && self.dnat_backends == other.dnat_backends
    }

    /// Does a packet from here come from a backend whose router is this node?
    pub fn is_dnat_backend(&self, from: &VipKey) -> bool {
        self.dnat_backends.contains(from)
    }

    #[inline]
    pub fn lookup(&self, key: &VipKey) -> Option<&ServiceEntry> {
        let mask = self.index.len().wrapping_sub(1);
        let tag = tag_of(key);
        let mut at = tag as usize & mask;
        loop {
            let &(found, i) = self.index.get(at)?;
            if i == VACANT {
                return None;
            }
            let entry = self.entries.get(i as usize)?;
            if found == tag && entry.key == *key {
                return Some(entry);
            }
            at = (at + 1) & mask;
        }
    }

    /// The service with exactly this id; `None` once it is gone, even if its slot has a new holder.
    #[inline]
    pub fn get(&self, id: ServiceId) -> Option<&ServiceEntry> {
        let i = *self.by_slot.get(id.slot as usize)?;
        self.entries.get(i as usize).filter(|entry| entry.id == id)
    }

    /// Is this address wholly ours? Not one that has [`VipKind::Endpoint`]s only.
    #[inline]
    pub fn is_vip(&self, addr: Addr) -> bool {
        self.addrs.binary_search(&addr).is_ok()
    }

    pub fn entries(&self) -> &[ServiceEntry] {
        &self.entries
    }

    /// The addresses that are wholly ours.
    pub fn addrs(&self) -> &[Addr] {
        &self.addrs
    }

    /// The ports that are ours on addresses that are not.
    pub fn endpoints(&self) -> impl Iterator<Item = VipKey> {
        let ports = self.entries.iter().filter(|e| e.kind == VipKind::Endpoint);
        ports.map(|e| e.key).filter(|key| !self.is_vip(key.addr))
    }
}

/// A cheap unkeyed mix: VIP keys are ours, not an attacker's, and at most half the index is full.
#[inline]
fn tag_of(key: &VipKey) -> u32 {
    let bits = key.addr.bits();
    let ports = (key.port as u64) << 8 | key.protocol as u64;
    let mixed =
        ((bits >> 64) as u64).rotate_left(29) ^ bits as u64 ^ ports.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as u32
}

/// Everything a worker decides from.
#[derive(Debug)]
pub struct ForwardingTable {
    pub generation: Generation,
    pub hash_key: HashKey,
    pub services: Arc<ServiceTable>,
    pub backends: BackendTable,
    pub routes: Arc<RouteTable>,
}

impl Default for ForwardingTable {
    fn default() -> Self {
        ForwardingTable {
            generation: Generation(0),
            hash_key: HashKey::default(),
            services: Arc::default(),
            backends: BackendTable::default(),
            routes: Arc::default(),
        }
    }
}

impl ForwardingTable {
    /// The backend with exactly this id; `None` once it is gone, even if its slot has a new holder.
    #[inline]
    pub fn backend(&self, id: BackendId) -> Option<&BackendEntry> {
        self.backends
            .get(id.slot)
            .filter(|b| b.epoch == id.epoch && b.epoch != 0)
    }

    /// The backend for a new flow of `service`.
    #[inline]
    pub fn select(&self, service: &ServiceEntry, hash: FlowHash) -> Option<(BackendId, &BackendEntry)> {
        let id = *service.backends.get(usize::from(service.maglev.lookup(hash)?))?;
        Some((id, self.backend(id)?))
    }

    /// Holds the table against its own rules; the compiler's tests and a debug build call it.
    pub fn check(&self) -> Result<(), TableError> {
        for entry in self.services.entries() {
            let found = self
                .services
                .lookup(&entry.key)
                .ok_or(TableError::Unreachable(entry.key))?;
            if found.id != entry.id {
                return Err(TableError::DuplicateKey(entry.key));
            }
            if self
                .services
                .get(entry.id)
                .is_none_or(|held| held.key != entry.key)
            {
                return Err(TableError::SharedSlot(entry.key));
            }
            self.check_backends(entry)?;
        }
        Ok(())
    }

    fn check_backends(&self, entry: &ServiceEntry) -> Result<(), TableError> {
        let vip = entry.key;
        for &id in entry.backends.iter() {
            let backend = self.backend(id).ok_or(TableError::DanglingBackend { vip, id })?;
            if self.routes.groups.get(backend.hops.0 as usize).is_none() {
                return Err(TableError::DanglingHops { vip, id });
            }
        }
        for row in entry.maglev.rows() {
            let id = *entry
                .backends
                .get(usize::from(row))
                .ok_or(TableError::DanglingRow { vip, row })?;
            if self.backend(id).is_none_or(|b| b.state != BackendState::Active) {
                return Err(TableError::DrainingRow { vip, id });
            }
        }
        Ok(())
    }
}

/// A broken table: a bug in the compiler, never an operator's doing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("{0} cannot be found in its own index")]
    Unreachable(VipKey),
    #[error("{0} is held by two services")]
    DuplicateKey(VipKey),
    #[error("{0} has its slot in common with another service")]
    SharedSlot(VipKey),
    #[error("{vip}: backend {id:?} is not in the backend table")]
    DanglingBackend { vip: VipKey, id: BackendId },
    #[error("{vip}: backend {id:?} names a hop group that does not exist")]
    DanglingHops { vip: VipKey, id: BackendId },
    #[error("{vip}: Maglev row {row} is past the backend list")]
    DanglingRow { vip: VipKey, row: u16 },
    #[error("{vip}: backend {id:?} has Maglev rows but is not active")]
    DrainingRow { vip: VipKey, id: BackendId },
}

#[cfg(test)]
mod tests;
