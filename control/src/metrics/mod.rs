//! Counters -> Prometheus text. Pure: the binary hands over what it has and serves the result.
//!
//! Labels are bounded by what is served: VIP ports, backends, workers, interfaces and drop reasons; nothing a
//! client sends becomes a label. Names: `maglane_<what>_<unit>`, counters end in `_total`; beside them stand the few
//! of MetalLB that mean the same here, for dashboards and alerts that exist.

mod announce;
mod encode;
mod metallb;
mod meter;
mod served;
#[cfg(test)]
pub(crate) mod tests;
mod updates;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use maglane_shared::counters::{Counters, Vitals};
use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;

use crate::admin::PeerFigures;
use crate::catalog::Catalog;

use metallb::MetalLb;
pub use meter::{Meter, Totals};
pub use updates::{Pending, UpdateTimes};

/// Of the text that [`render`] makes.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Everything a page shows.
#[derive(Clone, Debug)]
pub struct Scrape {
    pub catalog: Arc<Catalog>,
    pub meter: Arc<Meter>,
    pub updates: Arc<UpdateTimes>,
    /// By number.
    pub workers: Vec<WorkerFigures>,
    pub interfaces: Vec<InterfaceFigures>,
    pub peers: Vec<PeerFigures>,
    pub version: &'static str,
    pub uptime: Duration,
}

#[derive(Clone, Debug)]
pub struct WorkerFigures {
    pub counters: Arc<Counters>,
    pub vitals: Arc<Vitals>,
    /// By interface: what the kernel counted on the worker's socket there.
    pub sockets: Vec<SocketFigures>,
}

/// `XDP_STATISTICS`.
#[derive(Clone, Debug, Default)]
pub struct SocketFigures {
    pub interface: String,
    pub rx_dropped: u64,
    pub rx_invalid: u64,
    pub rx_ring_full: u64,
    pub fill_ring_empty: u64,
    pub tx_invalid: u64,
    pub tx_ring_empty: u64,
}

/// The steering program's counters.
#[derive(Clone, Debug, Default)]
pub struct InterfaceFigures {
    pub interface: String,
    /// `native` or `generic`.
    pub mode: String,
    pub redirected: u64,
    pub passed: u64,
    pub passed_no_socket: u64,
    pub passed_fragment: u64,
}

/// The page.
pub fn render(scrape: Scrape) -> String {
    let mut metallb = Registry::with_prefix("metallb");
    metallb.register_collector(Box::new(MetalLb(Arc::clone(&scrape.catalog))));
    metallb.register_collector(Box::new(announce::Sessions(scrape.peers.clone())));
    let mut registry = Registry::with_prefix("maglane");
    registry.register_collector(Box::new(scrape));
    let mut page = String::new();
    // Writing to a String cannot fail, and a collector fails only as its writer does.
    let _ = prometheus_text::encode(&mut page, &registry);
    let _ = prometheus_text::encode(&mut page, &metallb);
    page
}
