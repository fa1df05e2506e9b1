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
    let (before, after) = (tree::paths(&bare(old), shape), tree::paths(&bare(new), shape));
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
    let timeless = |object: &Value| {
        let mut object = object.clone();
        let entries = object
            .pointer_mut("/metadata/managedFields")
            .and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten() {
            entry["time"] = Value::Null;
        }
        object
    };
    timeless(old) != timeless(new)
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

/// The object without what nobody can own.
pub(super) fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for system in SYSTEM {
            metadata.remove(*system);
        }
        if metadata.is_empty() {
            object["metadata"] = Value::Null;
        }
    }
    object
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
