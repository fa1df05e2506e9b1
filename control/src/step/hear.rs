//! What each event changes at once: the store, the routes, what has to be looked at. What follows from it is settled
//! afterwards, for all events of a step together.

use std::time::Duration;

use maglane_shared::addr::Addr;
use maglane_shared::table::Generation;

use super::{Controller, announcing};
use crate::event::{Event, Source};
use crate::health::{ProbeTarget, Verdict};
use crate::model::{ClusterId, ServiceSpec};
use crate::store::Store;

impl Controller {
    pub(super) fn apply(&mut self, event: Event, now: Duration) {
        self.restored.look(&event);
        if announcing::concerns(&event) {
            self.moved = true;
            self.catalog = None;
        }
        let routes = &mut self.routes;
        match event {
            Event::ServiceApplied(spec) => self.service_applied(*spec),
            Event::ServiceDeleted(name) => self.removals.wish(name),
            Event::SliceApplied(spec) => self.dirty.extend(self.store.apply_slice(*spec)),
            Event::SliceDeleted(name) => self.dirty.extend(self.store.delete_slice(&name)),
            Event::NodeApplied(spec) => {
                self.nodes_if(spec.name.cluster, |store| store.apply_node(*spec));
            }
            Event::NodeDeleted(name) => self.nodes_if(name.cluster, |store| store.delete_node(&name)),
            Event::NamespaceApplied(spec) => {
                self.touch_if(spec.name.cluster, |store| store.apply_namespace(*spec));
            }
            Event::NamespaceDeleted(name) => {
                self.touch_if(name.cluster, |store| store.delete_namespace(&name))
            }
            Event::PoolApplied(spec) => {
                self.touch_if(spec.name.cluster, |store| store.apply_pool(*spec));
            }
            Event::PoolDeleted(name) => self.touch_if(name.cluster, |store| store.delete_pool(&name)),
            Event::ReservationApplied(spec) => {
                self.touch_if(spec.reservation.name.cluster, |store| {
                    store.apply_reservation(*spec)
                });
            }
            Event::ReservationDeleted(name) => {
                self.touch_if(name.cluster, |store| store.delete_reservation(&name));
            }
            Event::AnnounceApplied(object) => self.moved |= self.store.apply_announce(*object),
            Event::AnnounceDeleted(object) => self.moved |= self.store.delete_announce(&object),
            Event::ImportApplied(spec) => self.dirty.extend(self.store.apply_import(*spec)),
            Event::ImportDeleted(name) => self.dirty.extend(self.store.delete_import(&name)),
            Event::Granted { service, addresses } => self.dirty.extend(self.store.grant(service, addresses)),
            Event::Leading(leading) => self.addresses.lead(leading, &self.store),
            Event::Restored(events) => self.restore(events, now),
            Event::SourceSynced(source) => self.source_synced(source, now),
            Event::SourceProblems { source, problems } => self.complaints.of_source(source, problems),
            Event::LinksRead(links) => routes.links_read(links),
            Event::AddressesRead(addresses) => self.addresses_read(addresses),
            Event::RoutesRead(all) => routes.routes_read(all),
            Event::NeighborsRead(neighbors) => routes.neighbors_read(neighbors),
            Event::NeighborChanged(neighbor) => routes.neighbor_changed(neighbor),
            Event::NeighborRemoved { interface, addr } => routes.neighbor_removed(interface, addr),
            Event::NeighborWanted { port, addr } => routes.neighbor_wanted(port, addr, now),
            Event::NodeHealth { target, verdict } => self.node_health_told(target, verdict),
            Event::WorkerGeneration { worker, generation } => self.worker_runs(worker, generation),
            Event::Steered { revision } => self.steered(revision),
            Event::SteerFailed { revision, reason } => self.steering.failed(revision, reason),
            Event::BgpSession(session) => self.announcer.session(*session),
            Event::BgpSessionEnded(peer) => self.announcer.session_ended(&peer),
            Event::BfdSession(session) => self.announcer.bfd_session(*session),
            Event::Draining(draining) => self.announcer.drain(draining, now),
            Event::OwnL2Failed { reason } => self.layer2.failed(reason),
            Event::NodeLeaseApplied(lease) => self.layer2.lease_applied(*lease, now),
            Event::NodeLeaseDeleted(name) => self.layer2.lease_deleted(&name),
            Event::NodeLeaseRenewed { until } => self.layer2.renewed(until, now),
            Event::AddressClaimed { port, addr, mac } => self.layer2.conflict(port, addr, mac, now),
            Event::Tick => self.tick(now),
        }
    }

    fn service_applied(&mut self, spec: ServiceSpec) {
        self.removals.withdraw(&spec.name);
        self.addresses.touch(spec.name.cluster);
        self.addresses.look_at(&spec.name);
        self.moved |= self.relabels(&spec);
        self.dirty.extend(self.store.apply_service(spec));
    }

    /// A change of a node: it may be a backend, and its addresses are nobody else's.
    fn nodes_if(&mut self, cluster: ClusterId, change: impl FnOnce(&mut Store) -> bool) {
        if change(&mut self.store) {
            self.addresses.touch(cluster);
            self.dirty_all();
        }
    }

    fn restore(&mut self, events: Vec<Event>, now: Duration) {
        self.announcer.restored();
        for event in events {
            self.apply(event.clone(), now);
            self.restored.add(&event);
        }
    }

    fn source_synced(&mut self, source: Source, now: Duration) {
        for gone in self.restored.settle(source) {
            self.apply(gone, now);
        }
        self.synced.insert(source);
        self.addresses.touch(ClusterId::MANIFESTS);
        self.addresses.touch(ClusterId::OWN);
        self.moved = true;
        self.catalog = None;
    }

    fn addresses_read(&mut self, addresses: Vec<Addr>) {
        let before = self.routes.local().clone();
        self.routes.addresses_read(addresses);
        self.moved = true;
        if self.settings.plan.serve.node_port && before != *self.routes.local() {
            self.dirty_all();
        }
    }

    fn node_health_told(&mut self, target: ProbeTarget, verdict: Verdict) {
        if self.node_health.told(target, verdict) {
            let asks = self
                .services
                .iter()
                .filter(|(_, plan)| plan.probes.contains(&target));
            self.dirty.extend(asks.map(|(name, _)| name.clone()));
        }
    }

    fn steered(&mut self, revision: u64) {
        self.steering.done(revision);
        self.addresses.look_at_waiting();
        self.moved = true;
        self.catalog = None;
    }

    fn tick(&mut self, now: Duration) {
        self.layer2.tick();
        self.moved |= self.steering.retry() | self.announcer.tick(now);
        self.dirty.extend(self.tiers.due(now));
        self.dirty.extend(self.floor.due(now, |key| self.owner(key)));
    }

    fn worker_runs(&mut self, worker: u16, generation: Generation) {
        if let Some(running) = self
            .running
            .get_mut(usize::from(worker))
            .filter(|running| **running != generation)
        {
            let fell_back = generation < *running;
            *running = generation;
            self.moved |= fell_back || self.steering.waits() || self.announcer.waits();
            self.catalog = None;
        }
    }

    /// A change of an object that decides about addresses.
    fn touch_if(&mut self, cluster: ClusterId, change: impl FnOnce(&mut Store) -> bool) {
        if change(&mut self.store) {
            self.addresses.touch(cluster);
        }
    }

    /// What every plan depends on has changed.
    fn dirty_all(&mut self) {
        let here = self
            .store
            .services()
            .filter(|service| !service.name.cluster.is_remote());
        self.dirty.extend(here.map(|service| service.name.clone()));
    }
}
