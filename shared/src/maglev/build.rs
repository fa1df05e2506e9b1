//! Filling a Maglev table fast: 65,537 rows in well under a millisecond.
//!
//! The paper's loop spends its time in two places. Early on, each step of a permutation is a branch the
//! CPU cannot foresee: here four steps are looked up at once in a bitmap that stays in the L1 cache. Late,
//! a turn steps over thousands of taken rows: here, once few rows are left, arithmetic tells which of them
//! the permutation reaches first. Neither changes the outcome.

use std::cmp::Reverse;

use super::{MAX_ROWS, Member};
use crate::flow::HashKey;

/// One member's way through its permutation of the rows: `position`, `position + skip`, ... modulo size.
pub(super) struct Walk {
    member: u16,
    position: u32,
    skip: u32,
}

/// Members with the same number of rows to take; they take turns in step.
pub(super) struct Class {
    pub quota: u32,
    credit: u32,
    walks: Vec<Walk>,
}

impl Class {
    /// Who takes a row this round: in `rounds` rounds everybody gets the quota, evenly spaced, starting
    /// with the first round so that even light members get the row they prefer.
    pub fn turn(&mut self, rounds: u32) -> Option<&mut [Walk]> {
        self.credit += self.quota;
        (self.credit >= rounds).then(|| {
            self.credit -= rounds;
            &mut *self.walks
        })
    }
}

/// The members that get rows, heaviest first; the first class's quota is the number of rounds.
pub(super) fn classes(members: &[Member], size: u32, key: &HashKey) -> Vec<Class> {
    let mut order: Vec<(u32, usize)> = quotas(members, size)
        .into_iter()
        .zip(0..)
        .filter(|q| q.0 > 0)
        .collect();
    order.sort_by_key(|&(quota, _)| Reverse(quota));
    let rounds = order.first().map_or(0, |o| o.0);
    order
        .chunk_by(|a, b| a.0 == b.0)
        .map(|class| Class {
            quota: class[0].0,
            credit: rounds - 1,
            walks: class
                .iter()
                .map(|&(_, i)| Walk::new(i, &members[i], size, key))
                .collect(),
        })
        .collect()
}

/// Rows for each member: its share by weight rounded down, and what that leaves over to the largest
/// remainders (Hamilton's method), so nobody is a whole row off.
fn quotas(members: &[Member], size: u32) -> Vec<u32> {
    let total: u64 = members.iter().map(|m| u64::from(m.weight)).sum();
    let share = |m: &Member| u64::from(m.weight) * u64::from(size);
    let mut quotas: Vec<u32> = members
        .iter()
        .map(|m| share(m).checked_div(total).unwrap_or(0) as u32)
        .collect();
    let mut over = size.saturating_sub(quotas.iter().sum()) as usize;
    let mut remainders: Vec<(Reverse<u64>, usize)> = members
        .iter()
        .enumerate()
        .filter(|(_, m)| m.weight > 0)
        .map(|(i, m)| (Reverse(share(m) % total), i))
        .collect();
    over = over.min(remainders.len());
    if over > 0 {
        remainders.select_nth_unstable(over - 1);
    }
    for &(_, i) in &remainders[..over] {
        quotas[i] += 1;
    }
    quotas
}

impl Walk {
    fn new(index: usize, member: &Member, size: u32, key: &HashKey) -> Walk {
        let hash = key.hash_bytes(member.identity.as_bytes());
        let scale = |bits: u64, bound: u32| ((bits * u64::from(bound)) >> 32) as u32;
        Walk {
            member: index as u16,
            position: scale(hash >> 32, size),
            skip: scale(hash & u64::from(u32::MAX), size - 1) + 1,
        }
    }
}

/// [`MAX_ROWS`] rounded up, so that masking an index stands in for a bounds check.
const MAP: usize = MAX_ROWS.next_power_of_two() as usize;

pub(super) struct Rows {
    pub taken: Box<[u16]>,
    size: u32,
    left: u32,
    /// From here on more is taken than free, and it pays to look further ahead.
    half: u32,
    /// From here on asking each free row how far off it is (`left` steps) beats stepping over the taken ones
    /// (`size / left` steps, of about the same cost).
    root: u32,
    /// 2^64 / size, rounded up.
    unit: u64,
    /// 1 = free. Bytes, not bits: a step is then one load.
    free: Box<[u8; MAP]>,
    /// The free rows, listed once they are `root`.
    few: Vec<u32>,
}

