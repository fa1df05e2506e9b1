//! One field's path, and its two spellings: in messages (`.status.conditions[type="Ready"]`) and in fieldsV1.

use std::fmt;

use serde_json::Value;

use super::shape::Key;

/// One step; keys and values are JSON text, so that paths have an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    Field(String),
    /// An item of a keyed list: `{"type":"Ready"}`.
    Item(String),
    /// An item of a set.
    Member(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Path(pub Vec<Step>);

impl Path {
    pub fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// True for the field of an item that is part of the item's key.
    pub fn is_a_key(&self) -> bool {
        match self.0.as_slice() {
            [.., Step::Item(keys), Step::Field(name)] => parsed(keys).get(name).is_some(),
            _ => false,
        }
    }

    /// The field at the top.
    pub fn top(&self) -> &str {
        self.0.first().map_or("", Step::name)
    }

    pub fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }
}

impl Step {
    /// The field's name; empty for items.
    pub fn name(&self) -> &str {
        match self {
            Self::Field(name) => name,
            Self::Item(_) | Self::Member(_) => "",
        }
    }

    /// The step to an item of a keyed list.
    pub fn item(item: &Value, keys: &[Key]) -> Self {
        let keys = keys
            .iter()
            .filter_map(|key| Some((key.name.clone(), item.get(&key.name)?.clone())));
        Self::Item(Value::Object(keys.collect()).to_string())
    }

    pub fn leads_to(&self, item: &Value) -> bool {
        match self {
            Self::Field(_) => false,
            Self::Member(value) => *item == parsed(value),
            Self::Item(keys) => {
                let keys = parsed(keys);
                keys.as_object()
                    .is_some_and(|keys| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
            }
        }
    }

    /// `f:status`, `k:{"type":"Ready"}`, `v:"x"`.
    pub fn encoded(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Item(keys) => format!("k:{keys}"),
            Self::Member(value) => format!("v:{value}"),
        }
    }

    pub fn decode(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("f", name) => Some(Self::Field(name.to_owned())),
            // Through a value and back: the order of keys is ours.
            ("k", keys) => Some(Self::Item(parsed(keys).to_string())),
            ("v", value) => Some(Self::Member(parsed(value).to_string())),
            _ => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Member(value) => write!(f, "[={value}]")?,
                Step::Item(keys) => {
                    let keys = parsed(keys);
                    let pairs = keys.as_object().into_iter().flatten();
                    let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
                    write!(f, "[{}]", pairs.join(","))?;
                }
            }
        }
        Ok(())
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
