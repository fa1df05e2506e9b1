//! Which addresses this node answers ARP and NDP for, on which interfaces, and when it says so unasked.
//!
//! Invariant 6 for layer 2: an address is owned only while every worker carries it and every interface steers
//! it, both confirmed; it is given up before it is un-steered. Who owns it among nodes is `crate::l2`'s to say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maglane_shared::addr::{Addr, MacAddr};
use maglane_shared::next_hop::PortIndex;
use maglane_shared::table::Generation;

use crate::catalog::L2Row;
use crate::effect::Effect;
use crate::l2::{
    Candidate, Choice, L2Policy, L2Settings, NoOwner, NodeFacts, NodeLease, Peers, Renewals, Right, Schedule,
    Standing, Subnets, View, choose, policies, right,
};
use crate::model::{ClusterId, NodeSpec, ObjectName, ServiceSpec};
use crate::plan::{Plan, Reach};
use crate::problem::Problem;
use crate::store::Store;

use super::conflicts::Conflicts;
use super::{Resume, Settings};

/// What decides besides the leases.
pub(super) struct Surroundings<'w> {
    pub plan: &'w Plan,
    pub store: &'w Store,
    /// Steered, confirmed.
    pub steered: &'w BTreeSet<Addr>,
    /// Another number, another `plan` or `steered`.
    pub revision: (u64, u64),
    pub subnets: &'w Subnets,
}

/// An address on an interface.
type Place = (PortNumber, Addr);
/// [`PortIndex`]'s number.
type PortNumber = u8;

#[derive(Debug)]
pub(super) struct Layer2 {
    settings: L2Settings,
    us: Box<str>,
    /// `--interface`, in order.
    ports: Vec<Box<str>>,
    view: View,
    ours: Renewals,
    /// What our lease was last to say.
    said: Option<NodeFacts>,
    /// What the last decision rests on.
    basis: Option<Basis>,
    owned: BTreeMap<Place, Schedule>,
    /// The workers and interfaces have been made to own something else, or have failed to own this.
    unsent: bool,
    failure: Option<String>,
    /// Nothing is tried again before the next tick.
    resting: bool,
    conflicts: Conflicts,
    rows: Vec<L2Row>,
    /// They are others than when last asked.
    news: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Basis {
    right: Right,
    /// Those that may own anything.
    nodes: Vec<NodeLease>,
    subnets: Subnets,
    revision: (u64, u64),
}

/// What is known of one virtual address.
#[derive(Default)]
struct Vip<'w> {
    services: Vec<&'w ServiceSpec>,
    usable: bool,
}

impl Layer2 {
    pub fn new(settings: &Settings, resume: &Resume) -> Layer2 {
        Layer2 {
            settings: settings.l2.clone(),
            us: settings.plan.node.clone().unwrap_or_default(),
            ports: settings.interfaces.clone(),
            view: View::default(),
            ours: Renewals::new(resume.standing),
            said: None,
            basis: None,
            owned: BTreeMap::new(),
            // What an earlier controller left is in force still, whatever it was.
            unsent: resume.table.generation != Generation(0),
            failure: None,
            resting: false,
            conflicts: Conflicts::default(),
            rows: vec![],
            news: false,
        }
    }

    pub fn lease_applied(&mut self, lease: NodeLease, now: Duration) {
        self.view.applied(lease, now);
    }

    pub fn lease_deleted(&mut self, name: &ObjectName) {
        self.view
            .deleted(name.name.trim_start_matches(crate::l2::LEASE_PREFIX));
    }

    pub fn renewed(&mut self, until: Duration, now: Duration) {
        self.ours.renewed(until, now);
    }

    pub fn failed(&mut self, reason: String) {
        self.failure = Some(reason);
        self.unsent = true;
        self.resting = true;
    }

    pub fn conflict(&mut self, port: PortIndex, addr: Addr, mac: MacAddr, now: Duration) {
        let Some(schedule) = self.owned.get_mut(&(port.0, addr)) else {
            return; // Given up since.
        };
        if self.conflicts.add(addr, mac, now) {
            schedule.hurry(now);
        }
    }

    pub fn tick(&mut self) {
        self.resting = false;
        if !self.unsent {
            // Nobody has complained of the last attempt.
            self.failure = None;
        }
    }

    pub fn standing(&self) -> Standing {
        self.ours.standing()
    }

