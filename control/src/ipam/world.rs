//! The snapshot in the order of the rules: pools by age, requests by rank, and who owns which range.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use maglane_shared::addr::{Addr, Family};

use super::answer::Conflict;
use super::pool::{Pool, Space};
use super::range::RangeMap;
use super::reason::Reason;
use super::request::Request;
use super::selector::Labels;
use super::{PoolIx, RequestIx, Snapshot};
use crate::model::ObjectName;

pub(super) struct PoolView<'a> {
    pub pool: &'a Pool,
    pub space: Space,
    pub conflict: Option<Conflict>,
}

impl PoolView<'_> {
    /// Gives new addresses at all.
    pub fn closed(&self) -> Option<Reason> {
        let pool = || self.pool.name.clone();
        if self.conflict.is_some() {
            Some(Reason::PoolConflict { pool: pool() })
        } else if self.pool.disabled {
            Some(Reason::PoolDisabled { pool: pool() })
        } else {
            None
        }
    }
}

/// Where an address lies, as one Service sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    /// In a pool that is for this Service.
    Pool(PoolIx),
    /// Only in pools that are for others, the oldest of which this is.
    Foreign(PoolIx),
    Nowhere,
}

pub(super) struct World<'a> {
    /// By age, then name.
    pub pools: Vec<PoolView<'a>>,
    by_name: BTreeMap<&'a str, PoolIx>,
    /// In the order of automatic allocation.
    by_priority: Vec<PoolIx>,
    /// The oldest pool of every address.
    territory: RangeMap<PoolIx>,
    conflicted: Vec<PoolIx>,
    namespaces: &'a BTreeMap<Box<str>, Labels>,
    /// By age, then name; each once.
    pub requests: Vec<&'a Request>,
    by_service: BTreeMap<&'a ObjectName, RequestIx>,
}

impl<'a> World<'a> {
    pub fn new(snapshot: &Snapshot<'a>) -> World<'a> {
        let mut world = World {
            pools: vec![],
            by_name: BTreeMap::new(),
            by_priority: vec![],
            territory: RangeMap::default(),
            conflicted: vec![],
            namespaces: snapshot.namespaces,
            requests: vec![],
            by_service: BTreeMap::new(),
        };
        let mut pools = snapshot.pools.clone();
        pools.sort_by_key(|pool| pool.age());
        for pool in pools {
            world.add_pool(pool);
        }
        world.by_priority = (0..world.pools.len()).map(PoolIx).collect();
        // 0 comes last; the sort is stable, so age and name decide between equals.
        let priority = |ix: &PoolIx| world.pools[ix.0].pool.priority.wrapping_sub(1);
        world.by_priority.sort_by_key(priority);
        let mut requests = snapshot.requests.clone();
        requests.sort_by_key(|request| request.rank());
        for request in requests {
            if let Entry::Vacant(place) = world.by_service.entry(&request.name) {
                place.insert(RequestIx(world.requests.len()));
                world.requests.push(request);
            }
        }
        world
    }

    fn add_pool(&mut self, pool: &'a Pool) {
        let ix = PoolIx(self.pools.len());
        let space = Space::of(pool);
        let ranges = [Family::V4, Family::V6]
            .into_iter()
            .flat_map(|family| space.ranges(family));
        let overlap = ranges
            .clone()
            .find_map(|range| self.territory.touching(*range).next());
        let conflict = overlap.map(|(range, with)| Conflict {
            with: self.pools[with.0].pool.name.clone(),
            range,
        });
        for range in ranges {
            self.territory.claim(*range, ix);
        }
        if conflict.is_some() {
            self.conflicted.push(ix);
        }
        self.by_name.entry(&pool.name).or_insert(ix);
        self.pools.push(PoolView {
            pool,
            space,
            conflict,
        });
    }

    pub fn pool(&self, ix: PoolIx) -> &PoolView<'a> {
        &self.pools[ix.0]
    }

    pub fn named(&self, name: &str) -> Option<PoolIx> {
        self.by_name.get(name).copied()
    }

    pub fn service(&self, name: &ObjectName) -> Option<RequestIx> {
        self.by_service.get(name).copied()
    }

    pub fn namespace(&self, name: &str) -> Option<&'a Labels> {
        self.namespaces.get(name)
    }

    pub fn admits(&self, ix: PoolIx, request: &Request) -> bool {
        self.pool(ix).pool.admits(request, self.namespaces)
    }

    /// The pools that have an address, the oldest first: one, unless pools overlap.
    pub fn pools_of(&self, addr: Addr) -> impl Iterator<Item = PoolIx> {
        let oldest = self.territory.get(addr);
        let others = self
            .conflicted
            .iter()
            .copied()
            .filter(move |ix| Some(*ix) != oldest);
        let has = move |ix: &PoolIx| self.pool(*ix).space.holds(addr);
        oldest
            .into_iter()
            .chain(others.filter(move |_| oldest.is_some()))
            .filter(has)
    }

    /// Where pools overlap: the one asked for, else the oldest that is for this Service and not disabled.
    pub fn site(&self, addr: Addr, request: &Request) -> Site {
        let asked = request.pool.as_ref().and_then(|name| self.named(name));
        if let Some(asked) = asked
            && self.pool(asked).space.holds(addr)
            && self.admits(asked, request)
        {
            return Site::Pool(asked);
        }
        let mut best = Site::Nowhere;
        for ix in self.pools_of(addr) {
            match (self.admits(ix, request), self.pool(ix).pool.disabled, best) {
                (true, false, _) => return Site::Pool(ix),
                (true, true, Site::Foreign(_) | Site::Nowhere) => best = Site::Pool(ix),
                (false, _, Site::Nowhere) => best = Site::Foreign(ix),
                (true, true, Site::Pool(_)) | (false, _, Site::Pool(_) | Site::Foreign(_)) => {}
            }
        }
        best
    }

    /// The pools to take an address from, best first; never none.
    ///
    /// A pool asked for is the only one. Else those that select the Service come before those that select
    /// nobody; one strict pool among the former rules the latter out.
    pub fn candidates(&self, request: &Request) -> Result<Vec<PoolIx>, Reason> {
        if let Some(name) = &request.pool {
            let pool = || name.clone();
            let ix = self
                .named(name)
                .ok_or_else(|| Reason::PoolNotFound { pool: pool() })?;
            return match self.admits(ix, request) {
                true => Ok(vec![ix]),
                false => Err(Reason::PoolSelectorMismatch { pool: Some(pool()) }),
            };
        }
        let on_their_own = || {
            self.by_priority
                .iter()
                .copied()
                .filter(|ix| self.pool(*ix).pool.auto_assign)
        };
        let (mut pools, shared): (Vec<_>, Vec<_>) = on_their_own()
            .filter(|ix| self.admits(*ix, request))
            .partition(|ix| self.pool(*ix).pool.is_pinned());
        if !pools.iter().any(|ix| self.pool(*ix).pool.strict) {
            pools.extend(shared);
        }
        match (pools.is_empty(), on_their_own().next()) {
            (false, _) => Ok(pools),
            (true, Some(_)) => Err(Reason::PoolSelectorMismatch { pool: None }),
            (true, None) => Err(Reason::NoPool {
                family: request.families().first().copied().unwrap_or(Family::V4),
            }),
        }
    }
}
