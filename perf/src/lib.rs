//! Everything that exercises Maglane from outside: namespaces, peers, clients, a checker, a generator.
//!
//! ```text
//!  rig ──► namespaces, links, routes          serve ─► HTTP and UDP answers that name the backend
//!   ▲                                         decap ─► IPIP and GUE ends, for kernels without the modules
//!   ├── demo       one minute for a newcomer  load ──► flows, connects, udp: who answered, what was lost
//!   └── end-to-end tests of control/maglane   check ─► every checksum of a capture, recomputed
//!                                             cluster ► kube-apiserver or its double, and their faults
//! ```
//!
//! Nothing here is linked into the product. The rig touches only namespaces named `mgl-<run id>-<host>`,
//! which it made itself, and ends only processes that it started or that live in those namespaces.

pub mod balancer;
pub mod bench;
pub mod capture;
pub mod check;
pub mod cluster;
pub mod decap;
pub mod demo;
pub mod load;
pub mod manifests;
pub mod process;
pub mod rig;
pub mod serve;
pub mod traffic;
pub mod wait;

pub use balancer::Balancer;
pub use process::{Guard, rig_binary};
pub use rig::{Host, Namespace, ReturnPath, Rig, RigError, Shape};
