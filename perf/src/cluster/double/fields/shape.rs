//! What a kind's schema says about lists and maps: which are one value, which have items with owners.

use std::collections::BTreeMap;

use serde_json::Value;

/// One field's shape. Unknown fields are plain: maps are granular, lists atomic.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::cluster::double) struct Shape {
    pub listing: Listing,
    /// A map that is one value (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    fields: BTreeMap<String, Shape>,
    /// Of a list's items and a map's values.
    each: Option<Box<Shape>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::cluster::double) enum Listing {
    #[default]
    Atomic,
    Set,
    Keyed(Vec<Key>),
}

/// A key of a keyed list.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cluster::double) struct Key {
    pub name: String,
    pub default: Option<Value>,
}

static PLAIN: Shape = Shape {
    listing: Listing::Atomic,
    atomic: false,
    fields: BTreeMap::new(),
    each: None,
};

impl Shape {
    pub fn field(&self, name: &str) -> &Self {
        let known = self.fields.get(name).or(self.each.as_deref());
        known.unwrap_or(&PLAIN)
    }

    pub fn item(&self) -> &Self {
        self.each.as_deref().unwrap_or(&PLAIN)
    }

    /// The shape at a path of field names, made when it is new.
    pub fn at(&mut self, path: &str) -> &mut Self {
        path.split('.')
            .filter(|name| !name.is_empty())
            .fold(self, |shape, name| {
                shape.fields.entry(name.to_owned()).or_default()
            })
    }

    /// What all objects have in common.
    pub fn of_objects() -> Self {
        let mut shape = Self::default();
        shape.at("metadata.finalizers").listing = Listing::Set;
        shape.at("metadata.ownerReferences").listing = Listing::keyed(&["uid"]);
        shape
    }

    /// From a CustomResourceDefinition's `openAPIV3Schema`.
    pub fn of_schema(schema: &Value) -> Self {
        let mut shape = Self::read(schema);
        for (name, field) in Self::of_objects().fields {
            shape.fields.insert(name, field);
        }
        shape
    }

    fn read(schema: &Value) -> Self {
        let properties = schema["properties"].as_object().into_iter().flatten();
        let each = ["items", "additionalProperties"]
            .iter()
            .find_map(|below| schema.get(below));
        Self {
            listing: Listing::read(schema),
            atomic: schema["x-kubernetes-map-type"] == "atomic",
            fields: properties
                .map(|(name, below)| (name.clone(), Self::read(below)))
                .collect(),
            each: each
                .filter(|each| each.is_object())
                .map(|each| Box::new(Self::read(each))),
        }
    }
}

impl Listing {
    pub fn keyed(names: &[&str]) -> Self {
        let key = |name: &&str| Key {
            name: (*name).to_owned(),
            default: None,
        };
        Self::Keyed(names.iter().map(key).collect())
    }

    fn read(schema: &Value) -> Self {
        match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Self::Set,
            Some("map") => {
                let names = schema["x-kubernetes-list-map-keys"]
                    .as_array()
                    .into_iter()
                    .flatten();
                let key = |name: &Value| {
                    let name = name.as_str()?.to_owned();
                    let default = schema["items"]["properties"][&name].get("default").cloned();
                    Some(Key { name, default })
                };
                Self::Keyed(names.filter_map(key).collect())
            }
            _ => Self::Atomic,
        }
    }
}
