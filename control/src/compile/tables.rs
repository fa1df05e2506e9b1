//! Maglev tables by their members: whoever has the same backends shares one.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use maglane_shared::flow::HashKey;
use maglane_shared::maglev::{MaglevTable, Member};

use crate::plan::PlannedBackend;

#[derive(Debug)]
pub(super) struct MaglevTables {
    key: HashKey,
    size: Option<u32>,
    by_members: HashMap<Packed, Weak<MaglevTable>>,
    /// Prune when this many are listed.
    prune_at: usize,
}

/// Addresses and weights, one after the other: a million of them are remembered.
type Packed = Box<[u8]>;

/// Whether a table had to be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Built,
    Shared,
}

impl MaglevTables {
    pub fn new(key: HashKey, size: Option<u32>) -> MaglevTables {
        MaglevTables {
            key,
            size,
            by_members: HashMap::new(),
            prune_at: 64,
        }
    }

    /// The table of `backends`, sorted by identity.
    pub fn get(&mut self, backends: &[PlannedBackend]) -> (Arc<MaglevTable>, Origin) {
        let packed = pack(backends);
        if let Some(table) = self.by_members.get(&packed).and_then(Weak::upgrade) {
            return (table, Origin::Shared);
        }
        let members: Vec<Member> = backends.iter().map(member).collect();
        let size = self.size.unwrap_or_else(|| MaglevTable::size_for(members.len()));
        let table = Arc::new(MaglevTable::build(&members, size, &self.key));
        self.by_members.insert(packed, Arc::downgrade(&table));
        self.prune();
        (table, Origin::Built)
    }

    /// Forgets tables that nobody holds, once enough have come to pay for the walk.
    fn prune(&mut self) {
        if self.by_members.len() >= self.prune_at {
            self.by_members.retain(|_, table| table.strong_count() > 0);
            self.prune_at = (self.by_members.len() * 2).max(64);
        }
    }
}

/// The same on every node, and for every port.
pub(super) fn identity(backend: &PlannedBackend) -> Box<str> {
    backend.addr.to_string().into()
}

fn member(backend: &PlannedBackend) -> Member {
    Member {
        identity: identity(backend),
        weight: backend.weight,
    }
}

fn pack(backends: &[PlannedBackend]) -> Packed {
    let mut packed = Vec::with_capacity(backends.len() * (size_of::<u128>() + size_of::<u16>()));
    for backend in backends {
        packed.extend(backend.addr.bits().to_ne_bytes());
        packed.extend(backend.weight.to_ne_bytes());
    }
    packed.into()
}
