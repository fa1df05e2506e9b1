//! Services and endpoints as the controller keeps them: compact, checked, free of Kubernetes types
//! (those stop at [`crate::manifest`], invariant 9). All of it is serde, so that events can be replayed.

use std::collections::BTreeMap;
use std::fmt;

use maglane_shared::addr::{Addr, Family, Protocol};
use maglane_shared::flow::HashInputs;
use maglane_shared::service::ForwardingMode;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// Namespace and name of a Kubernetes object; sorts by namespace, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectName {
    pub namespace: Box<str>,
    pub name: Box<str>,
}

impl ObjectName {
    pub fn new(namespace: &str, name: &str) -> ObjectName {
        ObjectName {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKind {
    Service,
    EndpointSlice,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObjectKind::Service => "Service",
            ObjectKind::EndpointSlice => "EndpointSlice",
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

/// A setting that an annotation may give.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setting<T> {
    /// No annotation: the default holds.
    #[default]
    Unset,
    Valid(T),
    /// The annotation cannot be used: what held before goes on, else the default.
    Invalid {
        problem: Problem,
        last_good: Option<T>,
    },
}

impl<T> Setting<T> {
    pub fn get(&self) -> Option<&T> {
        match self {
            Setting::Unset => None,
            Setting::Valid(value) => Some(value),
            Setting::Invalid { last_good, .. } => last_good.as_ref(),
        }
    }

    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Setting::Unset | Setting::Valid(_) => None,
            Setting::Invalid { problem, .. } => Some(problem),
        }
    }

    /// This setting, after `before`: an invalid one goes on with what held.
    fn after(self, before: &Setting<T>) -> Setting<T>
    where
        T: Clone,
    {
        match self {
            Setting::Unset | Setting::Valid(_) => self,
            Setting::Invalid {
                problem,
                last_good: _,
            } => Setting::Invalid {
                problem,
                last_good: before.get().cloned(),
            },
        }
    }
}

/// The protocol of a port as the object spells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PortProtocol {
    Balanced(Protocol),
    /// SCTP, or something newer.
    Unsupported(Box<str>),
}

/// One entry of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Empty when unnamed.
    pub name: Box<str>,
    pub protocol: PortProtocol,
    pub port: u16,
    /// `targetPort` when numeric: where endpoints listen that name no port of their own.
    pub target: Option<u16>,
}

/// A Service that wants balancing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    pub name: ObjectName,
    /// `metadata.creationTimestamp` in Unix seconds; the older of two rivals for a VIP keeps it.
    pub created: Option<i64>,
    pub ports: Vec<PortSpec>,
    pub vips: Setting<Vec<Addr>>,
    pub mode: Setting<ForwardingMode>,
    pub hash_inputs: Setting<HashInputs>,
    /// By endpoint address; absent = 1.
    pub weights: Setting<BTreeMap<Addr, u16>>,
    /// Whatever else its conversion found.
    pub problems: Vec<Problem>,
}

impl ServiceSpec {
    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            kind: ObjectKind::Service,
            name: self.name.clone(),
        }
    }

    /// This spec, told after `before`: settings that cannot be used go on with what held.
    pub fn after(self, before: &ServiceSpec) -> ServiceSpec {
        ServiceSpec {
            vips: self.vips.after(&before.vips),
            mode: self.mode.after(&before.mode),
            hash_inputs: self.hash_inputs.after(&before.hash_inputs),
            weights: self.weights.after(&before.weights),
            ..self
        }
    }
}

/// What an endpoint's conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// Takes new flows.
    Ready,
    /// Going away but still answering: takes new flows only when nobody is ready (KEP-1669).
    ServingTerminating,
    /// Keeps the flows it has.
    NotReady,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    pub addr: Addr,
    pub readiness: Readiness,
    /// `targetRef.uid`: another pod on the same address is another backend. Empty when unknown.
    pub uid: Box<str>,
}

/// One entry of an EndpointSlice's `ports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlicePort {
    /// Empty when unnamed.
    pub name: Box<str>,
    pub protocol: PortProtocol,
    /// `None` = every port: the Service's own target.
    pub port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSliceSpec {
    pub name: ObjectName,
    /// Label `kubernetes.io/service-name`, in the slice's namespace.
    pub service: ObjectName,
    pub family: Family,
    /// `None` = no list at all: every port.
    pub ports: Option<Vec<SlicePort>>,
    pub endpoints: Vec<EndpointSpec>,
    pub problems: Vec<Problem>,
}

impl EndpointSliceSpec {
    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            kind: ObjectKind::EndpointSlice,
            name: self.name.clone(),
        }
    }
}
