//! BGP and BFD speakers. They know routers, prefixes and time; no Kubernetes and no services.

pub mod bfd;
pub mod discovery;
pub mod driver;
pub mod error;
pub mod fsm;
mod packet;
pub mod peer;
pub mod rib;
pub mod settings;
pub mod time;
pub mod wire;

pub use maglane_shared::addr::Family;
