//! Where a packet goes next on the wire: resolved neighbours, ECMP groups of them, and the
//! longest-prefix match that finds a group for any address.
//!
//! The control side mirrors the kernel's routes and neighbours (rtnetlink) into an immutable
//! [`RouteTable`]; a changed MAC address is a new table with another [`RouteTable::version`]. Hop and
//! group indexes are stable for as long as the neighbour or group exists, so entries that cache a hop
//! need only compare the version.

use std::collections::HashMap;
use std::sync::Arc;

use crate::addr::{Addr, Family, MacAddr};
use crate::flow::FlowHash;

/// Index of a configured interface, in the order of `--interface`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortIndex(pub u8);

/// Index into [`RouteTable::hops`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HopIndex(pub u16);

/// Index of an ECMP group (often of one member).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HopGroupId(pub u32);

/// A neighbour on one of our interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    pub port: PortIndex,
    /// Largest layer-3 packet, in bytes: the interface's MTU or the route's, whichever is less.
    pub mtu: u16,
    /// Our interface's address.
    pub source: MacAddr,
    /// The neighbour's address; `None` until ARP or ND has answered.
    pub destination: Option<MacAddr>,
    /// Whom to resolve: the gateway, or the destination itself when on link.
    pub neighbor: Addr,
}

/// What the longest matching prefix says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// Through one of these gateways.
    Group(HopGroupId),
    /// The destination is a neighbour on this interface.
    OnLink(PortIndex),
    /// An interface that Maglane doesn't serve, a blackhole, or this node itself.
    Unusable,
}

/// Why an address has no next hop right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHop {
    /// No route, or one that leads nowhere we serve.
    NoRoute,
    /// On link, but not (yet) resolved; the control side should probe it.
    Unresolved(PortIndex),
}

/// Routes of one family-agnostic prefix length, keyed by the masked address.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Length {
    /// Bits of the IPv4-mapped/IPv6 128-bit form.
    bits: u8,
    routes: HashMap<u128, RouteTarget>,
}

/// Longest-prefix match: one hash map a prefix length in use, longest first (a node has few lengths).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PrefixTable {
    v4: Vec<Length>,
    v6: Vec<Length>,
}

impl PrefixTable {
    /// `prefix_len` is in the family's own terms (0..=32 or 0..=128). A later insert of the same prefix wins.
    pub fn insert(&mut self, network: Addr, prefix_len: u8, target: RouteTarget) {
        let (lengths, bits) = match network.family() {
            Family::V4 => (&mut self.v4, prefix_len + 96),
            Family::V6 => (&mut self.v6, prefix_len),
        };
        let at = lengths.partition_point(|l| l.bits > bits);
        if lengths.get(at).is_none_or(|l| l.bits != bits) {
            lengths.insert(
                at,
                Length {
                    bits,
                    routes: HashMap::new(),
                },
            );
        }
        lengths[at].routes.insert(masked(network, bits), target);
    }

    pub fn is_on_link(&self, addr: Addr) -> bool {
        match self.lookup(addr) {
            Some(RouteTarget::OnLink(_)) => true,
            Some(RouteTarget::Group(_) | RouteTarget::Unusable) | None => false,
        }
    }

    pub fn lookup(&self, addr: Addr) -> Option<RouteTarget> {
        let lengths = match addr.family() {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        lengths
            .iter()
            .find_map(|l| l.routes.get(&masked(addr, l.bits)).copied())
    }
}

fn masked(addr: Addr, bits: u8) -> u128 {
    match bits {
        0 => 0,
        _ => addr.bits() & (u128::MAX << (128 - u32::from(bits))),
    }
}

/// The kernel's forwarding state, as far as it concerns our interfaces. Immutable.
#[derive(Debug, Default, Clone)]
pub struct RouteTable {
    /// Changes whenever anything below changes.
    pub version: u32,
    pub hops: Arc<[NextHop]>,
    /// Members of each group.
    pub groups: Arc<[Box<[HopIndex]>]>,
    /// Groups of on-link neighbours.
    pub neighbors: Arc<HashMap<(PortIndex, Addr), HopGroupId>>,
    pub prefixes: Arc<PrefixTable>,
    /// The MAC address of each of our interfaces, by [`PortIndex`].
    pub port_macs: Arc<[MacAddr]>,
}

impl RouteTable {
    #[inline]
    pub fn hop(&self, index: HopIndex) -> Option<&NextHop> {
        self.hops.get(usize::from(index.0))
    }

