//! What was read from the disk and not yet said by its source: served as if it had been, gone when the source
//! has told all it has and this was not among it.

use std::collections::BTreeSet;

use crate::event::{Event, Source};
use crate::model::{ClusterId, ObjectKind, ObjectRef};

#[derive(Debug, Default)]
pub(super) struct Restored {
    unconfirmed: BTreeSet<ObjectRef>,
}

impl Restored {
    /// Before the event is applied.
    pub fn look(&mut self, event: &Event) {
        if let Some(object) = subject(event).filter(|_| !self.unconfirmed.is_empty()) {
            self.unconfirmed.remove(&object);
        }
    }

    pub fn add(&mut self, event: &Event) {
        self.unconfirmed.extend(subject(event));
    }

    /// The source has told all it has: the rest is gone.
    pub fn settle(&mut self, source: Source) -> Vec<Event> {
        let cluster = match source {
            Source::Manifests => ClusterId::MANIFESTS,
            Source::Cluster(cluster) => cluster,
            Source::Kernel | Source::Status | Source::HealthPorts => return vec![],
        };
        let (gone, rest) = std::mem::take(&mut self.unconfirmed)
            .into_iter()
            .partition(|object| object.name.cluster == cluster);
        self.unconfirmed = rest;
        let gone: BTreeSet<ObjectRef> = gone;
        gone.into_iter().map(Event::deleted).collect()
    }
}

/// Which object an event is about.
fn subject(event: &Event) -> Option<ObjectRef> {
    let (kind, name) = match event {
        Event::AnnounceApplied(object) => return Some(object.object()),
        Event::AnnounceDeleted(object) => return Some(object.clone()),
        Event::ServiceApplied(spec) => (ObjectKind::Service, &spec.name),
        Event::ServiceDeleted(name) => (ObjectKind::Service, name),
        Event::SliceApplied(spec) => (ObjectKind::EndpointSlice, &spec.name),
        Event::SliceDeleted(name) => (ObjectKind::EndpointSlice, name),
        Event::NodeApplied(spec) => (ObjectKind::Node, &spec.name),
        Event::NodeDeleted(name) => (ObjectKind::Node, name),
        Event::NamespaceApplied(spec) => (ObjectKind::Namespace, &spec.name),
        Event::NamespaceDeleted(name) => (ObjectKind::Namespace, name),
        Event::PoolApplied(spec) => (ObjectKind::AddressPool, &spec.name),
        Event::PoolDeleted(name) => (ObjectKind::AddressPool, name),
        Event::ReservationApplied(spec) => (ObjectKind::AddressReservation, &spec.reservation.name),
        Event::ReservationDeleted(name) => (ObjectKind::AddressReservation, name),
        Event::ImportApplied(spec) => (ObjectKind::ServiceImport, &spec.name),
        Event::ImportDeleted(name) => (ObjectKind::ServiceImport, name),
        Event::Restored(_)
        | Event::Granted { .. }
        | Event::Leading(_)
        | Event::SourceSynced(_)
        | Event::SourceProblems { .. }
        | Event::LinksRead(_)
        | Event::AddressesRead(_)
        | Event::RoutesRead(_)
        | Event::NeighborsRead(_)
        | Event::NeighborChanged(_)
        | Event::NeighborRemoved { .. }
        | Event::NeighborWanted { .. }
        | Event::NodeHealth { .. }
        | Event::WorkerGeneration { .. }
        | Event::Steered { .. }
        | Event::SteerFailed { .. }
        | Event::BgpSession(_)
        | Event::BgpSessionEnded(_)
        | Event::BfdSession(_)
        | Event::Draining(_)
        | Event::Tick => return None,
    };
    Some(ObjectRef {
        kind,
        name: name.clone(),
    })
}
