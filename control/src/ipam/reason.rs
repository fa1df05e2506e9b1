//! Why a Service has no address, not all of them, or one that it should not have any more.
//!
//! The names are stable: conditions, Events and metrics carry them. They are Cilium's where it has one
//! (Documentation/network/lb-ipam.rst), in CamelCase; each text says what to do.

use std::fmt;

use maglane_shared::addr::{Addr, Family};
use serde::{Deserialize, Serialize};

use crate::model::ObjectName;

/// The reason of a Service that has everything it asks for.
pub const SATISFIED: &str = "Satisfied";

/// Why something asked for was not given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// No pool gives addresses of this family to anybody without being asked.
    NoPool {
        family: Family,
    },
    /// No pool of that name.
    PoolNotFound {
        pool: Box<str>,
    },
    /// The pool, or every pool, is for others.
    PoolSelectorMismatch {
        pool: Option<Box<str>>,
    },
    /// The only pools that would do are disabled.
    PoolDisabled {
        pool: Box<str>,
    },
    /// The only pools that would do overlap with older ones.
    PoolConflict {
        pool: Box<str>,
    },
    /// The pool that it asks for has no range of this family.
    PoolWithoutFamily {
        pool: Box<str>,
        family: Family,
    },
    OutOfIps {
        family: Family,
    },
    /// The wish itself cannot be read.
    InvalidRequest {
        detail: Box<str>,
    },
    /// The addresses asked for are not of the Service's families.
    FamilyMismatch,
    /// No pool, or not the pool asked for, has that address.
    AddressNotInPool {
        addr: Addr,
        pool: Option<Box<str>>,
    },
    /// Another Service has it and shares it with nobody.
    AlreadyAllocated {
        addr: Addr,
        holder: ObjectName,
    },
    /// Another Service with the same sharing key has it, but the two may not be on one address.
    AlreadyAllocatedIncompatibleService {
        addr: Addr,
        holder: ObjectName,
    },
    /// It is kept for another Service.
    AddressReserved {
        addr: Addr,
        service: ObjectName,
    },
}

impl Reason {
    pub const fn name(&self) -> &'static str {
        match self {
            Reason::NoPool { .. } => "NoPool",
            Reason::PoolNotFound { .. } => "PoolNotFound",
            Reason::PoolSelectorMismatch { .. } => "PoolSelectorMismatch",
            Reason::PoolDisabled { .. } => "PoolDisabled",
            Reason::PoolConflict { .. } => "PoolConflict",
            Reason::PoolWithoutFamily { .. } => "PoolWithoutFamily",
            Reason::OutOfIps { .. } => "OutOfIps",
            Reason::InvalidRequest { .. } => "InvalidRequest",
            Reason::FamilyMismatch => "FamilyMismatch",
            Reason::AddressNotInPool { .. } => "AddressNotInPool",
            Reason::AlreadyAllocated { .. } => "AlreadyAllocated",
            Reason::AlreadyAllocatedIncompatibleService { .. } => "AlreadyAllocatedIncompatibleService",
            Reason::AddressReserved { .. } => "AddressReserved",
        }
    }

    /// Others may give back what is missing; everything else somebody must correct.
    pub const fn may_pass(&self) -> bool {
        match self {
            Reason::OutOfIps { .. }
            | Reason::AlreadyAllocated { .. }
            | Reason::AlreadyAllocatedIncompatibleService { .. }
            | Reason::AddressReserved { .. } => true,
            Reason::NoPool { .. }
            | Reason::PoolNotFound { .. }
            | Reason::PoolSelectorMismatch { .. }
            | Reason::PoolDisabled { .. }
            | Reason::PoolConflict { .. }
            | Reason::PoolWithoutFamily { .. }
            | Reason::InvalidRequest { .. }
            | Reason::FamilyMismatch
            | Reason::AddressNotInPool { .. } => false,
        }
    }
}

