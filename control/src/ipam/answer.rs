//! What comes out of an allocation: addresses and reasons by Service, counts by pool.

use std::collections::BTreeMap;
use std::fmt;

use maglane_shared::addr::{Addr, Family};
use serde::{Deserialize, Serialize};

use super::range::Range;
use super::reason::{Reason, Released, Retained, SATISFIED};
use crate::model::ObjectName;

/// How a Service comes to an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It had it and goes on.
    Kept,
    /// New.
    Granted,
    /// It had it and goes on, although it would not get it today.
    Retained(Retained),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    pub addr: Addr,
    /// Where it is from, as far as that is known. To be handed back as [`super::Held::pool`].
    pub pool: Option<Box<str>>,
    pub standing: Standing,
}

/// The answer to one request of our class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// IPv4 first.
    pub addresses: Vec<Assigned>,
    /// What it had and has no more.
    pub released: Vec<(Addr, Released)>,
    /// Why it has not all that it asks for.
    pub reason: Option<Reason>,
}

impl Answer {
    pub fn addrs(&self) -> impl Iterator<Item = Addr> {
        self.addresses.iter().map(|assigned| assigned.addr)
    }

    pub fn retained(&self) -> impl Iterator<Item = (Addr, &Retained)> {
        self.addresses
            .iter()
            .filter_map(|assigned| match &assigned.standing {
                Standing::Retained(why) => Some((assigned.addr, why)),
                Standing::Kept | Standing::Granted => None,
            })
    }

    /// For a condition: what is missing, else what is only retained, else `Satisfied`.
    pub fn reason_name(&self) -> &'static str {
        match (&self.reason, self.retained().next()) {
            (Some(reason), _) => reason.name(),
            (None, Some((_, retained))) => retained.name(),
            (None, None) => SATISFIED,
        }
    }

    /// One sentence for each address and for what is missing.
    pub fn message(&self) -> String {
        let addresses = self
            .addresses
            .iter()
            .map(|assigned| match (&assigned.standing, &assigned.pool) {
                (Standing::Retained(why), _) => format!("{}: {why}", assigned.addr),
                (Standing::Kept | Standing::Granted, Some(pool)) => {
                    format!("{} from address pool {pool}", assigned.addr)
                }
                (Standing::Kept | Standing::Granted, None) => assigned.addr.to_string(),
            });
        let missing = self.reason.iter().map(ToString::to_string);
        addresses.chain(missing).collect::<Vec<_>>().join(". ")
    }
}

/// Addresses of one family of one pool; `u64::MAX` stands for that many and more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub total: u64,
    /// Services have them; one that several share counts once.
    pub assigned: u64,
    /// Kept for Services that do not have them.
    pub reserved: u64,
    pub available: u64,
}

/// The older pool that a pool overlaps with, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    pub with: Box<str>,
    pub range: Range,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolState {
    pub v4: Counts,
    pub v6: Counts,
    /// It gives nothing while this lasts; what it gave stays.
    pub conflict: Option<Conflict>,
    /// Addresses that Services only retain after a change of this pool, by Service.
    pub retained: Vec<(ObjectName, Addr)>,
}

impl PoolState {
    pub const fn counts(&self, family: Family) -> &Counts {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// Why a reservation keeps one of its addresses for nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReservationProblem {
    /// No pool has it.
    AddressNotInPool,
    /// Its pool is not for the reservation's namespace.
    PoolSelectorMismatch { pool: Box<str> },
    /// An older reservation keeps it.
    AlreadyReserved { by: ObjectName },
    /// Another Service has it; the reservation counts once that lets it go.
    AlreadyAllocated { holder: ObjectName },
}

impl ReservationProblem {
    pub const fn name(&self) -> &'static str {
        match self {
            ReservationProblem::AddressNotInPool => "AddressNotInPool",
            ReservationProblem::PoolSelectorMismatch { .. } => "PoolSelectorMismatch",
            ReservationProblem::AlreadyReserved { .. } => "AlreadyReserved",
            ReservationProblem::AlreadyAllocated { .. } => "AlreadyAllocated",
        }
    }
}

/// What is wrong; after the semicolon, what to do.
impl fmt::Display for ReservationProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReservationProblem::AddressNotInPool => f.write_str("no address pool has it; add it to one"),
            ReservationProblem::PoolSelectorMismatch { pool } => {
                write!(
                    f,
                    "address pool {pool} is not for this namespace; widen its serviceAllocation"
                )
            }
            ReservationProblem::AlreadyReserved { by } => {
                write!(f, "AddressReservation {by} keeps it; delete one of the two")
            }
            ReservationProblem::AlreadyAllocated { holder } => {
                write!(f, "Service {holder} has it; it is kept once that lets it go")
            }
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationState {
    /// What it keeps; for its status, which is the memory of a reservation that lists no addresses.
    pub kept: Vec<Addr>,
    pub problems: Vec<(Addr, ReservationProblem)>,
}

/// Everything an allocation comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// By Service, those of our class.
    pub services: BTreeMap<ObjectName, Answer>,
    pub pools: BTreeMap<Box<str>, PoolState>,
    pub reservations: BTreeMap<ObjectName, ReservationState>,
}
