//! When an address may be announced, and when one that was may stop being served (invariant 6; FAILURES c).
//!
//! Announced is what is steered, has usable backends in the table of every worker, and is not drained. An address
//! that is no longer to be announced is withdrawn first: it stays steered, and its ports in the table, until every
//! established session has been told, or [`PATIENCE`] is over. Nothing here looks at whether the API server is
//! there: what it said last holds (invariant 7).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use maglane_shared::addr::Addr;
use maglane_shared::table::Generation;

use super::Controller;
use super::steering::Presence;
use crate::announce::{
    BfdSession, BgpPlan, BgpSession, Candidate, Memory, Node, Reason, Situation, Standing, Verdict, decide,
};
use crate::catalog::AnnounceView;
use crate::compile::Compiler;
use crate::effect::Effect;
use crate::event::{Event, Source};
use crate::model::{ClusterId, NodeKey, NodeSpec, ObjectName, ServiceSpec};
use crate::plan::{Plan, PlannedPort, Reach};
use crate::problem::Problem;
use crate::status::{Announced, Book, SessionWrite, StatusWrite, acceptance_body, session_write};
use crate::store::Store;

/// How long a withdrawal is waited for. A router that takes longer has other troubles, and so would we.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A state that only counts otherwise is written as often.
const COUNTS_EVERY: Duration = Duration::from_secs(10);

/// A withdrawal under way.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    /// Of the first plan without the address.
    revision: u64,
    until: Duration,
}

/// Where an earlier controller of this process left off.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The last plan sent.
    pub plan: BgpPlan,
    /// What is announced by it, or is being withdrawn.
    pub addrs: BTreeSet<Addr>,
}

/// What else than its own memory an [`Announcer`] decides by.
#[derive(Clone, Copy)]
pub(super) struct World<'w> {
    pub store: &'w Store,
    pub plan: &'w Plan,
    /// Surely steered.
    pub steered: &'w BTreeSet<Addr>,
    /// The oldest generation that any worker runs.
    pub running: Generation,
    pub node: Option<&'w str>,
    /// Addresses of this node.
    pub local: &'w BTreeSet<Addr>,
}

#[derive(Debug)]
pub(super) struct Announcer {
    memory: Memory,
    router_id: Option<Ipv4Addr>,
    sent: BgpPlan,
    announced: BTreeSet<Addr>,
    leaving: BTreeMap<Addr, Leaving>,
    sessions: BTreeMap<ObjectName, BgpSession>,
    bfd: BTreeMap<ObjectName, BfdSession>,
    draining: Option<Duration>,
    verdicts: BTreeMap<ObjectName, Verdict>,
    /// Of Services that are not served.
    at_least: Reason,
    /// Services of which something else is to be said than before.
    to_say: BTreeSet<ObjectName>,
    problems: Vec<Problem>,
    /// Statuses of the objects that decide.
    book: Book,
    /// Addresses that have usable backends in every table since.
    usable: Presence<Addr>,
    /// They must be looked at when the next table is out.
    stale: bool,
    waiting: bool,
    /// There was something on the disk to begin with.
    restored: bool,
    /// Sessions whose state may have to be written.
    news: BTreeSet<ObjectName>,
    /// What was, and when.
    written: BTreeMap<ObjectName, (SessionWrite, Duration)>,
}

impl Announcer {
    pub fn new(told: Told, compiler: &Compiler) -> Announcer {
        let mut announcer = Announcer {
            memory: Memory::default(),
            router_id: None,
            sent: told.plan,
            announced: told.addrs,
            leaving: BTreeMap::new(),
            sessions: BTreeMap::new(),
            bfd: BTreeMap::new(),
            draining: None,
            verdicts: BTreeMap::new(),
            at_least: Reason::NoMatchingAdvertisement,
            to_say: BTreeSet::new(),
            problems: vec![],
            book: Book::default(),
            usable: Presence::default(),
            stale: true,
            waiting: true,
            restored: false,
            news: BTreeSet::new(),
            written: BTreeMap::new(),
        };
        // Every worker has run the tables of an earlier controller, as far as it announced anything.
        announcer.published(compiler, Generation(0));
        announcer
    }

    pub fn told(&self) -> Told {
        Told {
            plan: self.sent.clone(),
            addrs: self
                .announced
                .iter()
                .chain(self.leaving.keys())
                .copied()
                .collect(),
        }
    }

