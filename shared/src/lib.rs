//! The contract between Maglane's planes: what the control side decides and the workers obey.
//!
//! ```text
//!  control                          shared                             dataplane
//!  Plan ── compile ──► ForwardingTable ──► publish::Publisher ⇢ publish::Reader ──► forward()
//!                      (VIPs, backends,                          counters, facts ◄── worker
//!                       Maglev, routes)
//! ```
//!
//! Nothing here reads a clock, opens a file, sleeps, logs or does I/O. Time arrives as [`tick::Tick`].

pub mod addr;
pub mod counters;
pub mod facts;
pub mod flow;
pub mod maglev;
pub mod next_hop;
pub mod owned;
pub mod policy;
pub mod publish;
pub mod service;
pub mod sync;
pub mod table;
pub mod tick;
