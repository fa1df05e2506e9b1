//! Which prefixes each peer is told, with what; and of each Service why, or why not.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use maglane_bgp::wire::Attributes;
use maglane_shared::addr::{Addr, Family};

use super::attributes::{Advertisement, Advertisements, Audience, conflict, merged};
use super::decide::{Candidate, Decision, Situation, Standing};
use super::explain::{Reason, Verdict};
use super::peers::is_internal;
use super::plan::PeerPlan;
use crate::ipam::{Labels, Range};
use crate::model::{AnnounceSpec, DrainSpec, ObjectName, PoolSpec, Scope, ServiceSpec};
use crate::problem::Problem;

/// Places in the list of advertisements, in order.
type Said = BTreeSet<usize>;

/// Place in the list of candidates, with one of its addresses.
type Sake = (usize, Addr);

/// The prefixes that may be announced, with who asks for them and for whose sake.
#[derive(Default)]
struct Prefixes {
    said: BTreeMap<IpNet, Said>,
    /// Each with the Services and addresses that it is there for.
    sake: BTreeMap<IpNet, Vec<Sake>>,
}

pub(super) fn fill(situation: &Situation<'_>, advertisements: &Advertisements<'_>, decision: &mut Decision) {
    let mut prefixes = Prefixes::default();
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(situation.candidates.len());
    for (at, candidate) in situation.candidates.iter().enumerate() {
        let look = |(addr, standing): &(Addr, Standing)| {
            let place = Place::new(situation, advertisements, (at, candidate), *addr);
            place.look(situation, *standing, &mut prefixes, &mut decision.problems)
        };
        let worst = candidate.addrs.iter().map(look).min();
        verdicts.push(Verdict::of(worst.unwrap_or(Reason::Pending)));
    }
    let mut told: HashSet<Sake> = HashSet::new();
    for (name, plan) in &mut decision.peers {
        let Some(phase) = phase(situation, name) else {
            continue;
        };
        for (prefix, agreed) in tell(
            plan,
            name,
            &prefixes,
            advertisements,
            phase,
            &mut decision.problems,
        ) {
            for (candidate, addr) in prefixes.sake.get(&prefix).into_iter().flatten() {
                told.insert((*candidate, *addr));
                let verdict = &mut verdicts[*candidate];
                if !verdict.peers.contains(name) {
                    verdict.peers.insert(name.clone());
                }
                if agreed == Agreed::No {
                    verdict.reason = verdict.reason.min(Reason::ConflictingAdvertisements);
                }
            }
        }
    }
    for sake in prefixes
        .sake
        .values()
        .flatten()
        .filter(|sake| !told.contains(sake))
    {
        let reason = situation.draining.map_or(Reason::NoPeer, |_| Reason::Draining);
        let verdict = &mut verdicts[sake.0];
        verdict.reason = verdict.reason.min(reason);
    }
    decision.announced = told.into_iter().map(|(_, addr)| addr).collect();
    let names = situation
        .candidates
        .iter()
        .map(|candidate| candidate.service.name.clone());
    decision.verdicts = names.zip(verdicts).collect();
}

/// One address of one Service.
struct Place<'a, 's> {
    /// Its place in the list of candidates.
    at: usize,
    addr: Addr,
    pool: Option<&'a PoolSpec>,
    /// The advertisements about it, wherever.
    about: Vec<(usize, &'a Advertisement<'s>)>,
}

impl<'a, 's> Place<'a, 's> {
    fn new(
        situation: &'a Situation<'s>,
        advertisements: &'a Advertisements<'s>,
        (at, candidate): (usize, &'a Candidate<'s>),
        addr: Addr,
    ) -> Place<'a, 's> {
        let pool = pool_of(situation.pools.iter().copied(), candidate.service, addr);
        let all = advertisements.0.iter().enumerate();
        let about =
            all.filter(|(_, advertisement)| is_about(&advertisement.spec.scope, candidate.service, pool));
        Place {
            at,
            addr,
            pool,
            about: about.collect(),
        }
    }

    /// Takes the address in where it may be announced; else says why not.
    fn look(
        &self,
        situation: &Situation<'_>,
        standing: Standing,
        prefixes: &mut Prefixes,
        problems: &mut Vec<Problem>,
    ) -> Reason {
        if self.about.is_empty() {
            return Reason::NoMatchingAdvertisement;
        }
        if !self.about.iter().any(|(_, advertisement)| advertisement.here) {
            return Reason::NotOwner;
        }
        if let Some(barred) = situation.node.barred() {
            return barred;
        }
        match standing {
            Standing::NoEndpoints => return Reason::NoEndpoints,
            Standing::Pending => return Reason::Pending,
            Standing::Ready => {}
        }
        for (at, advertisement) in self.about.iter().filter(|(_, advertisement)| advertisement.here) {
            let prefix = self.prefix(advertisement, problems);
            prefixes.said.entry(prefix).or_default().insert(*at);
            let sake = prefixes.sake.entry(prefix).or_default();
            let entry = (self.at, self.addr);
            if sake.last() != Some(&entry) {
                sake.push(entry);
            }
        }
        Reason::Announced
    }

