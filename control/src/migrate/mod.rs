//! Objects of MetalLB and Cilium -> ours, as text. Pure: nothing is read, nothing is applied.
//!
//! What cannot be carried over is named, field by field. An object with an error is left out as a whole: half
//! a pool could be for more Services than it was. Kinds that this version has no match for yet are one warning
//! each; the objects stay as they are.

mod cilium;
mod config_inline;
mod fields;
mod metallb;
mod pools;

use serde_json::Value;

pub use cilium::cilium;
pub use metallb::metallb;

use crate::crd::AddressPool;
use crate::manifest::document::documents;
use crate::problem::Problem;

/// What a text comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Migration {
    /// In the order of the text, each with what it was made from.
    pub pools: Vec<(String, AddressPool)>,
    /// What is not as it was, and what to do about it.
    pub problems: Vec<Problem>,
}

impl Migration {
    /// To be applied as it is.
    pub fn yaml(&self) -> String {
        let document = |(source, pool): &(String, AddressPool)| match serde_saphyr::to_string(pool) {
            Ok(text) => format!("---\n# from {source}\n{text}"),
            Err(error) => format!("---\n# {source} cannot be written as YAML: {error}\n"),
        };
        self.pools.iter().map(document).collect()
    }

    fn add(&mut self, problem: Problem, place: &str) {
        self.problems.push(problem.at(place));
    }
}

/// Takes a field out of an object, or of something that should be one.
fn taken(object: &mut Value, name: &str) -> Value {
    object.get_mut(name).map(Value::take).unwrap_or_default()
}

/// The objects of a text. What cannot be read is a problem.
fn objects(text: &str, migration: &mut Migration) -> Vec<Value> {
    let mut objects = vec![];
    for document in documents("input.yaml", text.as_bytes()) {
        match document.content {
            Ok(object) => objects.push(object),
            Err(message) => {
                migration.add(
                    Problem::error(message, "correct it and migrate again"),
                    &document.place,
                );
            }
        }
    }
    objects
}

/// `IPAddressPool metallb-system/first`
fn place(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// A kind that has no match here yet.
fn not_yet(project: &str, ours: &str) -> Problem {
    Problem::warning(
        format!("is not migrated by this version, which has no {ours} yet"),
        format!("let {project} go on with it, and migrate it with a version that has {ours}"),
    )
}

fn not_known(project: &str) -> Problem {
    Problem::note(
        format!("is left out: it is nothing that this version knows of {project}"),
        "nothing, unless it says which addresses Services get",
    )
}
