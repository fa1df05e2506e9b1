//! The kernel's routes and neighbours as the packet path wants them: pure, fed by events.
//!
//! [`RouteStore`] holds what netlink told and makes an immutable [`RouteTable`] of it. Hop and group indexes
//! stay with their neighbours and groups for as long as these exist; a changed MAC address replaces the hops
//! alone. Tables `local` and `main` are followed; policy rules are not.
//!
//! Which MAC counts: REACHABLE, STALE, DELAY, PROBE, PERMANENT and NOARP entries have one. While the
//! kernel asks again (INCOMPLETE), or after it forgot an entry that our traffic does not keep fresh, the last
//! MAC goes on; FAILED, that is an unanswered question, drops it.

mod assign;
mod build;
mod neighbors;
#[cfg(test)]
mod tests;
mod wants;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use maglane_shared::addr::{Addr, MacAddr};
use maglane_shared::next_hop::{HopGroupId, PortIndex, RouteTable};
use serde::{Deserialize, Serialize};

use crate::effect::NeighborRef;
use crate::problem::Problem;

use assign::Assigned;
use neighbors::Neighbors;
use wants::Wants;

/// An interface of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub index: u32,
    pub name: Box<str>,
    pub mac: MacAddr,
    /// Bytes at layer 3.
    pub mtu: u32,
    /// Administratively up and with a carrier.
    pub up: bool,
}

/// Which table a route is in; the kernel asks them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Table {
    Local,
    Main,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub table: Table,
    pub network: Addr,
    /// In the family's own terms: 0..=32 or 0..=128.
    pub prefix_len: u8,
    /// The kernel's metric: less is better.
    pub priority: u32,
    /// Bytes, where the route limits them.
    pub mtu: Option<u32>,
    pub way: Way,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    Hops(Vec<RouteHop>),
    /// This node itself, a blackhole, a broadcast or multicast address.
    Nowhere,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteHop {
    pub interface: u32,
    /// `None` = the destination is on link.
    pub gateway: Option<Addr>,
    /// 1 or more; share of the flows relative to the other hops.
    pub weight: u16,
}

/// What the kernel knows about a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbor {
    pub interface: u32,
    pub addr: Addr,
    pub state: NeighborState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeighborState {
    /// REACHABLE, STALE or DELAY.
    Resolved(MacAddr),
    /// PROBE: known, and the kernel is asking whether it still holds.
    Probing(MacAddr),
    /// PERMANENT or NOARP: never asked for.
    Fixed(MacAddr),
    /// INCOMPLETE or NONE: the kernel is asking, or about to.
    Pending,
    /// Nobody answered.
    Failed,
}

/// How much of the table must be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Dirt {
    Clean,
    /// MAC addresses only.
    Hops,
    All,
}

#[derive(Debug)]
pub struct RouteStore {
    /// `--interface`, in order: the position is the [`PortIndex`].
    ports: Vec<Box<str>>,
    links: BTreeMap<u32, Link>,
    local: BTreeSet<Addr>,
    routes: Vec<Route>,
    neighbors: Neighbors,
    wants: Wants,
    assigned: Assigned,
    table: Arc<RouteTable>,
    dirt: Dirt,
}

/// The group of addresses that nothing leads to; always empty.
pub const NO_WAY: HopGroupId = HopGroupId(0);

impl RouteStore {
    /// `ports` are the served interfaces' names, at most 256.
    pub fn new(ports: Vec<Box<str>>) -> RouteStore {
        RouteStore {
            ports,
            links: BTreeMap::new(),
            local: BTreeSet::new(),
            routes: vec![],
            neighbors: Neighbors::default(),
            wants: Wants::default(),
            assigned: Assigned::default(),
            table: Arc::new(RouteTable {
                groups: [Box::default()].into(),
                ..RouteTable::default()
            }),
            dirt: Dirt::All,
        }
    }

    pub fn links_read(&mut self, links: Vec<Link>) {
        let links: BTreeMap<u32, Link> = links.into_iter().map(|link| (link.index, link)).collect();
        if links != self.links {
            self.links = links;
            self.dirt = Dirt::All;
        }
    }

    pub fn addresses_read(&mut self, addresses: Vec<Addr>) {
        self.local = addresses.into_iter().collect();
    }

    pub fn routes_read(&mut self, routes: Vec<Route>) {
        if routes != self.routes {
            self.routes = routes;
            self.dirt = Dirt::All;
        }
    }

