//! How many rows of the Maglev tables change hands: the share of clients whose new flows go elsewhere.

use std::sync::Arc;

use maglane_shared::addr::{Addr, VipKey};
use maglane_shared::flow::FlowHash;
use maglane_shared::table::Generation;
use serde::Serialize;

use super::compile_settings;
use crate::compile::{CompiledPort, Compiler};
use crate::plan::Plan;
use crate::routes::RouteStore;

/// Rows that another backend has then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rows {
    pub moved: u64,
    pub all: u64,
}

impl Rows {
    pub fn percent(self) -> f64 {
        match self.all {
            0 => 0.0,
            all => self.moved as f64 * 100.0 / all as f64,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortRows {
    /// As `192.0.2.1:80/TCP`.
    pub vip: String,
    pub service: String,
    pub rows: Rows,
}

/// In all, and of the ports where any moves.
pub(super) fn compare(before: &Plan, after: &Plan) -> (Rows, Vec<PortRows>) {
    let mut compiler = Compiler::new(compile_settings());
    let old = compiled(&mut compiler, before, 1);
    let new = compiled(&mut compiler, after, 2);
    let (mut total, mut ports) = (Rows::default(), vec![]);
    for port in new.iter() {
        let Some(was) = old.get(&port.planned.key) else {
            continue;
        };
        let rows = moved(was, port);
        total.moved += rows.moved;
        total.all += rows.all;
        if rows.moved > 0 {
            ports.push(PortRows {
                vip: port.planned.key.to_string(),
                service: port.planned.owner.to_string(),
                rows,
            });
        }
    }
    (total, ports)
}

struct Ports(Arc<[Arc<CompiledPort>]>);

impl Ports {
    fn iter(&self) -> impl Iterator<Item = &CompiledPort> {
        self.0.iter().map(|port| &**port)
    }

    fn get(&self, key: &VipKey) -> Option<&CompiledPort> {
        let at = self.0.binary_search_by(|port| port.planned.key.cmp(key)).ok()?;
        self.0.get(at).map(|port| &**port)
    }
}

fn compiled(compiler: &mut Compiler, plan: &Plan, generation: u64) -> Ports {
    // No interface: every backend has a next hop, the one that is none.
    let mut routes = RouteStore::new(vec![]);
    let backends = plan.ports.iter().flat_map(|port| &port.backends);
    routes.change_backends([].into_iter(), backends.map(|backend| backend.addr));
    compiler.compile(&plan.ports, &routes.table(), Generation(generation));
    Ports(Arc::clone(compiler.ports()))
}

/// Asked at as many points of the hash as the larger table has rows: tables may be of two sizes.
fn moved(before: &CompiledPort, after: &CompiledPort) -> Rows {
    let size = before.entry.maglev.len().max(after.entry.maglev.len());
    let at = |row: usize| {
        let middle = (row as u64 * 2 + 1) << 31;
        FlowHash((middle / size as u64) << 32)
    };
    let differs = |row: &usize| backend(before, at(*row)) != backend(after, at(*row));
    Rows {
        moved: (0..size).filter(differs).count() as u64,
        all: size as u64,
    }
}

fn backend(port: &CompiledPort, hash: FlowHash) -> Option<(Addr, u16)> {
    let member = port.entry.maglev.lookup(hash)?;
    let backend = port.backends.get(usize::from(member))?;
    Some((backend.addr, backend.port))
}
