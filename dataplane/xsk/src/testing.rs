//! A kernel played by a test: the same rings and UMEM on the heap, no root, no network. Always compiled, since other crates'
//! tests use it too.
//!
//! [`FakeKernel`] does what linux/net/xdp does at the other end of the rings, and what it must never do on request: repeat,
//! invent or bend descriptors, withhold completions. Methods that touch packet bytes borrow the set exclusively, as the real
//! kernel touches only chunks that no [`crate::Frame`] holds.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::config::KERNEL_HEADROOM;
use crate::port::{Endpoint, Port, Rings, Shares};
use crate::queue_set::{PortId, QueueSet};
use crate::ring::{
    ADDRESS_WORDS, CompletionRing, DESCRIPTOR_WORDS, Descriptor, FillRing, KernelCompletion, KernelFill,
    KernelRx, KernelTx, RxRing, TxRing,
};
use crate::stats::BindMode;
use crate::sys::memory::Mapping;
use crate::sys::ring_memory::{Offsets, RingMemory};
use crate::umem::Umem;

/// Sizes of a heap-backed set.
#[derive(Clone, Copy, Debug)]
pub struct FakeConfig {
    pub ports: u8,
    pub frames: u32,
    pub chunk_size: u32,
    pub headroom: u32,
    /// All four rings of every port.
    pub ring: u32,
}

impl Default for FakeConfig {
    fn default() -> Self {
        FakeConfig {
            ports: 1,
            frames: 256,
            chunk_size: 2048,
            headroom: 0,
            ring: 64,
        }
    }
}

/// A packet the kernel took from a TX ring and has not completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
}

/// Why a packet could not be delivered; both are drops on a real NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undelivered {
    FillEmpty,
    RxFull,
}

/// The other side of the rings.
#[derive(Debug)]
pub struct FakeKernel {
    ports: Vec<FakePort>,
    headroom: u32,
}

#[derive(Debug)]
struct FakePort {
    rx: KernelRx,
    tx: KernelTx,
    fill: KernelFill,
    completion: KernelCompletion,
    /// Taken from the fill ring, not yet used.
    empty: VecDeque<u64>,
    flags: [RingMemory; 2],
    endpoint: Arc<MemoryEndpoint>,
}

/// The two rings with a wakeup flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeupRing {
    Fill,
    Tx,
}

/// What stands for the socket: counts calls, refuses kicks on request.
#[derive(Debug, Default)]
pub(crate) struct MemoryEndpoint {
    kicks: AtomicU64,
    wakes: AtomicU64,
    errno: AtomicI32,
}

impl MemoryEndpoint {
    pub(crate) fn kick(&self) -> io::Result<()> {
        self.kicks.fetch_add(1, Ordering::Relaxed);
        match self.errno.load(Ordering::Relaxed) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    pub(crate) fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }
}

impl FakeKernel {
    /// A set and the kernel that serves it.
    ///
    /// # Panics
    /// When memory is short, or a size is impossible (rings are powers of two).
    pub fn queue_set(config: FakeConfig) -> (QueueSet, FakeKernel) {
        let start = (KERNEL_HEADROOM + config.headroom) as usize;
        let umem = Umem::new(config.frames as usize, config.chunk_size as usize, start, false);
        let shares = Shares::of(
            config.frames,
            u32::from(config.ports),
            config.ring,
            config.ring,
            config.ring,
        );
        let (ports, fakes) = (0..config.ports)
            .map(|id| port_pair(id, config.ring, shares))
            .unzip();
        let set = QueueSet::assemble(umem.expect("memory for a heap UMEM"), ports);
        (
            set,
            FakeKernel {
                ports: fakes,
                headroom: config.headroom,
            },
        )
    }

    /// Receives a packet: a chunk from the fill ring, the bytes behind the headroom, a descriptor in the RX ring.
    pub fn deliver(&mut self, set: &mut QueueSet, port: PortId, bytes: &[u8]) -> Result<(), Undelivered> {
        self.deliver_part(set, port, bytes, 0)
    }

    /// One frame in several buffers (`XDP_PKT_CONTD` on all but the last).
    pub fn deliver_fragments(
        &mut self,
        set: &mut QueueSet,
        port: PortId,
        parts: &[&[u8]],
    ) -> Result<(), Undelivered> {
        let last = parts.len().saturating_sub(1);
        let mut parts = parts.iter().enumerate();
        parts.try_for_each(|(i, part)| {
            let options = if i < last { libc::XDP_PKT_CONTD } else { 0 };
            self.deliver_part(set, port, part, options)
        })
    }

