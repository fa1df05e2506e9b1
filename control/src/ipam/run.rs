//! One allocation under way: who has which address so far, and the answer at the end.

use std::collections::BTreeMap;

use maglane_shared::addr::{Addr, Family};

use super::answer::{Allocation, Answer, Assigned, Standing};
use super::keeping::Keeping;
use super::occupancy::Occupancy;
use super::reason::{Reason, Released, Retained};
use super::request::{Class, Request};
use super::world::World;
use super::{PoolIx, RequestIx, Reservation};

/// An address that a Service has.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub addr: Addr,
    pub pool: Option<PoolIx>,
    pub standing: Standing,
}

impl Slot {
    /// It goes as soon as the Service can have what it asks for.
    pub fn is_parked(&self) -> bool {
        self.standing == Standing::Retained(Retained::AwaitingRequested)
    }
}

/// What has become of a request so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Claim {
    /// At most one a family, and beside that one parked.
    pub slots: Vec<Slot>,
    pub released: Vec<(Addr, Released)>,
    pub reason: Option<Reason>,
}

impl Claim {
    pub fn has(&self, family: Family) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.addr.family() == family && !slot.is_parked())
    }
}

/// How far the search for a free address has come in one family of one pool.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    pub range: usize,
    pub next: Option<Addr>,
}

pub(super) struct Run<'a> {
    pub world: &'a World<'a>,
    pub occupancy: Occupancy<'a>,
    pub keeping: Keeping<'a>,
    pub claims: Vec<Claim>,
    /// Nothing becomes free in an allocation, so they only go forward.
    pub cursors: BTreeMap<(PoolIx, Family), Cursor>,
}

impl<'a> Run<'a> {
    pub fn new(world: &'a World<'a>) -> Run<'a> {
        Run {
            world,
            occupancy: Occupancy::new(&world.requests),
            keeping: Keeping::default(),
            claims: vec![Claim::default(); world.requests.len()],
            cursors: BTreeMap::new(),
        }
    }

    pub fn request(&self, ix: RequestIx) -> &'a Request {
        self.world.requests[ix.0]
    }

    pub fn claim(&mut self, ix: RequestIx) -> &mut Claim {
        &mut self.claims[ix.0]
    }

    /// The requests of our class, by rank.
    pub fn ours(&self) -> impl Iterator<Item = RequestIx> + use<'a> {
        let world = self.world;
        let all = (0..world.requests.len()).map(RequestIx);
        all.filter(move |ix| match world.requests[ix.0].class {
            Class::Ours => true,
            Class::Other => false,
        })
    }

    /// The families that a request wants and has not; or what is wrong with the wish.
    pub fn missing(&self, ix: RequestIx) -> Result<Vec<Family>, Reason> {
        let claim = &self.claims[ix.0];
        let mut wish = self.request(ix).wish()?;
        wish.retain(|family| !claim.has(*family));
        Ok(wish)
    }

    pub fn allocation(self, reservations: &[&Reservation]) -> Allocation {
        let reservations = self.reservation_states(reservations);
        let pools = self.pool_states();
        let answer = |ix| (self.request(ix).name.clone(), self.answer(ix));
        Allocation {
            services: self.ours().map(answer).collect(),
            pools,
            reservations,
        }
    }

    fn answer(&self, ix: RequestIx) -> Answer {
        let claim = &self.claims[ix.0];
        let assigned = |slot: &Slot| Assigned {
            addr: slot.addr,
            pool: self.pool_name(ix, slot),
            standing: slot.standing.clone(),
        };
        let mut addresses: Vec<Assigned> = claim.slots.iter().map(assigned).collect();
        addresses.sort_by_key(|assigned| (assigned.addr.family(), assigned.addr));
        Answer {
            addresses,
            released: claim.released.clone(),
            reason: claim.reason.clone(),
        }
    }

    /// The pool that an address is from; once no pool has it, the one that it came from.
    pub fn pool_name(&self, ix: RequestIx, slot: &Slot) -> Option<Box<str>> {
        if slot.standing == Standing::Retained(Retained::PoolGone) {
            let held = self.request(ix).held.iter().filter(|held| held.addr == slot.addr);
            return held.filter_map(|held| held.pool.clone()).next();
        }
        Some(self.world.pool(slot.pool?).pool.name.clone())
    }
}
