//! Paths in an object: which there are, what is at one, taking one away, laying one object over another.

use serde_json::{Map, Value};

use super::path::{Path, Step};
use super::set::PathSet;
use super::shape::{Listing, Shape};

/// Every path of a value.
pub(super) fn paths(value: &Value, shape: &Shape) -> PathSet {
    let mut set = PathSet::new();
    collect(value, shape, &Path::default(), &mut set);
    set
}

fn collect(value: &Value, shape: &Shape, path: &Path, set: &mut PathSet) {
    match value {
        Value::Null => {}
        Value::Object(object) if !object.is_empty() && !shape.atomic => {
            for (name, below) in object {
                collect(
                    below,
                    shape.field(name),
                    &path.then(Step::Field(name.clone())),
                    set,
                );
            }
        }
        Value::Array(items) => collect_list(items, shape, path, set),
        Value::Object(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            set.insert(path.clone());
        }
    }
}

fn collect_list(items: &[Value], shape: &Shape, path: &Path, set: &mut PathSet) {
    match &shape.listing {
        Listing::Atomic => {
            set.insert(path.clone());
        }
        Listing::Set => set.extend(items.iter().map(|item| path.then(Step::Member(item.to_string())))),
        Listing::Keyed(keys) => {
            for item in items {
                let path = path.then(Step::item(item, keys));
                collect(item, shape.item(), &path, set);
                set.insert(path);
            }
        }
    }
}

/// What is at a path.
pub(super) fn get<'a>(value: &'a Value, path: &Path) -> Option<&'a Value> {
    path.0.iter().try_fold(value, |value, step| match step {
        Step::Field(name) => value.get(name),
        Step::Item(_) | Step::Member(_) => value.as_array()?.iter().find(|item| step.leads_to(item)),
    })
}

/// Writes out the keys that items leave to their default: they are part of the items' identity.
pub(super) fn fill_keys(value: &mut Value, shape: &Shape) {
    match value {
        Value::Object(object) => {
            for (name, below) in object {
                fill_keys(below, shape.field(name));
            }
        }
        Value::Array(items) => {
            let keys = match &shape.listing {
                Listing::Keyed(keys) => keys.as_slice(),
                Listing::Atomic | Listing::Set => &[],
            };
            for item in items {
                fill_keys(item, shape.item());
                let Some(item) = item.as_object_mut() else {
                    continue;
                };
                for key in keys {
                    if let Some(default) = &key.default {
                        item.entry(key.name.clone()).or_insert_with(|| default.clone());
                    }
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes what is at a path away, and the containers that this empties.
pub(super) fn remove(value: &mut Value, path: &[Step]) {
    let [step, rest @ ..] = path else { return };
    match (step, value) {
        (Step::Field(name), Value::Object(object)) => {
            if let Some(below) = object.get_mut(name).filter(|_| !rest.is_empty()) {
                remove(below, rest);
            }
            if rest.is_empty() || object.get(name).is_some_and(is_empty) {
                object.remove(name);
            }
        }
        (Step::Item(_) | Step::Member(_), Value::Array(items)) => {
            if rest.is_empty() {
                items.retain(|item| !step.leads_to(item));
            } else if let Some(item) = items.iter_mut().find(|item| step.leads_to(item)) {
                remove(item, rest);
            }
        }
        (_, _) => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Lays `patch` over `live`: granular maps and keyed lists by their parts, everything else as one value.
pub(super) fn merge(live: &mut Value, patch: &Value, shape: &Shape) {
    match (live, patch) {
        (Value::Object(live), Value::Object(patch)) if !shape.atomic => merge_map(live, patch, shape),
        (Value::Array(live), Value::Array(patch)) => merge_list(live, patch, shape),
        (live, patch) => *live = patch.clone(),
    }
}

fn merge_map(live: &mut Map<String, Value>, patch: &Map<String, Value>, shape: &Shape) {
    for (name, value) in patch.iter().filter(|(_, value)| !value.is_null()) {
        match live.get_mut(name) {
            Some(below) => merge(below, value, shape.field(name)),
            None => {
                live.insert(name.clone(), value.clone());
            }
        }
    }
}

fn merge_list(live: &mut Vec<Value>, patch: &[Value], shape: &Shape) {
    match &shape.listing {
        Listing::Atomic => *live = patch.to_vec(),
        Listing::Set => {
            let new: Vec<Value> = patch
                .iter()
                .filter(|item| !live.contains(item))
                .cloned()
                .collect();
            live.extend(new);
        }
        Listing::Keyed(keys) => {
            for item in patch {
                let step = Step::item(item, keys);
                match live.iter_mut().find(|own| step.leads_to(own)) {
                    Some(own) => merge(own, item, shape.item()),
                    None => live.push(item.clone()),
                }
            }
        }
    }
}
