//! One interface's queue as a worker uses it: four rings, what the kernel owes us, and when to call it.
//!
//! Rules kept here: refill before anything else (FAILURES D3), kick when full instead of giving up (D4), a cap on what one
//! port may have in flight so that a blocked one cannot starve the others' fill rings, every descriptor checked (D5, D6).

use std::io;
use std::sync::Arc;

use crate::frame::Frame;
use crate::ring::{CompletionRing, FillRing, RxRing, TxRing};
use crate::socket::XskSocket;
use crate::stats::{BindMode, PortStats};
use crate::testing::MemoryEndpoint;
use crate::umem::{Received, Umem};

/// The least a copy-mode `sendto` takes from the TX ring (`TX_BATCH_SIZE` in linux/net/xdp/xsk.c).
const KERNEL_TX_BATCH: u32 = 32;
/// `transmit` on a full ring: this many rounds of kick and reclaim, once a turn.
const ROOM_ROUNDS: usize = 3;

#[derive(Debug)]
pub(crate) struct Rings {
    pub rx: RxRing,
    pub tx: TxRing,
    pub fill: FillRing,
    pub completion: CompletionRing,
}

/// Who is behind the rings.
#[derive(Debug)]
pub(crate) enum Endpoint {
    Socket(XskSocket),
    Memory(Arc<MemoryEndpoint>),
}

/// How much a port may have with the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    /// Chunks to keep in fill and RX ring.
    pub fill: u32,
    /// Chunks allowed in TX and completion ring.
    pub tx: u32,
}

