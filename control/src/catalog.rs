//! What is served, as one immutable value: the metrics page and the admin socket read it at their own pace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use maglane_shared::addr::Addr;
use maglane_shared::service::BackendId;
use maglane_shared::table::Generation;

use crate::compile::CompiledPort;
use crate::event::Source;
use crate::l2::{Choice, NoOwner};
use crate::plan::PlannedBackend;
use crate::problem::Problem;

#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The newest published.
    pub generation: Generation,
    /// What each worker runs.
    pub running: Vec<Generation>,
    /// By key.
    pub ports: Arc<[CompiledPort]>,
    pub steered: BTreeSet<Addr>,
    pub problems: Vec<Problem>,
    pub l2: Vec<L2Row>,
    /// Has it told all it had?
    pub sources: BTreeMap<Source, bool>,
}

/// Who answers ARP and NDP for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L2Row {
    pub vip: Addr,
    pub choice: Choice,
    /// Of this node, where it is the one.
    pub interfaces: Vec<Box<str>>,
}

impl L2Row {
    /// By some advertisement.
    pub fn is_covered(&self) -> bool {
        self.choice != Choice::Nobody(NoOwner::NoAdvertisement)
    }
}

impl Catalog {
    /// Every backend with its port.
    pub fn backends(&self) -> impl Iterator<Item = (&CompiledPort, BackendId, &PlannedBackend)> {
        self.ports
            .iter()
            .flat_map(|port| port.members().map(move |(id, backend)| (port, id, backend)))
    }
}
