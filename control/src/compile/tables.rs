//! Maglev tables by their members: whoever has the same backends shares one.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use maglane_shared::flow::HashKey;
use maglane_shared::maglev::{MaglevTable, Member};

#[derive(Debug)]
pub(super) struct MaglevTables {
    key: HashKey,
    size: Option<u32>,
    by_members: HashMap<Box<[Member]>, Weak<MaglevTable>>,
    /// Prune when this many are listed.
    prune_at: usize,
}

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

    /// The table of `members`, sorted by identity.
    pub fn get(&mut self, members: Vec<Member>) -> (Arc<MaglevTable>, Origin) {
        if let Some(table) = self.by_members.get(members.as_slice()).and_then(Weak::upgrade) {
            return (table, Origin::Shared);
        }
        let size = self.size.unwrap_or_else(|| MaglevTable::size_for(members.len()));
        let table = Arc::new(MaglevTable::build(&members, size, &self.key));
        self.by_members.insert(members.into(), Arc::downgrade(&table));
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
