//! A file's text -> its documents, each by itself: a broken one does not take its neighbours along.
//!
//! YAML streams are cut at `---` before parsing: a line that begins so is a document marker wherever it
//! stands (YAML 1.2.2 §9.1.2), so the cut is exact. Lists are flattened to their items.

use serde::Deserialize;
use serde_json::Value;

use crate::convert::Misfit;

/// Something that should be an object, or why it is not one.
#[derive(Debug)]
pub(crate) struct Document {
    /// `document 2, line 14`; `document 2, item 3` in a List.
    pub place: String,
    /// The text to look for line numbers in, and its first line's number.
    pub text: Option<(String, u64)>,
    pub content: Result<Value, String>,
}

/// Cuts and parses a file; `name` tells JSON from YAML.
pub(crate) fn documents(name: &str, bytes: &[u8]) -> Vec<Document> {
    let whole = |error: String| {
        vec![Document {
            place: String::new(),
            text: None,
            content: Err(error),
        }]
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return whole("is not UTF-8 text".to_owned());
    };
    let documents = if name.ends_with(".json") {
        json(text)
    } else {
        yaml(text)
    };
    documents.into_iter().flat_map(flatten).collect()
}

fn json(text: &str) -> Vec<Document> {
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let document = |(at, value): (usize, Result<Value, serde_json::Error>)| Document {
        place: format!("document {}", at + 1),
        text: None,
        content: value.map_err(|error| format!("is not JSON: {error}")),
    };
    values.enumerate().map(document).collect()
}

fn yaml(text: &str) -> Vec<Document> {
    let documents = split(text)
        .into_iter()
        .filter(|(part, _)| !is_blank(part))
        .enumerate();
    documents
        .map(|(at, (part, line))| Document {
            place: format!("document {}, line {line}", at + 1),
            content: serde_saphyr::from_str::<Value>(part).map_err(|error| yaml_error(&error, line)),
            text: Some((part.to_owned(), line)),
        })
        .collect()
}

/// The parts between markers, with the number of the first line that says something.
fn split(text: &str) -> Vec<(&str, u64)> {
    let mut parts = vec![];
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        if line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        {
            parts.push((&text[start..at], start_line));
            (start, start_line) = (at, number);
        }
        at += line.len();
    }
    parts.push((&text[start..], start_line));
    parts
}

fn is_blank(part: &str) -> bool {
    let says = |line: &str| !line.is_empty() && !line.starts_with(['#', '%']);
    let body = part.strip_prefix("---").unwrap_or(part);
    !body.lines().map(str::trim).any(says)
}

/// In one line, with the line number in the file.
fn yaml_error(error: &serde_saphyr::Error, first_line: u64) -> String {
    let at = error.location().map(|location| location.line() + first_line - 1);
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    // The parser's own position counts from the document's start.
    let text = text
        .split(" at line ")
        .next()
        .unwrap_or_default()
        .trim_end_matches([':', ',']);
    match at {
        Some(line) if line > 0 => format!("is not YAML at line {line} of the file: {text}"),
        Some(_) | None => format!("is not YAML: {text}"),
    }
}

/// The items of a List, else the document itself.
fn flatten(document: Document) -> Vec<Document> {
    let Document { place, text, content } = document;
    match content {
        Ok(Value::Object(mut object)) if is_list(&object) => {
            let Some(Value::Array(items)) = object.remove("items") else {
                return vec![];
            };
            let item = |(at, item)| Document {
                place: format!("{place}, item {}", at + 1),
                text: None,
                content: Ok(item),
            };
            items.into_iter().enumerate().map(item).collect()
        }
        // `---` with nothing but a null after it.
        Ok(Value::Null) => vec![],
        content => vec![Document { place, text, content }],
    }
}

fn is_list(object: &serde_json::Map<String, Value>) -> bool {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    matches!(
        (text("apiVersion"), text("kind")),
        ("v1", "List" | "ServiceList") | ("discovery.k8s.io/v1", "EndpointSliceList")
    )
}

/// The value as a `T`; the error names the field and, where it can be found, the line.
pub(super) fn typed<T: for<'de> Deserialize<'de>>(
    value: Value,
    text: Option<&(String, u64)>,
) -> Result<T, Misfit> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        let line = text.and_then(|(text, first)| {
            let location = serde_saphyr::from_str::<T>(text).err()?.location()?;
            Some(location.line() + first - 1)
        });
        let message = match line {
            Some(line) => format!("{} (line {line} of the file)", error.inner()),
            None => error.inner().to_string(),
        };
        Misfit {
            field: if field == "." { String::new() } else { field },
            message,
        }
    })
}
