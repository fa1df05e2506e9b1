//! Status of our own kinds: how pools are used, what reservations keep.

use maglane_shared::addr::Addr;
use serde_json::{Value, json};

use crate::crd::FamilyCounts;
use crate::ipam::{PoolState, ReservationState};
use crate::model::{PoolSpec, ReservationSpec};

use super::Truth;

/// At most this many objects are named in a message.
const NAMED: usize = 5;

/// `overlap` says what the pool has in common with addresses in use already.
pub fn pool_body(spec: &PoolSpec, state: &PoolState, overlap: Option<&str>) -> Value {
    let (ipv4, ipv6) = (FamilyCounts::from(state.v4), FamilyCounts::from(state.v6));
    let conditions = [readiness(spec, state), refusal(state), overlapping(overlap)].map(
        |(kind, holds, reason, message)| {
            json!({
                "type": kind, "status": Truth::from(holds), "reason": reason, "message": message,
                "observedGeneration": spec.generation,
            })
        },
    );
    json!({ "status": {
        "assigned": ipv4.assigned.saturating_add(ipv6.assigned),
        "available": ipv4.available.saturating_add(ipv6.available),
        "ipv4": ipv4,
        "ipv6": ipv6,
        "conditions": conditions,
    } })
}

type Said = (&'static str, bool, &'static str, String);

fn readiness(spec: &PoolSpec, state: &PoolState) -> Said {
    if let Some(problem) = spec.problems.first() {
        return ("Ready", false, "Invalid", problem.to_string());
    }
    if let Some(conflict) = &state.conflict {
        let message = format!(
            "it overlaps with the older address pool {} ({}) and gives no new addresses; take the overlap out",
            conflict.with, conflict.range
        );
        return ("Ready", false, "PoolConflict", message);
    }
    if spec.pool.disabled {
        let message = "it gives no new addresses (spec.disabled); what it gave stays".to_owned();
        return ("Ready", false, "PoolDisabled", message);
    }
    ("Ready", true, "Ready", "it gives addresses".to_owned())
}

fn overlapping(overlap: Option<&str>) -> Said {
    match overlap {
        Some(overlap) => ("Overlapping", true, "AddressesInUse", overlap.to_owned()),
        None => {
            let message = "no node, pod or cluster IP that is known has an address of it".to_owned();
            ("Overlapping", false, "NoOverlap", message)
        }
    }
}

fn refusal(state: &PoolState) -> Said {
    let count = state.retained.len();
    if count == 0 {
        let message = "no Service has an address that it would not get today".to_owned();
        return ("DisruptionRefused", false, "NothingRetained", message);
    }
    let named = state
        .retained
        .iter()
        .take(NAMED)
        .map(|(service, addr)| format!("{service} {addr}"));
    let message = format!(
        "{count} addresses stay with Services that would not get them from this pool today: {}{}; to let them go \
         annotate the pool or the Services with maglane.io/allow-disruption: \"true\"",
        named.collect::<Vec<_>>().join(", "),
        if count > NAMED { ", ..." } else { "" },
    );
    ("DisruptionRefused", true, "AddressesRetained", message)
}

pub fn reservation_body(spec: &ReservationSpec, state: &ReservationState) -> Value {
    let problem = spec
        .problems
        .first()
        .map(|problem| ("Invalid", problem.to_string()));
    let problem = problem.or_else(|| {
        let (addr, why) = state.problems.first()?;
        Some((why.name(), format!("{addr}: {why}")))
    });
    let (holds, reason, message) = match problem {
        Some((reason, message)) => (false, reason, message),
        None if state.kept.is_empty() => {
            let message = "the Service has had no address yet; it keeps the first that it gets";
            (false, "NothingToKeep", message.to_owned())
        }
        None => (true, "Kept", "nobody else gets these addresses".to_owned()),
    };
    let kept: Vec<String> = state.kept.iter().map(Addr::to_string).collect();
    json!({ "status": {
        "addresses": kept,
        "conditions": [{
            "type": "Ready", "status": Truth::from(holds), "reason": reason, "message": message,
            "observedGeneration": spec.generation,
        }],
    } })
}
