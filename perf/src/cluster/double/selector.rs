//! `labelSelector` and `fieldSelector` of lists and watches.

use serde_json::Value;

use super::kinds::Resource;
use super::object::Object;
use crate::cluster::refusal::Refusal;
use crate::cluster::target::{Params, Target};

/// What a list or a watch is about.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    /// Empty for all of them.
    namespace: String,
    labels: Vec<Label>,
    fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq)]
enum Label {
    Present(String),
    Absent(String),
    In(String, Vec<String>),
    /// True of objects without the label, too.
    NotIn(String, Vec<String>),
}

#[derive(Debug, Clone, PartialEq)]
struct Field {
    path: String,
    equal: bool,
    value: String,
}

impl Filter {
    /// # Errors
    /// 400 for a selector that is none, or a field that the kind cannot be selected by.
    pub fn new(resource: &Resource, target: &Target, params: &Params) -> Result<Self, Refusal> {
        let labels = params.get("labelSelector").unwrap_or_default();
        let fields = params.get("fieldSelector").unwrap_or_default();
        let mut filter = Self {
            namespace: target.namespace.clone(),
            labels: requirements(labels).map(label).collect::<Result<_, _>>()?,
            fields: requirements(fields)
                .map(|text| field(resource, text))
                .collect::<Result<_, _>>()?,
        };
        // A watch of one object by its path.
        if let Some(name) = &target.name {
            filter.fields.push(Field {
                path: "metadata.name".to_owned(),
                equal: true,
                value: name.clone(),
            });
        }
        Ok(filter)
    }

    /// True when it selects by more than the namespace.
    pub fn selects(&self) -> bool {
        !(self.labels.is_empty() && self.fields.is_empty())
    }

    pub fn matches(&self, resource: &Resource, object: &Object) -> bool {
        (self.namespace.is_empty() || self.namespace == object.key.namespace)
            && self.labels.iter().all(|label| label.matches(object))
            && self.fields.iter().all(|field| field.matches(resource, object))
    }
}

impl Label {
    fn matches(&self, object: &Object) -> bool {
        let value = |name: &String| object.labels.get(name);
        match self {
            Self::Present(name) => value(name).is_some(),
            Self::Absent(name) => value(name).is_none(),
            Self::In(name, values) => value(name).is_some_and(|value| values.contains(value)),
            Self::NotIn(name, values) => value(name).is_none_or(|value| !values.contains(value)),
        }
    }
}

impl Field {
    fn matches(&self, resource: &Resource, object: &Object) -> bool {
        let value = match self.path.as_str() {
            "metadata.name" => object.key.name.clone(),
            "metadata.namespace" => object.key.namespace.clone(),
            path => {
                let value = object.value(resource);
                let pointer = format!("/{}", path.replace('.', "/"));
                match value.pointer(&pointer) {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Null) | None => String::new(),
                    Some(other) => other.to_string(),
                }
            }
        };
        (value == self.value) == self.equal
    }
}

/// Cut at the commas that are outside of parentheses.
fn requirements(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

fn label(text: &str) -> Result<Label, Refusal> {
    let name = |text: &str| text.trim().to_owned();
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Label::NotIn(name(key), vec![name(value)]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Label::In(name(key), vec![name(value)]));
    }
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Label::Absent(name(key)));
    }
    let words: Vec<&str> = text.splitn(3, ' ').collect();
    let values = |list: &str| -> Option<Vec<String>> {
        let inner = list.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(name).collect())
    };
    let parsed = match words.as_slice() {
        [key] => Some(Label::Present(name(key))),
        [key, "in", list] => values(list).map(|values| Label::In(name(key), values)),
        [key, "notin", list] => values(list).map(|values| Label::NotIn(name(key), values)),
        _ => None,
    };
    parsed.ok_or_else(|| Refusal::bad_request(format!("unable to parse requirement: {text}")))
}

fn field(resource: &Resource, text: &str) -> Result<Field, Refusal> {
    let (path, equal, value) = match (text.split_once("!="), text.split_once('=')) {
        (Some((path, value)), _) => (path, false, value),
        (None, Some((path, value))) => (path, true, value.trim_start_matches('=')),
        (None, None) => {
            return Err(Refusal::bad_request(format!(
                "invalid selector: {text:?}; can't understand it"
            )));
        }
    };
    let known =
        ["metadata.name", "metadata.namespace"].contains(&path) || selectable(&resource.kind).contains(&path);
    if !known {
        let message = format!("field label not supported: {path}");
        return Err(Refusal::bad_request(message));
    }
    Ok(Field {
        path: path.to_owned(),
        equal,
        value: value.to_owned(),
    })
}

/// What else the real server selects these kinds by.
fn selectable(kind: &str) -> &'static [&'static str] {
    match kind {
        "Service" => &["spec.clusterIP", "spec.type"],
        "Node" => &["spec.unschedulable"],
        "Namespace" => &["status.phase"],
        "Secret" => &["type"],
        "Event" => &[
            "reason",
            "reportingController",
            "type",
            "regarding.kind",
            "regarding.name",
            "regarding.namespace",
        ],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_label_requirement_is_read() {
        let text = "a=b,c == d,e!=f,g,!h,i in (x, y),j notin (z)";
        let labels: Vec<Label> = requirements(text).map(|part| label(part).unwrap()).collect();
        let strings = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            labels,
            [
                Label::In("a".to_owned(), strings(&["b"])),
                Label::In("c".to_owned(), strings(&["d"])),
                Label::NotIn("e".to_owned(), strings(&["f"])),
                Label::Present("g".to_owned()),
                Label::Absent("h".to_owned()),
                Label::In("i".to_owned(), strings(&["x", "y"])),
                Label::NotIn("j".to_owned(), strings(&["z"])),
            ]
        );
        assert_eq!(label("a within (b)").unwrap_err().code, 400);
    }
}