    /// An aggregate that is not wholly of the pool would be about addresses of others.
    fn prefix(&self, advertisement: &Advertisement<'_>, problems: &mut Vec<Problem>) -> IpNet {
        let host = IpNet::from(self.addr.ip());
        let length = advertisement.spec.aggregation(self.addr);
        if length >= host.prefix_len() {
            return host;
        }
        let aggregate = IpNet::new(self.addr.ip(), length).map_or(host, |prefix| prefix.trunc());
        let (first, last) = (Addr::from(aggregate.network()), Addr::from(aggregate.broadcast()));
        let covers = |range: Range| range.contains(first) && range.contains(last);
        if self
            .pool
            .is_some_and(|pool| range_of(pool, self.addr).is_some_and(covers))
        {
            return aggregate;
        }
        let field = match self.addr.family() {
            Family::V4 => "spec.aggregationLength",
            Family::V6 => "spec.aggregationLengthV6",
        };
        let whose = self
            .pool
            .map_or("no pool".to_owned(), |pool| format!("AddressPool {}", pool.name));
        let message = format!(
            "a prefix of length {length} is not wholly of {whose}; its addresses are announced one by one"
        );
        let problem = Problem::warning(message, "lengthen the prefix, or give the pool whole prefixes");
        problems.push(problem.about(advertisement.object.clone()).field(field));
        host
    }
}

/// The pool of the Service's cluster that has the address.
pub(crate) fn pool_of<'p>(
    mut pools: impl Iterator<Item = &'p PoolSpec>,
    service: &ServiceSpec,
    addr: Addr,
) -> Option<&'p PoolSpec> {
    let cluster = service.name.cluster;
    pools.find(|pool| pool.name.cluster == cluster && range_of(pool, addr).is_some())
}

/// Does an advertisement with this scope speak of the Service's address from that pool? On which nodes, it says
/// elsewhere.
pub(crate) fn is_about(scope: &Scope, service: &ServiceSpec, pool: Option<&PoolSpec>) -> bool {
    let pool = pool.map(|pool| (&*pool.name.name, &pool.labels));
    scope.covers_pool(pool) && scope.covers_service(|key| label(service, key))
}

fn range_of(pool: &PoolSpec, addr: Addr) -> Option<Range> {
    pool.pool
        .ranges
        .iter()
        .copied()
        .find(|range| range.contains(addr))
}

/// Selectors see where a Service is and what it is called, as those of pools do.
fn label<'l>(service: &'l ServiceSpec, key: &str) -> Option<&'l str> {
    static NONE: Labels = Labels::new();
    let name = &service.name;
    let labels = service.request.as_ref().map_or(&NONE, |request| &request.labels);
    match key {
        "io.kubernetes.service.namespace" => Some(&*name.namespace),
        "io.kubernetes.service.name" => Some(&*name.name),
        key => labels.get(key).map(|value| &**value),
    }
}

/// What a peer is told now: everything as it is, or made unattractive; `None`: nothing any more.
fn phase(situation: &Situation<'_>, peer: &ObjectName) -> Option<Option<DrainSpec>> {
    let Some(since) = situation.draining else {
        return Some(None);
    };
    let object = situation.objects.iter().find_map(|object| match &object.spec {
        AnnounceSpec::BgpPeer(spec) if object.name == *peer => Some(spec),
        AnnounceSpec::BgpPeer(_)
        | AnnounceSpec::BgpAdvertisement(_)
        | AnnounceSpec::BfdProfile(_)
        | AnnounceSpec::Community(_)
        | AnnounceSpec::L2Advertisement(_) => None,
    });
    let drain = object?.drain?;
    (since < Duration::from_secs(drain.seconds.into())).then_some(Some(drain))
}

/// Do the advertisements of a prefix say the same of it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreed {
    Yes,
    No,
}

/// Fills in the routes of one peer; returns their prefixes.
fn tell(
    plan: &mut PeerPlan,
    peer: &ObjectName,
    prefixes: &Prefixes,
    advertisements: &Advertisements<'_>,
    drain: Option<DrainSpec>,
    problems: &mut Vec<Problem>,
) -> Vec<(IpNet, Agreed)> {
    let audience = Audience {
        internal: is_internal(&plan.session),
        local_as: plan.session.local_as,
    };
    let mut known: BTreeMap<Vec<usize>, (Arc<Attributes>, Agreed)> = BTreeMap::new();
    let mut told = vec![];
    for (prefix, said) in &prefixes.said {
        if !plan.session.families.contains(Addr::from(prefix.addr()).family()) {
            continue;
        }
        let is_for = |at: &&usize| advertisements.0[**at].is_for(&peer.name);
        let of_peer: Vec<usize> = said.iter().filter(is_for).copied().collect();
        if of_peer.is_empty() {
            continue;
        }
        let (attributes, agreed) = known.entry(of_peer).or_insert_with_key(|places| {
            let all: Vec<&Advertisement<'_>> = places.iter().map(|at| &advertisements.0[*at]).collect();
            let conflict = conflict(&all);
            problems.extend(conflict.and_then(|field| contradiction(field, &all, prefix)));
            let agreed = conflict.map_or(Agreed::Yes, |_| Agreed::No);
            (merged(&all, audience, drain.as_ref()), agreed)
        });
        plan.routes.insert(*prefix, Arc::clone(attributes));
        told.push((*prefix, *agreed));
    }
    told
}

/// Once for each set of advertisements, with the first prefix that they are about.
fn contradiction(field: &str, all: &[&Advertisement<'_>], prefix: &IpNet) -> Option<Problem> {
    let names: Vec<&str> = all
        .iter()
        .map(|advertisement| &*advertisement.object.name.name)
        .collect();
    let message = format!(
        "BgpAdvertisements {} say different things about {prefix}; the most preferred value holds",
        names.join(" and ")
    );
    let remedy = "let them agree, or select different addresses or peers";
    let problem = Problem::warning(message, remedy).field(format!("spec.{field}"));
    Some(problem.about(all.first()?.object.clone()))
}
