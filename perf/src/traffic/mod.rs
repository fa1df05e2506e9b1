//! Packets by the million: a generator, a sink, and the barest AF_XDP forwarder to measure against.
//!
//! ```text
//!  frame (one template) ─► live (BPF_PROG_RUN, in the kernel) ─┐
//!                       └► socket (AF_XDP)                     ├─► device under test ─► sink (XDP, counts)
//!  reflect: AF_XDP in, new MAC addresses, AF_XDP out; the ceiling of any AF_XDP balancer on this machine
//! ```

pub mod frame;
pub mod live;
pub mod pace;
pub mod reflect;
pub mod sink;
pub mod socket;

pub use frame::{FlowKind, Template};

/// The generator and the sink, compiled by the build script.
pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/traffic.o"));

/// What a generator did.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sent {
    pub packets: u64,
    pub seconds: f64,
}

impl Sent {
    /// Packets a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            self.packets as f64 / self.seconds
        } else {
            0.0
        }
    }
}

/// When a generator stops, whichever comes first; zero packets means no limit.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub packets: u64,
    pub time: std::time::Duration,
    /// Packets a second; zero is as fast as possible.
    pub rate: u64,
}

/// Kernel index of an interface of this namespace.
///
/// # Errors
/// When there is none of that name.
pub fn interface_index(name: &str) -> anyhow::Result<u32> {
    use anyhow::Context;
    let path = format!("/sys/class/net/{name}/ifindex");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("no interface {name} here ({path})"))?;
    Ok(text.trim().parse()?)
}
