//! Services that are planned anew, and those that go.

use std::time::Duration;

use maglane_shared::addr::VipKey;

use super::Controller;
use super::swaps::Swaps;
use crate::model::{NodeSpec, ObjectName};
use crate::plan::{Plan, Surroundings, plan_service};

impl Controller {
    /// Whose port this is in the plan.
    pub(super) fn owner(&self, key: &VipKey) -> Option<ObjectName> {
        let at = self.plan.ports.binary_search_by(|port| port.key.cmp(key)).ok()?;
        Some(self.plan.ports[at].owner.clone())
    }

    /// Deleted Services go as fast as they may.
    pub(super) fn remove(&mut self, now: Duration) {
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

    pub(super) fn replan(&mut self, now: Duration) {
        if self.dirty.is_empty() {
            return;
        }
        let nodes: Vec<&NodeSpec> = self.store.nodes().collect();
        let mut swaps = Swaps::none();
        for name in std::mem::take(&mut self.dirty) {
            let before = self.services.remove(&name);
            self.addresses.look_at(&name);
            self.node_health.look_at(before.as_ref());
            let Some(service) = self.store.service(&name) else {
                self.tiers.forget(&name);
                before.iter().for_each(|before| self.floor.forget(before));
                swaps.give_up();
                continue;
            };
            let around = |others| Surroundings {
                local: self.routes.local(),
                nodes: &nodes,
                down: self.node_health.down(),
                others,
            };
            let plan = |others| plan_service(service, &self.store, &self.settings.plan, around(others));
            let held = self.tiers.others(&name);
            let first = plan(held);
            let global = self.store.global(service);
            let threshold = global.and_then(|global| global.failover_threshold);
            let others = self.tiers.settle(&name, threshold, first.ready_here, now);
            let plan = if others == held { first } else { plan(others) };
            let plan = self.floor.hold(plan, before.as_ref(), now);
            let plan = match &before {
                Some(before) => plan.sharing(before),
                None => plan,
            };
            swaps.add(before.as_ref(), &plan);
            self.node_health.look_at(Some(&plan));
            self.services.insert(name, plan);
        }
        self.plans += 1;
        match swaps.all() {
            Some(swaps) => swaps.into_iter().for_each(|swap| self.swap(swap)),
            None => {
                self.plan = Plan::merge(self.services.values());
                self.moved = true;
            }
        }
    }
}
