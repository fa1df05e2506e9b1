//! Ports that come out otherwise while nobody comes, goes or changes hands: endpoints that change, mostly. They
//! take their predecessors' places one by one, so that such a change costs the ports it is about, not all.

use std::collections::HashSet;
use std::sync::Arc;

use maglane_shared::addr::Addr;
use maglane_shared::service::ForwardingMode;

use super::Controller;
use super::announce::is_usable;
use crate::plan::{PlannedPort, ServicePlan, Swap};

/// What a round of planning came to: the swaps of all Services, as long as that is all there is.
#[derive(Debug)]
pub(super) struct Swaps(Option<Vec<Swap>>);

impl Swaps {
    pub fn none() -> Swaps {
        Swaps(Some(vec![]))
    }

    /// A Service was planned anew.
    pub fn add(&mut self, before: Option<&ServicePlan>, plan: &ServicePlan) {
        let swaps = before.and_then(|before| plan.swaps(before));
        self.0 = self.0.take().zip(swaps).map(|(mut all, swaps)| {
            all.extend(swaps);
            all
        });
    }

    /// A Service came or went: everything is to be settled anew.
    pub fn give_up(&mut self) {
        self.0 = None;
    }

    pub fn all(self) -> Option<Vec<Swap>> {
        self.0
    }
}

impl Controller {
    pub(super) fn swap(&mut self, Swap { old, new }: Swap) {
        let ports = &mut self.plan.ports;
        let place = ports.binary_search_by(|port| port.key.cmp(&old.key)).ok();
        let Some(at) = place.filter(|at| Arc::ptr_eq(&ports[*at], &old)) else {
            // A rival has it, and nothing of this decides between them.
            return;
        };
        ports[at] = Arc::clone(&new);
        // The steering program is told where replies of such backends come from; routers, whether there are any.
        self.moved |= new.mode == ForwardingMode::Dnat || is_usable(&old) != is_usable(&new);
        match self.ports.get_mut(at).filter(|held| Arc::ptr_eq(held, &old)) {
            Some(held) => {
                self.routes.change_backends(addrs_of(&old), addrs_of(&new));
                *held = new;
                self.stale = true;
            }
            // Not chosen yet.
            None => self.moved = true,
        }
    }

    /// What the next table is made of.
    pub(super) fn set_ports(&mut self, ports: Vec<Arc<PlannedPort>>) {
        let [gone, come] = differences(&self.ports, &ports);
        if gone.is_empty() && come.is_empty() {
            return;
        }
        let addrs = |ports: Vec<Arc<PlannedPort>>| -> Vec<Addr> {
            ports.iter().flat_map(|port| addrs_of(port)).collect()
        };
        self.routes
            .change_backends(addrs(gone).into_iter(), addrs(come).into_iter());
        self.ports = ports;
        self.stale = true;
    }
}

pub(super) fn addrs_of(port: &PlannedPort) -> impl Iterator<Item = Addr> {
    port.backends.iter().map(|backend| backend.addr)
}

/// Ports of either list alone; those of both are the very same.
fn differences(old: &[Arc<PlannedPort>], new: &[Arc<PlannedPort>]) -> [Vec<Arc<PlannedPort>>; 2] {
    let alone = |these: &[Arc<PlannedPort>], those: &[Arc<PlannedPort>]| {
        let those: HashSet<*const PlannedPort> = those.iter().map(Arc::as_ptr).collect();
        let alone = these.iter().filter(|port| !those.contains(&Arc::as_ptr(port)));
        alone.cloned().collect()
    };
    [alone(old, new), alone(new, old)]
}
