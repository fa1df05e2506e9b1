//! Maglev consistent hashing (Eisenbud et al., NSDI 2016, §3.4) with weights.
//!
//! A table depends on the *set* of (identity, weight) pairs and the key alone: not on their order, not on
//! what the table held before, not on the node. Identities are stable backend properties (the endpoint's
//! address), so ports of a service with the same endpoints share one table. Changing what comes out is a
//! new [`crate::flow::ALGORITHM`]; frozen vectors in the tests notice.
//!
//! The crate `maglev-hash` 0.1 has no weights, no key, and hashes with std's `DefaultHasher`, which may
//! change between compilers; building 65,537 rows for 1,000 backends it takes three times as long.

mod build;
#[cfg(test)]
mod tests;

use crate::flow::{FlowHash, HashKey};

/// Table sizes on offer: primes, each about twice the one before; a backend gets at least
/// [`ROWS_PER_BACKEND`] rows up to 1,310 backends, fewer only past that.
pub const SIZES: [u32; 10] = [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_537, MAX_ROWS];

/// The largest table.
pub const MAX_ROWS: u32 = 131_071;

/// At 100 rows a backend the paper's §5.3 finds less than 1 % imbalance.
pub const ROWS_PER_BACKEND: u32 = 100;

/// One backend as the table sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// Stable name, the same on every node: the endpoint's address in text form.
    pub identity: Box<str>,
    /// Share of new flows relative to the others; 0 = draining, gets no row.
    pub weight: u16,
}

/// Row -> index into the members sorted by identity. Immutable.
#[derive(Debug, PartialEq, Eq)]
pub struct MaglevTable {
    rows: Rows,
}

/// Bytes wherever they can number the members: half the memory, and half the cache.
#[derive(Debug, PartialEq, Eq)]
enum Rows {
    Bytes(Box<[u8]>),
    Words(Box<[u16]>),
}

impl MaglevTable {
    /// The smallest size with [`ROWS_PER_BACKEND`] rows for each of `members`.
    pub fn size_for(members: usize) -> u32 {
        let wanted = (members as u64).saturating_mul(u64::from(ROWS_PER_BACKEND));
        SIZES
            .into_iter()
            .find(|&size| u64::from(size) >= wanted)
            .unwrap_or(MAX_ROWS)
    }

    /// A table of `size` rows (prime, at most [`MAX_ROWS`]). `members` must be sorted by identity, without
    /// duplicates, at most 65,535. Empty when no member has weight; otherwise every member has its exact
    /// share of the rows, rounded up or down.
    pub fn build(members: &[Member], size: u32, key: &HashKey) -> MaglevTable {
        debug_assert!(members.is_sorted_by(|a, b| a.identity < b.identity));
        debug_assert!(size <= MAX_ROWS && members.len() <= usize::from(u16::MAX));
        let mut classes = build::classes(members, size, key);
        let Some(rounds) = classes.first().map(|c| c.quota) else {
            return MaglevTable {
                rows: Rows::Bytes(Box::default()),
            };
        };
        let mut rows = build::Rows::new(size);
        for _ in 0..rounds {
            for class in classes.iter_mut().filter_map(|c| c.turn(rounds)) {
                for walk in class {
                    rows.take(walk);
                }
            }
        }
        let rows = match members.len() {
            ..=256 => Rows::Bytes(rows.taken.iter().map(|&member| member as u8).collect()),
            _ => Rows::Words(rows.taken),
        };
        MaglevTable { rows }
    }

    /// The member of a flow: an index into the sorted members; `None` when the table is empty.
    #[inline]
    pub fn lookup(&self, hash: FlowHash) -> Option<u16> {
        self.row(hash.scale(self.len() as u32) as usize)
    }

    #[inline]
    fn row(&self, at: usize) -> Option<u16> {
        match &self.rows {
            Rows::Bytes(rows) => rows.get(at).map(|&member| u16::from(member)),
            Rows::Words(rows) => rows.get(at).copied(),
        }
    }

    /// The member of each row.
    pub fn rows(&self) -> impl Iterator<Item = u16> {
        (0..self.len()).filter_map(|at| self.row(at))
    }

    /// Rows, by [`Self::size_for`] or none.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Bytes(rows) => rows.len(),
            Rows::Words(rows) => rows.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