    pub fn view(&self) -> AnnounceView {
        AnnounceView {
            plan: self.sent.clone(),
            sessions: self.sessions.clone(),
            bfd: self.bfd.clone(),
            verdicts: self.verdicts.clone(),
        }
    }

    pub fn problems(&self) -> Vec<Problem> {
        self.problems.clone()
    }

    /// Has everything been withdrawn that was announced?
    pub fn is_silent(&self) -> bool {
        self.announced.is_empty() && self.leaving.is_empty()
    }

    pub fn restored(&mut self) {
        self.restored = true;
    }

    pub fn is_restored(&self) -> bool {
        self.restored
    }

    pub fn drain(&mut self, draining: bool, now: Duration) {
        match draining {
            true => drop(self.draining.get_or_insert(now)),
            false => self.draining = None,
        }
    }

    pub fn session(&mut self, session: BgpSession) {
        let peer = session.peer.clone();
        let has = |session: &BgpSession| session.is_established() && session.told > 0;
        let had = self.sessions.get(&peer).is_some_and(has);
        if has(&session) != had {
            self.say_of(&peer);
        }
        self.news.insert(peer.clone());
        self.sessions.insert(peer, session);
        self.settle_leaving(None);
    }

    pub fn session_ended(&mut self, peer: &ObjectName) {
        self.say_of(peer);
        self.sessions.remove(peer);
        self.bfd.remove(peer);
        self.news.insert(peer.clone());
        self.settle_leaving(None);
    }

    fn say_of(&mut self, peer: &ObjectName) {
        let told = self
            .verdicts
            .iter()
            .filter(|(_, verdict)| verdict.peers.contains(peer));
        self.to_say.extend(told.map(|(name, _)| name.clone()));
    }

    pub fn bfd_session(&mut self, session: BfdSession) {
        self.news.insert(session.peer.clone());
        self.bfd.insert(session.peer.clone(), session);
    }

    /// Time has passed: says whether anything may follow from it.
    pub fn tick(&mut self, now: Duration) -> bool {
        self.settle_leaving(Some(now)) || self.draining.is_some()
    }

    /// Ports have changed by more than that some of their backends came or went.
    pub fn look_again(&mut self) {
        self.stale = true;
    }