impl Shares {
    /// Half the chunks receive, the other half sends, split evenly over the ports and bounded by the rings.
    pub(crate) fn of(frames: u32, ports: u32, fill_ring: u32, tx_ring: u32, completion_ring: u32) -> Shares {
        let half = (frames / 2 / ports).max(1);
        Shares {
            fill: half.min(fill_ring),
            tx: half.min(tx_ring.saturating_add(completion_ring)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Port {
    id: u8,
    rings: Rings,
    endpoint: Endpoint,
    pub mode: BindMode,
    shares: Shares,
    pub stats: PortStats,
    /// Chunks the owner table says this port's fill side has.
    fill_out: u32,
    /// The same for TX.
    tx_out: u32,
    /// Inside a frame of several buffers.
    in_fragment: bool,
    /// No room was made this turn; ask again only after the next flush.
    blocked: bool,
}

impl Port {
    pub(crate) fn new(id: u8, rings: Rings, endpoint: Endpoint, mode: BindMode, shares: Shares) -> Port {
        let stats = PortStats::default();
        Port {
            id,
            rings,
            endpoint,
            mode,
            shares,
            stats,
            fill_out: 0,
            tx_out: 0,
            in_fragment: false,
            blocked: false,
        }
    }

    pub(crate) fn socket(&self) -> Option<&XskSocket> {
        match &self.endpoint {
            Endpoint::Socket(socket) => Some(socket),
            Endpoint::Memory(_) => None,
        }
    }

    /// Up to `max` received frames to `each`; then the fill ring gets as many chunks as are missing.
    #[inline]
    pub(crate) fn receive(&mut self, umem: &mut Umem, max: u32, mut each: impl FnMut(Frame)) -> u32 {
        let mut received = 0;
        let available = self.rings.rx.available(max).min(max);
        for _ in 0..available {
            let Some(descriptor) = self.rings.rx.pop() else {
                break;
            };
            let frame = match umem.take_received(self.id, descriptor) {
                Received::Frame(frame) => frame,
                bad @ (Received::Unknown | Received::BadRange) => {
                    self.stats.bad_descriptors += 1;
                    self.fill_out -= u32::from(bad == Received::BadRange);
                    continue;
                }
            };
            self.fill_out -= 1;
            let continues = descriptor.options & libc::XDP_PKT_CONTD != 0;
            if continues || self.in_fragment {
                self.stats.fragmented_frames += u64::from(!self.in_fragment);
                self.in_fragment = continues;
                umem.release(frame);
                continue;
            }
            received += 1;
            each(frame);
        }
        if available > 0 {
            self.rings.rx.release();
            self.stats.rx_frames += u64::from(received);
            self.refill(umem);
        }
        received
    }

    /// Tops the fill ring up to this port's share and publishes once.
    #[inline]
    pub(crate) fn refill(&mut self, umem: &mut Umem) {
        let missing = self.shares.fill.saturating_sub(self.fill_out);
        if missing == 0 {
            return;
        }
        let room = self.rings.fill.free(missing).min(missing);
        for _ in 0..room {
            let Some(address) = umem.give_fill(self.id) else {
                break;
            };
            self.rings.fill.push(address);
            self.fill_out += 1;
        }
        self.rings.fill.publish();
    }

    /// Puts the frame in the TX ring. Err: no room though reclaimed and kicked.
    #[inline]
    pub(crate) fn transmit(&mut self, umem: &mut Umem, frame: Frame) -> Result<(), Frame> {
        // An empty or foreign packet is a bug of ours the kernel would count as tx_invalid and keep the chunk of.
        if frame.is_empty() || !(self.has_room() || self.make_room(umem)) {
            self.stats.tx_ring_full += 1;
            return Err(frame);
        }
        let descriptor = umem.give_tx(self.id, frame);
        self.rings.tx.push(descriptor);
        self.tx_out += 1;
        self.stats.tx_frames += 1;
        Ok(())
    }

    #[inline]
    fn has_room(&mut self) -> bool {
        self.tx_out < self.shares.tx && self.rings.tx.free(1) > 0
    }

    #[cold]
    fn make_room(&mut self, umem: &mut Umem) -> bool {
        self.reclaim(umem);
        for _ in 0..ROOM_ROUNDS {
            if self.has_room() {
                return true;
            }
            if self.blocked {
                return false;
            }
            self.rings.tx.publish();
            self.kick(umem);
            self.reclaim(umem);
        }
        self.blocked = !self.has_room();
        !self.blocked
    }

    /// Publishes, kicks, reclaims, refills, wakes: the end of a worker's turn.
    #[inline]
    pub(crate) fn flush(&mut self, umem: &mut Umem) {
        self.blocked = false;
        self.rings.tx.publish();
        if self.tx_out > 0 {
            self.kick(umem);
            self.reclaim(umem);
        }
        self.refill(umem);
        if self.rings.fill.needs_wakeup() {
            self.stats.wakeups += 1;
            self.wake();
        }
    }

    /// Has the kernel take what is in the TX ring. In copy mode a call takes one budget, so as many calls as that needs,
    /// ending early when one changes nothing.
    fn kick(&mut self, umem: &mut Umem) {
        let mut pending = self.rings.tx.pending();
        let copies = !self.mode.zero_copy;
        if pending == 0 || !(copies || self.rings.tx.needs_wakeup()) {
            return;
        }
        for _ in 0..pending / KERNEL_TX_BATCH + 2 {
            self.stats.kicks += 1;
            let result = self.call_kick();
            let harmless = |e: io::Error| matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY));
            self.stats.kick_errors += u64::from(!result.map_or_else(harmless, |()| true));
            self.reclaim(umem);
            let left = self.rings.tx.pending();
            if !copies || left == 0 || left >= pending {
                return;
            }
            pending = left;
        }
    }

    /// Sent chunks go back to the common free list.
    #[inline]
    fn reclaim(&mut self, umem: &mut Umem) {
        if self.rings.completion.available(1) == 0 {
            return;
        }
        while let Some(address) = self.rings.completion.pop() {
            if umem.complete(self.id, address) {
                self.tx_out -= 1;
            } else {
                self.stats.bad_descriptors += 1;
            }
        }
        self.rings.completion.release();
    }

    fn call_kick(&self) -> io::Result<()> {
        match &self.endpoint {
            Endpoint::Socket(socket) => socket.kick(),
            Endpoint::Memory(memory) => memory.kick(),
        }
    }

    pub(crate) fn wake(&self) {
        match &self.endpoint {
            Endpoint::Socket(socket) => socket.wake(),
            Endpoint::Memory(memory) => memory.wake(),
        }
    }

    /// Chunks of this port: (fill, rx, tx, completion). A broken kernel index cannot make the sum wrong.
    pub(crate) fn census(&self) -> (usize, usize, usize, usize) {
        let rx = self.rings.rx.waiting().min(self.fill_out);
        let completion = self.rings.completion.waiting().min(self.tx_out);
        let (fill, tx) = (self.fill_out - rx, self.tx_out - completion);
        (fill as usize, rx as usize, tx as usize, completion as usize)
    }
}
