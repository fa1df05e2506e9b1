//! Adj-RIB-Out: what we want the peer to know, what we have told it, and the UPDATEs between the two
//! (RFC 4271 §3.2 and §9.4).
//!
//! The caller states the whole desired set; only the difference is ever sent, withdraws first. Nothing
//! is sent until asked for by [`AdjRibOut::updates`], so that changes made while the peer is slow cost
//! one UPDATE, not many.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use ipnet::IpNet;
use maglane_shared::addr::Family;
use serde::{Deserialize, Serialize};

use crate::fsm::Negotiated;
use crate::settings::NextHops;
use crate::wire::{Attributes, NextHop, Path, announce, end_of_rib, family_of, withdraw};

/// The whole desired set of one peer.
pub type Routes = BTreeMap<IpNet, Arc<Attributes>>;

/// Why desired routes are not announced to this peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unsendable {
    /// Of a family the peer did not agree to carry.
    pub not_negotiated: usize,
    /// Of a family for which there is no next hop: the session's own address is of the other family
    /// and none was configured.
    pub no_next_hop: usize,
    /// With attributes larger than a message.
    pub oversized: usize,
}

/// The session the routes are spoken on.
#[derive(Clone, Debug)]
struct Session {
    agreed: Negotiated,
    v4: Option<NextHop>,
    v6: Option<NextHop>,
}

#[derive(Clone, Debug, Default)]
pub struct AdjRibOut {
    desired: Routes,
    told: BTreeMap<IpNet, Path>,
    session: Option<Session>,
    /// Families whose routes are all to be said again, and ended by a marker.
    again: BTreeSet<Family>,
    unsendable: Unsendable,
}

impl AdjRibOut {
    /// Replaces the desired set.
    pub fn set(&mut self, desired: Routes) {
        self.desired = desired;
    }

    /// A session came up at `local`, our address on it: the peer knows nothing yet.
    pub fn session_up(&mut self, agreed: Negotiated, local: IpAddr, configured: &NextHops) {
        self.told.clear();
        self.again = agreed.families.iter().collect();
        self.session = Some(Session {
            v4: next_hop_v4(&agreed, local, configured),
            v6: next_hop_v6(local, configured),
            agreed,
        });
    }

    /// The session ended: the peer has forgotten everything.
    pub fn session_down(&mut self) {
        self.told.clear();
        self.again.clear();
        self.session = None;
    }

    /// The peer asks to hear a family again (RFC 2918 §4).
    pub fn refresh(&mut self, family: Family) {
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.agreed.families.contains(family))
        {
            self.again.insert(family);
        }
    }

    /// How many prefixes the peer has been told.
    pub fn told(&self) -> usize {
        self.told.len()
    }

    /// Whether the peer has been told this prefix.
    pub fn is_told(&self, prefix: &IpNet) -> bool {
        self.told.contains_key(prefix)
    }

    pub fn unsendable(&self) -> Unsendable {
        self.unsendable
    }

    /// The UPDATEs from what the peer was told to what it should know; they count as told from now on.
    pub fn updates(&mut self) -> Vec<Bytes> {
        let Some(session) = &self.session else {
            return Vec::new();
        };
        let mut plan = Plan::new(session, &self.desired);
        let mut messages = plan.withdraws(session, &self.told);
        let oversized = plan.announcements(session, &self.told, &self.again, &mut messages);
        self.unsendable = plan.unsendable;
        let before = std::mem::replace(&mut self.told, plan.wanted);
        for (family, prefix) in oversized {
            self.unsendable.oversized += 1;
            self.told.remove(&prefix);
            if before.contains_key(&prefix) {
                messages.extend(withdraw(family, &[prefix], &session.agreed.encoding).unwrap_or_default());
            }
        }
        let markers = std::mem::take(&mut self.again).into_iter();
        messages.extend(markers.filter_map(|family| end_of_rib(family, &session.agreed.encoding).ok()));
        messages
    }
}

/// RFC 4271 §5.1.3: our own address; an IPv6 one only where RFC 8950 was agreed on.
fn next_hop_v4(agreed: &Negotiated, local: IpAddr, configured: &NextHops) -> Option<NextHop> {
    match (configured.v4, local) {
        (Some(address), _) | (None, IpAddr::V4(address)) => Some(NextHop::V4(address)),
        (None, IpAddr::V6(_)) => next_hop_v6(local, configured).filter(|_| agreed.ipv4_via_ipv6),
    }
}

/// RFC 2545 §3: global with or without the link-local beside it; on a link-local session that alone.
fn next_hop_v6(local: IpAddr, configured: &NextHops) -> Option<NextHop> {
    let address = match (configured.v6, local) {
        (Some(address), _) | (None, IpAddr::V6(address)) => address,
        (None, IpAddr::V4(_)) => return None,
    };
    let link_local = configured.link_local.filter(|_| !address.is_unicast_link_local());
    Some(NextHop::V6 { address, link_local })
}

/// One turn: the desired set as far as this session can carry it.
struct Plan {
    wanted: BTreeMap<IpNet, Path>,
    unsendable: Unsendable,
}

impl Plan {
    fn new(session: &Session, desired: &Routes) -> Self {
        let mut plan = Plan {
            wanted: BTreeMap::new(),
            unsendable: Unsendable::default(),
        };
        for (prefix, attributes) in desired {
            let family = family_of(prefix);
            let next_hop = match family {
                Family::V4 => session.v4,
                Family::V6 => session.v6,
            };
            match next_hop {
                _ if !session.agreed.families.contains(family) => plan.unsendable.not_negotiated += 1,
                None => plan.unsendable.no_next_hop += 1,
                Some(next_hop) => {
                    plan.wanted.insert(
                        *prefix,
                        Path {
                            attributes: attributes.clone(),
                            next_hop,
                        },
                    );
                }
            }
        }
        plan
    }

    fn withdraws(&self, session: &Session, told: &BTreeMap<IpNet, Path>) -> Vec<Bytes> {
        let gone: Vec<IpNet> = told
            .keys()
            .filter(|prefix| !self.wanted.contains_key(prefix))
            .copied()
            .collect();
        let (v4, v6): (Vec<IpNet>, Vec<IpNet>) = gone.into_iter().partition(|p| family_of(p) == Family::V4);
        let encoding = &session.agreed.encoding;
        [(Family::V4, v4), (Family::V6, v6)]
            .into_iter()
            .flat_map(|(family, prefixes)| withdraw(family, &prefixes, encoding).unwrap_or_default())
            .collect()
    }

    /// Appends the announcements; returns what no message can hold. Such a prefix, when it was told with
    /// other attributes before, must be withdrawn: what the peer knows is no longer wanted.
    fn announcements(
        &mut self,
        session: &Session,
        told: &BTreeMap<IpNet, Path>,
        again: &BTreeSet<Family>,
        messages: &mut Vec<Bytes>,
    ) -> Vec<(Family, IpNet)> {
        let mut groups: BTreeMap<(Family, &Path), Vec<IpNet>> = BTreeMap::new();
        for (prefix, path) in &self.wanted {
            let family = family_of(prefix);
            if again.contains(&family) || told.get(prefix) != Some(path) {
                groups.entry((family, path)).or_default().push(*prefix);
            }
        }
        let mut oversized = Vec::new();
        for ((family, path), prefixes) in groups {
            match announce(path, family, &prefixes, &session.agreed.encoding) {
                Ok(updates) => messages.extend(updates),
                Err(crate::wire::Oversized) => oversized.extend(prefixes.into_iter().map(|p| (family, p))),
            }
        }
        oversized
    }
}
