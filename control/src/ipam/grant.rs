//! Who gets what is free. Services that name addresses go first, as nothing else will do for them; then those
//! without an address; then those that have one and want another. Within each: age, then name.
//!
//! A move lets go of an address only once the new one is there. What is let go stays taken in this
//! allocation: it is free once the Service's status no longer names it. So any part of an allocation may be
//! written and the rest lost, and still nobody has an address twice.

use maglane_shared::addr::{Addr, Family};

use super::answer::Standing;
use super::occupancy::Taken;
use super::reason::{Reason, Released};
use super::request::Asked;
use super::run::{Run, Slot};
use super::world::Site;
use super::{PoolIx, RequestIx};

/// What can be had.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub addresses: Vec<(Addr, PoolIx)>,
    /// Why that is not all.
    pub lacking: Option<Reason>,
}

impl Choice {
    /// What stays wrong is said before what others may give back.
    pub fn lack(&mut self, reason: Reason) {
        match &self.lacking {
            Some(said) if reason.may_pass() || !said.may_pass() => {}
            Some(_) | None => self.lacking = Some(reason),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Named,
    New,
    Moving,
}

impl Run<'_> {
    pub fn grant(&mut self) {
        let mut turns: Vec<(Turn, RequestIx)> = self.ours().map(|ix| (self.turn(ix), ix)).collect();
        turns.sort_unstable();
        for (_, ix) in turns {
            self.attempt(ix);
        }
    }

    fn turn(&self, ix: RequestIx) -> Turn {
        match self.request(ix).asked {
            Asked::Addresses(_) => Turn::Named,
            Asked::Nothing | Asked::Invalid(_) => match self.claims[ix.0].slots.iter().any(Slot::is_parked) {
                true => Turn::Moving,
                false => Turn::New,
            },
        }
    }

    /// Gives a request what it lacks, as far as possible.
    fn attempt(&mut self, ix: RequestIx) {
        let choice = match self.missing(ix) {
            Ok(missing) if missing.is_empty() => Choice::default(),
            Ok(missing) => self.choose(ix, &missing),
            Err(reason) => Choice {
                lacking: Some(reason),
                ..Choice::default()
            },
        };
        for (addr, pool) in choice.addresses {
            self.occupancy.join(addr, ix);
            let standing = Standing::Granted;
            let pool = Some(pool);
            self.claim(ix).slots.push(Slot { addr, pool, standing });
        }
        self.claim(ix).reason = choice.lacking;
        self.settle(ix);
    }

    /// Lets go of the addresses that a request now has something better for.
    fn settle(&mut self, ix: RequestIx) {
        let complete = self.missing(ix).is_ok_and(|missing| missing.is_empty());
        let claim = self.claim(ix);
        let families: Vec<Family> = claim
            .slots
            .iter()
            .filter(|slot| !slot.is_parked())
            .map(|slot| slot.addr.family())
            .collect();
        let replaced =
            |slot: &mut Slot| slot.is_parked() && (complete || families.contains(&slot.addr.family()));
        let gone = claim
            .slots
            .extract_if(.., replaced)
            .map(|slot| (slot.addr, Released::Replaced));
        claim.released.extend(gone);
    }

    fn choose(&mut self, ix: RequestIx, missing: &[Family]) -> Choice {
        match &self.request(ix).asked {
            Asked::Addresses(addresses) => {
                let mut choice = Choice::default();
                for addr in addresses.iter().filter(|addr| missing.contains(&addr.family())) {
                    match self.obtain(*addr, ix) {
                        Ok(pool) => choice.addresses.push((*addr, pool)),
                        Err(reason) => choice.lack(reason),
                    }
                }
                // All of them or none.
                if choice.lacking.is_some() {
                    choice.addresses.clear();
                }
                choice
            }
            Asked::Nothing | Asked::Invalid(_) => self.automatic(ix, missing),
        }
    }

    /// The pool that gives `ix` this very address.
    pub fn obtain(&self, addr: Addr, ix: RequestIx) -> Result<PoolIx, Reason> {
        let pool = self.asked_pool(addr, ix)?;
        match self
            .world
            .pool(pool)
            .closed()
            .or_else(|| self.in_the_way(addr, ix))
        {
            Some(reason) => Err(reason),
            None => Ok(pool),
        }
    }

    /// Where an address lies that `ix` asks for, if it may have it.
    fn asked_pool(&self, addr: Addr, ix: RequestIx) -> Result<PoolIx, Reason> {
        let request = self.request(ix);
        let name = |pool: PoolIx| self.world.pool(pool).pool.name.clone();
        let asked = request.pool.as_ref().map(|pool| {
            let pool = pool.clone();
            self.world.named(&pool).ok_or(Reason::PoolNotFound { pool })
        });
        let asked = asked.transpose()?;
        match self.world.site(addr, request) {
            Site::Pool(pool) if asked.is_none_or(|asked| asked == pool) => Ok(pool),
            Site::Foreign(pool) if asked.is_none_or(|asked| asked == pool) => {
                Err(Reason::PoolSelectorMismatch {
                    pool: Some(name(pool)),
                })
            }
            Site::Pool(_) | Site::Foreign(_) | Site::Nowhere => Err(Reason::AddressNotInPool {
                addr,
                pool: asked.map(name),
            }),
        }
    }

    /// Who has an address, so that `ix` cannot.
    fn in_the_way(&self, addr: Addr, ix: RequestIx) -> Option<Reason> {
        let alone = self.occupancy.blocked(addr).map(Taken::Alone);
        let taken = alone.or_else(|| self.occupancy.refusal(addr, ix));
        if let Some(taken) = taken {
            let holder = self.request(taken.holder()).name.clone();
            return Some(match taken {
                Taken::Alone(_) => Reason::AlreadyAllocated { addr, holder },
                Taken::Incompatible(_) => Reason::AlreadyAllocatedIncompatibleService { addr, holder },
            });
        }
        let service = self.kept_from(ix, addr)?.clone();
        Some(Reason::AddressReserved { addr, service })
    }
}
