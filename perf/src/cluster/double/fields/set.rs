//! A set of paths, and its form in `managedFields[].fieldsV1`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::path::{Path, Step};

pub(super) type PathSet = BTreeSet<Path>;

#[derive(Default)]
struct Node {
    member: bool,
    below: BTreeMap<String, Node>,
}

impl Node {
    fn encoded(&self) -> Value {
        let mut object: Map<String, Value> = self
            .below
            .iter()
            .map(|(step, node)| (step.clone(), node.encoded()))
            .collect();
        if self.member && !self.below.is_empty() {
            object.insert(".".to_owned(), json!({}));
        }
        Value::Object(object)
    }
}

pub(super) fn encode(set: &PathSet) -> Value {
    let mut root = Node::default();
    for path in set {
        let mut node = &mut root;
        for step in &path.0 {
            node = node.below.entry(step.encoded()).or_default();
        }
        node.member = true;
    }
    root.encoded()
}

pub(super) fn decode(fields: &Value) -> PathSet {
    let mut set = PathSet::new();
    collect(fields, &Path::default(), &mut set);
    set
}

fn collect(fields: &Value, path: &Path, set: &mut PathSet) {
    let Some(object) = fields.as_object() else { return };
    if object.is_empty() || object.contains_key(".") {
        set.insert(path.clone());
    }
    for (step, below) in object {
        if let Some(step) = Step::decode(step) {
            collect(below, &path.then(step), set);
        }
    }
}
