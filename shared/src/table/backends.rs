//! Backends by slot, in chunks that snapshots share: a changed backend costs a copy of its chunk, not of the
//! table. The list of chunks is short (4 KB for a million backends), so a worker finds it in its first cache.

use std::sync::Arc;

use super::BackendEntry;

/// Backends of a chunk: 64 KB to copy when one of them changes.
const CHUNK: usize = 2048;

/// By [`BackendId::slot`](crate::service::BackendId::slot).
#[derive(Clone, Debug, Default)]
pub struct BackendTable {
    chunks: Vec<Arc<[BackendEntry; CHUNK]>>,
    /// Slots that were ever used; those past them are vacant.
    len: usize,
}

impl BackendTable {
    /// Also where nobody was ever: then vacant, or `None`.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&BackendEntry> {
        let slot = slot as usize;
        Some(&self.chunks.get(slot / CHUNK)?[slot % CHUNK])
    }

    /// Grows as needed. Snapshots that share the chunk keep theirs; what is there already costs no copy.
    pub fn set(&mut self, slot: u32, entry: BackendEntry) {
        let slot = slot as usize;
        while self.chunks.len() <= slot / CHUNK {
            self.chunks.push(Arc::new([BackendEntry::VACANT; CHUNK]));
        }
        self.len = self.len.max(slot + 1);
        let chunk = &mut self.chunks[slot / CHUNK];
        if chunk[slot % CHUNK] != entry {
            Arc::make_mut(chunk)[slot % CHUNK] = entry;
        }
    }

    /// Vacant slots count.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &BackendEntry> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).take(self.len)
    }

    /// How many chunks are not the very same.
    pub fn unshared(&self, other: &BackendTable) -> usize {
        let shared = |(a, b): &(&Arc<_>, &Arc<_>)| Arc::ptr_eq(a, b);
        let both = self.chunks.iter().zip(&other.chunks).filter(shared).count();
        self.chunks.len().max(other.chunks.len()) - both
    }
}

impl FromIterator<BackendEntry> for BackendTable {
    fn from_iter<I: IntoIterator<Item = BackendEntry>>(entries: I) -> Self {
        let mut table = BackendTable::default();
        for (slot, entry) in (0..).zip(entries) {
            table.set(slot, entry);
        }
        table
    }
}