    /// Has [`Self::rows`] changed since this was last asked?
    pub fn news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    pub fn rows(&self) -> &[L2Row] {
        &self.rows
    }

    /// All that follows now.
    pub fn settle(&mut self, around: &Surroundings<'_>, now: Duration) -> Vec<Effect> {
        let mut effects = vec![];
        self.ours.look(now, self.settings.on_api_loss);
        self.conflicts.expire(now);
        self.decide(around, now);
        effects.extend(self.say(around));
        if self.unsent && !self.resting {
            self.unsent = false;
            effects.push(Effect::OwnL2(self.by_port()));
        }
        effects.extend(self.announce(now));
        effects
    }

    /// Our own lease says what others must know of us; there is none before any address is to be announced.
    fn say(&mut self, around: &Surroundings<'_>) -> Option<Effect> {
        let idle = self.said.is_none() && !self.rows.iter().any(L2Row::is_covered);
        let facts = self.facts(around);
        if idle || self.settings.peers == Peers::Alone || self.said.as_ref() == Some(&facts) {
            return None;
        }
        self.said = Some(facts.clone());
        Some(Effect::HoldNodeLease(facts))
    }

    fn facts(&self, around: &Surroundings<'_>) -> NodeFacts {
        NodeFacts {
            subnets: around.subnets.clone(),
            standing: self.ours.standing(),
        }
    }

    /// Those that may own anything, and what may be done about it.
    fn basis(&self, around: &Surroundings<'_>, now: Duration) -> Basis {
        let right = right(
            self.settings.peers,
            &self.view,
            &self.ours,
            &self.us,
            self.settings.on_api_loss,
            now,
        );
        let nodes = match self.settings.peers {
            Peers::Alone => vec![NodeLease::alone(&self.us, self.facts(around))],
            Peers::Leases => self
                .view
                .alive(now)
                .map(|lease| NodeLease {
                    // Only ever a sign of life.
                    renewed: 0,
                    ..lease.clone()
                })
                .collect(),
        };
        let barred = |lease: &NodeLease| {
            let name = ObjectName::of(ClusterId::OWN, "", &lease.node);
            around.store.node(&name).is_some_and(NodeSpec::is_barred)
        };
        Basis {
            right,
            nodes: nodes.into_iter().filter(|lease| !barred(lease)).collect(),
            subnets: around.subnets.clone(),
            revision: around.revision,
        }
    }

    /// Anew where anything has changed that decides.
    fn decide(&mut self, around: &Surroundings<'_>, now: Duration) {
        let basis = self.basis(around, now);
        if self.basis.as_ref() == Some(&basis) {
            return;
        }
        let mut owned = BTreeMap::new();
        let mut rows = vec![];
        for (addr, vip) in vips(around) {
            let (places, row) = self.decide_one(addr, &vip, &basis, around);
            rows.push(row);
            owned.extend(places.into_iter().map(|place| {
                let held = self.owned.get(&place).copied();
                (place, held.unwrap_or_else(|| Schedule::new(now)))
            }));
        }
        self.conflicts
            .keep_only(|addr| owned.keys().any(|(_, owned)| owned == addr));
        self.unsent |= !owned.keys().eq(self.owned.keys());
        self.owned = owned;
        self.news |= rows != self.rows;
        self.rows = rows;
        self.basis = Some(basis);
    }

    /// Where this node is to answer for the address, and a line that says who does.
    fn decide_one(
        &self,
        addr: Addr,
        vip: &Vip<'_>,
        basis: &Basis,
        around: &Surroundings<'_>,
    ) -> (Vec<Place>, L2Row) {
        let covering = vip.services.iter();
        let policies: Vec<L2Policy> = covering
            .flat_map(|service| policies(around.store, service, addr, self.settings.coverage))
            .collect();
        let chosen = choose_node(addr, vip, &policies, &basis.nodes);
        let choice = self.our_part(addr, chosen, basis.right, around);
        let mut interfaces = BTreeSet::new();
        if choice == Choice::Node(self.us.clone()) {
            interfaces = able(addr, &policies, &self.us, around.subnets);
        }
        let numbered = (0..)
            .zip(&self.ports)
            .filter(|(_, name)| interfaces.contains(*name));
        let places = numbered.map(|(number, _)| (number, addr)).collect();
        let row = L2Row {
            vip: addr,
            choice,
            interfaces: interfaces.into_iter().collect(),
        };
        (places, row)
    }

