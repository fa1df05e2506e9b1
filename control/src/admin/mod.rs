//! The admin protocol: one JSON request a line, one JSON response a line. Types and the pure making of
//! responses; the binary owns the socket and the tables people see.
//!
//! Field names are the stable names that `-o json` prints.

mod announce;
mod build;
mod filter;
#[cfg(test)]
mod tests;

use maglane_shared::addr::{Addr, Protocol, VipKey};
use maglane_shared::flow::HashInputs;
use maglane_shared::service::{BackendState, ForwardingMode};
use serde::{Deserialize, Serialize};

use crate::event::Source;
use crate::model::ObjectName;
use crate::problem::Problem;

pub use announce::{BfdFigures, BfdRow, PeerFigures, PeerRow, RouteRow, bfd, peers, routes};
pub use build::{Status, backends, errors, flows, services, status};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    Status,
    Services,
    Backends,
    Flows(FlowFilter),
    Errors,
    BgpPeers,
    BgpRoutes,
    Bfd,
    /// Begin or end taking this node out of service.
    Drain(bool),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    Status(Box<StatusReport>),
    Services(Vec<ServiceRow>),
    Backends(Vec<BackendRow>),
    Flows(FlowReport),
    Errors(Vec<Problem>),
    BgpPeers(Vec<PeerRow>),
    BgpRoutes(Vec<RouteRow>),
    Bfd(Vec<BfdRow>),
    Draining(bool),
    /// The request cannot be answered, and why.
    Failed(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    pub version: String,
    pub uptime_seconds: f64,
    /// Newest published.
    pub generation: u64,
    /// Oldest that any worker runs.
    pub running_generation: u64,
    pub services: usize,
    pub backends: usize,
    pub steered_vips: usize,
    /// How long news took to the last worker's table, since start.
    pub table_updates: Vec<UpdateRow>,
    pub sources: Vec<SourceRow>,
    pub workers: Vec<WorkerRow>,
    pub interfaces: Vec<InterfaceRow>,
    pub drops: Vec<DropRow>,
    pub problems: Vec<Problem>,
}

/// Updates that took longer than the row before says, and at most this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRow {
    /// 2^64 - 1 for all that took longer.
    pub within_us: u64,
    pub count: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRow {
    pub source: Source,
    pub synced: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerRow {
    pub worker: u16,
    pub generation: u64,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub passed: u64,
    pub dropped: u64,
    pub flows: u64,
    /// Share of turns without packets, 0 to 1, since start.
    pub idle: f64,
    pub longest_gap_us: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceRow {
    pub interface: String,
    pub mode: String,
    pub redirected: u64,
    pub passed: u64,
}

/// A reason that has occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRow {
    pub reason: String,
    pub packets: u64,
    pub help: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRow {
    pub service: ObjectName,
    pub port_name: String,
    pub vip: VipKey,
    pub mode: ForwardingMode,
    pub hash_inputs: HashInputs,
    /// Do packets for it come to the workers?
    pub steered: bool,
    pub active_backends: usize,
    pub draining_backends: usize,
    pub table_rows: usize,
    pub packets: u64,
    pub bytes: u64,
    pub new_flows: u64,
    pub active_flows: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendRow {
    pub service: ObjectName,
    pub vip: VipKey,
    pub backend: Addr,
    pub port: u16,
    pub state: BackendState,
    pub weight: u16,
    /// Of new flows, 0 to 1.
    pub share: f64,
    pub packets: u64,
    pub bytes: u64,
    pub new_flows: u64,
    pub active_flows: u64,
}

/// Which flows to show; absent = any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowFilter {
    pub vip: Option<Addr>,
    pub port: Option<u16>,
    pub protocol: Option<Protocol>,
    pub client: Option<Addr>,
    pub backend: Option<Addr>,
    /// At most so many; 0 = the default of [`DEFAULT_FLOWS`].
    pub limit: usize,
}

pub const DEFAULT_FLOWS: usize = 1000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowReport {
    pub flows: Vec<FlowRow>,
    /// Flows that match, shown or not.
    pub matching: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRow {
    pub worker: u16,
    pub service: ObjectName,
    pub vip: VipKey,
    pub client: Addr,
    pub client_port: u16,
    pub backend: Addr,
    pub backend_port: u16,
    /// Source port towards the backend, in mode `nat`.
    pub nat_port: Option<u16>,
    pub state: String,
    pub idle_ms: u32,
}