    /// A new table.
    pub fn published(&mut self, compiler: &Compiler, generation: Generation) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let served = compiler.ports().iter().map(|port| &port.planned);
        let usable = served.filter(|port| is_usable(port)).map(|port| port.key.addr);
        self.usable.update(usable.collect(), generation);
        self.waiting = true;
    }

    /// Does it matter which tables the workers run, as long as they go on?
    pub fn waits(&self) -> bool {
        self.waiting
    }

    /// The next plan, when another one is wanted than the last.
    pub fn next(&mut self, world: World<'_>, now: Duration) -> Option<BgpPlan> {
        self.waiting = !self.usable.all_since(world.running);
        let node = world.node.unwrap_or_default();
        let of_node = |spec: &&NodeSpec| &*spec.name.name == node && !spec.name.cluster.is_remote();
        let spec = world.store.nodes().find(of_node);
        let router_id = *self
            .router_id
            .get_or_insert_with(|| router_id(node, spec, world.local));
        let situation = Situation {
            node: Node {
                name: node,
                spec,
                router_id,
            },
            objects: world.store.announce().collect(),
            pools: world.store.pools().collect(),
            candidates: self.candidates(world),
            draining: self.draining.map(|since| now.saturating_sub(since)),
        };
        let decision = decide(&situation, &mut self.memory);
        self.problems = decision.problems;
        self.at_least = decision.at_least;
        let before = std::mem::replace(&mut self.verdicts, decision.verdicts);
        let changed = self
            .verdicts
            .iter()
            .filter(|(name, verdict)| before.get(*name) != Some(verdict));
        self.to_say.extend(changed.map(|(name, _)| name.clone()));
        if decision.peers == self.sent.peers {
            return None;
        }
        let revision = self.sent.revision + 1;
        let before = std::mem::replace(&mut self.announced, decision.announced);
        let leaving = Leaving {
            revision,
            until: now + PATIENCE,
        };
        for addr in before {
            self.leaving.entry(addr).or_insert(leaving);
        }
        self.leaving.retain(|addr, _| !self.announced.contains(addr));
        self.sent = BgpPlan {
            revision,
            peers: decision.peers,
        };
        self.settle_leaving(None);
        Some(self.sent.clone())
    }

    fn candidates<'w>(&self, world: World<'w>) -> Vec<Candidate<'w>> {
        let mut served: BTreeMap<&ObjectName, BTreeMap<Addr, bool>> = BTreeMap::new();
        let whole = world
            .plan
            .ports
            .iter()
            .filter(|port| port.reach == Reach::Address);
        for port in whole {
            let addrs = served.entry(&port.owner).or_default();
            *addrs.entry(port.key.addr).or_default() |= is_usable(port);
        }
        let mut all = vec![];
        for (name, addrs) in served {
            let Some(service) = world.store.service(name) else {
                continue;
            };
            let vips = service.vips.get().map(Vec::as_slice).unwrap_or_default();
            let granted = world.store.granted(name);
            let addrs = addrs
                .into_iter()
                .filter(|(addr, _)| vips.contains(addr) || granted.contains(addr));
            let standing = |(addr, usable): (Addr, bool)| match usable {
                false => (addr, Standing::NoEndpoints),
                true if world.steered.contains(&addr) && self.usable.since(&addr, world.running) => {
                    (addr, Standing::Ready)
                }
                true => (addr, Standing::Pending),
            };
            all.push(Candidate {
                service,
                addrs: addrs.map(standing).collect(),
            });
        }
        all
    }

    /// Forgets the withdrawals that are done, or that have had their time; says whether there were any.
    fn settle_leaving(&mut self, now: Option<Duration>) -> bool {
        let count = self.leaving.len();
        let slowest = self
            .sessions
            .values()
            .filter(|session| session.is_established())
            .map(|session| {
                match self.sent.peers.contains_key(&session.peer) {
                    true => session.synced.unwrap_or(0),
                    // It is to end, and has not yet.
                    false => 0,
                }
            });
        let slowest = slowest.min().unwrap_or(u64::MAX);
        self.leaving
            .retain(|_, leaving| slowest < leaving.revision && now.is_none_or(|now| now < leaving.until));
        self.leaving.len() != count
    }

    /// What users are told of a Service.
    pub fn announced(&self, name: &ObjectName, node: Option<&str>) -> Announced {
        let has = |peer: &&ObjectName| {
            self.sessions
                .get(*peer)
                .is_some_and(|s| s.is_established() && s.told > 0)
        };
        let unknown = Verdict::of(self.at_least);
        let verdict = self.verdicts.get(name).unwrap_or(&unknown);
        let (there, missing): (Vec<&ObjectName>, Vec<&ObjectName>) = verdict.peers.iter().partition(has);
        Announced::new(verdict.reason, node.unwrap_or_default(), &there, &missing)
    }

    /// Services about which there is something new to say.
    fn take_news(&mut self) -> Vec<ObjectName> {
        std::mem::take(&mut self.to_say).into_iter().collect()
    }

    /// The states of sessions that have changed, to be written by this node: those that say something else at
    /// once, those that only count otherwise now and then.
    pub fn states(&mut self, node: Option<&str>, now: Duration) -> Vec<SessionWrite> {
        let mut due = vec![];
        for peer in std::mem::take(&mut self.news) {
            let write = session_write(
                node.unwrap_or_default(),
                &peer,
                self.sessions.get(&peer),
                self.bfd.get(&peer),
            );
            let before = self.written.get(&peer);
            if before.is_some_and(|(before, _)| *before == write)
                || (before.is_none() && write.body.is_none())
            {
                continue;
            }
            if before
                .is_some_and(|(before, at)| before.says_as(&write) && now.saturating_sub(*at) < COUNTS_EVERY)
            {
                self.news.insert(peer);
                continue;
            }
            match write.body {
                Some(_) => drop(self.written.insert(peer, (write.clone(), now))),
                None => drop(self.written.remove(&peer)),
            }
            due.push(write);
        }
        due
    }
}

