//! The control side: objects, the kernel's state and the workers' facts in, effects out.
//!
//! ```text
//!  manifest ─┐                 ┌─ plan ─ compile ─┐
//!  kube     ─┤                 │                  │
//!  netlink  ─┼─► Event ─► store┤                  ├─► Effect ─► performed by the binary
//!  workers  ─┘                 └─ routes ─────────┘
//!                     step: the order of it all             metrics, admin: what to show of it
//! ```
//!
//! `store`, `plan`, `announce`, `compile`, `routes` and `step` read no clock, open no file and do not log. Kubernetes types
//! stop at `convert` and its callers, netlink types at `netlink`.

#![forbid(unsafe_code)]

pub mod admin;
pub mod announce;
pub mod catalog;
pub mod compile;
mod convert;
pub mod crd;
pub mod effect;
pub mod error;
pub mod event;
pub mod health;
pub mod ipam;
pub mod kube;
pub mod manifest;
pub mod metrics;
pub mod migrate;
pub mod model;
pub mod netlink;
pub mod plan;
pub mod preview;
pub mod problem;
pub mod record;
pub mod routes;
pub mod snapshot;
pub mod status;
pub mod step;
pub mod store;
#[cfg(test)]
mod testing;
