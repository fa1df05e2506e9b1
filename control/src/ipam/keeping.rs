//! Reservations: addresses kept for a Service, whether it exists or not.
//!
//! A reservation with a list keeps the list. One without keeps what its Service has, and its own status is the
//! memory of that once the Service is deleted. A reservation takes an address from nobody.

use std::collections::BTreeMap;

use maglane_shared::addr::Addr;

use super::answer::{ReservationProblem, ReservationState};
use super::run::Run;
use super::{RequestIx, Reservation};
use crate::model::ObjectName;

/// Who keeps which address.
#[derive(Debug, Default)]
pub(super) struct Keeping<'a> {
    by_addr: BTreeMap<Addr, &'a Reservation>,
    by_service: BTreeMap<&'a ObjectName, Vec<Addr>>,
    problems: BTreeMap<&'a ObjectName, Vec<(Addr, ReservationProblem)>>,
}

impl Keeping<'_> {
    pub fn addresses(&self) -> impl Iterator<Item = Addr> {
        self.by_addr.keys().copied()
    }

    pub fn keeps(&self, addr: Addr) -> bool {
        self.by_addr.contains_key(&addr)
    }

    /// In listed order.
    pub fn for_service(&self, name: &ObjectName) -> &[Addr] {
        self.by_service.get(name).map_or(&[], Vec::as_slice)
    }
}

impl<'a> Run<'a> {
    /// After [`Self::read_back`]: what a Service has decides what a reservation without a list keeps.
    pub fn reserve(&mut self, reservations: &[&'a Reservation]) {
        let mut by_age = reservations.to_vec();
        by_age.sort_by_key(|reservation| reservation.age());
        for reservation in by_age {
            let addresses = match reservation.addresses.is_empty() {
                true => self.remembered(reservation),
                false => reservation.addresses.clone(),
            };
            for addr in addresses {
                match self.objection(reservation, addr) {
                    Some(problem) => {
                        let problems = self.keeping.problems.entry(&reservation.name).or_default();
                        problems.push((addr, problem));
                    }
                    None => {
                        self.keeping.by_addr.insert(addr, reservation);
                        self.keeping
                            .by_service
                            .entry(&reservation.service)
                            .or_default()
                            .push(addr);
                    }
                }
            }
        }
    }

    /// What the status of a reservation without a list adds to what its Service has.
    fn remembered(&self, reservation: &Reservation) -> Vec<Addr> {
        let claim = self
            .world
            .service(&reservation.service)
            .map(|ix| &self.claims[ix.0]);
        let forgotten = |addr: &Addr| {
            claim.is_some_and(|claim| {
                claim.slots.iter().any(|slot| slot.addr.family() == addr.family())
                    || claim.released.iter().any(|(released, _)| released == addr)
            })
        };
        reservation
            .kept
            .iter()
            .copied()
            .filter(|addr| !forgotten(addr))
            .collect()
    }

    fn objection(&self, reservation: &Reservation, addr: Addr) -> Option<ReservationProblem> {
        let namespace = &reservation.name.namespace;
        let labels = self.world.namespace(namespace);
        let mut pools = self
            .world
            .pools_of(addr)
            .map(|ix| self.world.pool(ix).pool)
            .peekable();
        let Some(first) = pools.peek().copied() else {
            return Some(ReservationProblem::AddressNotInPool);
        };
        if !pools.any(|pool| pool.admits_namespace(namespace, labels)) {
            let pool = first.name.clone();
            return Some(ReservationProblem::PoolSelectorMismatch { pool });
        }
        let by = self.keeping.by_addr.get(&addr)?.name.clone();
        Some(ReservationProblem::AlreadyReserved { by })
    }

    /// The Service that `addr` is kept for, unless that is `ix` or is there to share it.
    pub fn kept_from(&self, ix: RequestIx, addr: Addr) -> Option<&'a ObjectName> {
        let service = &self.keeping.by_addr.get(&addr)?.service;
        let there = |holder: RequestIx| self.request(holder).name == *service;
        let open = there(ix) || self.occupancy.holders(addr).any(there);
        (!open).then_some(service)
    }

    pub fn reservation_states(
        &self,
        reservations: &[&Reservation],
    ) -> BTreeMap<ObjectName, ReservationState> {
        let state = |reservation: &&Reservation| {
            let mut problems = self
                .keeping
                .problems
                .get(&reservation.name)
                .cloned()
                .unwrap_or_default();
            let kept = self.kept_by(reservation);
            let taken = |addr: &Addr| Some((*addr, self.held_by_another(reservation, *addr)?));
            problems.extend(kept.iter().filter_map(taken));
            (reservation.name.clone(), ReservationState { kept, problems })
        };
        reservations.iter().map(state).collect()
    }

    /// For its status: a list as it stands, else what the Service has and, family by family, had last.
    fn kept_by(&self, reservation: &Reservation) -> Vec<Addr> {
        if !reservation.addresses.is_empty() {
            return reservation.addresses.clone();
        }
        let slots = self
            .world
            .service(&reservation.service)
            .map(|ix| &self.claims[ix.0].slots);
        let mut kept: Vec<Addr> = slots.into_iter().flatten().map(|slot| slot.addr).collect();
        kept.extend(self.remembered(reservation));
        kept.sort_unstable();
        kept.dedup();
        kept
    }

    fn held_by_another(&self, reservation: &Reservation, addr: Addr) -> Option<ReservationProblem> {
        let keeper = self.keeping.by_addr.get(&addr)?;
        let own = |holder: RequestIx| self.request(holder).name == reservation.service;
        let ours = self.occupancy.holders(addr).next();
        let ours = ours.filter(|_| !self.occupancy.holders(addr).any(own));
        let other = ours.or(self.occupancy.blocked(addr));
        other
            .filter(|_| keeper.name == reservation.name)
            .map(|holder| ReservationProblem::AlreadyAllocated {
                holder: self.request(holder).name.clone(),
            })
    }
}
