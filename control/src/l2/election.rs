//! One owner a virtual address, by rendezvous hashing: the candidate with the highest score (Thaler and
//! Ravishankar, 1998). A node that goes gives up its own addresses and moves no other.

use maglane_shared::addr::Addr;
use serde::{Deserialize, Serialize};

use super::Standing;

/// A node that can announce the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'n> {
    pub node: &'n str,
    pub standing: Standing,
}

/// Who answers for an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    Node(Box<str>),
    Nobody(NoOwner),
}

/// Why nobody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoOwner {
    NoAdvertisement,
    NoBackend,
    /// Not every worker carries its packets yet.
    NotProgrammed,
    /// No node that may announce it has an interface in its network.
    NoNode,
    /// This node's lease is not held, so that it knows nothing of the others.
    NoLease,
}

impl NoOwner {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            NoOwner::NoAdvertisement => "no L2Advertisement covers it",
            NoOwner::NoBackend => "no usable backend",
            NoOwner::NotProgrammed => "not every worker carries it yet",
            NoOwner::NoNode => "no node that may announce it has an interface in its network",
            NoOwner::NoLease => "this node does not hold its node lease",
        }
    }
}

/// The same on every node that knows the same candidates. Nodes that have settled come first; new ones own
/// only what would have no owner else.
pub fn choose<'n>(vip: Addr, candidates: &[Candidate<'n>]) -> Option<&'n str> {
    let best = |standing| {
        let those = candidates.iter().filter(|c| c.standing == standing);
        those.max_by_key(|c| (score(c.node, vip), c.node)).map(|c| c.node)
    };
    best(Standing::Settled).or_else(|| best(Standing::New))
}

/// FNV-1a over name, a zero and address, then mixed as in SplitMix64: FNV alone leaves the last bytes' mark in
/// the low bits only. Nodes of different versions must agree: never to be changed.
fn score(node: &str, vip: Addr) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = node.bytes().chain([0]).chain(vip.v6_bytes());
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn settled(node: &str) -> Candidate<'_> {
        Candidate {
            node,
            standing: Standing::Settled,
        }
    }

    fn vip(n: u32) -> Addr {
        std::net::IpAddr::V4((0xc000_0200 + n).into()).into()
    }

    #[test]
    fn addresses_spread_and_only_those_of_a_leaver_move() {
        let names = ["lb-1", "lb-2", "lb-3"];
        let all = names.map(settled);
        let mut count: BTreeMap<&str, u32> = BTreeMap::new();
        for n in 0..3000 {
            let owner = choose(vip(n), &all).unwrap();
            *count.entry(owner).or_default() += 1;
            let left = choose(vip(n), &all[..2]).unwrap();
            assert!(owner == "lb-3" || owner == left);
        }
        assert!(count.values().all(|n| (900..1100).contains(n)), "{count:?}");
    }

    /// A fleet of two versions must agree.
    #[test]
    fn scores_are_for_ever() {
        let v6: Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(score("lb-1", vip(1)), SCORES[0]);
        assert_eq!(score("lb-2", v6), SCORES[1]);
    }

    const SCORES: [u64; 2] = [0x730e_25e5_92b0_b4cd, 0xaceb_5c12_e5f3_ccb1];

    #[test]
    fn a_new_node_owns_only_what_would_have_no_owner() {
        let new = |node| Candidate {
            node,
            standing: Standing::New,
        };
        for n in 0..50 {
            assert_eq!(choose(vip(n), &[new("a"), settled("b"), new("c")]), Some("b"));
        }
        assert_eq!(choose(vip(1), &[new("a")]), Some("a"));
        assert_eq!(choose(vip(1), &[]), None);
    }

    proptest! {
        #[test]
        fn the_order_of_candidates_does_not_matter(names in prop::collection::btree_set("[a-z]{1,8}", 1..8), n in 0u32..1000) {
            let all: Vec<_> = names.iter().map(|name| settled(name)).collect();
            let back: Vec<_> = all.iter().rev().copied().collect();
            prop_assert_eq!(choose(vip(n), &all), choose(vip(n), &back));
        }
    }
}
