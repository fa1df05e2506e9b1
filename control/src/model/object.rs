//! What objects are called.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where an object was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub u8);

impl ClusterId {
    /// The directory of manifests.
    pub const MANIFESTS: ClusterId = ClusterId(0);
    /// The cluster this node belongs to; those of `--cluster` follow in order.
    pub const OWN: ClusterId = ClusterId(1);

    /// Only endpoints of global Services are taken from there.
    pub const fn is_remote(self) -> bool {
        self.0 > ClusterId::OWN.0
    }

    pub fn is_manifests(&self) -> bool {
        *self == ClusterId::MANIFESTS
    }
}

/// A Kubernetes object; sorts by namespace, name, then cluster. The namespace of a cluster-scoped object is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectName {
    pub namespace: Box<str>,
    pub name: Box<str>,
    #[serde(default, skip_serializing_if = "ClusterId::is_manifests")]
    pub cluster: ClusterId,
}

impl ObjectName {
    /// Of the manifests.
    pub fn new(namespace: &str, name: &str) -> ObjectName {
        ObjectName::of(ClusterId::MANIFESTS, namespace, name)
    }

    pub fn of(cluster: ClusterId, namespace: &str, name: &str) -> ObjectName {
        ObjectName {
            namespace: namespace.into(),
            name: name.into(),
            cluster,
        }
    }

    /// Another object of the same namespace and cluster.
    pub fn sibling(&self, name: &str) -> ObjectName {
        ObjectName::of(self.cluster, &self.namespace, name)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)?;
        if self.cluster.is_remote() {
            write!(f, " of cluster {}", self.cluster.0)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKind {
    Service,
    EndpointSlice,
    Node,
    Namespace,
    AddressPool,
    AddressReservation,
    ServiceImport,
    BgpPeer,
    BgpAdvertisement,
    BfdProfile,
    Community,
    L2Advertisement,
    BgpSessionState,
}

impl ObjectKind {
    pub const fn is_namespaced(self) -> bool {
        match self {
            ObjectKind::Service
            | ObjectKind::EndpointSlice
            | ObjectKind::AddressReservation
            | ObjectKind::ServiceImport => true,
            ObjectKind::Node
            | ObjectKind::Namespace
            | ObjectKind::AddressPool
            | ObjectKind::BgpPeer
            | ObjectKind::BgpAdvertisement
            | ObjectKind::BfdProfile
            | ObjectKind::Community
            | ObjectKind::L2Advertisement
            | ObjectKind::BgpSessionState => false,
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObjectKind::Service => "Service",
            ObjectKind::EndpointSlice => "EndpointSlice",
            ObjectKind::Node => "Node",
            ObjectKind::Namespace => "Namespace",
            ObjectKind::AddressPool => "AddressPool",
            ObjectKind::AddressReservation => "AddressReservation",
            ObjectKind::ServiceImport => "ServiceImport",
            ObjectKind::BgpPeer => "BgpPeer",
            ObjectKind::BgpAdvertisement => "BgpAdvertisement",
            ObjectKind::BfdProfile => "BfdProfile",
            ObjectKind::Community => "Community",
            ObjectKind::L2Advertisement => "L2Advertisement",
            ObjectKind::BgpSessionState => "BgpSessionState",
        })
    }
}

/// An object with its kind: `Service default/web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    pub kind: ObjectKind,
    pub name: ObjectName,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
