//! Services and endpoints as the controller keeps them: compact, checked, free of Kubernetes types
//! (those stop at [`crate::manifest`], invariant 9). All of it is serde, so that events can be replayed.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use maglane_shared::addr::{Addr, Family, Protocol};
use maglane_shared::flow::HashInputs;
use maglane_shared::service::ForwardingMode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ipam::{Labels, Pool, Request, Reservation};
use crate::problem::Problem;

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

    fn is_manifests(&self) -> bool {
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
    /// A Lease that says a node is there.
    NodeLease,
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
            ObjectKind::NodeLease => "Lease",
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
    pub node_port: Option<u16>,
}

/// `spec.type`, without `ExternalName`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    #[default]
    ClusterIp,
    NodePort,
    LoadBalancer,
}

/// `externalTrafficPolicy`, `internalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrafficPolicy {
    #[default]
    Cluster,
    Local,
}

/// Whom packets go to: `maglane.io/backends`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendKind {
    #[default]
    Pods,
    /// The nodes, on the Service's node ports.
    Nodes,
}

/// What happens to the flows of a backend that is removed or drains: `maglane.io/on-removal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRemoval {
    /// TCP flows stay until they end.
    #[default]
    Drain,
    /// They go to another backend at once.
    Move,
    /// Their clients get a TCP reset.
    Reset,
}

/// A Service of several clusters: `maglane.io/global`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalSpec {
    /// Fewer ready endpoints here than this, and the other clusters join; absent = they always do.
    pub failover_threshold: Option<u16>,
    /// Of each cluster's endpoints, by the cluster's name; absent = 1, 0 = none.
    pub weights: BTreeMap<Box<str>, u16>,
}

/// A Service. Whether and where it is served, the plan decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    pub name: ObjectName,
    /// `metadata.creationTimestamp` in Unix seconds; the older of two rivals for a VIP keeps it.
    pub created: Option<i64>,
    pub kind: ServiceKind,
    /// `spec.loadBalancerClass`.
    pub class: Option<Box<str>>,
    pub ports: Vec<PortSpec>,
    /// The addresses it has: of a manifest those it names, else those in its status.
    pub vips: Setting<Vec<Addr>>,
    pub cluster_ips: Vec<Addr>,
    pub external_ips: Vec<Addr>,
    pub external_policy: TrafficPolicy,
    pub internal_policy: TrafficPolicy,
    /// `sessionAffinity: ClientIP`, and for how many seconds.
    pub affinity: Option<u32>,
    /// `None` = everybody may connect; a family without a range may not once there is any.
    pub source_ranges: Option<Vec<IpNet>>,
    pub health_check_node_port: Option<u16>,
    pub mode: Setting<ForwardingMode>,
    pub hash_inputs: Setting<HashInputs>,
    /// By endpoint address; absent = 1.
    pub weights: Setting<BTreeMap<Addr, u16>>,
    pub backends: Setting<BackendKind>,
    pub on_removal: Setting<OnRemoval>,
    /// Seconds.
    pub tcp_timeout: Setting<u32>,
    pub udp_timeout: Setting<u32>,
    /// Bytes of a TCP segment.
    pub mss: Setting<u16>,
    /// Bytes of an IP packet towards a backend.
    pub mtu: Setting<u16>,
    pub global: Setting<GlobalSpec>,
    /// Of type LoadBalancer, in the own cluster or a manifest: what it asks the allocator for.
    pub request: Option<Box<Request>>,
    /// Of its status what is ours to write; where there is a request.
    pub observed: Option<Box<Observed>>,
    /// Whatever else its conversion found.
    pub problems: Vec<Problem>,
}

/// What an object's status says, as far as we write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// As [`crate::status::StatusWrite::body`].
    pub body: Value,
    /// `lastTransitionTime` by type of condition.
    pub since: BTreeMap<Box<str>, Box<str>>,
}

/// A Namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceSpec {
    pub name: ObjectName,
    pub labels: Labels,
}

/// An AddressPool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    pub name: ObjectName,
    pub pool: Pool,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    pub observed: Observed,
    pub problems: Vec<Problem>,
}

/// An AddressReservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationSpec {
    pub reservation: Reservation,
    pub generation: Option<i64>,
    pub observed: Observed,
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
            backends: self.backends.after(&before.backends),
            on_removal: self.on_removal.after(&before.on_removal),
            tcp_timeout: self.tcp_timeout.after(&before.tcp_timeout),
            udp_timeout: self.udp_timeout.after(&before.udp_timeout),
            mss: self.mss.after(&before.mss),
            mtu: self.mtu.after(&before.mtu),
            global: self.global.after(&before.global),
            ..self
        }
    }

    /// What is wrong with its annotations.
    pub fn setting_problems(&self) -> impl Iterator<Item = &Problem> {
        let settings = [
            self.vips.problem(),
            self.mode.problem(),
            self.hash_inputs.problem(),
            self.weights.problem(),
            self.backends.problem(),
            self.on_removal.problem(),
            self.tcp_timeout.problem(),
            self.udp_timeout.problem(),
            self.mss.problem(),
            self.mtu.problem(),
            self.global.problem(),
        ];
        settings.into_iter().flatten()
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
    pub uid: Uid,
    /// Where it runs.
    pub node: Option<NodeKey>,
    /// `hints.forZones`.
    pub zones: Box<[Box<str>]>,
}

/// A node's name, as small as a million endpoints want it: FNV-1a.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeKey(pub u64);

impl NodeKey {
    pub fn of(name: &str) -> NodeKey {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        NodeKey(name.bytes().fold(OFFSET, hash))
    }
}

/// A Node, as far as it can be a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    pub name: ObjectName,
    /// Of type InternalIP.
    pub addresses: Vec<Addr>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<Box<str>>,
    /// Condition Ready is True, and no label takes it out of load balancing.
    pub usable: bool,
    /// It announces no address: a label takes it out of load balancing, or its network is unavailable.
    #[serde(default)]
    pub barred: bool,
}

/// `targetRef.uid`, or what stands for it: another pod on the same address is another backend. 0 when unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(#[serde(with = "hex")] pub u128);

impl Uid {
    /// A UUID as its number; any other text by a hash that stays the same from version to version (FNV-1a).
    pub fn of(text: &str) -> Uid {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let is_uuid = text.len() == 36 && digits.len() == 32;
        if let (true, Ok(number)) = (is_uuid, u128::from_str_radix(&digits, 16)) {
            return Uid(number);
        }
        const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let hash = text
            .bytes()
            .fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
        Uid(if text.is_empty() { 0 } else { hash })
    }
}

/// JSON has no numbers of that size.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{number:x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(de::Error::custom)
    }
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
