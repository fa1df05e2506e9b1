//! What the controller wants done, done: one match, in order. What comes of it goes back as events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use maglane_control::announce::BgpPlan;
use maglane_control::effect::{Effect, NeighborRef, SteerPlan};
use maglane_control::event::Event;
use maglane_control::health::{HealthAnswer, ProbeTarget};
use maglane_control::l2::NodeFacts;
use maglane_control::metrics::Meter;
use maglane_control::problem::{Problem, Severity};
use maglane_control::status::{SessionWrite, StatusWrite, UserEvent};
use maglane_control::step::Controller;
use maglane_shared::addr::{Addr, Protocol, VipKey};
use maglane_shared::counters::Counters;
use maglane_shared::facts::Conflict;
use maglane_shared::table::{ForwardingTable, Generation, ServiceTable};
use maglane_xsk::{Endpoint, PortRange, SteerSet};

use crate::engine::Engine;

/// Reads the counters of whoever holds a slot now; takes note of each new holder before its table is out.
#[derive(Debug)]
pub struct Books {
    pub meter: Arc<Meter>,
    counters: Vec<Arc<Counters>>,
    /// The services last taken note of.
    services: Arc<ServiceTable>,
}

impl Books {
    pub fn new(engine: &Engine, meter: Arc<Meter>) -> Books {
        let counters = engine
            .watches
            .iter()
            .map(|watch| Arc::clone(&watch.counters))
            .collect();
        Books {
            meter,
            counters,
            services: Arc::default(),
        }
    }

    fn adopt(&mut self, controller: &mut Controller, table: &ForwardingTable) {
        if !Arc::ptr_eq(&self.services, &table.services) {
            self.services = Arc::clone(&table.services);
            Arc::make_mut(&mut self.meter).adopt(&controller.catalog(), &self.counters);
        }
    }
}

/// What follows from the effects of one step.
#[derive(Debug, Default)]
pub struct Followup {
    /// What they caused.
    pub events: Vec<Event>,
    /// The table that was handed to the workers.
    pub published: Option<Generation>,
    pub neighbors: Vec<NeighborRef>,
    /// The newest says it all.
    pub announce: Option<BgpPlan>,
    pub writes: Vec<StatusWrite>,
    pub sessions: Vec<SessionWrite>,
    pub told: Vec<UserEvent>,
    /// The newest wanted sets, where they have changed.
    pub probes: Option<BTreeSet<ProbeTarget>>,
    pub answers: Option<BTreeMap<u16, HealthAnswer>>,
    pub layer2: Vec<Layer2>,
}

/// What layer 2 wants besides what the engine does.
#[derive(Debug)]
pub enum Layer2 {
    Listen(Vec<BTreeSet<Addr>>),
    Announce(Vec<(u8, Addr)>),
    HoldLease(NodeFacts),
}

/// Performs the effects of one step, but for what others must do.
pub fn perform(
    effects: Vec<Effect>,
    controller: &mut Controller,
    engine: &Engine,
    books: &mut Books,
) -> Followup {
    let mut follow = Followup::default();
    for effect in effects {
        match effect {
            Effect::Publish(generation) => {
                let table = controller.table();
                books.adopt(controller, &table);
                engine.publish(&table);
                follow.published = Some(generation);
                let services = table.services.entries().len();
                tracing::debug!(generation = generation.0, services, "published");
            }
            Effect::Steer(plan) => follow.events.push(steer(&plan, engine)),
            Effect::AnnounceBgp(plan) => {
                tracing::debug!(peers = plan.peers.len(), revision = plan.revision, "BGP");
                follow.announce = Some(plan);
            }
            Effect::WriteSessions(states) => follow.sessions.extend(states),
            Effect::OwnL2(owned) => {
                follow.events.extend(own(&owned, engine));
                follow.layer2.push(Layer2::Listen(owned));
            }
            Effect::AnnounceL2(due) => follow.layer2.push(Layer2::Announce(due)),
            Effect::HoldNodeLease(facts) => follow.layer2.push(Layer2::HoldLease(facts)),
            Effect::ResolveNeighbors(wanted) => follow.neighbors.extend(wanted),
            Effect::Probe(targets) => follow.probes = Some(targets),
            Effect::AnswerHealth(answers) => follow.answers = Some(answers),
            Effect::WriteStatus(writes) => follow.writes.extend(writes),
            Effect::Tell(told) => follow.told.extend(told),
            Effect::Report { appeared, cleared } => {
                appeared.iter().for_each(report);
                cleared
                    .iter()
                    .for_each(|problem| tracing::info!("settled: {problem}"));
            }
        }
    }
    follow
}