    /// What the choice comes to here. Without news of the others this node goes on with what it has, at most.
    fn our_part(&self, addr: Addr, chosen: Choice, right: Right, around: &Surroundings<'_>) -> Choice {
        let us = Choice::Node(self.us.clone());
        let wanted = match &chosen {
            Choice::Nobody(NoOwner::NoAdvertisement | NoOwner::NoBackend) => return chosen,
            Choice::Nobody(NoOwner::NotProgrammed | NoOwner::NoNode | NoOwner::NoLease) => false,
            Choice::Node(_) => chosen == us,
        };
        let mut ports = (0..).zip(&self.ports);
        let has = ports.any(|(number, _)| self.owned.contains_key(&(number, addr)));
        let programmed = around.steered.contains(&addr);
        match right {
            Right::Full if !wanted => chosen,
            Right::Frozen if !has && !wanted => chosen,
            Right::Full | Right::Frozen if !programmed => Choice::Nobody(NoOwner::NotProgrammed),
            Right::Full => us,
            Right::Frozen if has => us,
            Right::Frozen | Right::Nothing => Choice::Nobody(NoOwner::NoLease),
        }
    }

    fn by_port(&self) -> Vec<BTreeSet<Addr>> {
        let mut by_port = vec![BTreeSet::new(); self.ports.len()];
        for (port, addr) in self.owned.keys() {
            by_port[usize::from(*port)].insert(*addr);
        }
        by_port
    }

    fn announce(&mut self, now: Duration) -> Option<Effect> {
        let refresh = self.settings.refresh;
        let places = self.owned.iter_mut();
        let due: Vec<Place> = places
            .filter_map(|(place, schedule)| schedule.due(now, refresh).then_some(*place))
            .collect();
        (!due.is_empty()).then_some(Effect::AnnounceL2(due))
    }

    pub fn problems(&self) -> Vec<Problem> {
        let failure = self.failure.as_ref().map(|reason| {
            Problem::error(
                format!("ARP and NDP cannot be steered to the workers: {reason}"),
                "it is tried again every second; addresses already answered for go on",
            )
        });
        self.conflicts.problems().chain(failure).collect()
    }
}

/// Who is to answer, by what all nodes know.
fn choose_node(addr: Addr, vip: &Vip<'_>, policies: &[L2Policy], nodes: &[NodeLease]) -> Choice {
    if policies.is_empty() {
        return Choice::Nobody(NoOwner::NoAdvertisement);
    }
    if !vip.usable {
        return Choice::Nobody(NoOwner::NoBackend);
    }
    let can = |lease: &&NodeLease| !able(addr, policies, &lease.node, &lease.facts.subnets).is_empty();
    let candidates = nodes.iter().filter(can).map(|lease| Candidate {
        node: &lease.node,
        standing: lease.facts.standing,
    });
    match choose(addr, &candidates.collect::<Vec<_>>()) {
        Some(node) => Choice::Node(node.into()),
        None => Choice::Nobody(NoOwner::NoNode),
    }
}

/// The interfaces of a node on which it may answer.
fn able(addr: Addr, policies: &[L2Policy], node: &str, subnets: &Subnets) -> BTreeSet<Box<str>> {
    let allowed = policies.iter().filter(|policy| policy.allows(node));
    let names = allowed.flat_map(|policy| subnets.holding(addr, &policy.interfaces));
    names.map(Into::into).collect()
}

/// Load balancers' addresses; an address that only a cluster knows nobody asks for.
fn vips<'w>(around: &Surroundings<'w>) -> BTreeMap<Addr, Vip<'w>> {
    let mut vips: BTreeMap<Addr, Vip<'w>> = BTreeMap::new();
    let whole = around
        .plan
        .ports
        .iter()
        .filter(|port| port.reach == Reach::Address);
    for port in whole {
        let Some(service) = around.store.service(&port.owner) else {
            continue;
        };
        if !service
            .vips
            .get()
            .is_some_and(|vips| vips.contains(&port.key.addr))
        {
            continue;
        }
        let vip = vips.entry(port.key.addr).or_default();
        vip.usable |= port.backends.iter().any(|backend| backend.weight > 0);
        if vip.services.iter().all(|known| known.name != service.name) {
            vip.services.push(service);
        }
    }
    vips
}
