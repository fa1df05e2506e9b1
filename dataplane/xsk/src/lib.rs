//! AF_XDP for Maglane: the only crate with unsafe code (every block does one thing and says why it is sound).
//!
//! ```text
//!   NIC queue ──► steer (XDP) ──► RxRing ──► receive() ─► Frame ─► transmit() ──► TxRing ──► NIC
//!                    │ not ours      ▲                      │                        │
//!                    ▼               │ FillRing ◄── free ◄──┴─ release()             │
//!                  kernel            └──────────────  ▲  ◄──── CompletionRing ◄──────┘
//! ```
//! [`queue_set`] one worker's sockets, the only thing a worker holds · [`umem`] chunks, and [`frame`] the move-only right to one ·
//! [`ring`] the four rings · [`socket`] bind and options · [`steer`] the XDP program and its maps · [`cpu`] pinning
//! and prefetch · [`testing`] a kernel played by a test, no root · `sys` raw system calls, no policy.

pub mod config;
pub mod cpu;
mod error;
pub mod frame;
mod open;
mod port;
pub mod queue_set;
pub mod ring;
pub mod socket;
pub mod stats;
pub mod steer;
mod sync;
mod sys;
pub mod testing;
pub mod umem;
mod waker;

pub use config::{BusyPoll, InterfaceConfig, QueueSetConfig, Toggle};
pub use cpu::{
    advise_huge_pages, available_cores, pin_current_thread, prefetch, prefetch_ref, take_precedence,
};
pub use error::XskError;
pub use frame::{BadRange, Frame};
pub use queue_set::{PortId, QueueSet, Received};
pub use stats::{BindMode, FrameCensus, KernelStats, PortStats};
pub use steer::{
    AttachMode, AttachOptions, AttachWish, Endpoint, PortRange, Protocol, SteerCounters, SteerSet, Steering,
};
pub use sys::raise_memlock_limit;
pub use umem::HeapUmem;
pub use waker::Waker;
