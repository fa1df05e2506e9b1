//! The kinds that are served: the built-in ones that Maglane and its tests touch, and those of definitions.

use serde_json::Value;

use super::fields::{Key, Listing, Shape};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Cluster,
    Namespaced,
}

/// Whether the status is an endpoint of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Part of the object, if there is one at all.
    Inside,
    Apart,
}

/// Whether `metadata.generation` counts changes of what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    Absent,
    Counted,
}

/// Whether PUT may leave the resourceVersion out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overwrite {
    Allowed,
    NeedsVersion,
}

/// One resource.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    /// [`id`] of its group and plural.
    pub id: String,
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub short_names: Vec<String>,
    pub scope: Scope,
    pub status: Status,
    pub generation: Generation,
    pub overwrite: Overwrite,
    pub shape: Shape,
    /// Made by a CustomResourceDefinition.
    pub custom: bool,
}

struct Builtin {
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    short: &'static str,
    scope: Scope,
    status: Status,
    generation: Generation,
    overwrite: Overwrite,
}

const fn builtin(
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    short: &'static str,
) -> Builtin {
    Builtin {
        group,
        plural,
        kind,
        short,
        scope: Scope::Namespaced,
        status: Status::Inside,
        generation: Generation::Absent,
        overwrite: Overwrite::Allowed,
    }
}

impl Builtin {
    const fn cluster(mut self) -> Self {
        self.scope = Scope::Cluster;
        self
    }

    const fn status(mut self) -> Self {
        self.status = Status::Apart;
        self
    }

    const fn generation(mut self) -> Self {
        self.generation = Generation::Counted;
        self
    }

    const fn needs_version(mut self) -> Self {
        self.overwrite = Overwrite::NeedsVersion;
        self
    }

    fn resource(&self) -> Resource {
        Resource {
            id: id(self.group, self.plural),
            group: self.group.to_owned(),
            version: "v1".to_owned(),
            plural: self.plural.to_owned(),
            kind: self.kind.to_owned(),
            short_names: self
                .short
                .split(' ')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            scope: self.scope,
            status: self.status,
            generation: self.generation,
            overwrite: self.overwrite,
            shape: shape(self.kind),
            custom: false,
        }
    }
}

pub(super) const DEFINITIONS: &str = "customresourcedefinitions";
const RBAC: &str = "rbac.authorization.k8s.io";

const BUILTINS: &[Builtin] = &[
    builtin("", "namespaces", "Namespace", "ns").cluster().status(),
    builtin("", "nodes", "Node", "no").cluster().status(),
    builtin("", "services", "Service", "svc").status(),
    builtin("", "configmaps", "ConfigMap", "cm"),
    builtin("", "secrets", "Secret", ""),
    builtin("", "serviceaccounts", "ServiceAccount", "sa"),
    builtin("discovery.k8s.io", "endpointslices", "EndpointSlice", "").generation(),
    builtin("coordination.k8s.io", "leases", "Lease", "").needs_version(),
    builtin("events.k8s.io", "events", "Event", "ev"),
    builtin("apps", "daemonsets", "DaemonSet", "ds")
        .status()
        .generation(),
    builtin(
        "apiextensions.k8s.io",
        DEFINITIONS,
        "CustomResourceDefinition",
        "crd crds",
    )
    .cluster()
    .status()
    .generation()
    .needs_version(),
    builtin(RBAC, "roles", "Role", ""),
    builtin(RBAC, "rolebindings", "RoleBinding", ""),
    builtin(RBAC, "clusterroles", "ClusterRole", "").cluster(),
    builtin(RBAC, "clusterrolebindings", "ClusterRoleBinding", "").cluster(),
];

/// `endpointslices.discovery.k8s.io`, as definitions are named too.
pub(super) fn id(group: &str, plural: &str) -> String {
    format!("{plural}.{group}")
}

pub(super) fn builtins() -> impl Iterator<Item = Resource> {
    BUILTINS.iter().map(Builtin::resource)
}

/// What the real schemas say of lists and maps in the kinds above; all other lists are atomic.
fn shape(kind: &str) -> Shape {
    let mut shape = Shape::of_objects();
    match kind {
        "Service" => {
            shape.at("spec.ports").listing = Listing::Keyed(vec![
                Key {
                    name: "port".to_owned(),
                    default: None,
                },
                Key {
                    name: "protocol".to_owned(),
                    default: Some("TCP".into()),
                },
            ]);
            shape.at("spec.selector").atomic = true;
            shape.at("status.conditions").listing = Listing::keyed(&["type"]);
        }
        "Node" => {
            shape.at("status.conditions").listing = Listing::keyed(&["type"]);
            shape.at("status.addresses").listing = Listing::keyed(&["type"]);
            shape.at("spec.podCIDRs").listing = Listing::Set;
        }
        "Namespace" | "CustomResourceDefinition" | "DaemonSet" => {
            shape.at("status.conditions").listing = Listing::keyed(&["type"]);
        }
        _ => {}
    }
    shape
}

/// The resource that a CustomResourceDefinition makes: of its storage version.
pub(super) fn defined(definition: &Value) -> Option<Resource> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let version = spec["versions"]
        .as_array()?
        .iter()
        .find(|version| version["storage"] == true)?;
    let short_names = names["shortNames"].as_array().into_iter().flatten();
    Some(Resource {
        id: id(spec["group"].as_str()?, names["plural"].as_str()?),
        group: text(&spec["group"])?,
        version: text(&version["name"])?,
        plural: text(&names["plural"])?,
        kind: text(&names["kind"])?,
        short_names: short_names.filter_map(text).collect(),
        scope: if spec["scope"] == "Cluster" {
            Scope::Cluster
        } else {
            Scope::Namespaced
        },
        status: if version["subresources"]["status"].is_object() {
            Status::Apart
        } else {
            Status::Inside
        },
        generation: Generation::Counted,
        overwrite: Overwrite::NeedsVersion,
        shape: Shape::of_schema(&version["schema"]["openAPIV3Schema"]),
        custom: true,
    })
}

impl Resource {
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}
