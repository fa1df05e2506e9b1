//! What is served, as one immutable value: the metrics page and the admin socket read it at their own pace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use maglane_shared::addr::Addr;
use maglane_shared::service::BackendId;
use maglane_shared::table::Generation;

use crate::announce::{BfdSession, BgpPlan, BgpSession, Verdict};
use crate::compile::CompiledPort;
use crate::event::Source;
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
    pub ports: Arc<[CompiledPort]>,
    pub steered: BTreeSet<Addr>,
    pub announce: AnnounceView,
    pub problems: Vec<Problem>,
    /// Has it told all it had?
    pub sources: BTreeMap<Source, bool>,
}

impl Catalog {
    /// Every backend with its port.
    pub fn backends(&self) -> impl Iterator<Item = (&CompiledPort, BackendId, &PlannedBackend)> {
        self.ports
            .iter()
            .flat_map(|port| port.members().map(move |(id, backend)| (port, id, backend)))
    }
}
