//! Sixteen bits of each flow's hash, a bucket in two words: eight are compared at once, in plain integers.

/// Entries of a bucket.
pub const WAYS: usize = 8;

/// Buckets whose tags share a cache line; together they are nearly never full before the table is.
pub(super) const NEIGHBORS: usize = 4;

/// No entry has this tag.
pub(super) const VACANT: u16 = 0;

/// Four 16-bit lanes in each word; way 0 is lowest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tags([u64; 2]);

const LANES: usize = 4;
const ONES: u64 = 0x0001_0001_0001_0001;
const LOW: u64 = 0x7fff_7fff_7fff_7fff;
/// Moves bits 0, 16, 32, 48 to 48..52 and bits 4, 20, 36, 52 to 52..56; no two products meet.
const GATHER: u64 = 1 << 48 | 1 << 33 | 1 << 18 | 1 << 3;

impl Tags {
    #[inline]
    pub(super) fn get(self, way: usize) -> u16 {
        (self.0[way / LANES] >> (way % LANES * 16)) as u16
    }

    #[inline]
    pub(super) fn set(&mut self, way: usize, tag: u16) {
        let (word, shift) = (&mut self.0[way / LANES], way % LANES * 16);
        *word = *word & !(0xffff << shift) | u64::from(tag) << shift;
    }

    /// One bit a way whose tag this is.
    #[inline]
    pub(super) fn equal(self, tag: u16) -> u32 {
        let wanted = u64::from(tag) * ONES;
        let [first, second] = self.0.map(|word| zero_lanes(word ^ wanted));
        let spread = first >> 15 | second >> 11;
        (spread.wrapping_mul(GATHER) >> 48) as u32 & 0xff
    }
}

/// The tags of neighbouring buckets.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct TagLine([Tags; NEIGHBORS]);

const _: () = assert!(size_of::<TagLine>() == 64);

impl TagLine {
    /// A bucket by its number among all.
    #[inline]
    pub(super) fn bucket(&self, bucket: usize) -> Tags {
        self.0[bucket % NEIGHBORS]
    }

    #[inline]
    pub(super) fn bucket_mut(&mut self, bucket: usize) -> &mut Tags {
        &mut self.0[bucket % NEIGHBORS]
    }

    /// Is this tag anywhere in the line? Without a branch before the end.
    #[inline]
    pub(super) fn any(&self, tag: u16) -> bool {
        let wanted = u64::from(tag) * ONES;
        let words = self.0.iter().flat_map(|tags| tags.0);
        words.fold(0, |found, word| found | zero_lanes(word ^ wanted)) != 0
    }
}

/// The top bit of every lane that is zero: adding carries into it from any bit below, and never beyond.
#[inline]
fn zero_lanes(word: u64) -> u64 {
    !(((word & LOW) + LOW) | word | LOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Few tags, those at which carries could go wrong among them.
        #[test]
        fn ways_are_found_exactly(
            tags in prop::array::uniform8(prop::sample::select(vec![0, 1, 2, 0x7fff, 0x8000, 0x8001, 0xffff])),
            wanted in prop::sample::select(vec![0u16, 1, 2, 0x7fff, 0x8000, 0x8001, 0xffff]),
        ) {
            let mut held = Tags::default();
            for (way, &tag) in tags.iter().enumerate() {
                held.set(way, !tag);
                held.set(way, tag);
            }
            prop_assert!((0..WAYS).all(|way| held.get(way) == tags[way]));
            let ways = (0..WAYS).filter(|&way| tags[way] == wanted).map(|way| 1 << way).sum::<u32>();
            prop_assert_eq!(held.equal(wanted), ways);
            for place in 0..NEIGHBORS {
                let mut line = TagLine::default();
                *line.bucket_mut(4 * 7 + place) = held;
                prop_assert_eq!(line.bucket(place).equal(wanted), ways);
                prop_assert_eq!(line.any(wanted), ways != 0 || wanted == 0);
            }
        }
    }
}
