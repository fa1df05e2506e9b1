//! Plan and routes -> [`ForwardingTable`]. Pure but for the ids it has given out: those are never reused.
//!
//! What has not changed is not made again: a Service's entry, its Maglev table (shared by every port with
//! the same backends), the backend list. An id is a slot and the generation that gave it out as epoch; a
//! slot is given out at most once a generation, so the pair is unique for the life of the process, also
//! after the controller was started anew from a later generation.

mod services;
mod slots;
mod swap;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use maglane_shared::addr::VipKey;
use maglane_shared::flow::HashKey;
use maglane_shared::next_hop::RouteTable;
use maglane_shared::service::{BackendId, ForwardingMode};
use maglane_shared::table::{
    BackendEntry, BackendTable, ForwardingTable, Generation, ServiceEntry, ServiceTable,
};

use crate::plan::{PlannedBackend, PlannedPort};
use crate::problem::Problem;
use crate::routes::NO_WAY;

use slots::Slots;
use tables::MaglevTables;

#[derive(Clone, Debug)]
pub struct CompileSettings {
    pub hash_key: HashKey,
    /// `--maglev-table-size`; `None` = by the number of backends.
    pub maglev_table_size: Option<u32>,
    pub max_services: u32,
    pub max_backends: u32,
}

/// A VIP port as it stands in the table.
#[derive(Clone, Debug)]
pub struct CompiledPort {
    pub planned: Arc<PlannedPort>,
    pub entry: ServiceEntry,
    /// In the order of `entry.backends`.
    pub backends: Arc<[PlannedBackend]>,
}

/// What a compilation had to make; the rest was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub entries: usize,
    pub maglev_tables: usize,
}

#[derive(Debug)]
pub struct Compiler {
    settings: CompileSettings,
    ports: BTreeMap<VipKey, Arc<CompiledPort>>,
    /// What they were last compiled from, as it was given.
    given: Vec<Arc<PlannedPort>>,
    service_slots: Slots,
    backend_slots: Slots,
    backends: BackendTable,
    tables: MaglevTables,
    table: Arc<ForwardingTable>,
    /// `ports` as others may hold it.
    listing: Arc<[Arc<CompiledPort>]>,
    refused: Refused,
    work: Work,
}

/// What of the compiled ports is news.
#[derive(Debug, PartialEq, Eq)]
enum Changed {
    Nothing,
    /// What is in the entries of these; all keys, ids, kinds and modes are as they were.
    Contents(Vec<VipKey>),
    Ports,
}

/// What found no room.
#[derive(Debug, Default)]
struct Refused {
    services: Vec<VipKey>,
    backends: usize,
}

impl Refused {
    fn is_empty(&self) -> bool {
        self.services.is_empty() && self.backends == 0
    }
}

impl Compiler {
    pub fn new(settings: CompileSettings) -> Compiler {
        let table = ForwardingTable {
            hash_key: settings.hash_key,
            ..ForwardingTable::default()
        };
        Compiler {
            ports: BTreeMap::new(),
            given: vec![],
            service_slots: Slots::new(settings.max_services),
            backend_slots: Slots::new(settings.max_backends),
            backends: BackendTable::default(),
            tables: MaglevTables::new(settings.hash_key, settings.maglev_table_size),
            table: Arc::new(table),
            listing: Arc::new([]),
            refused: Refused::default(),
            work: Work::default(),
            settings,
        }
    }

    /// Goes on where another compiler of this process left off: the same ports keep their ids.
    pub fn resume(
        settings: CompileSettings,
        table: Arc<ForwardingTable>,
        ports: &[Arc<CompiledPort>],
    ) -> Compiler {
        let services: Vec<u32> = ports.iter().map(|port| port.entry.id.slot).collect();
        let ids = ports.iter().flat_map(|port| port.entry.backends.iter());
        let backends: Vec<u32> = ids.map(|id| id.slot).collect();
        Compiler {
            ports: ports
                .iter()
                .map(|port| (port.planned.key, Arc::clone(port)))
                .collect(),
            service_slots: Slots::resume(settings.max_services, &services),
            backend_slots: Slots::resume(settings.max_backends, &backends),
            backends: table.backends.clone(),
            table,
            listing: ports.into(),
            ..Compiler::new(settings)
        }
    }