/// What is wrong; after the semicolon, what to do.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoPool { family } => write!(
                f,
                "no address pool gives {} addresses on its own; create one with autoAssign, or name a pool",
                spelt(*family)
            ),
            Reason::PoolNotFound { pool } => {
                write!(f, "there is no address pool {pool}; correct the name or create it")
            }
            Reason::PoolSelectorMismatch { pool: Some(pool) } => write!(
                f,
                "address pool {pool} is not for this Service; ask for another, or widen its serviceAllocation"
            ),
            Reason::PoolSelectorMismatch { pool: None } => f.write_str(
                "every address pool is for other Services; widen the serviceAllocation of one, or add a pool",
            ),
            Reason::PoolDisabled { pool } => {
                write!(f, "address pool {pool} is disabled; enable it, or ask for another")
            }
            Reason::PoolConflict { pool } => write!(
                f,
                "address pool {pool} overlaps with an older one and gives nothing; take the overlap out of it"
            ),
            Reason::PoolWithoutFamily { pool, family } => write!(
                f,
                "address pool {pool} has no {} range; add one, or ask for another pool",
                spelt(*family)
            ),
            Reason::OutOfIps { family } => write!(
                f,
                "every {} address of the pools for this Service is taken; extend a pool or delete a Service",
                spelt(*family)
            ),
            Reason::InvalidRequest { detail } => write!(f, "the request cannot be read: {detail}"),
            Reason::FamilyMismatch => f.write_str(
                "the addresses asked for are not one of each family of the Service; correct them or ipFamilies",
            ),
            Reason::AddressNotInPool { addr, pool: Some(pool) } => write!(
                f,
                "{addr} is not in address pool {pool}; ask for another address, or for its own pool"
            ),
            Reason::AddressNotInPool { addr, pool: None } => {
                write!(f, "{addr} is in no address pool; ask for another address, or add it to a pool")
            }
            Reason::AlreadyAllocated { addr, holder } => write!(
                f,
                "Service {holder} has {addr}; ask for another address, or give both one sharing key"
            ),
            Reason::AlreadyAllocatedIncompatibleService { addr, holder } => write!(
                f,
                "Service {holder} has {addr} and cannot share it with this one; both need different ports, the \
                 same externalTrafficPolicy (for Local the same selector), and one namespace or mutual consent"
            ),
            Reason::AddressReserved { addr, service } => write!(
                f,
                "{addr} is reserved for Service {service}; ask for another address, or delete the reservation"
            ),
        }
    }
}

const fn spelt(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// Why a Service has an address that it would not get today. It is never taken away without consent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Retained {
    /// No pool has it any more.
    PoolGone,
    PoolDisabled,
    /// The pool is not, or no longer, for this Service.
    PoolSelectorMismatch,
    /// The Service asks for another address or pool, which it cannot have yet.
    AwaitingRequested,
    /// A Service of another balancer has it as well.
    HeldElsewhere(ObjectName),
}

impl Retained {
    pub const fn name(&self) -> &'static str {
        match self {
            Retained::PoolGone => "RetainedPoolGone",
            Retained::PoolDisabled => "RetainedPoolDisabled",
            Retained::PoolSelectorMismatch => "RetainedPoolSelectorMismatch",
            Retained::AwaitingRequested => "RetainedAwaitingRequested",
            Retained::HeldElsewhere(_) => "RetainedHeldElsewhere",
        }
    }
}

const CONSENT: &str = "or let it go with maglane.io/allow-disruption: \"true\" on the Service";

/// What is wrong; after the semicolon, what to do.
impl fmt::Display for Retained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Retained::PoolGone => write!(f, "no address pool has it any more; add it to a pool, {CONSENT}"),
            Retained::PoolDisabled => write!(
                f,
                "its address pool is disabled; enable the pool, {CONSENT} or the pool"
            ),
            Retained::PoolSelectorMismatch => write!(
                f,
                "its address pool is not for this Service; widen its serviceAllocation, {CONSENT} or the pool"
            ),
            Retained::AwaitingRequested => {
                f.write_str("it stays until the Service can have what it asks for; see the other reason")
            }
            Retained::HeldElsewhere(holder) => write!(
                f,
                "Service {holder} of another load balancer has it as well; delete it there or here"
            ),
        }
    }
}

/// Why a Service no longer has an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Released {
    /// It no longer wants that family, or has another address of it.
    NotWanted,
    /// It has what it asked for instead.
    Replaced,
    /// Another Service had it first, and the two may not share it.
    HeldBy(ObjectName),
    /// It was only retained, and `maglane.io/allow-disruption` lets it go.
    Acknowledged(Retained),
}

impl Released {
    pub const fn name(&self) -> &'static str {
        match self {
            Released::NotWanted => "NotWanted",
            Released::Replaced => "Replaced",
            Released::HeldBy(_) => "HeldBy",
            Released::Acknowledged(_) => "Acknowledged",
        }
    }
}
