//! Addresses given to Services, and what users read of it. In the own cluster the elected process alone gives
//! them, by writing them to the Services' status; every process serves what the status says. For manifests there
//! is nobody to ask: each process gives the same by itself and remembers it.
//!
//! What was given and not yet seen in a status counts as held: nobody else gets it meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use maglane_shared::addr::Addr;

use crate::catalog::PoolFigures;
use crate::ipam::{self, Allocation, Answer, Class, Held, Labels, Request, Snapshot};
use crate::model::{ClusterId, ObjectKind, ObjectName, ObjectRef, ServiceSpec};
use crate::plan::{PlanSettings, is_ours};
use crate::problem::Problem;
use crate::status::{self, Book, Gates, StatusWrite, UserEvent};
use crate::store::Store;

use super::overlaps::{self, Occupants};

#[derive(Debug, Default)]
pub(super) struct Addresses {
    leading: bool,
    /// Something that decides about addresses is news, by cluster.
    stale: BTreeSet<ClusterId>,
    allocations: BTreeMap<ClusterId, Allocation>,
    book: Book,
    /// Services of the own cluster whose status is to be looked at.
    pending: BTreeSet<ObjectName>,
    /// Those whose packets do not come to us yet.
    waiting: BTreeSet<ObjectName>,
    /// The reason last told in an Event.
    told: BTreeMap<ObjectName, &'static str>,
    /// About pools, by cluster.
    overlaps: BTreeMap<ClusterId, Vec<Problem>>,
}

/// What follows from an allocation.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub writes: Vec<StatusWrite>,
    pub events: Vec<UserEvent>,
    /// Services of manifests with the addresses they now have.
    pub granted: Vec<(ObjectName, Vec<Addr>)>,
    /// Was anything looked at anew?
    pub allocated: bool,
}

impl Addresses {
    /// Objects that decide about addresses have changed.
    pub fn touch(&mut self, cluster: ClusterId) {
        if !cluster.is_remote() {
            self.stale.insert(cluster);
        }
    }

    /// Its plan, or its status as observed, has changed.
    pub fn look_at(&mut self, name: &ObjectName) {
        if name.cluster == ClusterId::OWN {
            self.pending.insert(name.clone());
        }
    }

    /// Steering has changed.
    pub fn look_at_waiting(&mut self) {
        self.pending.append(&mut self.waiting);
    }

    pub fn forget(&mut self, name: &ObjectName) {
        self.pending.remove(name);
        self.waiting.remove(name);
        self.told.remove(name);
        self.book.forget(&object(name));
    }

    /// May this process write to the own cluster?
    pub fn is_leading(&self) -> bool {
        self.leading
    }

    pub fn lead(&mut self, leading: bool, store: &Store) {
        if leading == self.leading {
            return;
        }
        self.leading = leading;
        self.book.clear();
        self.told.clear();
        // What was given and never written was given to nobody.
        self.allocations.remove(&ClusterId::OWN);
        self.overlaps.remove(&ClusterId::OWN);
        if leading {
            self.stale.insert(ClusterId::OWN);
            let own = store
                .services()
                .filter(|service| service.name.cluster == ClusterId::OWN);
            self.pending.extend(own.map(|service| service.name.clone()));
        }
    }

    pub fn problems(&self) -> Vec<Problem> {
        self.overlaps.values().flatten().cloned().collect()
    }

    /// How the pools are used, as far as this process decides about them; those of a name together.
    pub fn figures(&self) -> Vec<PoolFigures> {
        let mut all: BTreeMap<&str, PoolFigures> = BTreeMap::new();
        for allocation in self.allocations.values() {
            for (pool, state) in &allocation.pools {
                all.entry(pool)
                    .or_insert_with(|| PoolFigures::new(pool))
                    .add(state);
            }
            for answer in allocation.services.values() {
                let pools: BTreeSet<&str> = answer
                    .addresses
                    .iter()
                    .filter_map(|a| a.pool.as_deref())
                    .collect();
                for pool in pools {
                    all.entry(pool).or_insert_with(|| PoolFigures::new(pool)).services += 1;
                }
            }
        }
        all.into_values().collect()
    }

    /// `synced` says whether a cluster has told all it has: nothing may be given before.
    pub fn settle(
        &mut self,
        store: &Store,
        settings: &PlanSettings,
        synced: impl Fn(ClusterId) -> bool,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for cluster in [ClusterId::MANIFESTS, ClusterId::OWN] {
            let may = synced(cluster) && (cluster == ClusterId::MANIFESTS || self.leading);
            if may && self.stale.remove(&cluster) {
                self.allocate(cluster, store, settings, &mut outcome);
                outcome.allocated = true;
            }
        }
        outcome
    }

    fn allocate(
        &mut self,
        cluster: ClusterId,
        store: &Store,
        settings: &PlanSettings,
        outcome: &mut Outcome,
    ) {
        let before = self.allocations.remove(&cluster).unwrap_or_default();
        let (requests, after) = allocation(cluster, store, settings, &before);
        for request in requests.iter().filter(|request| request.class == Class::Ours) {
            let Some(answer) = after.services.get(&request.name) else {
                continue;
            };
            self.tell(request, answer, store, outcome);
            if before.services.get(&request.name) != Some(answer) {
                self.look_at(&request.name);
            }
            let addresses: Vec<Addr> = answer.addrs().collect();
            if cluster == ClusterId::MANIFESTS && store.granted(&request.name) != addresses {
                outcome.granted.push((request.name.clone(), addresses));
            }
        }
        self.pools(cluster, store, &after, outcome);
        self.allocations.insert(cluster, after);
    }