fn steer(plan: &SteerPlan, engine: &Engine) -> Event {
    let revision = plan.revision;
    match engine.steer(&steer_set(plan)) {
        Ok(()) => {
            tracing::info!(vips = plan.vips.len(), revision, "steering");
            Event::Steered { revision }
        }
        Err(error) => Event::SteerFailed {
            revision,
            reason: format!("{error:#}"),
        },
    }
}

fn own(owned: &[BTreeSet<Addr>], engine: &Engine) -> Option<Event> {
    let addresses: usize = owned.iter().map(BTreeSet::len).sum();
    tracing::info!(addresses, "answering ARP and NDP");
    let error = engine.own(owned).err()?;
    Some(Event::OwnL2Failed {
        reason: format!("{error:#}"),
    })
}

fn report(problem: &Problem) {
    match problem.severity {
        Severity::Error => tracing::error!("{problem}"),
        Severity::Warning => tracing::warn!("{problem}"),
        Severity::Note => tracing::info!("{problem}"),
    }
}

/// The plan in the steering program's words.
fn steer_set(plan: &SteerPlan) -> SteerSet {
    let SteerPlan {
        revision: _,
        vips,
        endpoints,
        nat_returns,
        dnat_returns,
        local,
    } = plan;
    let ip = |addr: &Addr| -> IpAddr { addr.ip() };
    SteerSet {
        vips: vips.iter().map(ip).collect(),
        nat_returns: nat_returns
            .iter()
            .map(|(addr, span)| {
                (
                    addr.ip(),
                    PortRange {
                        first: span.first,
                        last: span.last,
                    },
                )
            })
            .collect(),
        dnat_returns: dnat_returns.iter().map(endpoint).collect(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        local: local.iter().map(ip).collect(),
    }
}

fn endpoint(key: &VipKey) -> Endpoint {
    let proto = match key.protocol {
        Protocol::Tcp => maglane_xsk::Protocol::Tcp,
        Protocol::Udp => maglane_xsk::Protocol::Udp,
    };
    Endpoint {
        addr: key.addr.ip(),
        port: key.port,
        proto,
    }
}

/// What workers miss or have reached since the last look, as events.
pub fn facts(engine: &Engine, seen: &mut [Generation]) -> Vec<Event> {
    let mut events = vec![];
    for ((worker, watch), seen) in (0u16..).zip(&engine.watches).zip(seen) {
        let generation = watch.vitals.generation();
        if generation != *seen {
            *seen = generation;
            events.push(Event::WorkerGeneration { worker, generation });
        }
        let unresolved = std::iter::from_fn(|| watch.facts.unresolved.pop());
        // As many as the mailbox holds: a worker that adds faster than this loop takes must not hold it up.
        let wanted = unresolved.take(watch.facts.unresolved.capacity());
        events.extend(wanted.map(|(port, addr)| Event::NeighborWanted { port, addr }));
        let claims =
            std::iter::from_fn(|| watch.facts.conflicts.pop()).take(watch.facts.conflicts.capacity());
        events.extend(claims.map(|Conflict { port, addr, mac }| Event::AddressClaimed { port, addr, mac }));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use maglane_control::effect::PortSpan;

    #[test]
    fn a_steer_plan_loses_nothing_on_its_way() {
        let addr = |text: &str| text.parse::<Addr>().unwrap();
        let plan = SteerPlan {
            revision: 3,
            vips: [addr("192.0.2.1"), addr("2001:db8::1")].into(),
            nat_returns: [(addr("10.0.0.1"), PortSpan { first: 1, last: 2 })].into(),
            dnat_returns: [VipKey {
                addr: addr("10.0.0.2"),
                port: 53,
                protocol: Protocol::Udp,
            }]
            .into(),
            local: [addr("10.0.0.1")].into(),
            endpoints: [VipKey {
                addr: addr("10.0.0.1"),
                port: 30_080,
                protocol: Protocol::Tcp,
            }]
            .into(),
        };
        let set = steer_set(&plan);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(set.vips, [ip("192.0.2.1"), ip("2001:db8::1")].into());
        assert_eq!(set.nat_returns[&ip("10.0.0.1")], PortRange { first: 1, last: 2 });
        let want = Endpoint {
            addr: ip("10.0.0.2"),
            port: 53,
            proto: maglane_xsk::Protocol::Udp,
        };
        assert_eq!(set.dnat_returns, [want].into());
        let node_port = Endpoint {
            addr: ip("10.0.0.1"),
            port: 30_080,
            proto: maglane_xsk::Protocol::Tcp,
        };
        assert_eq!(set.endpoints, [node_port].into());
        assert_eq!(set.local, [ip("10.0.0.1")].into());
    }
}
