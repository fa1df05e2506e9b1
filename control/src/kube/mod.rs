//! Kubernetes: objects of API servers in as events, status and Events out. It decides nothing.
//!
//! ```text
//!                    ┌ source: list, watch, probe ─► Event ─►
//!  config: access ───┼ lease: who may write ─┐
//!  to one cluster    ├ writer: status        ┴◄──── wanted ──
//!                    ├ events: what users read  ◄─────────────
//!                    └ sessions: of this node ◄───────────────
//! ```
//!
//! Kubernetes types stop here and at `convert` (invariant 9). Losing an API server changes nothing that was
//! told: nothing here ever tells a deletion that the server did not prove (invariant 7).

mod backoff;
mod bucket;
mod config;
pub mod events;
mod failure;
mod kinds;
pub mod lease;
mod secret;
mod sessions;
mod source;
pub mod writer;

pub use config::{Access, Origin};
pub use secret::password;
pub(crate) use secret::text as secret_text;
pub use sessions::SessionWriter;
pub use source::{Cluster, ClusterSource, StreamSettings};
