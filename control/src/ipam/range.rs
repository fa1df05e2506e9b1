//! Address ranges as intervals. They are never enumerated: an IPv6 /64 costs what an IPv4 /32 does.

use std::collections::BTreeMap;
use std::fmt;

use maglane_shared::addr::{Addr, Family};
use serde::{Deserialize, Serialize};

/// From first to last, both included, of one family and usable. Serde knows it as its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    first: Addr,
    last: Addr,
}

/// Whether the first and the last address of a CIDR block count (Cilium's `allowFirstLastIPs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Included,
    /// Left out, except in blocks of one or two addresses.
    Excluded,
}

/// Why a text or a pair of addresses is no range; what to do follows the semicolon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error(
        "{0:?} is no range of addresses; write ADDRESS/LENGTH, FIRST-LAST or one address, as in 192.0.2.0/24"
    )]
    Syntax(String),
    #[error("{0:?} has a prefix length above {1}; write 0 to {1}")]
    Length(String, u8),
    #[error("{first}-{last} has an IPv4 and an IPv6 end; write one range for each family")]
    Families { first: Addr, last: Addr },
    #[error("{first}-{last} ends before it begins; write the lower address first")]
    Backwards { first: Addr, last: Addr },
    #[error("{range} holds {kind} addresses, which cannot be virtual; leave them out")]
    Unusable { range: Range, kind: &'static str },
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Addr {
    Addr::from_v4_bytes([a, b, c, d])
}

const fn v6(first: u16, rest: u128) -> Addr {
    Addr::from_bits((first as u128) << 112 | rest)
}

const V6_REST: u128 = u128::MAX >> 16;

/// What no client can connect to. `::/8` holds the IPv4-mapped addresses and everything that translates.
const UNUSABLE: [(Addr, Addr, &str); 7] = [
    (v4(0, 0, 0, 0), v4(0, 255, 255, 255), "unspecified (0.0.0.0/8)"),
    (v4(127, 0, 0, 0), v4(127, 255, 255, 255), "loopback"),
    (v4(224, 0, 0, 0), v4(239, 255, 255, 255), "multicast"),
    (v4(255, 255, 255, 255), v4(255, 255, 255, 255), "broadcast"),
    (v6(0, 0), v6(0xff, V6_REST), "reserved (::/8)"),
    (v6(0xfe80, 0), v6(0xfebf, V6_REST), "link-local"),
    (v6(0xff00, 0), v6(0xffff, V6_REST), "multicast"),
];

impl Range {
    pub fn new(first: Addr, last: Addr) -> Result<Range, RangeError> {
        if first.family() != last.family() {
            return Err(RangeError::Families { first, last });
        }
        if first > last {
            return Err(RangeError::Backwards { first, last });
        }
        let range = Range { first, last };
        let unusable = UNUSABLE
            .iter()
            .find(|(from, to, _)| from.family() == first.family() && *from <= last && first <= *to);
        match unusable {
            Some((_, _, kind)) => Err(RangeError::Unusable { range, kind }),
            None => Ok(range),
        }
    }

    /// `192.0.2.0/24`, `192.0.2.10-192.0.2.20` or `192.0.2.7`. Host bits of a block are ignored, as by MetalLB.
    pub fn parse(text: &str, ends: Ends) -> Result<Range, RangeError> {
        let syntax = || RangeError::Syntax(text.to_owned());
        let addr = |part: &str| part.trim().parse::<Addr>().map_err(|_| syntax());
        if let Some((network, length)) = text.split_once('/') {
            let length = length.trim().parse().map_err(|_| syntax())?;
            block(text, addr(network)?, length, ends)
        } else if let Some((first, last)) = text.split_once('-') {
            Range::new(addr(first)?, addr(last)?)
        } else {
            let only = addr(text)?;
            Range::new(only, only)
        }
    }

    pub const fn first(self) -> Addr {
        self.first
    }

    pub const fn last(self) -> Addr {
        self.last
    }

    pub const fn family(self) -> Family {
        self.first.family()
    }

    pub fn contains(self, addr: Addr) -> bool {
        self.first <= addr && addr <= self.last
    }

    /// Addresses in it; never 0 and, as `::/8` is refused, never 2^128.
    pub const fn size(self) -> u128 {
        self.last.bits() - self.first.bits() + 1
    }

    /// How many of them [`confuses_firmware`].
    pub fn confusing(self) -> u128 {
        match self.family() {
            Family::V6 => 0,
            Family::V4 => {
                let up_to = |end: u128| end.div_ceil(256) + end / 256;
                let host = |addr: Addr| addr.bits() & 0xffff_ffff;
                up_to(host(self.last) + 1) - up_to(host(self.first))
            }
        }
    }
}

fn block(text: &str, network: Addr, length: u8, ends: Ends) -> Result<Range, RangeError> {
    let bits = match network.family() {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    if length > bits {
        return Err(RangeError::Length(text.to_owned(), bits));
    }
    let host = u128::MAX.checked_shr(128 - u32::from(bits - length)).unwrap_or(0);
    let (first, last) = (network.bits() & !host, network.bits() | host);
    let whole = Range::new(Addr::from_bits(first), Addr::from_bits(last))?;
    Ok(match ends {
        Ends::Excluded if length + 1 < bits => Range {
            first: Addr::from_bits(first + 1),
            last: Addr::from_bits(last - 1),
        },
        Ends::Included | Ends::Excluded => whole,
    })
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl Serialize for Range {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Range, D::Error> {
        let text = String::deserialize(deserializer)?;
        Range::parse(&text, Ends::Included).map_err(serde::de::Error::custom)
    }
}

/// IPv4 addresses that end in .0 or .255: old equipment takes them for network and broadcast addresses.
pub(super) fn confuses_firmware(addr: Addr) -> bool {
    addr.is_v4() && matches!(addr.v4_bytes()[3], 0 | 255)
}

/// Disjoint ranges, each with a value.
#[derive(Clone, Debug)]
pub(super) struct RangeMap<T> {
    by_first: BTreeMap<Addr, (Range, T)>,
}

impl<T> Default for RangeMap<T> {
    fn default() -> RangeMap<T> {
        RangeMap {
            by_first: BTreeMap::new(),
        }
    }
}

impl<T: Copy> RangeMap<T> {
    pub fn get(&self, addr: Addr) -> Option<T> {
        let (_, (range, value)) = self.by_first.range(..=addr).next_back()?;
        range.contains(addr).then_some(*value)
    }

    /// The ranges that have an address in common with `range`, in order.
    pub fn touching(&self, range: Range) -> impl Iterator<Item = (Range, T)> {
        let before = self.by_first.range(..=range.first).next_back();
        let start = match before {
            Some((first, (held, _))) if held.last >= range.first => *first,
            Some(_) | None => range.first,
        };
        self.by_first.range(start..=range.last).map(|(_, held)| *held)
    }

    /// Gives `value` to the parts of `range` that are free, and returns those in order.
    pub fn claim(&mut self, range: Range, value: T) -> Vec<Range> {
        let mut free = vec![];
        let mut from = range.first.bits();
        for (held, _) in self.touching(range) {
            if from < held.first.bits() {
                free.push(span(from, held.first.bits() - 1));
            }
            // No range ends at the top of the address space: that is multicast.
            from = held.last.bits() + 1;
        }
        if from <= range.last.bits() {
            free.push(span(from, range.last.bits()));
        }
        self.by_first
            .extend(free.iter().map(|part| (part.first, (*part, value))));
        free
    }
}

const fn span(first: u128, last: u128) -> Range {
    Range {
        first: Addr::from_bits(first),
        last: Addr::from_bits(last),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::addr;

    fn range(text: &str) -> Range {
        Range::parse(text, Ends::Included).unwrap()
    }

    #[test]
    fn every_spelling_of_a_range_is_read() {
        for (text, want) in [
            ("192.0.2.0/24", "192.0.2.0-192.0.2.255"),
            ("192.0.2.77/24", "192.0.2.0-192.0.2.255"),
            (" 192.0.2.10 - 192.0.2.20 ", "192.0.2.10-192.0.2.20"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("2001:db8::/64", "2001:db8::-2001:db8::ffff:ffff:ffff:ffff"),
            ("2001:db8::5-2001:db8::9", "2001:db8::5-2001:db8::9"),
        ] {
            assert_eq!(range(text).to_string(), want, "{text}");
        }
    }

    #[test]
    fn first_and_last_of_a_block_can_be_left_out_where_something_remains() {
        for (text, want) in [
            ("192.0.2.0/24", "192.0.2.1-192.0.2.254"),
            ("192.0.2.0/30", "192.0.2.1-192.0.2.2"),
            ("192.0.2.0/31", "192.0.2.0-192.0.2.1"),
            ("192.0.2.9/32", "192.0.2.9"),
            ("192.0.2.0-192.0.2.255", "192.0.2.0-192.0.2.255"),
            ("2001:db8::/126", "2001:db8::1-2001:db8::2"),
            ("2001:db8::/127", "2001:db8::-2001:db8::1"),
        ] {
            let range = Range::parse(text, Ends::Excluded).unwrap();
            assert_eq!(range.to_string(), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_range_says_why_and_what_to_write() {
        for (text, want) in [
            ("", "is no range"),
            ("web", "is no range"),
            ("192.0.2.0/x", "is no range"),
            ("192.0.2.0/33", "prefix length above 32"),
            ("2001:db8::/129", "prefix length above 128"),
            ("192.0.2.9-192.0.2.1", "ends before it begins"),
            ("192.0.2.9-2001:db8::1", "one range for each family"),
            ("0.0.0.0/0", "unspecified"),
            ("127.0.0.1", "loopback"),
            ("224.0.0.0/24", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("::/0", "reserved"),
            ("::1", "reserved"),
            ("fe80::/64", "link-local"),
            ("ff02::1", "multicast"),
        ] {
            let error = Range::parse(text, Ends::Included).unwrap_err().to_string();
            assert!(error.contains(want) && error.contains("; "), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_counted_without_counting() {
        assert_eq!(range("192.0.2.0/24").size(), 256);
        assert_eq!(range("2001:db8::/64").size(), 1 << 64);
        assert_eq!(range("10.0.0.0/8").confusing(), 2 * 65536);
        assert_eq!(range("2001:db8::/64").confusing(), 0);
    }

    proptest! {
        #[test]
        fn confusing_addresses_are_counted_as_if_looked_at(first in 0u32..2000, length in 0u32..2000) {
            let base = u128::from(u32::from_be_bytes([10, 0, 0, 0])) | addr("0.0.0.0").bits();
            let range = span(base + u128::from(first), base + u128::from(first + length));
            let addresses = (0..range.size()).map(|at| Addr::from_bits(range.first.bits() + at));
            prop_assert_eq!(range.confusing(), addresses.filter(|a| confuses_firmware(*a)).count() as u128);
        }

        #[test]
        fn the_first_claim_on_an_address_holds(claims in proptest::collection::vec((0u128..200, 0u128..40), 0..30)) {
            let base = addr("10.0.0.0").bits();
            let mut map = RangeMap::default();
            let mut plain: BTreeMap<u128, usize> = BTreeMap::new();
            for (value, (first, length)) in claims.into_iter().enumerate() {
                let free = map.claim(span(base + first, base + first + length), value);
                let gained: u128 = free.iter().map(|part| part.size()).sum();
                let before = plain.len();
                for at in first..=first + length {
                    plain.entry(at).or_insert(value);
                }
                prop_assert_eq!(gained, (plain.len() - before) as u128);
            }
            for at in 0..260 {
                prop_assert_eq!(map.get(Addr::from_bits(base + at)), plain.get(&at).copied());
            }
        }

        #[test]
        fn any_text_is_a_range_or_an_error(text in "[0-9a-f.:/ -]{0,40}") {
            let _ = Range::parse(&text, Ends::Included);
            let _ = Range::parse(&text, Ends::Excluded);
        }
    }
}
