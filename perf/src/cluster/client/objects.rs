//! Objects from YAML or JSON, sent where discovery says that their kind lives.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::Value;

use super::{APPLY_PATCH, Client};
use crate::cluster::ClusterError;
use crate::wait::wait_until;

/// How long a kind may take to be served after its CustomResourceDefinition was created.
const ESTABLISHED: Duration = Duration::from_secs(20);

/// Where a kind's objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    pub api_version: String,
    pub kind: String,
    pub plural: String,
    pub namespaced: bool,
}

impl Discovered {
    /// The path of an object, or of the collection when `name` is empty.
    #[must_use]
    pub fn path(&self, namespace: &str, name: &str) -> String {
        let root = root(&self.api_version);
        let place = if self.namespaced {
            format!("/namespaces/{namespace}")
        } else {
            String::new()
        };
        let name = if name.is_empty() {
            String::new()
        } else {
            format!("/{name}")
        };
        format!("{root}{place}/{}{name}", self.plural)
    }
}

impl Client {
    /// Creates or changes every object of a YAML stream or a JSON text by server-side apply with force, as
    /// the manager `maglane-rig`; objects without a namespace go to `namespace`. Gives what was stored.
    ///
    /// # Errors
    /// The first object that is not one, or that the server refuses.
    pub fn apply_all(&self, namespace: &str, text: &str) -> Result<Vec<Value>, ClusterError> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(text).map_err(|error| ClusterError::BadObject(error.to_string()))?;
        documents
            .iter()
            .filter(|document| !document.is_null())
            .map(|object| self.apply_object(namespace, object))
            .collect()
    }

    /// Creates or changes one object, as [`Client::apply_all`] does.
    ///
    /// # Errors
    /// When it is not an object or the server refuses it.
    pub fn apply_object(&self, namespace: &str, object: &Value) -> Result<Value, ClusterError> {
        let path = format!(
            "{}?fieldManager=maglane-rig&force=true",
            self.path_of(namespace, object)?
        );
        self.expect("PATCH", &path, Some((APPLY_PATCH, object.to_string())))
    }

    /// The path of this object.
    ///
    /// # Errors
    /// When it has no name, or no server knows its kind.
    pub fn path_of(&self, namespace: &str, object: &Value) -> Result<String, ClusterError> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&object["metadata"]["name"]);
        if name.is_empty() {
            return Err(ClusterError::BadObject(format!("no metadata.name in {object}")));
        }
        let own = text(&object["metadata"]["namespace"]);
        let namespace = if own.is_empty() { namespace } else { &own };
        let kind = self.discover(&text(&object["apiVersion"]), &text(&object["kind"]))?;
        Ok(kind.path(namespace, &name))
    }

    /// Where a kind lives; waits for a kind whose definition was only just created.
    ///
    /// # Errors
    /// When the server does not serve it.
    pub fn discover(&self, api_version: &str, kind: &str) -> Result<Discovered, ClusterError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |found: &&Discovered| found.api_version == api_version && found.kind == kind;
        if let Some(found) = known().iter().find(wanted) {
            return Ok(found.clone());
        }
        let mut answer = None;
        let _ = wait_until("the kind", ESTABLISHED, || {
            let listed = self.resources(api_version);
            answer = Some(listed.map(|listed| listed.iter().find(wanted).cloned()));
            matches!(answer, Some(Ok(Some(_))))
        });
        match answer {
            Some(Ok(Some(found))) => {
                known().push(found.clone());
                Ok(found)
            }
            Some(Err(error)) => Err(error),
            Some(Ok(None)) | None => Err(ClusterError::BadObject(format!(
                "the server does not serve {kind} of {api_version}"
            ))),
        }
    }

    fn resources(&self, api_version: &str) -> Result<Vec<Discovered>, ClusterError> {
        let list = self.get(&root(api_version))?;
        let resources = list["resources"].as_array().cloned().unwrap_or_default();
        let found = resources.iter().filter_map(|resource| {
            let plural = resource["name"].as_str().filter(|name| !name.contains('/'))?;
            Some(Discovered {
                api_version: api_version.to_owned(),
                kind: resource["kind"].as_str()?.to_owned(),
                plural: plural.to_owned(),
                namespaced: resource["namespaced"].as_bool()?,
            })
        });
        Ok(found.collect())
    }
}

fn root(api_version: &str) -> String {
    if api_version.contains('/') {
        format!("/apis/{api_version}")
    } else {
        format!("/api/{api_version}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_gives_its_paths() {
        let kind = |api_version: &str, plural: &str, namespaced| Discovered {
            api_version: api_version.to_owned(),
            kind: String::new(),
            plural: plural.to_owned(),
            namespaced,
        };
        assert_eq!(
            kind("v1", "services", true).path("a", "web"),
            "/api/v1/namespaces/a/services/web"
        );
        assert_eq!(kind("v1", "nodes", false).path("a", ""), "/api/v1/nodes");
        let pools = kind("maglane.io/v1alpha1", "addresspools", false);
        assert_eq!(pools.path("", "x"), "/apis/maglane.io/v1alpha1/addresspools/x");
    }
}
