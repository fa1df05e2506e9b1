//! What the kernel last said about each neighbour, and what still holds of it.

use std::collections::BTreeMap;

use maglane_shared::addr::{Addr, MacAddr};
use maglane_shared::next_hop::PortIndex;

use super::assign::Assigned;
use super::{Dirt, Neighbor, NeighborState};

/// Is the kernel's answer to be renewed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Never: set by hand, or without ARP.
    Fixed,
    Resolved,
    /// The kernel is confirming it.
    Probing,
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    mac: Option<MacAddr>,
    freshness: Freshness,
}

#[derive(Debug, Default)]
pub(super) struct Neighbors {
    known: BTreeMap<(u32, Addr), Known>,
}

impl Neighbors {
    pub fn mac(&self, interface: u32, addr: Addr) -> Option<MacAddr> {
        self.known.get(&(interface, addr))?.mac
    }

    pub fn freshness(&self, interface: u32, addr: Addr) -> Freshness {
        self.known
            .get(&(interface, addr))
            .map_or(Freshness::Missing, |known| known.freshness)
    }

    /// All with a MAC address.
    pub fn resolved(&self) -> impl Iterator<Item = (u32, Addr)> {
        self.known
            .iter()
            .filter(|(_, known)| known.mac.is_some())
            .map(|(key, _)| *key)
    }

    /// Takes a whole dump; what it lacks was removed.
    pub fn read(
        &mut self,
        neighbors: Vec<Neighbor>,
        assigned: &Assigned,
        port_of: impl Fn(u32) -> Option<PortIndex>,
    ) -> Dirt {
        let told: BTreeMap<(u32, Addr), Neighbor> = neighbors
            .into_iter()
            .map(|n| ((n.interface, n.addr), n))
            .collect();
        let gone: Vec<(u32, Addr)> = self
            .known
            .keys()
            .filter(|key| !told.contains_key(key))
            .copied()
            .collect();
        let mut dirt = Dirt::Clean;
        for (interface, addr) in gone {
            dirt = dirt.max(match port_of(interface) {
                Some(port) => self.remove(interface, port, addr, assigned),
                None => {
                    self.forget(interface, addr);
                    Dirt::Clean
                }
            });
        }
        for neighbor in told.into_values() {
            dirt = dirt.max(self.change(neighbor, port_of(neighbor.interface), assigned));
        }
        dirt
    }

    pub fn change(&mut self, neighbor: Neighbor, port: Option<PortIndex>, assigned: &Assigned) -> Dirt {
        let key = (neighbor.interface, neighbor.addr);
        let before = self.known.get(&key).and_then(|known| known.mac);
        let (mac, freshness) = match neighbor.state {
            NeighborState::Resolved(mac) => (Some(mac), Freshness::Resolved),
            NeighborState::Probing(mac) => (Some(mac), Freshness::Probing),
            NeighborState::Fixed(mac) => (Some(mac), Freshness::Fixed),
            NeighborState::Pending => (before, Freshness::Missing),
            NeighborState::Failed => (None, Freshness::Missing),
        };
        self.known.insert(key, Known { mac, freshness });
        match port {
            Some(port) if mac != before && assigned.has(port, neighbor.addr) => Dirt::Hops,
            Some(_) if mac != before => Dirt::All,
            Some(_) | None => Dirt::Clean,
        }
    }

    /// The kernel forgot it. A hop in use keeps its MAC while it is asked for again.
    pub fn remove(&mut self, interface: u32, port: PortIndex, addr: Addr, assigned: &Assigned) -> Dirt {
        if assigned.needs(port, addr) {
            if let Some(known) = self.known.get_mut(&(interface, addr)) {
                known.freshness = Freshness::Missing;
            }
            return Dirt::Clean;
        }
        self.forget(interface, addr);
        if assigned.has(port, addr) {
            Dirt::All
        } else {
            Dirt::Clean
        }
    }

    pub fn forget(&mut self, interface: u32, addr: Addr) {
        self.known.remove(&(interface, addr));
    }
}
