//! What was last asked to be written, so that each change is asked for once.

use std::collections::BTreeMap;

use serde_json::Value;

use super::StatusWrite;
use crate::model::{ObjectRef, Observed};

#[derive(Debug, Default)]
pub struct Book {
    asked: BTreeMap<ObjectRef, Value>,
}

impl Book {
    /// The write that makes an object's status `wanted`; none when it is `observed` so, or has been asked for.
    pub fn settle(&mut self, object: ObjectRef, wanted: Value, observed: &Observed) -> Option<StatusWrite> {
        if wanted == observed.body {
            self.asked.remove(&object);
            return None;
        }
        if self.asked.get(&object) == Some(&wanted) {
            return None;
        }
        self.asked.insert(object.clone(), wanted.clone());
        let since = unchanged(&wanted, observed);
        Some(StatusWrite {
            object,
            body: wanted,
            since,
        })
    }

    pub fn forget(&mut self, object: &ObjectRef) {
        self.asked.remove(object);
    }

    /// We write no more, or begin to: what was asked for may not have been done.
    pub fn clear(&mut self) {
        self.asked.clear();
    }
}

/// Since when the conditions hold whose status stays as it is.
fn unchanged(wanted: &Value, observed: &Observed) -> BTreeMap<Box<str>, Box<str>> {
    let conditions = |body: &Value| {
        body["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let before = conditions(&observed.body);
    let stays = |condition: &Value| {
        let was = before.iter().find(|was| was["type"] == condition["type"])?;
        let kind = condition["type"]
            .as_str()
            .filter(|_| was["status"] == condition["status"])?;
        Some((kind.into(), observed.since.get(kind)?.clone()))
    };
    conditions(wanted).iter().filter_map(stays).collect()
}
