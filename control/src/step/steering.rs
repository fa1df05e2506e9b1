//! What is steered, what may be, and since when the workers' tables have it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use maglane_shared::addr::{Addr, VipKey};
use maglane_shared::service::ForwardingMode;
use maglane_shared::table::{Generation, ServiceTable};

use crate::compile::Compiler;
use crate::effect::{PortSpan, SteerPlan};
use crate::plan::{PlannedPort, Reach};
use crate::problem::Problem;

/// For each key of the newest table, the first generation of the unbroken run of tables that have it.
#[derive(Debug)]
pub(super) struct Presence<K>(BTreeMap<K, Generation>);

impl<K> Default for Presence<K> {
    fn default() -> Self {
        Presence(BTreeMap::new())
    }
}

impl<K: Ord + Copy> Presence<K> {
    pub fn update(&mut self, present: BTreeSet<K>, generation: Generation) {
        self.0.retain(|key, _| present.contains(key));
        for key in present {
            self.0.entry(key).or_insert(generation);
        }
    }

    /// Does every table from `generation` on have it?
    pub fn since(&self, key: &K, generation: Generation) -> bool {
        self.0.get(key).is_some_and(|born| *born <= generation)
    }

    pub fn all_since(&self, generation: Generation) -> bool {
        self.0.values().all(|born| *born <= generation)
    }
}

#[derive(Debug)]
pub(super) struct Steering {
    vips: Presence<Addr>,
    endpoints: Presence<VipKey>,
    dnat_endpoints: Presence<VipKey>,
    /// The table those are about.
    seen: Arc<ServiceTable>,
    confirmed: Arc<SteerPlan>,
    /// What [`Steering::resume`] says.
    kept: Arc<SteerPlan>,
    /// Addresses of plans that were sent since and may be partly in force.
    attempted: BTreeSet<Addr>,
    attempted_endpoints: BTreeSet<VipKey>,
    in_flight: Option<SteerPlan>,
    revision: u64,
    failure: Option<String>,
    /// Nobody has answered yet for what an earlier controller sent.
    unsure: bool,
    /// Some table's newcomers may not be steered yet: workers that take it decide.
    waiting: bool,
    /// After a failure nothing is sent before the next tick.
    resting: bool,
}

impl Steering {
    /// `confirmed` is what an earlier controller left, so every worker has run tables with it; `compiler` has
    /// the last such table.
    pub fn new(confirmed: Arc<SteerPlan>, compiler: &Compiler) -> Steering {
        let proven = Generation(0);
        let mut steering = Steering {
            vips: Presence(confirmed.vips.iter().map(|vip| (*vip, proven)).collect()),
            endpoints: Presence(confirmed.endpoints.iter().map(|e| (*e, proven)).collect()),
            dnat_endpoints: Presence(confirmed.dnat_returns.iter().map(|e| (*e, proven)).collect()),
            seen: Arc::clone(&compiler.table().services),
            revision: confirmed.revision,
            unsure: confirmed.revision != 0,
            kept: Arc::clone(&confirmed),
            confirmed,
            attempted: BTreeSet::new(),
            attempted_endpoints: BTreeSet::new(),
            in_flight: None,
            failure: None,
            waiting: true,
            resting: false,
        };
        steering.take_stock(compiler, compiler.table().generation);
        steering
    }

    pub fn confirmed(&self) -> &Arc<SteerPlan> {
        &self.confirmed
    }

    /// What the next controller of this process must know: the last plan that was sent, with every address
    /// that may be steered.
    pub fn resume(&self) -> &Arc<SteerPlan> {
        &self.kept
    }

    /// Asked for after every step, made when it changes.
    fn keep(&mut self) {
        let latest = self.in_flight.as_ref().unwrap_or(&*self.confirmed);
        self.kept = Arc::new(SteerPlan {
            revision: self.revision,
            vips: self.possible(),
            endpoints: self.possible_endpoints(),
            ..latest.clone()
        });
    }

    /// Every address that an interface may be steering now.
    pub fn possible(&self) -> BTreeSet<Addr> {
        self.confirmed.vips.union(&self.attempted).copied().collect()
    }

    /// Likewise the ports of addresses that are not ours.
    pub fn possible_endpoints(&self) -> BTreeSet<VipKey> {
        let confirmed = &self.confirmed.endpoints;
        confirmed.union(&self.attempted_endpoints).copied().collect()
    }

    pub fn published(&mut self, compiler: &Compiler, generation: Generation) {
        let services = &compiler.table().services;
        if Arc::ptr_eq(&self.seen, services) || self.seen.takes_the_same(services) {
            self.seen = Arc::clone(services);
        } else {
            self.take_stock(compiler, generation);
        }
    }

