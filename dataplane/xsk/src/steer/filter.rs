//! The filter in front of the maps: one bit an address hash, so that a packet which is not ours costs one array look-up.
//! False positives cost a hash look-up, false negatives cannot be: it is written with the union before entries are added and
//! with the exact set after others were removed. Layout and hash are those of `struct filter` in steer.c.

use super::set::{AddressKey, SteerSet, address_key};

const BITS: usize = 65_536;
const SIDE: usize = BITS / 8;
const HEAD: usize = 16;
/// Four flags, two bit sets.
pub(crate) const BYTES: usize = HEAD + 2 * SIDE;

/// Does this node answer for any address on the interface?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    None,
    Some,
}

/// The map's one value.
pub(crate) struct FilterImage(Box<[u8; BYTES]>);

impl FilterImage {
    /// Owned addresses have a flag and no bits: few packets ask for an address.
    pub(crate) fn of(sets: &[&SteerSet], owned: Owned) -> FilterImage {
        let mut image = FilterImage(Box::new([0; BYTES]));
        match owned {
            Owned::None => {}
            Owned::Some => image.raise(3),
        }
        for set in sets {
            let to = set.vips.iter().chain(set.nat_returns.keys());
            to.for_each(|address| image.add(0, address_key(*address)));
            for endpoint in &set.endpoints {
                image.add(0, address_key(endpoint.addr));
                image.raise(2);
            }
            set.dnat_returns
                .iter()
                .for_each(|endpoint| image.add(1, address_key(endpoint.addr)));
        }
        image
    }

    pub(crate) fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// The flag word, in host order: any non-zero value will do, and 1 in every byte is that in both orders.
    fn raise(&mut self, flag: usize) {
        self.0[flag * 4..flag * 4 + 4].fill(1);
    }

    fn add(&mut self, side: usize, key: AddressKey) {
        self.raise(side);
        let bit = bit(key);
        self.0[HEAD + side * SIDE + bit / 8] |= 1 << (bit % 8);
    }
}

fn bit(key: AddressKey) -> usize {
    let half = |i: usize| u64::from_ne_bytes(std::array::from_fn(|b| key[i + b]));
    let hash = half(0).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ half(8).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    let hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (hash >> 48) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn empty_sets_raise_no_flag() {
        assert!(
            FilterImage::of(&[&SteerSet::default()], Owned::None)
                .bytes()
                .iter()
                .all(|&b| b == 0)
        );
    }

    #[test]
    fn hash_spreads_neighbouring_addresses() {
        let bits: BTreeSet<usize> = (0..10_000u32)
            .map(|i| bit(address_key(std::net::Ipv4Addr::from(0x0a00_0000 + i).into())))
            .collect();
        // 10,000 balls in 65,536 bins leave about 9,285 bins hit.
        assert!(bits.len() > 9_000, "{} distinct bits", bits.len());
    }
}
