//! Server-side apply: conflicts with other owners, the merge, and what is given up.

use serde_json::Value;

use super::owners::{Manager, Owner, claim, paths, read, write};
use super::path::{Path, Step};
use super::set::PathSet;
use super::shape::Shape;
use super::tree;
use crate::cluster::refusal::{Cause, Refusal};

/// Applies `config` to `live` (an empty object when there is none) as `manager`.
///
/// # Errors
/// Fields that others own and that would change, unless `force`.
pub(in crate::cluster::double) fn apply(
    live: &Value,
    config: &Value,
    shape: &Shape,
    manager: &Manager,
    force: bool,
) -> Result<Value, Refusal> {
    let mut owners = read(live);
    let config = &{
        let mut config = config.clone();
        tree::fill_keys(&mut config, shape);
        config
    };
    let wanted = paths(config, shape);
    let changes = |path: &Path| tree::get(live, path) != tree::get(config, path);
    let contested = contested(&owners, manager, &wanted, changes);
    if !contested.is_empty() && !force {
        return Err(conflict(&contested));
    }
    for owner in owners.iter_mut().filter(|owner| !owner.manager.is(manager)) {
        owner.set.retain(|path| !(wanted.contains(path) && changes(path)));
    }
    let mut merged = live.clone();
    tree::merge(&mut merged, config, shape);
    give_up(&mut merged, &owners, manager, &wanted);
    claim(&mut owners, manager, wanted);
    write(&mut merged, owners);
    Ok(merged)
}

/// The owners to be asked, with the fields to ask for.
fn contested(
    owners: &[Owner],
    manager: &Manager,
    wanted: &PathSet,
    changes: impl Fn(&Path) -> bool,
) -> Vec<(String, Path)> {
    let others = owners.iter().filter(|owner| !owner.manager.is(manager));
    let mut contested: Vec<(String, Path)> = others
        .flat_map(|owner| {
            let theirs = owner.set.intersection(wanted).filter(|path| changes(path));
            let title = owner.manager.title();
            theirs
                .map(move |path| (title.clone(), path.clone()))
                .collect::<Vec<_>>()
        })
        // An item itself is no value that could differ; its leaves are.
        .filter(|(_, path)| !matches!(path.0.last(), Some(Step::Item(_))))
        .collect();
    contested.sort();
    contested
}

fn conflict(contested: &[(String, Path)]) -> Refusal {
    let causes: Vec<Cause> = contested
        .iter()
        .map(|(owner, path)| {
            Cause::new(
                "FieldManagerConflict",
                path.to_string(),
                format!("conflict with {owner}"),
            )
        })
        .collect();
    let message = match contested {
        [(owner, path)] => format!("Apply failed with 1 conflict: conflict with {owner}: {path}"),
        many => {
            let mut lines = Vec::new();
            for (at, (owner, path)) in many.iter().enumerate() {
                if at == 0 || many[at - 1].0 != *owner {
                    lines.push(format!("conflicts with {owner}:"));
                }
                lines.push(format!("- {path}"));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    Refusal::owned(message, &causes)
}

/// Takes away what the manager applied before, does not apply now, and nobody else owns.
fn give_up(merged: &mut Value, owners: &[Owner], manager: &Manager, wanted: &PathSet) {
    let Some(before) = owners.iter().find(|owner| owner.manager.is(manager)) else {
        return;
    };
    let kept = |path: &Path| {
        let others = owners.iter().filter(|owner| !owner.manager.is(manager));
        let sets = others.map(|owner| &owner.set).chain([wanted]);
        sets.into_iter()
            .any(|set| set.contains(path) || set.iter().any(|other| other.is_below(path)))
    };
    // Deepest first: an item goes after its leaves.
    // From the top: an item goes with all of its leaves, and one that stays keeps what it is known by.
    for path in before
        .set
        .difference(wanted)
        .filter(|path| !kept(path) && !path.is_a_key())
    {
        tree::remove(merged, &path.0);
    }
}
