//! Addresses for Services of type LoadBalancer: a snapshot in, the answer for every Service out. Pure and
//! deterministic. Written to the statuses, an answer stays as it is; what was released is given away then.
//!
//! ```text
//! Snapshot ─► world: pools by age, requests by rank
//!             read_back: every address that somebody has, before the first is given away
//!             keeping: reservations
//!             grant, search: who gets what
//!             counts: how the pools are used ─► Allocation
//! ```
//!
//! `ask` reads the annotations of a Service, `change` compares two allocations. Everything is intervals and
//! ordered maps: n Services cost n log n, whatever the size of the pools.

mod answer;
pub mod ask;
mod change;
mod counts;
#[cfg(test)]
mod fixtures;
mod grant;
mod keeping;
mod occupancy;
mod pool;
#[cfg(test)]
mod properties;
mod range;
mod read_back;
mod reason;
mod request;
mod run;
mod search;
mod selector;
#[cfg(test)]
mod tests;
mod world;

use std::collections::BTreeMap;

pub use answer::{
    Allocation, Answer, Assigned, Conflict, Counts, PoolState, ReservationProblem, ReservationState, Standing,
};
pub use change::{Change, ChangeKind, changes};
pub use pool::Pool;
pub use range::{Ends, Range, RangeError};
pub use reason::{Reason, Released, Retained, SATISFIED};
pub use request::{
    Asked, BackendKey, Class, Disruption, FamilyPolicy, Held, Namespaces, Request, Reservation, Sharing,
};
pub use selector::{Labels, Requirement, Selector};

/// Place of a pool among all, by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PoolIx(usize);

/// Rank of a request among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RequestIx(usize);

/// All that counts, in any order. Complete: an object that is missing here is deleted, so wait until every
/// kind has synced.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    pub pools: Vec<&'a Pool>,
    pub reservations: Vec<&'a Reservation>,
    /// The labels of every namespace.
    pub namespaces: &'a BTreeMap<Box<str>, Labels>,
    /// Those of other classes, too: what they have is taken.
    pub requests: Vec<&'a Request>,
}

/// Who gets which address.
pub fn allocate(snapshot: &Snapshot<'_>) -> Allocation {
    let world = world::World::new(snapshot);
    let mut run = run::Run::new(&world);
    run.read_back();
    run.reserve(&snapshot.reservations);
    run.grant();
    run.allocation(&snapshot.reservations)
}
