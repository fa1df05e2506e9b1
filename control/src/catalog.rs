//! What is served, as one immutable value: the metrics page and the admin socket read it at their own pace.

use std::collections::BTreeMap;
use std::sync::Arc;

use maglane_shared::service::BackendId;
use maglane_shared::table::Generation;

use crate::announce::{BfdSession, BgpPlan, BgpSession, Verdict};
use crate::compile::CompiledPort;
use crate::effect::SteerPlan;
use crate::event::Source;
use crate::ipam::{Counts, PoolState};
use crate::model::ObjectName;
use crate::plan::PlannedBackend;
use crate::problem::Problem;

/// What routers are told, and what has come of it.
#[derive(Clone, Debug, Default)]
pub struct AnnounceView {
    pub plan: BgpPlan,
    /// By BgpPeer.
    pub sessions: BTreeMap<ObjectName, BgpSession>,
    pub bfd: BTreeMap<ObjectName, BfdSession>,
    /// By Service: why it is announced, or not.
    pub verdicts: BTreeMap<ObjectName, Verdict>,
}

#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The newest published.
    pub generation: Generation,
    /// What each worker runs.
    pub running: Vec<Generation>,
    /// By key.
    pub ports: Arc<[Arc<CompiledPort>]>,
    /// The plan in force.
    pub steered: Arc<SteerPlan>,
    pub announce: AnnounceView,
    pub problems: Vec<Problem>,
    /// Has it told all it had?
    pub sources: BTreeMap<Source, bool>,
    /// By name, as far as this process decides about them.
    pub pools: Vec<PoolFigures>,
}

/// How an address pool is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolFigures {
    pub pool: Box<str>,
    pub v4: Counts,
    pub v6: Counts,
    /// Services that have addresses of it.
    pub services: usize,
}

impl PoolFigures {
    pub fn new(pool: &str) -> PoolFigures {
        PoolFigures {
            pool: pool.into(),
            ..PoolFigures::default()
        }
    }

    pub fn add(&mut self, state: &PoolState) {
        for (sum, counts) in [(&mut self.v4, &state.v4), (&mut self.v6, &state.v6)] {
            sum.total = sum.total.saturating_add(counts.total);
            sum.assigned = sum.assigned.saturating_add(counts.assigned);
            sum.reserved = sum.reserved.saturating_add(counts.reserved);
            sum.available = sum.available.saturating_add(counts.available);
        }
    }
}

impl Catalog {
    /// Every backend with its port.
    pub fn backends(&self) -> impl Iterator<Item = (&CompiledPort, BackendId, &PlannedBackend)> {
        self.ports
            .iter()
            .flat_map(|port| port.members().map(move |(id, backend)| (&**port, id, backend)))
    }
}
