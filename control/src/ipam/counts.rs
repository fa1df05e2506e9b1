//! How the pools are used, once everything is given.

use std::collections::BTreeMap;

use maglane_shared::addr::{Addr, Family};

use super::answer::{Counts, PoolState, Standing};
use super::reason::Retained;
use super::run::Run;
use super::world::PoolView;

impl Run<'_> {
    pub fn pool_states(&self) -> BTreeMap<Box<str>, PoolState> {
        let mut taken: Vec<[Taken; 2]> = vec![[Taken::default(); 2]; self.world.pools.len()];
        let reserved = self
            .keeping
            .addresses()
            .filter(|addr| !self.occupancy.is_taken(*addr));
        let reserved = reserved.map(|addr| {
            (
                addr,
                Taken {
                    reserved: 1,
                    ..Taken::default()
                },
            )
        });
        let slots = self.claims.iter().flat_map(|claim| &claim.slots);
        let mut had: Vec<Addr> = slots.map(|slot| slot.addr).collect();
        had.sort_unstable();
        let occupied = self
            .occupancy
            .addresses()
            .map(|addr| match had.binary_search(&addr).is_ok() {
                true => (
                    addr,
                    Taken {
                        assigned: 1,
                        ..Taken::default()
                    },
                ),
                false => (
                    addr,
                    Taken {
                        blocked: 1,
                        ..Taken::default()
                    },
                ),
            });
        for (addr, one) in occupied.chain(reserved) {
            for pool in self.world.pools_of(addr) {
                taken[pool.0][addr.family() as usize].add(one);
            }
        }
        let state = |(view, [v4, v6]): (&PoolView<'_>, [Taken; 2])| {
            let state = PoolState {
                v4: v4.counts(view.space.size(Family::V4)),
                v6: v6.counts(view.space.size(Family::V6)),
                conflict: view.conflict.clone(),
                retained: vec![],
            };
            (view.pool.name.clone(), state)
        };
        let mut states = self.world.pools.iter().zip(taken).map(state).collect();
        self.add_retained(&mut states);
        states
    }

    fn add_retained(&self, states: &mut BTreeMap<Box<str>, PoolState>) {
        for ix in self.ours() {
            let request = self.request(ix);
            for slot in &self.claims[ix.0].slots {
                let by_pool = match &slot.standing {
                    Standing::Retained(
                        Retained::PoolGone | Retained::PoolDisabled | Retained::PoolSelectorMismatch,
                    ) => true,
                    Standing::Retained(Retained::AwaitingRequested | Retained::HeldElsewhere(_))
                    | Standing::Kept
                    | Standing::Granted => false,
                };
                let pool = self.pool_name(ix, slot).filter(|_| by_pool);
                if let Some(state) = pool.and_then(|pool| states.get_mut(&pool)) {
                    state.retained.push((request.name.clone(), slot.addr));
                }
            }
        }
        for state in states.values_mut() {
            state.retained.sort_unstable();
        }
    }
}

/// Addresses of one family of one pool that are not to be had.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    assigned: u64,
    reserved: u64,
    /// By Services of another balancer, or on their way out.
    blocked: u64,
}

impl Taken {
    const fn add(&mut self, other: Taken) {
        self.assigned += other.assigned;
        self.reserved += other.reserved;
        self.blocked += other.blocked;
    }

    fn counts(self, total: u128) -> Counts {
        let Taken {
            assigned,
            reserved,
            blocked,
        } = self;
        let available = total - u128::from(assigned + reserved + blocked);
        let shown = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
        Counts {
            total: shown(total),
            assigned,
            reserved,
            available: shown(available),
        }
    }
}
