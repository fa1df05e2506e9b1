//! Events' facts -> [`RouteTable`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use maglane_shared::addr::{Addr, MacAddr};
use maglane_shared::next_hop::{
    HopGroupId, HopIndex, NextHop, PortIndex, PrefixTable, RouteTable, RouteTarget,
};

use super::assign::{GroupKey, HopKey, Need};
use super::{Route, RouteHop, RouteStore, Way, interface_of};

/// Where a prefix leads, before groups have numbers.
enum Target {
    Group(GroupKey),
    OnLink(PortIndex),
    Unusable,
}

/// Most members of a group; greater weights are scaled down.
const MAX_MEMBERS: u32 = 128;
const DEFAULT_MTU: u32 = 1500;

impl RouteStore {
    /// Everything anew. Parts that come out the same keep their `Arc`.
    pub(super) fn rebuild(&mut self) {
        let targets: Vec<(&Route, Target)> = best_routes(&self.routes)
            .into_values()
            .map(|route| (route, self.target(route)))
            .collect();
        // Where backends are on link: groups have no numbers yet, and need none for that.
        let on_link = self.on_link_neighbors(&prefix_table(&targets, |_| RouteTarget::Unusable));
        let mut groups: BTreeMap<GroupKey, Need> = on_link
            .iter()
            .map(|(&(port, addr), &need)| (lone(port, addr), need))
            .collect();
        for (_, target) in &targets {
            match target {
                Target::Group(members) => drop(groups.insert(members.clone(), Need::Needed)),
                Target::OnLink(_) | Target::Unusable => {}
            }
        }
        self.assigned.assign(&groups);
        let number = |members: &GroupKey| self.assigned.group(members);
        let prefixes = prefix_table(&targets, |members| {
            number(members).map_or(RouteTarget::Unusable, RouteTarget::Group)
        });
        self.finish(prefixes, on_link.into_keys());
    }

    fn finish(&mut self, prefixes: PrefixTable, on_link: impl Iterator<Item = (PortIndex, Addr)>) {
        let assigned = &self.assigned;
        let neighbors: HashMap<(PortIndex, Addr), HopGroupId> = on_link
            .filter_map(|(port, addr)| Some(((port, addr), assigned.group(&lone(port, addr))?)))
            .collect();
        let size = assigned.groups().map(|(_, at)| at + 1).max().unwrap_or(1);
        let mut groups: Vec<Box<[HopIndex]>> = vec![Box::default(); size];
        for (members, at) in assigned.groups() {
            groups[at] = members.iter().filter_map(|member| assigned.hop(member)).collect();
        }
        let port_macs: Vec<MacAddr> = (0..self.ports.len())
            .map(|at| self.port_mac(PortIndex(at as u8)))
            .collect();
        let old = &self.table;
        self.replace(RouteTable {
            version: old.version,
            hops: keep(&old.hops, self.hops().into()),
            groups: keep(&old.groups, groups.into()),
            neighbors: keep(&old.neighbors, Arc::new(neighbors)),
            prefixes: keep(&old.prefixes, Arc::new(prefixes)),
            port_macs: keep(&old.port_macs, port_macs.into()),
        });
    }

    /// MAC addresses only.
    pub(super) fn rebuild_hops(&mut self) {
        let old = RouteTable::clone(&self.table);
        let hops = keep(&old.hops, self.hops().into());
        self.replace(RouteTable { hops, ..old });
    }

    fn replace(&mut self, new: RouteTable) {
        let old = &self.table;
        let same = Arc::ptr_eq(&new.hops, &old.hops)
            && Arc::ptr_eq(&new.groups, &old.groups)
            && Arc::ptr_eq(&new.neighbors, &old.neighbors)
            && Arc::ptr_eq(&new.prefixes, &old.prefixes)
            && Arc::ptr_eq(&new.port_macs, &old.port_macs);
        if !same {
            self.table = Arc::new(RouteTable {
                version: old.version.wrapping_add(1),
                ..new
            });
        }
    }

    fn hops(&self) -> Vec<NextHop> {
        let unused = NextHop {
            port: PortIndex(0),
            mtu: 0,
            source: MacAddr::ZERO,
            destination: None,
            neighbor: Addr::UNSPECIFIED,
        };
        let size = self.assigned.hops().map(|(_, at)| at + 1).max().unwrap_or(0);
        let mut hops = vec![unused; size];
        for (key, at) in self.assigned.hops() {
            hops[at] = self.hop(key);
        }
        hops
    }

