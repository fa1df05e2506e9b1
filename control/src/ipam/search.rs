//! The search for addresses nobody named: which pools, in which order, and what in them is free.

use maglane_shared::addr::{Addr, Family};

use super::answer::Standing;
use super::grant::Choice;
use super::reason::Reason;
use super::request::FamilyPolicy;
use super::run::Run;
use super::{PoolIx, RequestIx};

/// Where to look for an address.
#[derive(Clone, Copy)]
enum Search {
    /// On addresses of the same sharing key.
    Shared,
    /// There, then among free ones.
    Any,
}

impl Run<'_> {
    /// Kept addresses first, then one pool for all families, then family by family: a second family comes
    /// from the pool of the first where that has ranges of it.
    pub fn automatic(&mut self, ix: RequestIx, missing: &[Family]) -> Choice {
        let request = self.request(ix);
        let mut choice = Choice::default();
        let kept = missing
            .iter()
            .filter_map(|family| self.kept(ix, *family))
            .collect();
        choice.addresses = kept;
        let has = |choice: &Choice, family: Family| {
            choice.addresses.iter().any(|(addr, _)| addr.family() == family)
        };
        let rest: Vec<Family> = missing
            .iter()
            .copied()
            .filter(|family| !has(&choice, *family))
            .collect();
        let pools = match self.world.candidates(request) {
            Ok(pools) => pools,
            Err(reason) => {
                choice.lacking = (!rest.is_empty()).then_some(reason);
                vec![]
            }
        };
        let home = self.home(ix).or(choice.addresses.first().map(|(_, pool)| *pool));
        match home.is_none().then(|| self.together(&pools, &rest, ix)).flatten() {
            Some(all) => choice.addresses = all,
            None if choice.lacking.is_none() => self.one_by_one(&mut choice, home, &pools, &rest, ix),
            None => {}
        }
        let nothing = self.claims[ix.0].slots.is_empty();
        if request.policy == FamilyPolicy::RequireDualStack && nothing && choice.lacking.is_some() {
            choice.addresses.clear();
        }
        choice
    }

    /// An address that a reservation keeps for the Service.
    fn kept(&self, ix: RequestIx, family: Family) -> Option<(Addr, PoolIx)> {
        let kept = self.keeping.for_service(&self.request(ix).name).iter();
        kept.filter(|addr| addr.family() == family)
            .find_map(|addr| Some((*addr, self.obtain(*addr, ix).ok()?)))
    }

    /// The pool of an address that the Service has for good.
    fn home(&self, ix: RequestIx) -> Option<PoolIx> {
        self.claims[ix.0]
            .slots
            .iter()
            .find_map(|slot| match slot.standing {
                Standing::Kept | Standing::Granted => slot.pool,
                Standing::Retained(_) => None,
            })
    }

    /// An address of each family, all from one pool.
    fn together(
        &mut self,
        pools: &[PoolIx],
        families: &[Family],
        ix: RequestIx,
    ) -> Option<Vec<(Addr, PoolIx)>> {
        for search in [Search::Shared, Search::Any] {
            for pool in pools {
                let found: Option<Vec<_>> = families
                    .iter()
                    .map(|family| Some((self.find(*pool, *family, ix, search)?, *pool)))
                    .collect();
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    fn one_by_one(
        &mut self,
        choice: &mut Choice,
        mut home: Option<PoolIx>,
        pools: &[PoolIx],
        families: &[Family],
        ix: RequestIx,
    ) {
        for family in families {
            let same = home.filter(|home| pools.contains(home) && self.world.pool(*home).space.has(*family));
            let pools = same.as_ref().map_or(pools, std::slice::from_ref);
            match self.together(pools, &[*family], ix) {
                Some(found) => {
                    home = home.or(found.first().map(|(_, pool)| *pool));
                    choice.addresses.extend(found);
                }
                None => {
                    let reason = self.shortage(pools, *family, ix);
                    choice.lack(reason);
                }
            }
        }
    }

    /// Why none of these pools has an address of that family to give.
    fn shortage(&self, pools: &[PoolIx], family: Family, ix: RequestIx) -> Reason {
        let with_family = || {
            pools
                .iter()
                .map(|ix| self.world.pool(*ix))
                .filter(|view| view.space.has(family))
        };
        if with_family().any(|view| view.closed().is_none()) {
            return Reason::OutOfIps { family };
        }
        let asked = self.request(ix).pool.clone();
        match (with_family().find_map(|view| view.closed()), asked) {
            (Some(closed), _) => closed,
            (None, Some(pool)) => Reason::PoolWithoutFamily { pool, family },
            (None, None) => Reason::NoPool { family },
        }
    }

    fn find(&mut self, pool: PoolIx, family: Family, ix: RequestIx, search: Search) -> Option<Addr> {
        let view = self.world.pool(pool);
        if view.closed().is_some() {
            return None;
        }
        let fits = |addr: &Addr| {
            addr.family() == family
                && view.space.holds(*addr)
                && self.occupancy.blocked(*addr).is_none()
                && self.kept_from(ix, *addr).is_none()
        };
        let shared = self.occupancy.shareable(ix).find(fits);
        match search {
            Search::Shared => shared,
            Search::Any => shared.or_else(|| self.first_free(pool, family)),
        }
    }

    /// The first address in listed order that nobody has or keeps.
    fn first_free(&mut self, pool: PoolIx, family: Family) -> Option<Addr> {
        let space = &self.world.pool(pool).space;
        let mut cursor = self.cursors.get(&(pool, family)).copied().unwrap_or_default();
        let mut found = None;
        while let Some(range) = space.ranges(family).get(cursor.range) {
            let mut at = cursor.next.unwrap_or(range.first());
            while at <= range.last() {
                if space.usable(at) && !self.occupancy.is_taken(at) && !self.keeping.keeps(at) {
                    found = Some(at);
                    break;
                }
                at = Addr::from_bits(at.bits() + 1);
            }
            cursor.next = Some(at);
            if found.is_some() {
                break;
            }
            cursor.range += 1;
            cursor.next = None;
        }
        self.cursors.insert((pool, family), cursor);
        found
    }
}
