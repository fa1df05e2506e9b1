//! The controller: `(events, now) -> effects`. Pure; time is an argument (since start, monotonic).
//!
//! The one place for the order of things (invariant 6). A VIP is steered only once every worker runs a table
//! that has it, and has had it in every table since; a VIP that goes is un-steered first, and its ports stay
//! in the table until the answer is there. Nothing is published before the kernel's routes are known, nor,
//! after a restart of the control side alone, before every source has told all it has (invariant 7).

mod addresses;
mod announce;
mod announcing;
mod conflicts;
mod floor;
mod hear;
mod l2;
mod node_health;
mod overlaps;
mod problems;
mod removals;
mod replan;
mod restored;
mod steering;
mod swaps;
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
use crate::l2::{Coverage, L2Settings, Standing};
use crate::model::{ClusterId, ObjectKind, ObjectName, ObjectRef, ServiceSpec};
use crate::plan::{Plan, PlanSettings, PlannedPort, Reach, ServicePlan};
use crate::problem::Problem;
use crate::routes::RouteStore;
use crate::status::{Announced, Gates};
use crate::store::Store;

pub(crate) use addresses::allocation;
use addresses::{Addresses, Outcome};
use announce::Announcer;
pub use announce::Told;
use floor::Floor;
use l2::Layer2;
use node_health::NodeHealth;
use problems::Complaints;
use removals::Removals;
use restored::Restored;
use steering::Steering;
use swaps::addrs_of;
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
    pub ports: Arc<[Arc<CompiledPort>]>,
    /// The last plan sent, with every address that may be steered.
    pub steered: Arc<SteerPlan>,
    /// What routers were told.
    pub told: Told,
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
    announcer: Announcer,
    complaints: Complaints,
    /// Services to plan anew.
    dirty: BTreeSet<ObjectName>,
    services: BTreeMap<ObjectName, ServicePlan>,
    tiers: Tiers,
    floor: Floor,
    node_health: NodeHealth,
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
        let backends = ports.iter().flat_map(|port| addrs_of(port));
        routes.change_backends(std::iter::empty(), backends);
        Controller {
            layer2,
            store: Store::default(),
            routes,
            steering: Steering::new(resume.steered, &compiler),
            announcer: Announcer::new(resume.told, &compiler),
            compiler,
            complaints: Complaints::default(),
            dirty: BTreeSet::new(),
            services: BTreeMap::new(),
            tiers: Tiers::default(),
            floor: Floor::default(),
            node_health: NodeHealth::default(),
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
            steered: Arc::clone(self.steering.confirmed()),
            announce: self.announcer.view(),
            problems: self.complaints.all().cloned().collect(),
            l2: self.layer2.rows().to_vec(),
            sources: self.sources(),
            pools: self.addresses.figures(),
        });
        self.catalog = Some(Arc::clone(&catalog));
        catalog
    }

    /// What the next controller of this process must know, should this one fail.
    pub fn resume(&self) -> Resume {
        Resume {
            table: self.table(),
            ports: Arc::clone(self.compiler.ports()),
            steered: Arc::clone(self.steering.resume()),
            told: self.announcer.told(),
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

    /// Is nothing announced any more, and nothing being withdrawn?
    pub fn is_silent(&self) -> bool {
        self.announcer.is_silent()
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
                self.announcer.look_again();
                effects.extend(self.announce(now));
                // First: what is un-steered here may still be in the table for a while, never the other way round.
                effects.extend(self.steer().map(Effect::Steer));
                self.choose_ports();
            }
            effects.extend(self.node_health.settle(&self.services));
            effects.extend(self.publish().map(Effect::Publish));
            let due = self.routes.due(now);
            if !due.is_empty() {
                effects.push(Effect::ResolveNeighbors(due));
            }
        }
        effects.extend(self.say(addresses));
        effects.extend(self.session_states(now));
        effects.extend(self.report());
        effects
    }

    fn settle_layer2(&mut self, now: Duration) -> Vec<Effect> {
        // Where nothing is to be answered for, no change can change that.
        let revision = if self.store.has_l2() || self.settings.l2.coverage == Coverage::All {
            // Both grow only.
            (
                self.store.revision() + self.plans,
                self.steering.confirmed().revision,
            )
        } else {
            (0, 0)
        };
        let around = l2::Surroundings {
            plan: &self.plan,
            store: &self.store,
            steered: &self.steering.confirmed().vips,
            subnets: self.routes.subnets(),
            revision,
        };
        let effects = self.layer2.settle(&around, now);
        if self.layer2.news() {
            self.catalog = None;
        }
        effects
    }

    fn settle_addresses(&mut self) -> Outcome {
        let synced = |cluster| is_synced(&self.synced, cluster);
        let mut outcome = self.addresses.settle(&self.store, &self.settings.plan, synced);
        if outcome.allocated {
            self.catalog = None;
        }
        for (name, addresses) in std::mem::take(&mut outcome.granted) {
            self.dirty.extend(self.store.grant(name, addresses));
        }
        outcome
    }

    /// What has come of addresses, in words.
    fn say(&mut self, mut outcome: Outcome) -> Vec<Effect> {
        if self.addresses.is_leading() && is_synced(&self.synced, ClusterId::OWN) {
            let steered = &self.steering.confirmed().vips;
            let node = self.settings.plan.node.as_deref();
            let (services, store, announcer) = (&self.services, &self.store, &self.announcer);
            let gates = |name: &ObjectName| {
                let announced = announcer.announced(name, node);
                gates(store.service(name), services.get(name), steered, announced)
            };
            self.addresses.statuses(store, gates, &mut outcome);
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

    fn steer(&mut self) -> Option<SteerPlan> {
        let running = self.running.iter().copied().min().unwrap_or_default();
        let held = self.held_ports();
        self.steering.next(
            self.plan.ports.iter().chain(&held),
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
        self.set_ports(ports);
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
        self.announcer.published(&self.compiler, self.generation);
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
        let own: [Vec<Problem>; 9] = [
            self.announcer.problems(),
            self.floor.problems(owner),
            self.removals.problem().into_iter().collect(),
            self.compiler.problems(),
            self.routes.problems(),
            self.steering.problem().into_iter().collect(),
            self.node_health.problems(),
            self.addresses.problems(),
            self.layer2.problems(),
        ];
        let (appeared, cleared) = self.complaints.settle(&self.plan.problems, own.concat())?;
        self.catalog = None;
        Some(Effect::Report { appeared, cleared })
    }
}

fn is_synced(synced: &BTreeSet<Source>, cluster: ClusterId) -> bool {
    synced.contains(&match cluster {
        ClusterId::MANIFESTS => Source::Manifests,
        cluster => Source::Cluster(cluster),
    })
}

/// How far a Service has come; its load balancer addresses alone count.
fn gates(
    service: Option<&ServiceSpec>,
    plan: Option<&ServicePlan>,
    steered: &BTreeSet<Addr>,
    announced: Announced,
) -> Gates {
    let vips = service
        .and_then(|service| service.vips.get())
        .map(Vec::as_slice)
        .unwrap_or_default();
    let all = plan.into_iter().flat_map(|plan| &plan.ports);
    let ports: Vec<&Arc<PlannedPort>> = all.filter(|port| vips.contains(&port.key.addr)).collect();
    let usable = |port: &&&Arc<PlannedPort>| port.backends.iter().any(|backend| backend.weight > 0);
    Gates {
        announced,
        ports: ports.len(),
        usable_ports: ports.iter().filter(usable).count(),
        programmed: !ports.is_empty() && ports.iter().all(|port| steered.contains(&port.key.addr)),
    }
}
