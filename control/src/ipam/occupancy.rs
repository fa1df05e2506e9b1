//! Who is on which address. The only place that decides whether one more Service may join: this is what
//! "never one address twice" hangs on.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use maglane_shared::addr::Addr;

use super::RequestIx;
use super::request::Request;
use crate::model::PortProtocol;

/// The Services on one address. Most have one; only those that may be shared say more.
#[derive(Debug)]
struct Tenancy<'a> {
    first: RequestIx,
    more: Vec<RequestIx>,
    /// One of each kind that shares alike, beside the first: whoever may share with these may share with all.
    kinds: Vec<RequestIx>,
    ports: BTreeSet<&'a (PortProtocol, u16)>,
}

/// Why a Service may not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// By this Service, which shares with nobody or under another key.
    Alone(RequestIx),
    /// By this Service under the same key, but the two do not go together.
    Incompatible(RequestIx),
}

impl Taken {
    pub const fn holder(self) -> RequestIx {
        match self {
            Taken::Alone(holder) | Taken::Incompatible(holder) => holder,
        }
    }
}

#[derive(Debug)]
pub(super) struct Occupancy<'a> {
    requests: &'a [&'a Request],
    tenancies: BTreeMap<Addr, Tenancy<'a>>,
    /// The addresses held under each sharing key.
    by_key: BTreeMap<&'a str, BTreeSet<Addr>>,
    /// How many of those have a port taken: as many as there are addresses, and none can be shared.
    ports_by_key: BTreeMap<(&'a str, &'a (PortProtocol, u16)), usize>,
    /// Addresses that nobody may join: those of other balancers' Services, and those that a status still
    /// names although its Service lets go of them.
    blocked: BTreeMap<Addr, RequestIx>,
}

impl<'a> Occupancy<'a> {
    pub fn new(requests: &'a [&'a Request]) -> Occupancy<'a> {
        Occupancy {
            requests,
            tenancies: BTreeMap::new(),
            by_key: BTreeMap::new(),
            ports_by_key: BTreeMap::new(),
            blocked: BTreeMap::new(),
        }
    }

    /// The first to block an address is named.
    pub fn block(&mut self, addr: Addr, holder: RequestIx) {
        self.blocked.entry(addr).or_insert(holder);
    }

    pub fn blocked(&self, addr: Addr) -> Option<RequestIx> {
        self.blocked.get(&addr).copied()
    }

    pub fn is_taken(&self, addr: Addr) -> bool {
        self.tenancies.contains_key(&addr) || self.blocked.contains_key(&addr)
    }

    /// Every address that is taken, once.
    pub fn addresses(&self) -> impl Iterator<Item = Addr> {
        let blocked = self
            .blocked
            .keys()
            .filter(|addr| !self.tenancies.contains_key(addr));
        self.tenancies.keys().chain(blocked).copied()
    }

    pub fn holders(&self, addr: Addr) -> impl Iterator<Item = RequestIx> {
        let tenancy = self.tenancies.get(&addr).into_iter();
        tenancy.flat_map(|tenancy| [tenancy.first].into_iter().chain(tenancy.more.iter().copied()))
    }

    /// Whether `ix` may not be on `addr` beside those of our class who are there.
    pub fn refusal(&self, addr: Addr, ix: RequestIx) -> Option<Taken> {
        let tenancy = self.tenancies.get(&addr)?;
        let request = self.requests[ix.0];
        let key = |request: &'a Request| request.sharing.as_ref().map(|sharing| &sharing.key);
        for kind in [tenancy.first].iter().chain(&tenancy.kinds) {
            let other = self.requests[kind.0];
            if key(request).is_none() || key(request) != key(other) {
                return Some(Taken::Alone(*kind));
            }
            if !request.may_share(other) {
                return Some(Taken::Incompatible(*kind));
            }
        }
        let clash = request.ports.iter().any(|port| tenancy.ports.contains(port));
        clash.then_some(Taken::Incompatible(tenancy.first))
    }

    /// The addresses under the key of `ix` that it could perhaps share, in order.
    pub fn shareable(&self, ix: RequestIx) -> impl Iterator<Item = Addr> {
        let request = self.requests[ix.0];
        let addresses = request.sharing.as_ref().and_then(|sharing| {
            let addresses = self.by_key.get(&*sharing.key)?;
            let taken = |port| self.ports_by_key.get(&(&*sharing.key, port)).copied();
            let full = request
                .ports
                .iter()
                .any(|port| taken(port) == Some(addresses.len()));
            (!full).then_some(addresses)
        });
        addresses
            .into_iter()
            .flatten()
            .copied()
            .filter(move |addr| self.refusal(*addr, ix).is_none())
    }

    /// Call only when [`Self::refusal`] has nothing to say.
    pub fn join(&mut self, addr: Addr, ix: RequestIx) {
        let request = self.requests[ix.0];
        let tenancy = match self.tenancies.entry(addr) {
            Entry::Vacant(place) => place.insert(Tenancy {
                first: ix,
                more: vec![],
                kinds: vec![],
                ports: BTreeSet::new(),
            }),
            Entry::Occupied(tenancy) => {
                let tenancy = tenancy.into_mut();
                let alike = |kind: &RequestIx| self.requests[kind.0].shares_alike(request);
                let known = alike(&tenancy.first) || tenancy.kinds.iter().any(alike);
                if !known {
                    tenancy.kinds.push(ix);
                }
                tenancy.more.push(ix);
                tenancy
            }
        };
        let Some(sharing) = &request.sharing else {
            return;
        };
        self.by_key.entry(&sharing.key).or_default().insert(addr);
        for port in &request.ports {
            tenancy.ports.insert(port);
            *self.ports_by_key.entry((&sharing.key, port)).or_default() += 1;
        }
    }
}
