//! The controller: `(events, now) -> effects`. Pure; time is an argument (since start, monotonic).
//!
//! The one place for the order of things (invariant 6). A VIP is steered only once every worker runs a table
//! that has it, and has had it in every table since; a VIP that goes is un-steered first, and its ports stay
//! in the table until the answer is there. Nothing is published before the kernel's routes are known, nor,
//! after a restart of the control side alone, before every source has told all it has (invariant 7).

mod addresses;
mod conflicts;
mod floor;
mod l2;
mod problems;
mod removals;
mod restored;
mod steering;
#[cfg(test)]
mod tests;
mod tiers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use maglane_shared::addr::{Addr, VipKey};
use maglane_shared::table::{ForwardingTable, Generation};

use crate::catalog::Catalog;
use crate::compile::{CompileSettings, CompiledPort, Compiler, Work};
use crate::effect::{Effect, PortSpan, SteerPlan};
use crate::event::{Event, Source};
use crate::l2::{L2Settings, Standing};
use crate::model::{ClusterId, NodeSpec, ObjectKind, ObjectName, ObjectRef, ServiceSpec};
use crate::plan::{Plan, PlanSettings, PlannedPort, Reach, ServicePlan, Surroundings, plan_service};
use crate::problem::Problem;
use crate::routes::RouteStore;
use crate::status::Gates;
use crate::store::Store;

use addresses::Addresses;
pub(crate) use addresses::allocation;
use floor::Floor;
use l2::Layer2;
use problems::Complaints;
use removals::Removals;
use restored::Restored;
use steering::Steering;
use tiers::Tiers;

#[derive(Clone, Debug)]
pub struct Settings {
    /// `--interface`, in order.
    pub interfaces: Vec<Box<str>>,
    pub workers: u16,
    /// Whom to wait for before anything may be removed; the kernel is one of them.
    pub sources: BTreeSet<Source>,
    pub plan: PlanSettings,
    pub compile: CompileSettings,
    /// `--snat-address` with `--snat-ports`.
    pub nat_returns: BTreeMap<Addr, PortSpan>,
    /// `--max-removal-percent`.
    pub max_removal_percent: u8,
    pub l2: L2Settings,
}

/// Where an earlier controller of this process left off; the default for the first.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// The last one published.
    pub table: Arc<ForwardingTable>,
    /// What is in it.
    pub ports: Arc<[CompiledPort]>,
    /// The last plan sent, with every address that may be steered.
    pub steered: SteerPlan,
    /// Of this node in layer 2.
    pub standing: Standing,
}

#[derive(Debug)]
pub struct Controller {
    settings: Settings,
    store: Store,
    routes: RouteStore,
    compiler: Compiler,
    steering: Steering,
    complaints: Complaints,
    /// Services to plan anew.
    dirty: BTreeSet<ObjectName>,
    services: BTreeMap<ObjectName, ServicePlan>,
    tiers: Tiers,
    floor: Floor,
    removals: Removals,
    restored: Restored,
    addresses: Addresses,
    layer2: Layer2,
    plan: Plan,
    /// How many there have been.
    plans: u64,
    /// What the table is made of, or the next one will be.
    ports: Vec<Arc<PlannedPort>>,
    /// Something that decides about ports or steering is news.
    moved: bool,
    /// The table is not of `ports`.
    stale: bool,
    generation: Generation,
    /// By worker.
    running: Vec<Generation>,
    synced: BTreeSet<Source>,
    resumed: bool,
    catalog: Option<Arc<Catalog>>,
}

