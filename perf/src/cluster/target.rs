//! What a request is about: its path and query, read as the API server reads them.
//!
//! `/api/v1/namespaces/default/services/web/status` is the status of one Service. One reader for the request
//! log, the faults and the double.

use std::collections::BTreeMap;
use std::fmt;

/// The API's verbs, as authorisation and the request log name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// True when an answer may change what is stored.
    #[must_use]
    pub fn writes(self) -> bool {
        match self {
            Self::Get | Self::List | Self::Watch => false,
            Self::Create | Self::Update | Self::Patch | Self::Delete | Self::DeleteCollection => true,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One resource path. The core group is the empty one; a namespace is empty for cluster-scoped objects and
/// for lists across namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    pub group: String,
    pub version: String,
    pub resource: String,
    pub namespace: String,
    pub name: Option<String>,
    pub subresource: Option<String>,
}

impl Target {
    /// None for paths that name no resource: `/version`, `/readyz`, discovery.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        // A Namespace is an object itself, and so are its subresources; anything else below it is in it.
        let (namespace, rest) = match rest {
            ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name, subresource) = match rest {
            [resource] => (resource, None, None),
            [resource, name] => (resource, Some(name), None),
            [resource, name, subresource] => (resource, Some(name), Some(subresource)),
            _ => return None,
        };
        Some(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: (*resource).to_owned(),
            namespace: namespace.to_owned(),
            name: name.map(|name| decode(name)),
            subresource: subresource.map(|name| (*name).to_owned()),
        })
    }

    /// `services/status`, as rules and logs write it.
    #[must_use]
    pub fn full_resource(&self) -> String {
        match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.resource),
            None => self.resource.clone(),
        }
    }
}

/// A query string's parameters; of repeated ones the last counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    #[must_use]
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// The value, unless it is absent or empty.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    #[must_use]
    pub fn is_true(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1"))
    }
}

/// The verb of a request to a target.
#[must_use]
pub fn verb(method: &str, target: &Target, params: &Params) -> Option<Verb> {
    let one = target.name.is_some();
    match method {
        "GET" if params.is_true("watch") => Some(Verb::Watch),
        "GET" | "HEAD" if one => Some(Verb::Get),
        "GET" | "HEAD" => Some(Verb::List),
        "POST" => Some(Verb::Create),
        "PUT" => Some(Verb::Update),
        "PATCH" => Some(Verb::Patch),
        "DELETE" if one => Some(Verb::Delete),
        "DELETE" => Some(Verb::DeleteCollection),
        _ => None,
    }
}

/// Percent-decoding, with `+` for a space as query strings have it; bad escapes stay as they are.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = match escaped {
            Some(byte) => {
                bytes.push(byte);
                &tail[2..]
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Target {
        Target::parse(path).unwrap_or_else(|| panic!("{path} names nothing"))
    }

    #[test]
    fn paths_are_read_as_the_server_reads_them() {
        let web = target("/api/v1/namespaces/default/services/web/status");
        assert_eq!((web.group.as_str(), web.namespace.as_str()), ("", "default"));
        assert_eq!(
            (web.name.as_deref(), web.full_resource().as_str()),
            (Some("web"), "services/status")
        );
        let all = target("/apis/discovery.k8s.io/v1/endpointslices");
        assert_eq!(
            (all.resource.as_str(), all.namespace.as_str(), &all.name),
            ("endpointslices", "", &None)
        );
        let listed = target("/apis/maglane.io/v1alpha1/namespaces/a/addressreservations");
        assert_eq!(
            (listed.resource.as_str(), listed.namespace.as_str()),
            ("addressreservations", "a")
        );
    }

    #[test]
    fn a_namespace_is_an_object_and_a_place() {
        let itself = target("/api/v1/namespaces/kube-system");
        assert_eq!(
            (itself.resource.as_str(), itself.name.as_deref()),
            ("namespaces", Some("kube-system"))
        );
        let status = target("/api/v1/namespaces/kube-system/status");
        assert_eq!(status.full_resource(), "namespaces/status");
        assert!(status.namespace.is_empty());
    }

    #[test]
    fn what_names_no_resource_is_none() {
        for path in [
            "/version",
            "/readyz",
            "/api",
            "/api/v1",
            "/apis/apps/v1",
            "/",
            "/x/y/z",
        ] {
            assert_eq!(Target::parse(path), None, "{path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let params = Params::parse(Some("labelSelector=a%3Db%2Cc+in+%28d%29&watch=1&limit=&bad=%zz"));
        assert_eq!(params.get("labelSelector"), Some("a=b,c in (d)"));
        assert!(params.is_true("watch"));
        assert_eq!((params.get("limit"), params.get("bad")), (None, Some("%zz")));
    }

    #[test]
    fn a_get_of_many_is_a_list_or_a_watch() {
        let (none, watch) = (Params::default(), Params::parse(Some("watch=true")));
        let many = target("/api/v1/services");
        assert_eq!(verb("GET", &many, &none), Some(Verb::List));
        assert_eq!(verb("GET", &many, &watch), Some(Verb::Watch));
        assert_eq!(verb("DELETE", &many, &none), Some(Verb::DeleteCollection));
        assert_eq!(verb("TRACE", &many, &none), None);
    }
}