/// May something be announced otherwise after this?
pub(super) fn concerns(event: &Event) -> bool {
    matches!(
        event,
        Event::NodeApplied(_)
            | Event::NodeDeleted(_)
            | Event::PoolApplied(_)
            | Event::PoolDeleted(_)
            | Event::BgpSession(_)
            | Event::BgpSessionEnded(_)
            | Event::BfdSession(_)
            | Event::Draining(_)
            | Event::Leading(_)
            | Event::SourceProblems { .. }
    )
}

impl Controller {
    /// Table first, then announce; withdraw first, then remove.
    pub(super) fn announce(&mut self, now: Duration) -> Vec<Effect> {
        if !self.all_synced() && !self.announcer.is_restored() {
            // What is not known yet may forbid it.
            return vec![];
        }
        let world = World {
            store: &self.store,
            plan: &self.plan,
            steered: &self.steering.confirmed().vips,
            running: self.running.iter().copied().min().unwrap_or_default(),
            node: self.settings.plan.node.as_deref(),
            local: self.routes.local(),
        };
        let plan = self.announcer.next(world, now);
        for name in self.announcer.take_news() {
            self.addresses.look_at(&name);
        }
        if plan.is_some() {
            self.catalog = None;
        }
        let mut effects: Vec<Effect> = plan.map(Effect::AnnounceBgp).into_iter().collect();
        let writes = self.acceptances();
        if !writes.is_empty() {
            effects.push(Effect::WriteStatus(writes));
        }
        effects
    }

    /// What is to be said on the objects themselves.
    fn acceptances(&mut self) -> Vec<StatusWrite> {
        if !self.addresses.is_leading() {
            self.announcer.book.clear();
            return vec![];
        }
        let mut writes = vec![];
        let own = self
            .store
            .announce()
            .filter(|object| object.name.cluster == ClusterId::OWN);
        for object in own {
            let reference = object.object();
            let is_about = |problem: &&Problem| problem.object.as_ref() == Some(&reference);
            let found = self.announcer.problems.iter().filter(is_about);
            let body = acceptance_body(object, found.chain(self.complaints.of_object(&reference)));
            writes.extend(
                self.announcer
                    .book
                    .settle(reference.clone(), body, &object.observed),
            );
        }
        writes
    }

    /// Ports that have left the plan, of addresses that routers may still send packets for.
    pub(super) fn held_ports(&self) -> Vec<Arc<PlannedPort>> {
        if self.announcer.leaving.is_empty() {
            return vec![];
        }
        let whole = self.plan.ports.iter().filter(|port| port.reach == Reach::Address);
        let planned: BTreeSet<Addr> = whole.map(|port| port.key.addr).collect();
        let is_held = |addr: &Addr| self.announcer.leaving.contains_key(addr) && !planned.contains(addr);
        let held = self.ports.iter().filter(|port| is_held(&port.key.addr));
        held.cloned().collect()
    }

    /// Do selectors of Services see it otherwise now?
    pub(super) fn relabels(&self, spec: &ServiceSpec) -> bool {
        let labels = |spec: &ServiceSpec| spec.request.as_ref().map(|request| request.labels.clone());
        let before = self.store.service(&spec.name).and_then(labels);
        before != labels(spec)
    }

    pub(super) fn session_states(&mut self, now: Duration) -> Option<Effect> {
        let node = self.settings.plan.node.as_deref();
        let states = self.announcer.states(node, now);
        let own = self.settings.sources.contains(&Source::Cluster(ClusterId::OWN));
        (own && !states.is_empty()).then_some(Effect::WriteSessions(states))
    }
}

pub(super) fn is_usable(port: &PlannedPort) -> bool {
    port.backends.iter().any(|backend| backend.weight > 0)
}

/// The node's first IPv4 address, else a number made of its name: stable, and unlike its neighbours'.
fn router_id(name: &str, spec: Option<&NodeSpec>, local: &BTreeSet<Addr>) -> Ipv4Addr {
    let internal = spec.into_iter().flat_map(|spec| &spec.addresses);
    let usable = |addr: &Addr| match addr.ip() {
        IpAddr::V4(ip) if !(ip.is_loopback() || ip.is_link_local() || ip.is_unspecified()) => Some(ip),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    };
    let hash = NodeKey::of(name).0;
    // Never 0.0.0.0.
    let made = Ipv4Addr::from_bits((hash >> 32) as u32 ^ hash as u32 | 1);
    internal.chain(local).find_map(usable).unwrap_or(made)
}