    fn take_stock(&mut self, compiler: &Compiler, generation: Generation) {
        let services = &compiler.table().services;
        self.vips
            .update(services.addrs().iter().copied().collect(), generation);
        self.endpoints.update(services.endpoints().collect(), generation);
        let dnat = compiler
            .ports()
            .iter()
            .filter(|port| port.planned.mode == ForwardingMode::Dnat);
        self.dnat_endpoints
            .update(dnat.flat_map(|port| port.endpoints()).collect(), generation);
        self.seen = Arc::clone(services);
        self.waiting = true;
    }

    /// The next plan to send, when another one is wanted than the last. `running` is the oldest generation
    /// that any worker runs.
    pub fn next<'p>(
        &mut self,
        ports: impl Iterator<Item = &'p Arc<PlannedPort>>,
        running: Generation,
        nat_returns: &BTreeMap<Addr, PortSpan>,
        local: &BTreeSet<Addr>,
    ) -> Option<SteerPlan> {
        if self.in_flight.is_some() || self.resting {
            return None;
        }
        let wanted = self.wanted(ports, running, nat_returns, local);
        self.waiting = !self.all_since(running);
        if !self.unsure && self.failure.is_none() && wanted.same_set(&self.confirmed) {
            return None;
        }
        self.revision += 1;
        let wanted = SteerPlan {
            revision: self.revision,
            ..wanted
        };
        self.attempted.extend(&wanted.vips);
        self.attempted_endpoints.extend(&wanted.endpoints);
        self.in_flight = Some(wanted.clone());
        self.keep();
        Some(wanted)
    }

    /// Can workers that go on change nothing any more?
    fn all_since(&self, running: Generation) -> bool {
        self.vips.all_since(running)
            && self.endpoints.all_since(running)
            && self.dnat_endpoints.all_since(running)
    }

    /// Does it matter which tables the workers run, as long as they go on?
    pub fn waits(&self) -> bool {
        self.waiting
    }

    fn wanted<'p>(
        &self,
        ports: impl Iterator<Item = &'p Arc<PlannedPort>>,
        running: Generation,
        nat_returns: &BTreeMap<Addr, PortSpan>,
        local: &BTreeSet<Addr>,
    ) -> SteerPlan {
        let ports = ports.filter(|port| match port.reach {
            Reach::Address => self.vips.since(&port.key.addr, running),
            Reach::Port => self.endpoints.since(&port.key, running),
        });
        let mut wanted = SteerPlan {
            local: local.clone(),
            ..SteerPlan::default()
        };
        for port in ports {
            match port.reach {
                Reach::Address => drop(wanted.vips.insert(port.key.addr)),
                Reach::Port => drop(wanted.endpoints.insert(port.key)),
            }
            match port.mode {
                ForwardingMode::Nat if wanted.nat_returns.is_empty() => {
                    wanted.nat_returns = nat_returns.clone()
                }
                ForwardingMode::Dnat => {
                    let protocol = port.key.protocol;
                    let endpoints = port.backends.iter().map(|b| VipKey {
                        addr: b.addr,
                        port: b.port,
                        protocol,
                    });
                    wanted
                        .dnat_returns
                        .extend(endpoints.filter(|e| self.dnat_endpoints.since(e, running)));
                }
                ForwardingMode::Nat | ForwardingMode::L2Dsr | ForwardingMode::Ipip | ForwardingMode::Gue => {}
            }
        }
        wanted
    }

    pub fn done(&mut self, revision: u64) {
        if let Some(plan) = self.in_flight.take_if(|plan| plan.revision == revision) {
            self.confirmed = Arc::new(plan);
            self.attempted.clear();
            self.attempted_endpoints.clear();
            self.failure = None;
            self.unsure = false;
            self.keep();
        }
    }

    pub fn failed(&mut self, revision: u64, reason: String) {
        if self.in_flight.take_if(|plan| plan.revision == revision).is_some() {
            self.failure = Some(reason);
            self.resting = true;
            self.keep();
        }
    }

    /// A tick: says whether a failed plan may be sent again.
    pub fn retry(&mut self) -> bool {
        std::mem::take(&mut self.resting)
    }

    pub fn problem(&self) -> Option<Problem> {
        let reason = self.failure.as_ref()?;
        let remedy = "it is tried again every second; new VIPs wait for it, the others go on";
        Some(Problem::error(
            format!("the steering program cannot be updated: {reason}"),
            remedy,
        ))
    }
}
