//! Everything that can make the controller act, as values: recorded, they replay a bad day.

use std::fmt;

use maglane_shared::addr::Addr;
use maglane_shared::next_hop::PortIndex;
use maglane_shared::table::Generation;
use serde::{Deserialize, Serialize};

use crate::announce::{BfdSession, BgpSession};
use crate::health::{ProbeTarget, Verdict};
use crate::model::{
    AnnounceObject, ClusterId, EndpointSliceSpec, ImportSpec, NamespaceSpec, NodeSpec, ObjectKind,
    ObjectName, ObjectRef, PoolSpec, ReservationSpec, ServiceSpec,
};
use crate::problem::Problem;
use crate::routes::{Link, Neighbor, Route};

/// Who tells the controller about objects or the kernel's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    Manifests,
    Kernel,
    Cluster(ClusterId),
    /// Not a source of objects: what stands in the way of status writes.
    Status,
    /// Likewise: health check node ports of this node that cannot be answered on.
    HealthPorts,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Manifests => f.write_str("manifests"),
            Source::Kernel => f.write_str("kernel"),
            Source::Status => f.write_str("status"),
            Source::HealthPorts => f.write_str("health-ports"),
            Source::Cluster(ClusterId::OWN) => f.write_str("kubernetes"),
            Source::Cluster(ClusterId(number)) => write!(f, "cluster-{number}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    ServiceApplied(Box<ServiceSpec>),
    ServiceDeleted(ObjectName),
    SliceApplied(Box<EndpointSliceSpec>),
    SliceDeleted(ObjectName),
    NodeApplied(Box<NodeSpec>),
    NodeDeleted(ObjectName),
    NamespaceApplied(Box<NamespaceSpec>),
    NamespaceDeleted(ObjectName),
    PoolApplied(Box<PoolSpec>),
    PoolDeleted(ObjectName),
    ReservationApplied(Box<ReservationSpec>),
    ReservationDeleted(ObjectName),
    /// An object that decides who is told of which addresses: BgpPeer, BgpAdvertisement, BfdProfile, Community or
    /// L2Advertisement.
    AnnounceApplied(Box<AnnounceObject>),
    AnnounceDeleted(ObjectRef),
    ImportApplied(Box<ImportSpec>),
    ImportDeleted(ObjectName),
    /// What a Service of a manifest was given, as remembered.
    Granted {
        service: ObjectName,
        addresses: Vec<Addr>,
    },
    /// May this process write to the own cluster? The elected one allocates addresses.
    Leading(bool),
    /// What an earlier process knew, from the disk: holds until its source says otherwise.
    Restored(Vec<Event>),
    /// The source has told all it had at its start.
    SourceSynced(Source),
    /// All that is wrong at the source now; takes the place of what it said before.
    SourceProblems {
        source: Source,
        problems: Vec<Problem>,
    },
    /// All links of the node; takes the place of those told before. Likewise the next three.
    LinksRead(Vec<Link>),
    AddressesRead(Vec<Addr>),
    RoutesRead(Vec<Route>),
    NeighborsRead(Vec<Neighbor>),
    NeighborChanged(Neighbor),
    /// The kernel forgot a neighbour.
    NeighborRemoved {
        interface: u32,
        addr: Addr,
    },
    /// A worker had a packet for an on-link address that nobody has resolved.
    NeighborWanted {
        #[serde(with = "port_index")]
        port: PortIndex,
        addr: Addr,
    },
    /// A node's health check node port ([`crate::effect::Effect::Probe`]) answers well, or no more.
    NodeHealth {
        target: ProbeTarget,
        verdict: Verdict,
    },
    /// The generation that a worker runs. Told again when it has not changed: harmless.
    WorkerGeneration {
        worker: u16,
        generation: Generation,
    },
    /// [`crate::effect::Effect::Steer`] with this revision is done on every interface.
    Steered {
        revision: u64,
    },
    /// It failed; the controller asks again at the next tick.
    SteerFailed {
        revision: u64,
        reason: String,
    },
    /// What a BGP session has come to.
    BgpSession(Box<BgpSession>),
    /// The session of this BgpPeer, which left the plan, is over.
    BgpSessionEnded(ObjectName),
    BfdSession(Box<BfdSession>),
    /// This node is to be taken out of service: withdraw everything and go on forwarding. Or no longer.
    Draining(bool),
    /// Time passes: at least one a second.
    Tick,
}

impl Event {
    /// The object is gone.
    pub(crate) fn deleted(object: ObjectRef) -> Event {
        let name = object.name.clone();
        match object.kind {
            ObjectKind::Service => Event::ServiceDeleted(name),
            ObjectKind::EndpointSlice => Event::SliceDeleted(name),
            ObjectKind::Node => Event::NodeDeleted(name),
            ObjectKind::Namespace => Event::NamespaceDeleted(name),
            ObjectKind::AddressPool => Event::PoolDeleted(name),
            ObjectKind::AddressReservation => Event::ReservationDeleted(name),
            ObjectKind::ServiceImport => Event::ImportDeleted(name),
            ObjectKind::BgpPeer
            | ObjectKind::BgpAdvertisement
            | ObjectKind::BfdProfile
            | ObjectKind::Community
            | ObjectKind::L2Advertisement
            | ObjectKind::BgpSessionState => Event::AnnounceDeleted(object),
        }
    }
}

/// [`PortIndex`] as its number.
pub(crate) mod port_index {
    use super::{Deserialize, PortIndex, Serialize};

    pub fn serialize<S: serde::Serializer>(port: &PortIndex, serializer: S) -> Result<S::Ok, S::Error> {
        port.0.serialize(serializer)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PortIndex, D::Error> {
        u8::deserialize(deserializer).map(PortIndex)
    }
}
