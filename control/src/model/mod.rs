//! Services and endpoints as the controller keeps them: compact, checked, free of Kubernetes types
//! (those stop at [`crate::manifest`], invariant 9). All of it is serde, so that events can be replayed.

mod announce;
mod object;

use std::collections::BTreeMap;

use ipnet::IpNet;
use maglane_shared::addr::{Addr, Family, Protocol};
use maglane_shared::flow::HashInputs;
use maglane_shared::service::ForwardingMode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ipam::{Labels, Pool, Request, Reservation};
use crate::problem::Problem;

pub use announce::{
    AnnounceObject, AnnounceSpec, BfdProfileSpec, BgpAdvertisementSpec, BgpPeerSpec, CommunityRef,
    CommunitySpec, CommunityValue, DrainSpec, L2AdvertisementSpec, Scope,
};
pub use object::{ClusterId, ObjectKind, ObjectName, ObjectRef};

/// Where a Secret has the TCP MD5 key of a BgpPeer.
pub const PASSWORD_KEY: &str = "password";

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

    fn is_unset(&self) -> bool {
        matches!(self, Setting::Unset)
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
    /// What holds where it is no annotation but a ServiceImport that makes it global.
    #[serde(default, skip_serializing_if = "Setting::is_unset")]
    pub imported: Setting<GlobalSpec>,
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

/// A ServiceImport of type ClusterSetIP (KEP-1645): the Service of its name is global.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportSpec {
    pub name: ObjectName,
}

/// An AddressPool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    pub name: ObjectName,
    #[serde(default)]
    pub labels: Labels,
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
    /// Of type ClusterIP, without ports, addresses or settings.
    pub fn named(name: ObjectName) -> ServiceSpec {
        ServiceSpec {
            name,
            created: None,
            kind: ServiceKind::ClusterIp,
            class: None,
            ports: vec![],
            vips: Setting::Unset,
            cluster_ips: vec![],
            external_ips: vec![],
            external_policy: TrafficPolicy::Cluster,
            internal_policy: TrafficPolicy::Cluster,
            affinity: None,
            source_ranges: None,
            health_check_node_port: None,
            mode: Setting::Unset,
            hash_inputs: Setting::Unset,
            weights: Setting::Unset,
            backends: Setting::Unset,
            on_removal: Setting::Unset,
            tcp_timeout: Setting::Unset,
            udp_timeout: Setting::Unset,
            mss: Setting::Unset,
            mtu: Setting::Unset,
            global: Setting::Unset,
            imported: Setting::Unset,
            request: None,
            observed: None,
            problems: vec![],
        }
    }

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
            imported: self.imported.after(&before.imported),
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
            self.imported.problem(),
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
    /// `spec.podCIDRs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_ranges: Vec<IpNet>,
    /// Condition Ready is True, and no label takes it out of load balancing.
    pub usable: bool,
    #[serde(default)]
    pub labels: Labels,
    /// Condition NetworkUnavailable is True.
    #[serde(default)]
    pub network_unavailable: bool,
}

/// `targetRef.uid`, or what stands for it: another pod on the same address is another backend. 0 when unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(#[serde(with = "hex")] pub u128);

impl Uid {
    /// A UUID as its number; any other text by a hash that stays the same from version to version (FNV-1a).
    pub fn of(text: &str) -> Uid {
        if let Some(number) = uuid(text) {
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

/// Read a million times in a large cluster, so without memory of its own.
fn uuid(text: &str) -> Option<u128> {
    if text.len() != 36 {
        return None;
    }
    let (mut number, mut digits) = (0, 0);
    for byte in text.bytes().filter(|byte| *byte != b'-') {
        number = number << 4 | u128::from(char::from(byte).to_digit(16)?);
        digits += 1;
    }
    (digits == 32).then_some(number)
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

impl NodeSpec {
    /// The label that takes a node out of load balancing, whatever its value (KEP-1143).
    pub const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

    pub fn is_excluded(&self) -> bool {
        self.labels.contains_key(NodeSpec::EXCLUDED)
    }

    /// It announces no address.
    pub fn is_barred(&self) -> bool {
        self.is_excluded() || self.network_unavailable
    }
}

impl EndpointSliceSpec {
    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            kind: ObjectKind::EndpointSlice,
            name: self.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_its_number_and_other_text_a_hash_that_never_changes() {
        let uuid = "00000000-0000-0000-0000-0000000ABcd1";
        assert_eq!(Uid::of(uuid), Uid(0xabcd1));
        assert_eq!(Uid::of("ffffffff-ffff-ffff-ffff-ffffffffffff"), Uid(u128::MAX));
        assert_eq!(Uid::of(""), Uid(0));
        assert_eq!(Uid::of("abc"), Uid(0xa68d_622c_ec8b_5822_836d_bc79_77af_7f3b));
        // As long as a UUID, and none.
        for text in [
            "0000000g-0000-0000-0000-000000000000",
            &"0".repeat(36),
            &"-".repeat(36),
        ] {
            assert!(Uid::of(text).0 > u128::from(u64::MAX), "{text}");
        }
    }
}
