//! The addresses that Services already have, read back before the first new one is given away: a restart
//! changes nothing. An address goes only when its Service no longer wants it, when an older Service has it as
//! well, or when somebody has agreed to disruption.

use maglane_shared::addr::Addr;

use super::RequestIx;
use super::answer::Standing;
use super::reason::{Released, Retained};
use super::request::{Asked, Class, Disruption, Held, Request};
use super::run::{Run, Slot};
use super::world::Site;

impl Run<'_> {
    pub fn read_back(&mut self) {
        for (at, request) in self.world.requests.iter().enumerate() {
            match request.class {
                Class::Ours => {}
                Class::Other => {
                    for held in &request.held {
                        self.occupancy.block(held.addr, RequestIx(at));
                    }
                }
            }
        }
        for ix in self.ours() {
            for held in in_order_of_preference(self.request(ix)) {
                match self.judge(ix, held) {
                    Ok(slot) => {
                        self.occupancy.join(slot.addr, ix);
                        self.claim(ix).slots.push(slot);
                    }
                    Err(why) => self.let_go(ix, held.addr, why),
                }
            }
        }
    }

    /// The address is nobody else's while the status names it, unless somebody else has it already.
    fn let_go(&mut self, ix: RequestIx, addr: Addr, why: Released) {
        match why {
            Released::HeldBy(_) => {}
            Released::NotWanted | Released::Replaced | Released::Acknowledged(_) => {
                self.occupancy.block(addr, ix)
            }
        }
        self.claim(ix).released.push((addr, why));
    }

    /// Whether an address stays with its Service.
    fn judge(&self, ix: RequestIx, held: &Held) -> Result<Slot, Released> {
        let request = self.request(ix);
        let addr = held.addr;
        let family = addr.family();
        if self.claims[ix.0].has(family) || !request.families().contains(&family) {
            return Err(Released::NotWanted);
        }
        if let Some(taken) = self.occupancy.refusal(addr, ix) {
            return Err(Released::HeldBy(self.request(taken.holder()).name.clone()));
        }
        let site = self.world.site(addr, request);
        let pool = match site {
            Site::Pool(pool) | Site::Foreign(pool) => Some(pool),
            Site::Nowhere => None,
        };
        let standing = match self.retained(request, held, site) {
            Some(why) if self.may_go(request, held, site, &why) => return Err(Released::Acknowledged(why)),
            Some(why) => Standing::Retained(why),
            None => Standing::Kept,
        };
        Ok(Slot { addr, pool, standing })
    }

    /// Why the Service would not get this address today.
    fn retained(&self, request: &Request, held: &Held, site: Site) -> Option<Retained> {
        if self.asks_for_another(request, held, site) {
            return Some(Retained::AwaitingRequested);
        }
        let holder = self.occupancy.blocked(held.addr).map(|ix| self.request(ix));
        if let Some(holder) = holder.filter(|holder| holder.class == Class::Other) {
            return Some(Retained::HeldElsewhere(holder.name.clone()));
        }
        match site {
            Site::Nowhere => Some(Retained::PoolGone),
            Site::Foreign(_) => Some(Retained::PoolSelectorMismatch),
            Site::Pool(pool) => {
                let pool = self.world.pool(pool).pool;
                let moved = request.pool.as_ref().is_some_and(|asked| *asked != pool.name);
                match (moved, pool.disabled) {
                    (true, _) => Some(Retained::PoolGone),
                    (false, true) => Some(Retained::PoolDisabled),
                    (false, false) => None,
                }
            }
        }
    }

    /// Whether the Service has changed its mind; a pool that has lost the address is not the Service's doing.
    fn asks_for_another(&self, request: &Request, held: &Held, site: Site) -> bool {
        let by_address = match &request.asked {
            Asked::Addresses(addresses) => !addresses.contains(&held.addr),
            Asked::Nothing | Asked::Invalid(_) => false,
        };
        let in_pool = match site {
            Site::Pool(pool) => Some(&self.world.pool(pool).pool.name),
            Site::Foreign(_) | Site::Nowhere => None,
        };
        let by_pool = in_pool.is_some_and(|name| {
            request.pool.as_ref().is_some_and(|asked| asked != name) && held.pool != request.pool
        });
        by_address || by_pool
    }

    /// Whether somebody has agreed that the address goes: the Service, its pool, or the pool it came from.
    fn may_go(&self, request: &Request, held: &Held, site: Site, why: &Retained) -> bool {
        let pool = match (why, site) {
            // The Service will let go by itself, or another balancer must.
            (Retained::AwaitingRequested | Retained::HeldElsewhere(_), _) => return false,
            (_, Site::Pool(pool) | Site::Foreign(pool)) => Some(pool),
            (_, Site::Nowhere) => held.pool.as_ref().and_then(|name| self.world.named(name)),
        };
        let of_pool = pool.map_or(Disruption::Refused, |pool| self.world.pool(pool).pool.disruption);
        request.disruption == Disruption::Allowed || of_pool == Disruption::Allowed
    }
}

/// What a request has, each address once, those first that it asks for.
fn in_order_of_preference(request: &Request) -> Vec<&Held> {
    let mut first: Vec<&Held> = vec![];
    for held in &request.held {
        match first.iter_mut().find(|known| known.addr == held.addr) {
            // Said twice: where it came from counts.
            Some(known) if known.pool.is_none() => *known = held,
            Some(_) => {}
            None => first.push(held),
        }
    }
    let asked = |held: &&Held| match &request.asked {
        Asked::Addresses(addresses) => addresses.contains(&held.addr),
        Asked::Nothing | Asked::Invalid(_) => false,
    };
    first.sort_by_key(|held| !asked(held));
    first
}