impl Controller {
    pub fn new(settings: Settings, resume: Resume) -> Controller {
        let generation = resume.table.generation;
        let layer2 = Layer2::new(&settings, &resume);
        let compiler = match generation {
            Generation(0) => Compiler::new(settings.compile.clone()),
            Generation(_) => Compiler::resume(settings.compile.clone(), resume.table, &resume.ports),
        };
        let ports: Vec<_> = resume
            .ports
            .iter()
            .map(|port| Arc::clone(&port.planned))
            .collect();
        let mut routes = RouteStore::new(settings.interfaces.clone());
        routes.set_backends(backends_of(&ports));
        Controller {
            layer2,
            store: Store::default(),
            routes,
            steering: Steering::new(resume.steered, &compiler),
            compiler,
            complaints: Complaints::default(),
            dirty: BTreeSet::new(),
            services: BTreeMap::new(),
            tiers: Tiers::default(),
            floor: Floor::default(),
            removals: Removals::new(settings.max_removal_percent),
            restored: Restored::default(),
            addresses: Addresses::default(),
            plan: Plan::default(),
            plans: 0,
            ports,
            moved: true,
            stale: true,
            generation,
            running: vec![Generation(0); usize::from(settings.workers)],
            synced: BTreeSet::new(),
            resumed: generation != Generation(0),
            catalog: None,
            settings,
        }
    }