    fn deliver_part(
        &mut self,
        set: &mut QueueSet,
        id: PortId,
        bytes: &[u8],
        options: u32,
    ) -> Result<(), Undelivered> {
        let headroom = u64::from(KERNEL_HEADROOM + self.headroom);
        let port = self.port(id);
        port.take_fill();
        if port.rx.free(1) == 0 {
            return Err(Undelivered::RxFull);
        }
        let address = port.empty.pop_front().ok_or(Undelivered::FillEmpty)? + headroom;
        let chunk = set
            .umem_mut()
            .kernel_bytes(address)
            .expect("fill addresses are ours");
        chunk[..bytes.len()].copy_from_slice(bytes);
        port.rx.push(Descriptor {
            address,
            len: bytes.len() as u32,
            options,
        });
        port.rx.publish();
        Ok(())
    }

    /// Any descriptor at all into the RX ring; false when full.
    pub fn inject_received(&mut self, port: PortId, descriptor: Descriptor) -> bool {
        let port = self.port(port);
        let pushed = port.rx.push(descriptor);
        port.rx.publish();
        pushed
    }

    /// Takes one packet from the TX ring, without completing it.
    pub fn take_sent(&mut self, set: &mut QueueSet, port: PortId) -> Option<Sent> {
        let tx = &mut self.port(port).tx;
        let descriptor = tx.pop()?;
        tx.release();
        let chunk = set.umem_mut().kernel_bytes(descriptor.address)?;
        let bytes = chunk.get(..descriptor.len as usize)?.to_vec();
        Some(Sent { descriptor, bytes })
    }

    /// Any address at all into the completion ring; false when full.
    pub fn complete(&mut self, port: PortId, address: u64) -> bool {
        let completion = &mut self.port(port).completion;
        let pushed = completion.push(address);
        completion.publish();
        pushed
    }

    /// A chunk from the fill ring, taken as a NIC would and then yours to misuse.
    pub fn take_empty(&mut self, port: PortId) -> Option<u64> {
        let port = self.port(port);
        port.take_fill();
        port.empty.pop_front()
    }

    /// Chunks the kernel could receive into now.
    pub fn empty_chunks(&mut self, port: PortId) -> usize {
        let port = self.port(port);
        port.take_fill();
        port.empty.len()
    }

    pub fn set_need_wakeup(&mut self, port: PortId, ring: WakeupRing, needed: bool) {
        let flag = if needed { libc::XDP_RING_NEED_WAKEUP } else { 0 };
        let memory = &self.port(port).flags[usize::from(ring == WakeupRing::Tx)];
        memory.flags().store(flag, Ordering::Release);
    }

    /// Every further kick fails with this error; 0 ends that.
    pub fn refuse_kicks(&mut self, port: PortId, errno: i32) {
        self.port(port).endpoint.errno.store(errno, Ordering::Relaxed);
    }

    pub fn kicks(&self, port: PortId) -> u64 {
        self.ports[usize::from(port.0)]
            .endpoint
            .kicks
            .load(Ordering::Relaxed)
    }

    pub fn wakeups(&self, port: PortId) -> u64 {
        self.ports[usize::from(port.0)]
            .endpoint
            .wakes
            .load(Ordering::Relaxed)
    }

    fn port(&mut self, id: PortId) -> &mut FakePort {
        &mut self.ports[usize::from(id.0)]
    }
}

impl FakePort {
    fn take_fill(&mut self) {
        while let Some(address) = self.fill.pop() {
            self.empty.push_back(address);
        }
        self.fill.release();
    }
}

fn port_pair(id: u8, size: u32, shares: Shares) -> (Port, FakePort) {
    let [rx, kernel_rx] = ring_pair(size * DESCRIPTOR_WORDS);
    let [tx, kernel_tx, tx_flags] = ring_pair(size * DESCRIPTOR_WORDS);
    let [fill, kernel_fill, fill_flags] = ring_pair(size * ADDRESS_WORDS);
    let [completion, kernel_completion] = ring_pair(size * ADDRESS_WORDS);
    let rings = Rings {
        rx: RxRing::new(rx, size),
        tx: TxRing::new(tx, size),
        fill: FillRing::new(fill, size),
        completion: CompletionRing::new(completion, size),
    };
    let endpoint = Arc::new(MemoryEndpoint::default());
    let fake = FakePort {
        rx: KernelRx::new(kernel_rx, size),
        tx: KernelTx::new(kernel_tx, size),
        fill: KernelFill::new(kernel_fill, size),
        completion: KernelCompletion::new(kernel_completion, size),
        empty: VecDeque::new(),
        flags: [fill_flags, tx_flags],
        endpoint: Arc::clone(&endpoint),
    };
    let mode = BindMode {
        need_wakeup: true,
        ..BindMode::default()
    };
    (
        Port::new(id, rings, Endpoint::Memory(endpoint), mode, shares),
        fake,
    )
}

/// Views of one heap ring.
fn ring_pair<const N: usize>(words: u32) -> [RingMemory; N] {
    let bytes = Offsets::HEAP.slots + words as usize * 8;
    let mapping = Arc::new(Mapping::anonymous(bytes, false).expect("memory for a heap ring"));
    std::array::from_fn(|_| {
        RingMemory::new(Arc::clone(&mapping), Offsets::HEAP, words).expect("the layout fits")
    })
}
