//! What a new allocation changes for Services that have addresses: the answer to "what would happen if".

use maglane_shared::addr::Addr;
use serde::Serialize;

use super::answer::Allocation;
use super::request::{Class, Request};
use crate::model::ObjectName;

/// What becomes of one Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It has what it had.
    Keeps,
    /// It has what it had, and more, or its first address.
    Gains,
    /// It has nothing and still waits.
    Waits,
    /// At least one address is another.
    Moves,
    /// It has less than it had.
    Loses,
}

impl ChangeKind {
    pub const fn name(self) -> &'static str {
        match self {
            ChangeKind::Keeps => "keeps",
            ChangeKind::Gains => "gains",
            ChangeKind::Waits => "waits",
            ChangeKind::Moves => "moves",
            ChangeKind::Loses => "loses",
        }
    }

    /// Clients that know an old address would notice.
    pub const fn is_destructive(self) -> bool {
        match self {
            ChangeKind::Moves | ChangeKind::Loses => true,
            ChangeKind::Keeps | ChangeKind::Gains | ChangeKind::Waits => false,
        }
    }
}

/// One Service before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub service: ObjectName,
    pub kind: ChangeKind,
    pub before: Vec<Addr>,
    pub after: Vec<Addr>,
}

/// Compares what the Services of our class have with what an allocation gives them; by name.
pub fn changes(requests: &[&Request], after: &Allocation) -> Vec<Change> {
    let ours = requests.iter().filter(|request| match request.class {
        Class::Ours => true,
        Class::Other => false,
    });
    let mut changes: Vec<Change> = ours.map(|request| change(request, after)).collect();
    changes.sort_by(|a, b| a.service.cmp(&b.service));
    changes
}

fn change(request: &Request, allocation: &Allocation) -> Change {
    let sorted = |mut addresses: Vec<Addr>| {
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    };
    let answer = allocation.services.get(&request.name);
    let before = sorted(request.held.iter().map(|held| held.addr).collect());
    let after = sorted(answer.into_iter().flat_map(|answer| answer.addrs()).collect());
    let kept = before.iter().filter(|addr| after.contains(addr)).count();
    let kind = match (kept == before.len(), before.len().cmp(&after.len())) {
        (true, std::cmp::Ordering::Equal) if after.is_empty() => ChangeKind::Waits,
        (true, std::cmp::Ordering::Equal) => ChangeKind::Keeps,
        (true, std::cmp::Ordering::Less | std::cmp::Ordering::Greater) => ChangeKind::Gains,
        (false, std::cmp::Ordering::Greater) => ChangeKind::Loses,
        (false, std::cmp::Ordering::Equal | std::cmp::Ordering::Less) => ChangeKind::Moves,
    };
    Change {
        service: request.name.clone(),
        kind,
        before,
        after,
    }
}
