//! What users read on their objects: addresses and conditions of Services, counts of pools, Events. Pure.
//!
//! One condition a gate: [`SETTINGS_VALID`], [`ADDRESS_ALLOCATED`], [`BACKENDS_USABLE`], [`PROGRAMMED`],
//! [`ANNOUNCED`]. Their messages hold nothing that changes by itself, so that a cluster at rest is written to never,
//! and a change once; nor anything about the one who writes, but the last, which is about that node.

mod announce;
mod book;
mod events;
mod pool;
mod service;
mod settings;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::ObjectRef;

pub use announce::{Announced, SessionWrite, acceptance_body, session_write};
pub use book::Book;
pub(crate) use events::of_answer;
pub use events::{EventKind, UserEvent};
pub use pool::{pool_body, reservation_body};
pub use service::{Gates, service_body};

/// Every annotation and port of it can be used as it is.
pub const SETTINGS_VALID: &str = "maglane.io/SettingsValid";
/// It has the addresses it asks for.
pub const ADDRESS_ALLOCATED: &str = "maglane.io/AddressAllocated";
/// Each port has an endpoint that takes new flows.
pub const BACKENDS_USABLE: &str = "maglane.io/BackendsUsable";
/// The workers of the node that writes this run a table with it, and its addresses are steered to them.
pub const PROGRAMMED: &str = "maglane.io/Programmed";
/// Routers have been told of it by the node that writes this.
pub const ANNOUNCED: &str = "maglane.io/Announced";
/// All of ours, in order.
pub const CONDITIONS: [&str; 5] = [
    SETTINGS_VALID,
    ADDRESS_ALLOCATED,
    BACKENDS_USABLE,
    PROGRAMMED,
    ANNOUNCED,
];

/// Of `metav1.Condition`, without what the API server's clock decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: Box<str>,
    pub status: Truth,
    pub reason: Box<str>,
    pub message: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Truth {
    True,
    False,
    Unknown,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Truth {
        if holds { Truth::True } else { Truth::False }
    }
}

/// The wanted status of an object of the own cluster. Conditions in it lack `lastTransitionTime`: the one who
/// writes fills in the time, or keeps the one that is there when the status is as before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusWrite {
    pub object: ObjectRef,
    /// `{"status": {...}}`
    pub body: Value,
    /// `lastTransitionTime` by type, of conditions whose status stays.
    pub since: BTreeMap<Box<str>, Box<str>>,
}
