//! Pages of lists and lines of watches, cut into objects without reading those: one that is broken must not
//! take the others along (FAILURES K10), and one that has not changed need not be read at all.

use std::borrow::Cow;

use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::fold::Version;
use crate::kube::failure::Failure;

/// A list, or a part of it.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    #[serde(borrow)]
    pub metadata: ListMeta<'a>,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMeta<'a> {
    #[serde(borrow, default)]
    pub resource_version: Cow<'a, str>,
    /// Where the next page begins; empty in the last.
    #[serde(borrow, default, rename = "continue")]
    pub next: Cow<'a, str>,
}

impl<'a> Page<'a> {
    pub fn read(text: &'a [u8]) -> Result<Page<'a>, Failure> {
        serde_json::from_slice(text).map_err(|error| Failure::Garbled(format!("the list is none: {error}")))
    }

    pub fn items(&self) -> impl Iterator<Item = &'a str> {
        self.items.iter().flatten().map(|item| item.get())
    }
}

/// What must be readable in an object, or nothing can be said about it.
#[derive(Debug, Deserialize)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    pub metadata: Meta<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta<'a> {
    #[serde(borrow, default)]
    pub namespace: Cow<'a, str>,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub resource_version: Cow<'a, str>,
}

impl<'a> Header<'a> {
    pub fn read(json: &'a str) -> Result<Header<'a>, Failure> {
        serde_json::from_str(json)
            .map_err(|error| Failure::Garbled(format!("an object has no metadata: {error}")))
    }
}

pub(super) fn version(text: &str) -> Version {
    text.parse().ok()
}

/// One line of a watch.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// Added or modified.
    Put(&'a str),
    Deleted(&'a str),
    /// Nothing has happened up to this version.
    Bookmark(Cow<'a, str>),
}

impl<'a> Line<'a> {
    pub fn read(text: &'a [u8]) -> Result<Line<'a>, Failure> {
        #[derive(Deserialize)]
        struct Raw<'a> {
            #[serde(borrow, rename = "type")]
            what: Cow<'a, str>,
            #[serde(borrow)]
            object: &'a RawValue,
        }
        let garbled =
            |error: serde_json::Error| Failure::Garbled(format!("a line of the watch is none: {error}"));
        let raw: Raw<'a> = serde_json::from_slice(text).map_err(garbled)?;
        let object = raw.object.get();
        match &*raw.what {
            "ADDED" | "MODIFIED" => Ok(Line::Put(object)),
            "DELETED" => Ok(Line::Deleted(object)),
            "BOOKMARK" => {
                #[derive(Deserialize)]
                struct Bookmark<'a> {
                    #[serde(borrow)]
                    metadata: ListMeta<'a>,
                }
                let bookmark: Bookmark<'a> = serde_json::from_str(object).map_err(garbled)?;
                Ok(Line::Bookmark(bookmark.metadata.resource_version))
            }
            "ERROR" => {
                let status: Status = serde_json::from_str(object).map_err(garbled)?;
                Err(Failure::of_status(&status))
            }
            other => Err(Failure::Garbled(format!("a watch event of type {other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gives_its_objects_unread() {
        let text = br#"{"kind":"ServiceList","metadata":{"resourceVersion":"7","continue":"abc"},
            "items":[{"metadata":{"name":"a","namespace":"n","resourceVersion":"5"}},{"spec":[]}]}"#;
        let page = Page::read(text).unwrap();
        assert_eq!(
            (&*page.metadata.resource_version, &*page.metadata.next),
            ("7", "abc")
        );
        let items: Vec<&str> = page.items().collect();
        assert_eq!(items.len(), 2);
        let meta = Header::read(items[0]).unwrap().metadata;
        assert_eq!((&*meta.namespace, &*meta.name), ("n", "a"));
        assert_eq!(version(&meta.resource_version), Some(5));
        assert!(Header::read(items[1]).is_err());
    }

    #[test]
    fn a_page_may_have_null_for_no_items_and_escapes_in_its_token() {
        let text = br#"{"metadata":{"resourceVersion":"1","continue":"a\"b"},"items":null}"#;
        let page = Page::read(text).unwrap();
        assert_eq!(page.items().count(), 0);
        assert_eq!(page.metadata.next, "a\"b");
        assert!(Page::read(b"<html>").is_err());
    }

    #[test]
    fn lines_of_every_type_are_told_apart() {
        let put = Line::read(br#"{"type":"ADDED","object":{"a":1}}"#).unwrap();
        assert!(matches!(put, Line::Put(r#"{"a":1}"#)), "{put:?}");
        // The order of the keys is nobody's promise.
        let deleted = Line::read(br#"{"object":{},"type":"DELETED"}"#).unwrap();
        assert!(matches!(deleted, Line::Deleted("{}")), "{deleted:?}");
        let bookmark =
            br#"{"type":"BOOKMARK","object":{"kind":"Service","metadata":{"resourceVersion":"9"}}}"#;
        assert!(matches!(Line::read(bookmark).unwrap(), Line::Bookmark(version) if version == "9"));
        let expired = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#;
        assert_eq!(Line::read(expired).unwrap_err(), Failure::Expired);
        for garbage in [&b"{"[..], b"", b"\xff", br#"{"type":"MOVED","object":{}}"#] {
            assert!(matches!(Line::read(garbage).unwrap_err(), Failure::Garbled(_)));
        }
    }
}
