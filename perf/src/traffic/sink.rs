//! The end of the line: counts and drops TCP, UDP and IPIP in XDP, passes the rest (ARP, ND, ICMP).

use anyhow::Context;
use aya::maps::{MapData, PerCpuArray};
use aya::programs::{Xdp, XdpMode};

use super::OBJECT;

/// A sink on one interface; it lets go when dropped.
pub struct Sink {
    _bpf: aya::Ebpf,
    counts: PerCpuArray<MapData, u64>,
}

/// What a sink got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sunk {
    pub packets: u64,
    pub bytes: u64,
}

impl Sink {
    /// # Errors
    /// Without root, without the interface, or when another XDP program is on it.
    pub fn attach(interface: &str) -> anyhow::Result<Self> {
        let mut bpf = aya::Ebpf::load(OBJECT).context("load the sink: root (CAP_BPF) is needed")?;
        let program: &mut Xdp = bpf.program_mut("sink").context("program sink")?.try_into()?;
        program
            .load()
            .context("load the sink: root (CAP_BPF) is needed")?;
        program.attach(interface, XdpMode::Driver).with_context(|| {
            format!("attach to {interface}: does it exist, is another XDP program on it?")
        })?;
        let counts = PerCpuArray::try_from(bpf.take_map("sunk").context("map sunk")?)?;
        Ok(Self { _bpf: bpf, counts })
    }

    /// # Errors
    /// When the map can't be read.
    pub fn sunk(&self) -> anyhow::Result<Sunk> {
        let sum = |index: u32| anyhow::Ok(self.counts.get(&index, 0)?.iter().sum());
        Ok(Sunk {
            packets: sum(0)?,
            bytes: sum(1)?,
        })
    }
}