    pub fn neighbors_read(&mut self, neighbors: Vec<Neighbor>) {
        let dirt = self.neighbors.read(neighbors, &self.assigned, |interface| {
            port_of(&self.ports, &self.links, interface)
        });
        self.dirt = self.dirt.max(dirt);
    }

    pub fn neighbor_changed(&mut self, neighbor: Neighbor) {
        let port = self.port_of(neighbor.interface);
        let dirt = self.neighbors.change(neighbor, port, &self.assigned);
        self.dirt = self.dirt.max(dirt);
        if let (NeighborState::Failed, Some(port)) = (neighbor.state, port)
            && self.wants.failed(port, neighbor.addr)
        {
            self.dirt = Dirt::All;
        }
    }

    pub fn neighbor_removed(&mut self, interface: u32, addr: Addr) {
        let Some(port) = self.port_of(interface) else {
            return self.neighbors.forget(interface, addr);
        };
        let dirt = self.neighbors.remove(interface, port, addr, &self.assigned);
        self.dirt = self.dirt.max(dirt);
        self.wants.ask_again(port, addr);
    }

    /// A worker misses this neighbour.
    pub fn neighbor_wanted(&mut self, port: PortIndex, addr: Addr, now: Duration) {
        if self.wants.ask_for(port, addr, now) {
            self.dirt = Dirt::All;
        }
    }

    /// Backends to keep resolved from now on, and no longer; once for each port that has them. Call before
    /// [`Self::table`].
    pub fn change_backends(&mut self, gone: impl Iterator<Item = Addr>, come: impl Iterator<Item = Addr>) {
        let changed = self.wants.change_backends(gone, come);
        // Of a table that is to be made anew nothing need be asked.
        let prefixes = &self.table.prefixes;
        if changed.into_iter().any(|addr| prefixes.is_on_link(addr)) {
            self.dirt = Dirt::All;
        }
    }

    /// Addresses of this node.
    pub fn local(&self) -> &BTreeSet<Addr> {
        &self.local
    }

    /// The present table; the same `Arc` as before when nothing has changed.
    pub fn table(&mut self) -> Arc<RouteTable> {
        match self.dirt {
            Dirt::Clean => {}
            Dirt::Hops => self.rebuild_hops(),
            Dirt::All => self.rebuild(),
        }
        self.dirt = Dirt::Clean;
        Arc::clone(&self.table)
    }

    /// The group towards a backend, [`NO_WAY`] when there is no route; of the table last made.
    pub fn group_for(&self, backend: Addr) -> HopGroupId {
        self.table.group_for(backend).unwrap_or(NO_WAY)
    }

    /// Neighbours that the kernel should be made to resolve or confirm now.
    pub fn due(&mut self, now: Duration) -> Vec<NeighborRef> {
        let hops = self.assigned.neighbors();
        let due = self.wants.due(now, hops, |port, addr| {
            let interface = interface_of(&self.ports, &self.links, port)?;
            Some((interface, self.neighbors.freshness(interface, addr)))
        });
        if self.wants.expire(now) {
            self.dirt = Dirt::All;
        }
        due
    }

    /// Served interfaces that are missing or down, and what did not fit.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self
            .ports
            .iter()
            .filter_map(|name| self.port_problem(name))
            .collect();
        problems.extend(self.assigned.problem());
        problems
    }

    fn port_problem(&self, name: &str) -> Option<Problem> {
        match self.links.values().find(|link| &*link.name == name) {
            Some(link) if link.up => None,
            Some(_) => {
                let remedy = format!("`ip link set {name} up`, and look at the other end of the cable");
                Some(Problem::error(format!("interface {name} is down"), remedy))
            }
            None => {
                let remedy = "create it, or correct --interface and start again";
                Some(Problem::error(
                    format!("interface {name} does not exist any more"),
                    remedy,
                ))
            }
        }
    }

    fn port_of(&self, interface: u32) -> Option<PortIndex> {
        port_of(&self.ports, &self.links, interface)
    }
}

fn port_of(ports: &[Box<str>], links: &BTreeMap<u32, Link>, interface: u32) -> Option<PortIndex> {
    let name = &links.get(&interface)?.name;
    ports
        .iter()
        .position(|port| port == name)
        .map(|at| PortIndex(at as u8))
}

fn interface_of(ports: &[Box<str>], links: &BTreeMap<u32, Link>, port: PortIndex) -> Option<u32> {
    let name = ports.get(usize::from(port.0))?;
    links
        .values()
        .find(|link| link.name == *name)
        .map(|link| link.index)
}