    /// One event and all that follows from it. `now` is the time since start.
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        self.step_all([event], now)
    }

    /// Several events at once: one table for all of them.
    pub fn step_all(&mut self, events: impl IntoIterator<Item = Event>, now: Duration) -> Vec<Effect> {
        for event in events {
            self.apply(event, now);
        }
        self.settle(now)
    }

    /// What [`Effect::Publish`] is about.
    pub fn table(&self) -> Arc<ForwardingTable> {
        Arc::clone(self.compiler.table())
    }

    /// What is served, for the metrics page and the admin socket.
    pub fn catalog(&mut self) -> Arc<Catalog> {
        if let Some(catalog) = &self.catalog {
            return Arc::clone(catalog);
        }
        let catalog = Arc::new(Catalog {
            generation: self.generation,
            running: self.running.clone(),
            ports: Arc::clone(self.compiler.ports()),
            steered: self.steering.confirmed().vips.clone(),
            problems: self.complaints.all().cloned().collect(),
            l2: self.layer2.rows().to_vec(),
            sources: self.sources(),
        });
        self.catalog = Some(Arc::clone(&catalog));
        catalog
    }

    /// What the next controller of this process must know, should this one fail.
    pub fn resume(&self) -> Resume {
        Resume {
            table: self.table(),
            ports: Arc::clone(self.compiler.ports()),
            steered: self.steering.resume(),
            standing: self.layer2.standing(),
        }
    }

    /// The objects as last told.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What the last publication had to make.
    pub fn work(&self) -> Work {
        self.compiler.work()
    }

    fn apply(&mut self, event: Event, now: Duration) {
        self.restored.look(&event);
        let routes = &mut self.routes;
        match event {
            Event::ServiceApplied(spec) => {
                self.removals.withdraw(&spec.name);
                self.addresses.touch(spec.name.cluster);
                self.addresses.look_at(&spec.name);
                self.dirty.extend(self.store.apply_service(*spec));
            }
            Event::ServiceDeleted(name) => self.removals.wish(name),
            Event::SliceApplied(spec) => self.dirty.extend(self.store.apply_slice(*spec)),
            Event::SliceDeleted(name) => self.dirty.extend(self.store.delete_slice(&name)),
            Event::NodeApplied(spec) => {
                if self.store.apply_node(*spec) {
                    self.dirty_all();
                }
            }
            Event::NodeDeleted(name) => {
                if self.store.delete_node(&name) {
                    self.dirty_all();
                }
            }
            Event::NamespaceApplied(spec) => {
                let cluster = spec.name.cluster;
                self.touch_if(cluster, |store| store.apply_namespace(*spec));
            }
            Event::NamespaceDeleted(name) => {
                self.touch_if(name.cluster, |store| store.delete_namespace(&name))
            }
            Event::PoolApplied(spec) => {
                let cluster = spec.name.cluster;
                self.touch_if(cluster, |store| store.apply_pool(*spec));
            }
            Event::PoolDeleted(name) => self.touch_if(name.cluster, |store| store.delete_pool(&name)),
            Event::ReservationApplied(spec) => {
                let cluster = spec.reservation.name.cluster;
                self.touch_if(cluster, |store| store.apply_reservation(*spec));
            }
            Event::ReservationDeleted(name) => {
                self.touch_if(name.cluster, |store| store.delete_reservation(&name));
            }
            Event::Granted { service, addresses } => self.dirty.extend(self.store.grant(service, addresses)),
            Event::Leading(leading) => self.addresses.lead(leading, &self.store),
            Event::Restored(events) => {
                for event in events {
                    self.apply(event.clone(), now);
                    self.restored.add(&event);
                }
            }
            Event::SourceSynced(source) => {
                for gone in self.restored.settle(source) {
                    self.apply(gone, now);
                }
                self.synced.insert(source);
                self.addresses.touch(ClusterId::MANIFESTS);
                self.addresses.touch(ClusterId::OWN);
                self.moved = true;
                self.catalog = None;
            }
            Event::SourceProblems { source, problems } => self.complaints.of_source(source, problems),
            Event::LinksRead(links) => routes.links_read(links),
            Event::AddressesRead(addresses) => {
                let before = routes.local().clone();
                routes.addresses_read(addresses);
                self.moved = true;
                if self.settings.plan.serve.node_port && before != *self.routes.local() {
                    self.dirty_all();
                }
            }
            Event::RoutesRead(all) => routes.routes_read(all),
            Event::NeighborsRead(neighbors) => routes.neighbors_read(neighbors),
            Event::NeighborChanged(neighbor) => routes.neighbor_changed(neighbor),
            Event::NeighborRemoved { interface, addr } => routes.neighbor_removed(interface, addr),
            Event::NeighborWanted { port, addr } => routes.neighbor_wanted(port, addr, now),
            Event::WorkerGeneration { worker, generation } => self.worker_runs(worker, generation),
            Event::Steered { revision } => {
                self.steering.done(revision);
                self.addresses.look_at_waiting();
                self.moved = true;
                self.catalog = None;
            }
            Event::SteerFailed { revision, reason } => self.steering.failed(revision, reason),
            Event::OwnL2Failed { reason } => self.layer2.failed(reason),
            Event::NodeLeaseApplied(lease) => self.layer2.lease_applied(*lease, now),
            Event::NodeLeaseDeleted(name) => self.layer2.lease_deleted(&name),
            Event::NodeLeaseRenewed { until } => self.layer2.renewed(until, now),
            Event::AddressClaimed { port, addr, mac } => self.layer2.conflict(port, addr, mac, now),
            Event::Tick => {
                self.layer2.tick();
                self.moved |= self.steering.retry();
                self.dirty.extend(self.tiers.due(now));
                self.dirty.extend(self.floor.due(now, |key| self.owner(key)));
            }
        }
    }

    fn worker_runs(&mut self, worker: u16, generation: Generation) {
        if let Some(running) = self
            .running
            .get_mut(usize::from(worker))
            .filter(|running| **running != generation)
        {
            *running = generation;
            self.moved = true;
            self.catalog = None;
        }
    }

    fn settle(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = vec![];
        self.remove(now);
        self.replan(now);
        let addresses = self.settle_addresses();
        // Manifests may have been given some.
        self.replan(now);
        if self.may_act() {
            // Before steering: what is un-steered is answered for no more.
            effects.extend(self.settle_layer2(now));
            if std::mem::take(&mut self.moved) {
                // First: what is un-steered here may still be in the table for a while, never the other way round.
                effects.extend(self.steer().map(Effect::Steer));
                self.choose_ports();
            }
            effects.extend(self.publish().map(Effect::Publish));
            let due = self.routes.due(now);
            if !due.is_empty() {
                effects.push(Effect::ResolveNeighbors(due));
            }
        }
        effects.extend(addresses);
        effects.extend(self.report());
        effects
    }

    fn settle_layer2(&mut self, now: Duration) -> Vec<Effect> {
        let around = l2::Surroundings {
            plan: &self.plan,
            store: &self.store,
            steered: &self.steering.confirmed().vips,
            subnets: self.routes.subnets(),
            revision: (self.plans, self.steering.confirmed().revision),
        };
        let effects = self.layer2.settle(&around, now);
        if self.layer2.news() {
            self.catalog = None;
        }
        effects
    }

    /// A change of an object that decides about addresses.
    fn touch_if(&mut self, cluster: ClusterId, change: impl FnOnce(&mut Store) -> bool) {
        if change(&mut self.store) {
            self.addresses.touch(cluster);
        }
    }

    fn settle_addresses(&mut self) -> Vec<Effect> {
        let synced = |cluster| match cluster {
            ClusterId::MANIFESTS => self.synced.contains(&Source::Manifests),
            cluster => self.synced.contains(&Source::Cluster(cluster)),
        };
        let steered = &self.steering.confirmed().vips;
        let services = &self.services;
        let store = &self.store;
        let gates = |name: &ObjectName| gates(store.service(name), services.get(name), steered);
        let outcome = self
            .addresses
            .settle(&self.store, &self.settings.plan, synced, gates);
        for (name, addresses) in outcome.granted {
            self.dirty.extend(self.store.grant(name, addresses));
        }
        let mut effects = vec![];
        if !outcome.writes.is_empty() {
            effects.push(Effect::WriteStatus(outcome.writes));
        }
        if !outcome.events.is_empty() {
            effects.push(Effect::Tell(outcome.events));
        }
        effects
    }

    fn may_act(&self) -> bool {
        self.synced.contains(&Source::Kernel) && (!self.resumed || self.all_synced())
    }

    /// Has every source told all it had?
    pub fn all_synced(&self) -> bool {
        self.settings.sources.is_subset(&self.synced)
    }

    fn sources(&self) -> BTreeMap<Source, bool> {
        let sources = self.settings.sources.iter();
        sources
            .map(|source| (*source, self.synced.contains(source)))
            .collect()
    }

    /// What every plan depends on has changed.
    fn dirty_all(&mut self) {
        let here = self
            .store
            .services()
            .filter(|service| !service.name.cluster.is_remote());
        self.dirty.extend(here.map(|service| service.name.clone()));
    }

    /// Whose port this is in the plan.
    fn owner(&self, key: &VipKey) -> Option<ObjectName> {
        let at = self.plan.ports.binary_search_by(|port| port.key.cmp(key)).ok()?;
        Some(self.plan.ports[at].owner.clone())
    }

    /// Deleted Services go as fast as they may.
    fn remove(&mut self, now: Duration) {
        if self.removals.is_empty() {
            return;
        }
        let served = |name: &ObjectName| self.services.get(name).is_some_and(|plan| !plan.ports.is_empty());
        let count = self
            .services
            .values()
            .filter(|plan| !plan.ports.is_empty())
            .count();
        for name in self.removals.due(now, count, served) {
            self.addresses.touch(name.cluster);
            self.addresses.forget(&name);
            self.dirty.extend(self.store.delete_service(&name));
        }
    }

    fn replan(&mut self, now: Duration) {
        if self.dirty.is_empty() {
            return;
        }
        let nodes: Vec<&NodeSpec> = self.store.nodes().collect();
        for name in std::mem::take(&mut self.dirty) {
            let before = self.services.remove(&name);
            self.addresses.look_at(&name);
            let Some(service) = self.store.service(&name) else {
                self.tiers.forget(&name);
                before.iter().for_each(|before| self.floor.forget(before));
                continue;
            };
            let around = |others| Surroundings {
                local: self.routes.local(),
                nodes: &nodes,
                others,
            };
            let plan = |others| plan_service(service, &self.store, &self.settings.plan, around(others));
            let held = self.tiers.others(&name);
            let first = plan(held);
            let others = self.tiers.settle(service, first.ready_here, now);
            let plan = if others == held { first } else { plan(others) };
            let plan = self.floor.hold(plan, before.as_ref(), now);
            let plan = match &before {
                Some(before) => plan.sharing(before),
                None => plan,
            };
            self.services.insert(name, plan);
        }
        self.plan = Plan::merge(self.services.values());
        self.plans += 1;
        self.moved = true;
    }

    fn steer(&mut self) -> Option<SteerPlan> {
        let running = self.running.iter().copied().min().unwrap_or_default();
        self.steering.next(
            &self.plan,
            running,
            &self.settings.nat_returns,
            self.routes.local(),
        )
    }

    /// What the next table is made of: the plan, and what has left it but may still be steered.
    fn choose_ports(&mut self) {
        let of_reach = |reach| self.plan.ports.iter().filter(move |port| port.reach == reach);
        let wanted: BTreeSet<Addr> = of_reach(Reach::Address).map(|port| port.key.addr).collect();
        let leaving: BTreeSet<Addr> = self.steering.possible().difference(&wanted).copied().collect();
        let wanted: BTreeSet<VipKey> = of_reach(Reach::Port).map(|port| port.key).collect();
        let possible = self.steering.possible_endpoints();
        let leaving_ports: BTreeSet<VipKey> = possible.difference(&wanted).copied().collect();
        let held = self.compiler.ports().iter().map(|port| &port.planned);
        let retained: Vec<_> = held
            .filter(|port| leaving.contains(&port.key.addr) || leaving_ports.contains(&port.key))
            .cloned()
            .collect();
        let is_known = |addr: &Addr| retained.iter().any(|port| port.key.addr == *addr);
        let is_known_port = |key: &VipKey| retained.iter().any(|port| port.key == *key);
        if !leaving.iter().all(is_known) || !leaving_ports.iter().all(is_known_port) {
            // Steered, but in no table that is known here: un-steering must be done first.
            return;
        }
        let ports: Vec<_> = self.plan.ports.iter().cloned().chain(retained).collect();
        if !same_arcs(&ports, &self.ports) {
            self.ports = ports;
            self.routes.set_backends(backends_of(&self.ports));
            self.stale = true;
        }
    }

    fn publish(&mut self) -> Option<Generation> {
        let routes = self.routes.table();
        if !self.stale && Arc::ptr_eq(&routes, &self.compiler.table().routes) {
            return None;
        }
        self.stale = false;
        self.generation = Generation(self.generation.0 + 1);
        self.compiler.compile(&self.ports, &routes, self.generation);
        self.steering.published(&self.compiler, self.generation);
        self.catalog = None;
        Some(self.generation)
    }

    fn report(&mut self) -> Option<Effect> {
        let owner = |key: &VipKey| {
            let name = self.owner(key)?;
            Some(ObjectRef {
                kind: ObjectKind::Service,
                name,
            })
        };
        let own: [Vec<Problem>; 6] = [
            self.floor.problems(owner),
            self.removals.problem().into_iter().collect(),
            self.compiler.problems(),
            self.routes.problems(),
            self.steering.problem().into_iter().collect(),
            self.layer2.problems(),
        ];
        let (appeared, cleared) = self.complaints.settle(&self.plan.problems, own.concat())?;
        self.catalog = None;
        Some(Effect::Report { appeared, cleared })
    }
}

/// How far a Service has come; its load balancer addresses alone count.
fn gates(service: Option<&ServiceSpec>, plan: Option<&ServicePlan>, steered: &BTreeSet<Addr>) -> Gates {
    let vips = service
        .and_then(|service| service.vips.get())
        .map(Vec::as_slice)
        .unwrap_or_default();
    let all = plan.into_iter().flat_map(|plan| &plan.ports);
    let ports: Vec<&Arc<PlannedPort>> = all.filter(|port| vips.contains(&port.key.addr)).collect();
    let usable = |port: &&&Arc<PlannedPort>| port.backends.iter().any(|backend| backend.weight > 0);
    Gates {
        ports: ports.len(),
        usable_ports: ports.iter().filter(usable).count(),
        programmed: !ports.is_empty() && ports.iter().all(|port| steered.contains(&port.key.addr)),
    }
}

fn backends_of(ports: &[Arc<PlannedPort>]) -> Arc<BTreeSet<Addr>> {
    let backends = ports.iter().flat_map(|port| &port.backends);
    Arc::new(backends.map(|backend| backend.addr).collect())
}

fn same_arcs(a: &[Arc<PlannedPort>], b: &[Arc<PlannedPort>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}
