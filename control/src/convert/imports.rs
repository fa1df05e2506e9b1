//! ServiceImport (multicluster.x-k8s.io, KEP-1645) -> [`ImportSpec`]. Its own CRD; only the type is of interest.

use serde::Deserialize;

use super::{Converted, Misfit, Origin};
use crate::model::ImportSpec;
use crate::problem::Problem;

/// v1alpha1 has the type under `spec`, v1beta1 may have it at the top.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceImport {
    #[serde(rename = "type")]
    kind: Option<String>,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "type")]
    kind: Option<String>,
}

pub(crate) fn import(object: ServiceImport, origin: Origin<'_>) -> Result<Converted<ImportSpec>, Misfit> {
    let top = object.kind.is_some();
    match object.kind.or(object.spec.kind).as_deref() {
        Some("ClusterSetIP") => Ok(Converted::Object(Box::new(ImportSpec {
            name: origin.object.name.clone(),
        }))),
        Some("Headless") => {
            let message = "left alone: it is headless, so clients choose among its endpoints themselves";
            Ok(origin.leave(Problem::note(message, "nothing, unless it should be balanced")))
        }
        other => Err(Misfit {
            field: if top { "type" } else { "spec.type" }.to_owned(),
            message: format!(
                "{:?} is missing or unknown; write ClusterSetIP or Headless",
                other.unwrap_or_default()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClusterId, ObjectKind, ObjectName, ObjectRef};

    fn read(json: &str) -> Result<Converted<ImportSpec>, Misfit> {
        let object = ObjectRef {
            kind: ObjectKind::ServiceImport,
            name: ObjectName::of(ClusterId::OWN, "shop", "web"),
        };
        let origin = Origin {
            object: &object,
            place: "kubernetes",
        };
        import(serde_json::from_str(json).unwrap(), origin)
    }

    #[test]
    fn either_version_is_read_and_only_cluster_set_addresses_count() {
        for json in [
            r#"{ "spec": { "type": "ClusterSetIP", "ports": [] } }"#,
            r#"{ "type": "ClusterSetIP", "ports": [] }"#,
        ] {
            let Converted::Object(spec) = read(json).unwrap() else {
                panic!("{json}");
            };
            assert_eq!(spec.name.to_string(), "shop/web");
        }
        let headless = read(r#"{ "spec": { "type": "Headless" } }"#).unwrap();
        assert!(matches!(headless, Converted::LeftAlone(_)));
        for (json, field) in [
            (r#"{ "spec": { "type": "x" } }"#, "spec.type"),
            (r#"{ "type": "x" }"#, "type"),
        ] {
            assert_eq!(read(json).unwrap_err().field, field);
        }
    }
}
