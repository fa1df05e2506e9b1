//! One version of one object, kept as JSON text: an answer is then a copy of bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::kinds::Resource;

/// Namespace and name; a cluster-scoped object's namespace is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ObjectKey {
    pub namespace: String,
    pub name: String,
}

/// One version of an object; it never changes.
#[derive(Debug)]
pub(super) struct Object {
    pub key: ObjectKey,
    pub revision: u64,
    pub labels: BTreeMap<String, String>,
    /// All but `apiVersion` and `kind`, which its resource knows.
    text: Bytes,
}

impl Object {
    pub fn new(key: ObjectKey, revision: u64, mut value: Value) -> Self {
        let labels = value["metadata"]["labels"].as_object().into_iter().flatten();
        let labels = labels
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        if let Some(object) = value.as_object_mut() {
            object.remove("apiVersion");
            object.remove("kind");
        }
        Self {
            key,
            revision,
            labels,
            text: value.to_string().into(),
        }
    }

    /// Without `apiVersion` and `kind`, as items of the built-in lists are.
    pub fn bare(&self) -> &[u8] {
        &self.text
    }

    /// Appends the whole object.
    pub fn write(&self, resource: &Resource, out: &mut Vec<u8>) {
        let head = format!(
            "{{\"apiVersion\":{:?},\"kind\":{:?},",
            resource.api_version(),
            resource.kind
        );
        out.extend_from_slice(head.as_bytes());
        // An object has metadata at least: something follows the brace.
        out.extend_from_slice(&self.text[1..]);
    }

    pub fn json(&self, resource: &Resource) -> Bytes {
        let mut out = Vec::with_capacity(self.text.len() + 64);
        self.write(resource, &mut out);
        out.into()
    }

    pub fn value(&self, resource: &Resource) -> Value {
        let mut fields: Map<String, Value> = serde_json::from_slice(&self.text).unwrap_or_default();
        fields.insert("apiVersion".to_owned(), json!(resource.api_version()));
        fields.insert("kind".to_owned(), json!(resource.kind));
        Value::Object(fields)
    }
}