    fn hop(&self, key: &HopKey) -> NextHop {
        let link = interface_of(&self.ports, &self.links, key.port).and_then(|index| self.links.get(&index));
        let link_mtu = link.map_or(DEFAULT_MTU, |link| link.mtu);
        NextHop {
            port: key.port,
            mtu: key
                .mtu
                .map_or(link_mtu, |mtu| mtu.min(link_mtu))
                .min(u32::from(u16::MAX)) as u16,
            source: link.map_or(MacAddr::ZERO, |link| link.mac),
            destination: link.and_then(|link| self.neighbors.mac(link.index, key.neighbor)),
            neighbor: key.neighbor,
        }
    }

    fn port_mac(&self, port: PortIndex) -> MacAddr {
        let index = interface_of(&self.ports, &self.links, port);
        index
            .and_then(|index| self.links.get(&index))
            .map_or(MacAddr::ZERO, |link| link.mac)
    }

    fn target(&self, route: &Route) -> Target {
        let hops = match &route.way {
            Way::Hops(hops) => hops,
            Way::Nowhere => return Target::Unusable,
        };
        let served: Vec<(PortIndex, &RouteHop)> = hops
            .iter()
            .filter_map(|hop| Some((self.port_of(hop.interface)?, hop)))
            .collect();
        let gateways: Vec<(HopKey, u16)> = served
            .iter()
            .filter_map(|(port, hop)| {
                Some((
                    HopKey {
                        port: *port,
                        neighbor: hop.gateway?,
                        mtu: route.mtu,
                    },
                    hop.weight,
                ))
            })
            .collect();
        match (gateways.is_empty(), served.first()) {
            (false, _) => Target::Group(members(gateways)),
            (true, Some((port, _))) => Target::OnLink(*port),
            (true, None) => Target::Unusable,
        }
    }

    /// Backends and asked-for addresses that are on link, and the neighbours that the kernel knows anyway.
    fn on_link_neighbors(&self, prefixes: &PrefixTable) -> BTreeMap<(PortIndex, Addr), Need> {
        let known = self
            .neighbors
            .resolved()
            .filter_map(|(interface, addr)| Some((self.port_of(interface)?, addr)));
        let mut neighbors: BTreeMap<_, _> = known.map(|key| (key, Need::Known)).collect();
        let backends = self
            .wants
            .backends()
            .filter_map(|addr| match prefixes.lookup(addr) {
                Some(RouteTarget::OnLink(port)) => Some((port, addr)),
                Some(RouteTarget::Group(_) | RouteTarget::Unusable) | None => None,
            });
        neighbors.extend(backends.chain(self.wants.asked()).map(|key| (key, Need::Needed)));
        neighbors
    }
}

/// `number` gives groups their targets.
fn prefix_table(targets: &[(&Route, Target)], number: impl Fn(&GroupKey) -> RouteTarget) -> PrefixTable {
    let mut prefixes = PrefixTable::default();
    for (route, target) in targets {
        let target = match target {
            Target::Group(members) => number(members),
            Target::OnLink(port) => RouteTarget::OnLink(*port),
            Target::Unusable => RouteTarget::Unusable,
        };
        prefixes.insert(route.network, route.prefix_len, target);
    }
    prefixes
}

/// By prefix: table `local` before `main`, then the least metric, then the first told.
fn best_routes(routes: &[Route]) -> BTreeMap<(Addr, u8), &Route> {
    let mut best: BTreeMap<(Addr, u8), &Route> = BTreeMap::new();
    for route in routes {
        let rank = |route: &Route| (route.table, route.priority);
        best.entry((route.network, route.prefix_len))
            .and_modify(|held| {
                if rank(route) < rank(held) {
                    *held = route;
                }
            })
            .or_insert(route);
    }
    best
}

/// The group of one on-link neighbour.
fn lone(port: PortIndex, neighbor: Addr) -> GroupKey {
    [HopKey {
        port,
        neighbor,
        mtu: None,
    }]
    .into()
}

/// Members by weight, in a fixed order, so that the same hops are the same group whatever order they came in.
fn members(mut hops: Vec<(HopKey, u16)>) -> GroupKey {
    hops.sort_unstable();
    let divisor = hops
        .iter()
        .fold(0, |a, (_, weight)| gcd(a, u32::from((*weight).max(1))));
    let total: u32 = hops
        .iter()
        .map(|(_, weight)| u32::from((*weight).max(1)) / divisor)
        .sum();
    hops.iter()
        .flat_map(|(hop, weight)| {
            let copies = u32::from((*weight).max(1)) / divisor;
            let copies = if total <= MAX_MEMBERS {
                copies
            } else {
                (copies * MAX_MEMBERS / total).max(1)
            };
            std::iter::repeat_n(*hop, copies as usize)
        })
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The old `Arc` when the new value is the same.
fn keep<T: PartialEq + ?Sized>(old: &Arc<T>, new: Arc<T>) -> Arc<T> {
    if **old == *new { Arc::clone(old) } else { new }
}
