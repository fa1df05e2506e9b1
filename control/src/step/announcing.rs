//! The controller's side of announcing: when it is looked at, what else it touches.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use maglane_shared::addr::Addr;

use super::Controller;
use super::announce::World;
use crate::effect::Effect;
use crate::event::{Event, Source};
use crate::model::{ClusterId, ServiceSpec};
use crate::plan::{PlannedPort, Reach};

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
        let leading = self.addresses.is_leading();
        let writes = self.announcer.acceptances(&self.store, &self.complaints, leading);
        if !writes.is_empty() {
            effects.push(Effect::WriteStatus(writes));
        }
        effects
    }

    /// Ports that have left the plan, of addresses that routers may still send packets for.
    pub(super) fn held_ports(&self) -> Vec<Arc<PlannedPort>> {
        if !self.announcer.is_withdrawing() {
            return vec![];
        }
        let whole = self.plan.ports.iter().filter(|port| port.reach == Reach::Address);
        let planned: BTreeSet<Addr> = whole.map(|port| port.key.addr).collect();
        let is_held = |addr: &Addr| self.announcer.is_leaving(addr) && !planned.contains(addr);
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