    fn tell(&mut self, request: &Request, answer: &Answer, store: &Store, outcome: &mut Outcome) {
        if request.name.cluster != ClusterId::OWN {
            return;
        }
        let held: Vec<Addr> = request.held.iter().map(|held| held.addr).collect();
        let reason = answer.reason_name();
        let news = self.told.insert(request.name.clone(), reason) != Some(reason);
        let observed = store
            .service(&request.name)
            .and_then(|service| service.observed.as_ref());
        let uid = observed.map(|observed| &*observed.uid).unwrap_or_default();
        outcome
            .events
            .extend(status::of_answer(&request.name, uid, &held, answer, news));
    }

    /// What is odd about the pools, for their status and as problems.
    fn overlapping(&mut self, cluster: ClusterId, store: &Store) -> BTreeMap<ObjectName, String> {
        let occupants = Occupants::of(store, cluster);
        let mut said = BTreeMap::new();
        let mut problems = vec![];
        for spec in store.pools().filter(|spec| spec.name.cluster == cluster) {
            if let Some(overlap) = occupants.overlap(spec) {
                problems.push(overlaps::problem(spec, &overlap));
                said.insert(spec.name.clone(), format!("{overlap}; {}", overlaps::REMEDY));
            }
        }
        self.overlaps.insert(cluster, problems);
        said
    }

    fn pools(&mut self, cluster: ClusterId, store: &Store, after: &Allocation, outcome: &mut Outcome) {
        let overlaps = self.overlapping(cluster, store);
        if cluster != ClusterId::OWN {
            return;
        }
        for spec in store.pools().filter(|spec| spec.name.cluster == cluster) {
            let Some(state) = after.pools.get(&spec.pool.name) else {
                continue;
            };
            let object = ObjectRef {
                kind: ObjectKind::AddressPool,
                name: spec.name.clone(),
            };
            let body = status::pool_body(spec, state, overlaps.get(&spec.name).map(String::as_str));
            outcome
                .writes
                .extend(self.book.settle(object, body, &spec.observed));
        }
        for spec in store
            .reservations()
            .filter(|spec| spec.reservation.name.cluster == cluster)
        {
            let Some(state) = after.reservations.get(&spec.reservation.name) else {
                continue;
            };
            let object = ObjectRef {
                kind: ObjectKind::AddressReservation,
                name: spec.reservation.name.clone(),
            };
            let body = status::reservation_body(spec, state);
            outcome
                .writes
                .extend(self.book.settle(object, body, &spec.observed));
        }
    }

    /// What is to be said on Services, once it is known how far they have come.
    pub fn statuses(&mut self, store: &Store, gates: impl Fn(&ObjectName) -> Gates, outcome: &mut Outcome) {
        let Some(allocation) = self.allocations.get(&ClusterId::OWN) else {
            return;
        };
        for name in std::mem::take(&mut self.pending) {
            let Some((service, answer)) = store.service(&name).zip(allocation.services.get(&name)) else {
                continue;
            };
            let Some(observed) = &service.observed else {
                continue;
            };
            let gates = gates(&name);
            if !gates.programmed && answer.addrs().next().is_some() {
                self.waiting.insert(name.clone());
            }
            let body = status::service_body(service, answer, gates);
            outcome
                .writes
                .extend(self.book.settle(object(&name), body, observed));
        }
    }
}

fn object(name: &ObjectName) -> ObjectRef {
    ObjectRef {
        kind: ObjectKind::Service,
        name: name.clone(),
    }
}

/// What the Services of a cluster ask for, and what they get. `before` is the last such answer.
pub(crate) fn allocation(
    cluster: ClusterId,
    store: &Store,
    settings: &PlanSettings,
    before: &Allocation,
) -> (Vec<Request>, Allocation) {
    let own = store.services().filter(|service| service.name.cluster == cluster);
    let requests: Vec<Request> = own
        .filter_map(|service| request(service, settings, before, store))
        .collect();
    let namespaces: BTreeMap<Box<str>, Labels> = store
        .namespaces()
        .filter(|namespace| namespace.name.cluster == cluster)
        .map(|namespace| (namespace.name.name.clone(), namespace.labels.clone()))
        .collect();
    let pools = store.pools().filter(|pool| pool.name.cluster == cluster);
    let reservations = store.reservations().map(|spec| &spec.reservation);
    let after = ipam::allocate(&Snapshot {
        pools: pools.map(|spec| &spec.pool).collect(),
        reservations: reservations
            .filter(|reservation| reservation.name.cluster == cluster)
            .collect(),
        namespaces: &namespaces,
        requests: requests.iter().collect(),
    });
    (requests, after)
}

/// A Service's request, with everything it has been given.
fn request(
    service: &ServiceSpec,
    settings: &PlanSettings,
    before: &Allocation,
    store: &Store,
) -> Option<Request> {
    let mut request = Request::clone(service.request.as_ref()?);
    // A manifest that names its addresses has them, pool or not; nobody else gets them.
    let named = service
        .vips
        .get()
        .filter(|_| request.name.cluster == ClusterId::MANIFESTS);
    let ours = named.is_none() && is_ours(service, settings);
    request.class = if ours { Class::Ours } else { Class::Other };
    request.held.extend(named.into_iter().flatten().map(|addr| Held {
        addr: *addr,
        pool: None,
    }));
    let given = before
        .services
        .get(&request.name)
        .into_iter()
        .flat_map(|answer| &answer.addresses);
    let given = given.map(|assigned| Held {
        addr: assigned.addr,
        pool: assigned.pool.clone(),
    });
    let remembered = store.granted(&request.name).iter().map(|addr| Held {
        addr: *addr,
        pool: None,
    });
    // Twice is no harm: the allocator merges them and learns the pool from whichever knows it.
    let more: Vec<Held> = given.chain(remembered).collect();
    request.held.extend(more);
    Some(request)
}
