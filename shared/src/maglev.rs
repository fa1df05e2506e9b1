//! Maglev consistent hashing (Eisenbud et al., NSDI 2016, §3.4) with weights.
//!
//! A table depends on the *set* of (identity, weight) pairs and the key alone: not on their order, not on
//! what the table held before, not on the node. Identities are stable backend properties (the endpoint's
//! address), so ports of a service with the same endpoints share one table.

use crate::flow::{FlowHash, HashKey};

/// Table sizes on offer: primes, each about twice the one before; a backend gets at least
/// [`ROWS_PER_BACKEND`] rows up to 1,310 backends, fewer only past that.
pub const SIZES: [u32; 10] = [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_537, 131_071];

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
    rows: Box<[u16]>,
}

impl MaglevTable {
    /// The smallest size with [`ROWS_PER_BACKEND`] rows for each of `members`.
    pub fn size_for(members: usize) -> u32 {
        let wanted = (members as u64).saturating_mul(u64::from(ROWS_PER_BACKEND));
        SIZES.into_iter().find(|&size| u64::from(size) >= wanted).unwrap_or(SIZES[SIZES.len() - 1])
    }

    /// A table of `size` rows (prime). `members` must be sorted by identity, without duplicates, at most
    /// 65,535. Empty when no member has weight.
    pub fn build(members: &[Member], size: u32, key: &HashKey) -> MaglevTable {
        debug_assert!(members.windows(2).all(|w| w[0].identity < w[1].identity));
        let mut turns: Vec<Turn> = members.iter().enumerate().filter_map(|(i, m)| Turn::new(i, m, size, key)).collect();
        if turns.is_empty() {
            return MaglevTable { rows: Box::default() };
        }
        let heaviest = turns.iter().map(|t| u32::from(t.weight)).max().unwrap_or(1);
        let mut rows = vec![u16::MAX; size as usize];
        let mut left = size;
        while left > 0 {
            for turn in &mut turns {
                turn.credit += u32::from(turn.weight);
                if turn.credit < heaviest {
                    continue;
                }
                turn.credit -= heaviest;
                let row = turn.next_free(&rows, size);
                rows[row as usize] = turn.member;
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        MaglevTable { rows: rows.into_boxed_slice() }
    }

    /// The member of a flow: an index into the sorted members; `None` when the table is empty.
    #[inline]
    pub fn lookup(&self, hash: FlowHash) -> Option<u16> {
        self.rows.get(hash.scale(self.rows.len() as u32) as usize).copied()
    }

    pub fn rows(&self) -> &[u16] {
        &self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// One member's walk through its permutation of the rows.
struct Turn {
    member: u16,
    weight: u16,
    credit: u32,
    position: u32,
    skip: u32,
}

impl Turn {
    fn new(index: usize, member: &Member, size: u32, key: &HashKey) -> Option<Turn> {
        let hash = key.hash_bytes(member.identity.as_bytes());
        (member.weight > 0).then(|| Turn {
            member: index as u16,
            weight: member.weight,
            credit: 0,
            position: (hash % u64::from(size)) as u32,
            skip: (hash.rotate_left(32) % u64::from(size - 1)) as u32 + 1,
        })
    }

    fn next_free(&mut self, rows: &[u16], size: u32) -> u32 {
        loop {
            let row = self.position;
            self.position += self.skip;
            if self.position >= size {
                self.position -= size;
            }
            if rows[row as usize] == u16::MAX {
                return row;
            }
        }
    }
}
