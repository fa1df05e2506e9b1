//! Health check node ports from both sides: whom this node asks, and what it says itself (`--serve node-port`).

use std::collections::{BTreeMap, BTreeSet};

use maglane_shared::addr::Addr;

use crate::effect::Effect;
use crate::health::{HealthAnswer, ProbeTarget, Verdict};
use crate::model::{ObjectKind, ObjectName, ObjectRef};
use crate::plan::ServicePlan;
use crate::problem::Problem;

#[derive(Debug, Default)]
pub(super) struct NodeHealth {
    /// A plan that has to do with such ports came, went or changed.
    stale: bool,
    asked: BTreeSet<ProbeTarget>,
    down: BTreeSet<ProbeTarget>,
    said: BTreeMap<u16, HealthAnswer>,
    problems: Vec<Problem>,
}

impl NodeHealth {
    /// Those that do not answer as they should.
    pub fn down(&self) -> &BTreeSet<ProbeTarget> {
        &self.down
    }

    pub fn problems(&self) -> Vec<Problem> {
        self.problems.clone()
    }

    /// Says whether it is news. A verdict about somebody who is not asked any more is none.
    pub fn told(&mut self, target: ProbeTarget, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Up => self.down.remove(&target),
            Verdict::Down => self.asked.contains(&target) && self.down.insert(target),
        }
    }

    /// A plan before or after a change.
    pub fn look_at(&mut self, plan: Option<&ServicePlan>) {
        self.stale |= plan.is_some_and(|plan| !plan.probes.is_empty() || plan.health_port.is_some());
    }

    /// Takes stock of the plans.
    pub fn settle(&mut self, services: &BTreeMap<ObjectName, ServicePlan>) -> Vec<Effect> {
        let mut effects = vec![];
        if !std::mem::take(&mut self.stale) {
            return effects;
        }
        let asked: BTreeSet<ProbeTarget> = services
            .values()
            .flat_map(|plan| plan.probes.iter().copied())
            .collect();
        if asked != self.asked {
            self.down.retain(|target| asked.contains(target));
            self.asked.clone_from(&asked);
            effects.push(Effect::Probe(asked));
        }
        let said = self.answers(services);
        if said != self.said {
            self.said.clone_from(&said);
            effects.push(Effect::AnswerHealth(said));
        }
        effects
    }

    fn answers(&mut self, services: &BTreeMap<ObjectName, ServicePlan>) -> BTreeMap<u16, HealthAnswer> {
        self.problems.clear();
        let mut said: BTreeMap<u16, HealthAnswer> = BTreeMap::new();
        for (service, plan) in services {
            let Some(port) = plan.health_port else {
                continue;
            };
            if let Some(first) = said.get(&port) {
                self.problems.push(rival(service, port, &first.service));
                continue;
            }
            let answer = HealthAnswer {
                service: service.clone(),
                endpoints: usable(plan),
            };
            said.insert(port, answer);
        }
        said
    }
}

fn usable(plan: &ServicePlan) -> usize {
    let backends = plan.ports.iter().flat_map(|port| &port.backends);
    let usable = backends.filter(|backend| backend.weight > 0);
    usable
        .map(|backend| backend.addr)
        .collect::<BTreeSet<Addr>>()
        .len()
}

fn rival(service: &ObjectName, port: u16, first: &ObjectName) -> Problem {
    let message = format!("port {port} speaks for Service {first} already, which comes first");
    Problem::error(message, "give one of the two another port")
        .about(ObjectRef {
            kind: ObjectKind::Service,
            name: service.clone(),
        })
        .field("spec.healthCheckNodePort")
}
