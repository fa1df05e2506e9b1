//! Fixtures of the benches: a table, traffic for it, and two ways to carry that traffic; a cluster and its
//! controller ([`cluster`]).
//!
//! ```text
//!   scene: services, backends, forwarder ─┐
//!   traffic: which flow comes next ───────┼─► lane: 64 frames at a time through the forwarder ─► ns a packet
//!                                         └─► limit: the same job in one tight loop ──────────► ns a packet
//! ```
//! Absolute figures move with the machine by half and more; only ratios within one run mean anything.
//! `cargo bench -p maglane-benches --bench report` prints the goals of the project against what it measures.

pub mod cluster;
pub mod lane;
pub mod limit;
pub mod runs;
pub mod scene;
pub mod timing;
pub mod traffic;
