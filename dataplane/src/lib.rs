//! Bytes in, verdict and bytes out; and the loop that carries packets through.
//!
//! ```text
//!          ┌────────────────────────── worker (one a core, pinned, never blocks) ────────────────────────┐
//!  queue ──► receive ► forward: parse ► lookup ► select ► nat / encap ► l2 ► Verdict ► transmit ──► queue │
//!          │              │            │         │         │                                             │
//!          │            wire,      ForwardingTable  FlowTable  NatReturns (shared by all workers)         │
//!          └──────────────── Counters, Vitals, Facts: all that ever leaves upwards ──────────────────────┘
//! ```
//! [`worker`] the one poll loop · [`queue`] where frames come from: AF_XDP, or memory for tests · [`forward`] the
//! packet's way, pure · [`flow_table`] what a worker remembers · [`returns`] how replies find back ·
//! [`affinity`] whose clients stick to which backend · [`wire`] typed views over header bytes · [`packet`] a packet in its chunk · [`config`] settings ·
//! [`verdict`] how it ends. No unsafe, no clock outside `worker`, no log anywhere.

pub mod affinity;
pub mod config;
pub mod flow_table;
pub mod forward;
pub mod packet;
pub mod queue;
pub mod returns;
pub mod verdict;
pub mod wire;
pub mod worker;

pub use affinity::Affinities;
pub use config::Config;
pub use forward::Forwarder;
pub use packet::Packet;
pub use returns::NatReturns;
pub use verdict::Verdict;
pub use worker::Worker;
