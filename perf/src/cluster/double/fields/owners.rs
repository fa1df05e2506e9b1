//! Managers and what they own; updates that take ownership.

use serde_json::{Value, json};

use super::path::{Path, Step};
use super::set::{self, PathSet};
use super::shape::Shape;
use super::tree;
use crate::cluster::double::clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster::double) enum Operation {
    Apply,
    Update,
}

/// Whose fields they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cluster::double) struct Manager {
    pub name: String,
    pub operation: Operation,
    pub subresource: Option<String>,
    pub api_version: String,
}

#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub manager: Manager,
    pub time: String,
    pub set: PathSet,
}

impl Manager {
    /// The same one, whatever version it speaks.
    pub(super) fn is(&self, other: &Self) -> bool {
        (&self.name, self.operation, &self.subresource) == (&other.name, other.operation, &other.subresource)
    }

    pub(super) fn title(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if let Some(subresource) = &self.subresource {
            text.push_str(&format!(" with subresource {subresource:?}"));
        }
        match self.operation {
            Operation::Apply => text,
            Operation::Update => format!("{text} using {}", self.api_version),
        }
    }
}

impl Owner {
    fn read(entry: &Value) -> Self {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        Self {
            manager: Manager {
                name: text("manager"),
                operation: if entry["operation"] == "Apply" {
                    Operation::Apply
                } else {
                    Operation::Update
                },
                subresource: entry["subresource"].as_str().map(str::to_owned),
                api_version: text("apiVersion"),
            },
            time: text("time"),
            set: set::decode(&entry["fieldsV1"]),
        }
    }

    fn written(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager.name,
            "operation": match self.manager.operation {
                Operation::Apply => "Apply",
                Operation::Update => "Update",
            },
            "apiVersion": self.manager.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": set::encode(&self.set),
        });
        if let Some(subresource) = &self.manager.subresource {
            entry["subresource"] = json!(subresource);
        }
        entry
    }
}

/// Gives every field that differs between `old` and `new` to `manager`, below the top fields that `concern` it.
pub(in crate::cluster::double) fn track(
    old: &Value,
    new: &mut Value,
    shape: &Shape,
    manager: &Manager,
    concern: impl Fn(&str) -> bool,
) {
    let mut owners = read(old);
    let (before, after) = (paths(old, shape), paths(new, shape));
    let changed: PathSet = after
        .iter()
        .filter(|path| concern(path.top()))
        .filter(|path| !before.contains(*path) || tree::get(old, path) != tree::get(new, path))
        .cloned()
        .collect();
    // An item of a keyed list differs when a leaf of it does; that alone does not change hands.
    let taken = |path: &Path| {
        changed.contains(path) && !(before.contains(path) && matches!(path.0.last(), Some(Step::Item(_))))
    };
    for owner in &mut owners {
        let own = owner.manager.is(manager);
        owner
            .set
            .retain(|path| after.contains(path) && (own || !taken(path)));
    }
    let mine: PathSet = changed.iter().filter(|path| taken(path)).cloned().collect();
    if !mine.is_empty() {
        let held = owners.iter().find(|owner| owner.manager.is(manager));
        let all = held.map_or_else(|| mine.clone(), |owner| owner.set.union(&mine).cloned().collect());
        claim(&mut owners, manager, all);
    }
    write(new, owners);
}

/// True when the two differ in more than the time of their owners' last word.
pub(in crate::cluster::double) fn differs(old: &Value, new: &Value) -> bool {
    let entries = |object: &Value| object["metadata"]["managedFields"].as_array().map_or(0, Vec::len);
    let timeless = |object: &Value, at: usize| {
        let mut entry = object["metadata"]["managedFields"][at].clone();
        entry["time"] = Value::Null;
        entry
    };
    !same_but(old, new, &["metadata"])
        || !same_but(&old["metadata"], &new["metadata"], &["managedFields"])
        || entries(old) != entries(new)
        || (0..entries(old)).any(|at| timeless(old, at) != timeless(new, at))
}

/// Compares all fields but some.
fn same_but(old: &Value, new: &Value, but: &[&str]) -> bool {
    let fields = |value: &'_ Value| {
        value.as_object().map_or(0, |object| {
            object.keys().filter(|name| !but.contains(&name.as_str())).count()
        })
    };
    let all = old.as_object().into_iter().flatten();
    fields(old) == fields(new)
        && all
            .filter(|(name, _)| !but.contains(&name.as_str()))
            .all(|(name, value)| new.get(name) == Some(value))
}

pub(super) fn claim(owners: &mut Vec<Owner>, manager: &Manager, set: PathSet) {
    let time = clock::now();
    match owners.iter_mut().find(|owner| owner.manager.is(manager)) {
        Some(owner) => {
            if owner.set != set || owner.manager.operation == Operation::Update {
                owner.time = time;
            }
            owner.set = set;
            owner.manager = manager.clone();
        }
        None => owners.push(Owner {
            manager: manager.clone(),
            time,
            set,
        }),
    }
}

pub(super) fn read(object: &Value) -> Vec<Owner> {
    let entries = object["metadata"]["managedFields"].as_array();
    entries.into_iter().flatten().map(Owner::read).collect()
}

pub(super) fn write(object: &mut Value, mut owners: Vec<Owner>) {
    owners.retain(|owner| !owner.set.is_empty());
    object["metadata"]["managedFields"] = owners.iter().map(Owner::written).collect();
}

/// Every path of an object that somebody can own.
pub(super) fn paths(object: &Value, shape: &Shape) -> PathSet {
    let mut set = tree::paths(object, shape);
    set.retain(|path| {
        let steps: Vec<&str> = path.0.iter().take(2).map(Step::name).collect();
        match steps.as_slice() {
            ["apiVersion" | "kind"] => false,
            // Metadata alone is an empty map.
            ["metadata"] => false,
            ["metadata", field] => !SYSTEM.contains(field),
            _ => true,
        }
    });
    set
}

/// Fields of metadata that are the server's own.
const SYSTEM: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];