    /// The table of `ports` (each key once) under `routes`. `generation` must be above all before it.
    pub fn compile(
        &mut self,
        ports: &[Arc<PlannedPort>],
        routes: &Arc<RouteTable>,
        generation: Generation,
    ) -> Arc<ForwardingTable> {
        self.work = Work::default();
        let changed = self.update_services(ports, routes, generation);
        self.reroute(routes);
        let services = match &changed {
            Changed::Nothing => Arc::clone(&self.table.services),
            Changed::Contents(keys) => {
                let entries = keys.iter().map(|key| self.ports[key].entry.clone());
                Arc::new(self.table.services.replacing(entries))
            }
            Changed::Ports => Arc::new(self.service_table()),
        };
        if changed != Changed::Nothing {
            self.listing = self.ports.values().cloned().collect();
        }
        self.table = Arc::new(ForwardingTable {
            generation,
            hash_key: self.settings.hash_key,
            services,
            backends: self.backends.clone(),
            routes: Arc::clone(routes),
        });
        debug_assert_eq!(self.table.check(), Ok(()));
        Arc::clone(&self.table)
    }

    /// The table last made.
    pub fn table(&self) -> &Arc<ForwardingTable> {
        &self.table
    }

    /// Everything in it.
    pub fn ports(&self) -> &Arc<[Arc<CompiledPort>]> {
        &self.listing
    }

    pub fn work(&self) -> Work {
        self.work
    }

    /// One error a limit that was reached.
    pub fn problems(&self) -> Vec<Problem> {
        let CompileSettings {
            max_services,
            max_backends,
            ..
        } = self.settings;
        let mut problems = vec![];
        if let Some(first) = self.refused.services.first() {
            let count = self.refused.services.len();
            let message =
                format!("{count} VIP ports do not fit into --max-services {max_services}, {first} first");
            problems.push(Problem::error(
                message,
                "raise --max-services and restart; those that fit are served",
            ));
        }
        if self.refused.backends > 0 {
            let count = self.refused.backends;
            let message = format!("{count} backends do not fit into --max-backends {max_backends}");
            problems.push(Problem::error(
                message,
                "raise --max-backends and restart; those that fit are used",
            ));
        }
        problems
    }

    /// Leads every backend along new routes.
    fn reroute(&mut self, routes: &RouteTable) {
        let old = &self.table.routes;
        if Arc::ptr_eq(&old.prefixes, &routes.prefixes) && Arc::ptr_eq(&old.neighbors, &routes.neighbors) {
            return;
        }
        let led = |(slot, backend): (u32, &BackendEntry)| {
            let hops = routes.group_for(backend.addr).unwrap_or(NO_WAY);
            let moves = backend.epoch != 0 && backend.hops != hops;
            moves.then_some((slot, BackendEntry { hops, ..*backend }))
        };
        let moved: Vec<_> = (0..).zip(self.backends.iter()).filter_map(led).collect();
        for (slot, backend) in moved {
            self.backends.set(slot, backend);
        }
    }

    fn service_table(&self) -> ServiceTable {
        let entries = self.ports.values().map(|port| port.entry.clone()).collect();
        ServiceTable::new(entries).with_dnat_backends(self.dnat_backends())
    }

    fn dnat_backends(&self) -> HashSet<VipKey> {
        let dnat = self
            .ports
            .values()
            .filter(|port| port.planned.mode == ForwardingMode::Dnat);
        dnat.flat_map(|port| port.endpoints()).collect()
    }
}

impl CompiledPort {
    /// Where its backends listen.
    pub fn endpoints(&self) -> impl Iterator<Item = VipKey> {
        let protocol = self.planned.key.protocol;
        self.backends.iter().map(move |b| VipKey {
            addr: b.addr,
            port: b.port,
            protocol,
        })
    }

    /// Its backends with their ids.
    pub fn members(&self) -> impl Iterator<Item = (BackendId, &PlannedBackend)> {
        self.entry.backends.iter().copied().zip(self.backends.iter())
    }
}