    /// The group towards any address: the longest matching route, then the neighbour if on link.
    pub fn group_for(&self, addr: Addr) -> Result<HopGroupId, NoHop> {
        match self.prefixes.lookup(addr) {
            None | Some(RouteTarget::Unusable) => Err(NoHop::NoRoute),
            Some(RouteTarget::Group(group)) => Ok(group),
            Some(RouteTarget::OnLink(port)) => self
                .neighbors
                .get(&(port, addr))
                .copied()
                .ok_or(NoHop::Unresolved(port)),
        }
    }

    /// A resolved member of the group, the same for the same flow while the group's members stay.
    #[inline]
    pub fn pick(&self, group: HopGroupId, hash: FlowHash) -> Result<HopIndex, NoHop> {
        let members = self
            .groups
            .get(group.0 as usize)
            .map(|g| &**g)
            .unwrap_or_default();
        let start = FlowHash(hash.0.rotate_left(24)).scale(members.len() as u32) as usize;
        let (before, from) = members.split_at(start);
        let mut unresolved = NoHop::NoRoute;
        for &index in from.iter().chain(before) {
            match self.hop(index) {
                Some(hop) if hop.destination.is_some() => return Ok(index),
                Some(hop) => unresolved = NoHop::Unresolved(hop.port),
                None => {}
            }
        }
        Err(unresolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(s: &str) -> Addr {
        s.parse().unwrap()
    }

    #[test]
    fn the_longest_prefix_wins_in_each_family() {
        let mut table = PrefixTable::default();
        table.insert(addr("0.0.0.0"), 0, RouteTarget::Group(HopGroupId(1)));
        table.insert(addr("10.0.0.0"), 8, RouteTarget::OnLink(PortIndex(0)));
        table.insert(addr("10.1.0.0"), 16, RouteTarget::Unusable);
        table.insert(addr("::"), 0, RouteTarget::Group(HopGroupId(2)));
        table.insert(addr("2001:db8::"), 32, RouteTarget::OnLink(PortIndex(1)));
        for (dst, want) in [
            ("192.0.2.1", RouteTarget::Group(HopGroupId(1))),
            ("10.2.3.4", RouteTarget::OnLink(PortIndex(0))),
            ("10.1.3.4", RouteTarget::Unusable),
            ("2001:db8::1", RouteTarget::OnLink(PortIndex(1))),
            ("2001:db9::1", RouteTarget::Group(HopGroupId(2))),
        ] {
            assert_eq!(table.lookup(addr(dst)), Some(want), "{dst}");
        }
    }

    #[test]
    fn pick_skips_unresolved_members() {
        let hop = |destination| NextHop {
            port: PortIndex(0),
            mtu: 1500,
            source: MacAddr::ZERO,
            destination,
            neighbor: addr("10.0.0.1"),
        };
        let table = RouteTable {
            hops: [hop(None), hop(Some(MacAddr([2; 6])))].into(),
            groups: [
                vec![HopIndex(0), HopIndex(1)].into(),
                vec![HopIndex(0)].into(),
                Box::default(),
            ]
            .into(),
            ..RouteTable::default()
        };
        for h in 0..64 {
            assert_eq!(table.pick(HopGroupId(0), FlowHash(h << 58)), Ok(HopIndex(1)));
        }
        assert_eq!(
            table.pick(HopGroupId(1), FlowHash(1)),
            Err(NoHop::Unresolved(PortIndex(0)))
        );
        assert_eq!(table.pick(HopGroupId(2), FlowHash(1)), Err(NoHop::NoRoute));
        assert_eq!(table.pick(HopGroupId(9), FlowHash(1)), Err(NoHop::NoRoute));
    }
}