impl Rows {
    pub fn new(size: u32) -> Self {
        Rows {
            taken: vec![0; size as usize].into(),
            size,
            left: size,
            half: size / 2,
            root: size.isqrt(),
            unit: u64::MAX / u64::from(size) + 1,
            free: Box::new([1; MAP]),
            few: Vec::new(),
        }
    }

    /// Gives the next free row of `walk` to its member. Looks further ahead the fewer rows are free.
    #[inline]
    pub fn take(&mut self, walk: &mut Walk) {
        let row = if self.left > self.half {
            self.two_ahead(walk)
        } else if self.left > self.root {
            self.eight_ahead(walk)
        } else {
            self.jump(walk)
        };
        self.free[row as usize % MAP] = 0;
        self.taken[row as usize] = walk.member;
        self.left -= 1;
        walk.position = wrap(row + walk.skip, self.size);
    }

    #[inline]
    fn is_free(&self, row: u32) -> u32 {
        u32::from(self.free[row as usize % MAP])
    }

    #[inline]
    fn two_ahead(&self, walk: &Walk) -> u32 {
        let stride = wrap(walk.skip * 2, self.size);
        let mut first = walk.position;
        loop {
            let second = wrap(first + walk.skip, self.size);
            let (free, next_free) = (self.is_free(first), self.is_free(second));
            if free | next_free != 0 {
                return if free != 0 { first } else { second };
            }
            first = wrap(first + stride, self.size);
        }
    }

    /// Written out so that the eight stay in vector registers.
    #[inline]
    fn eight_ahead(&self, walk: &Walk) -> u32 {
        let step = |row: u32, by: u32| wrap(row + by, self.size);
        let two = step(walk.skip, walk.skip);
        let four = step(two, two);
        let stride = step(four, four);
        let (a, c) = (walk.position, step(walk.position, two));
        let (b, d) = (step(a, walk.skip), step(c, walk.skip));
        let mut ahead = [
            a,
            b,
            c,
            d,
            step(a, four),
            step(b, four),
            step(c, four),
            step(d, four),
        ];
        loop {
            if ahead.iter().fold(0, |any, &row| any | self.is_free(row)) != 0 {
                let found = (0..8).fold(0, |found, i| found | self.is_free(ahead[i]) << i);
                return ahead[found.trailing_zeros() as usize % 8];
            }
            ahead = ahead.map(|row| step(row, stride));
        }
    }

    #[cold]
    fn list_few(&mut self) {
        let words = self.free[..self.size as usize].chunks(64).zip((0..).step_by(64));
        let with_free = words.filter(|(word, _)| word.iter().fold(0, |any, free| any | free) != 0);
        self.few = with_free
            .flat_map(|(word, first)| {
                (first..)
                    .zip(word)
                    .filter(|(_, free)| **free != 0)
                    .map(|(row, _)| row)
            })
            .collect();
    }

    /// Which of the few free rows the walk reaches first: the least (row - position) / skip modulo size.
    #[inline(never)]
    fn jump(&mut self, walk: &Walk) -> u32 {
        if self.few.is_empty() {
            self.list_few();
        }
        // steps * 2^64 / size, modulo 2^64: the multiplication's overflow is the modulus. Rounding adds up to
        // less than 2^35 where different steps differ by 2^47.
        let step = self.unit.wrapping_mul(u64::from(inverse(walk.skip, self.size)));
        let steps = |row: u32| {
            u64::from(row)
                .wrapping_sub(u64::from(walk.position))
                .wrapping_mul(step)
        };
        let mut nearest = 0;
        let mut least = u64::MAX;
        for (i, &row) in self.few.iter().enumerate() {
            let steps = steps(row);
            if steps < least {
                (nearest, least) = (i, steps);
            }
        }
        self.few.swap_remove(nearest)
    }
}

/// `row` modulo `size`, for `row` below twice `size`; in a form that compiles to no branch and to vectors.
#[inline]
fn wrap(row: u32, size: u32) -> u32 {
    let less = row.wrapping_sub(size) as i32;
    less.wrapping_add((less >> 31) & size as i32) as u32
}

/// The inverse of `n` modulo the prime `size`, by Euclid's extended algorithm.
fn inverse(n: u32, size: u32) -> u32 {
    let (mut r0, mut r1) = (i64::from(size), i64::from(n));
    let (mut t0, mut t1) = (0i64, 1i64);
    while r1 != 0 {
        let q = r0 / r1;
        (r0, r1) = (r1, r0 - q * r1);
        (t0, t1) = (t1, t0 - q * t1);
    }
    t0.rem_euclid(i64::from(size)) as u32
}
