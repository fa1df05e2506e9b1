//! One worker's packets: a UMEM and the sockets of queue *i* of every interface. A packet may enter on one port and leave on
//! another, since all share the UMEM.
//!
//! A turn of the worker: `receive` (refills before you process) -> your work on `chunk_mut` -> `transmit` or `release` ->
//! `flush`. No allocation, lock or log in any of them; a system call at most once a batch. Belongs to one thread.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::XskError;
use crate::config::QueueSetConfig;
use crate::frame::Frame;
use crate::port::Port;
use crate::stats::{BindMode, FrameCensus, KernelStats, PortStats};
use crate::sys;
use crate::umem::Umem;
use crate::waker::Waker;

/// Index of a configured interface in this worker, in `--interface` order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u8);

/// A packet and where it came in.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    pub port: PortId,
    pub frame: Frame,
}

/// See the module.
#[derive(Debug)]
pub struct QueueSet {
    // Sockets close before the memory goes.
    ports: Vec<Port>,
    umem: Umem,
    /// The sockets, and last the waker where there is one.
    poll: Vec<libc::pollfd>,
    waker: Option<Waker>,
    /// The port to look at first, so that none is always served last.
    next: usize,
}

impl QueueSet {
    /// Opens, binds and pre-fills. The steering program is attached apart from this ([`crate::Steering`]).
    pub fn open(config: &QueueSetConfig) -> Result<QueueSet, XskError> {
        let (umem, ports) = crate::open::open(config)?;
        let mut set = Self::assemble(umem, ports);
        let waker = Waker::new().map_err(XskError::Waker)?;
        set.poll.push(sys::socket::poll_entry(waker.fd()));
        set.waker = Some(waker);
        Ok(set)
    }

    /// Joins parts and pre-fills every fill ring, so that a port that only sends can receive as well.
    pub(crate) fn assemble(umem: Umem, ports: Vec<Port>) -> QueueSet {
        let poll = ports
            .iter()
            .filter_map(Port::socket)
            .map(|socket| sys::socket::poll_entry(socket.fd()))
            .collect();
        let mut set = QueueSet {
            ports,
            umem,
            poll,
            waker: None,
            next: 0,
        };
        for port in &mut set.ports {
            port.refill(&mut set.umem);
            port.wake();
        }
        set
    }

    /// Appends up to `max` packets to `out`, never beyond its capacity, fair over the ports, and refills the fill rings.
    #[inline]
    pub fn receive(&mut self, out: &mut Vec<Received>, max: usize) -> usize {
        let room = max.min(out.capacity() - out.len());
        let count = self.ports.len();
        let mut left = room;
        for i in 0..count {
            let at = (self.next + i) % count;
            // An equal part of what is left for each port still to come: a quiet one leaves its part to the next.
            let part = left.div_ceil(count - i);
            let port = PortId(at as u8);
            let got = self.ports[at].receive(&mut self.umem, part as u32, |frame| {
                out.push(Received { port, frame })
            });
            left -= got as usize;
        }
        self.next = (self.next + 1) % count;
        room - left
    }

    /// The whole chunk; the data is `[frame.start()..frame.end()]`.
    ///
    /// # Panics
    /// If the frame belongs to another set.
    #[inline]
    pub fn chunk_mut(&mut self, frame: &Frame) -> &mut [u8] {
        self.umem.chunk_mut(frame)
    }

    /// As [`Self::chunk_mut`], to read.
    #[inline]
    pub fn chunk(&self, frame: &Frame) -> &[u8] {
        self.umem.chunk(frame)
    }

    /// A free frame, empty, starting after the default headroom. None: all chunks are in use.
    #[inline]
    pub fn allocate(&mut self) -> Option<Frame> {
        self.umem.allocate()
    }

    /// Puts the frame in a port's TX ring; [`Self::flush`] shows it to the kernel. Err: the ring, or the port's share of
    /// chunks, is full even after reclaim and kick. The frame is then still the caller's (an empty one always is).
    ///
    /// # Panics
    /// If the port does not exist or the frame belongs to another set.
    #[inline]
    pub fn transmit(&mut self, port: PortId, frame: Frame) -> Result<(), Frame> {
        self.ports[usize::from(port.0)].transmit(&mut self.umem, frame)
    }

    /// Back to the free list.
    ///
    /// # Panics
    /// If the frame belongs to another set.
    #[inline]
    pub fn release(&mut self, frame: Frame) {
        self.umem.release(frame);
    }

    /// Publishes TX rings, kicks where the kernel needs it, reclaims completions, refills and wakes fill rings.
    #[inline]
    pub fn flush(&mut self) {
        for port in &mut self.ports {
            port.flush(&mut self.umem);
        }
    }

    /// Sleeps until a packet waits on any port or the waker is used, at most `timeout`. Flush first.
    pub fn wait(&mut self, timeout: Duration) {
        if !self.poll.is_empty() {
            sys::socket::poll(&mut self.poll, timeout);
        }
        if let (Some(waker), Some(entry)) = (&self.waker, self.poll.last())
            && entry.revents != 0
        {
            waker.heard();
        }
    }

    /// Ends a [`Self::wait`] from another thread; `None` for rings without sockets.
    pub fn waker(&self) -> Option<Waker> {
        self.waker.clone()
    }

    pub fn ports(&self) -> impl Iterator<Item = PortId> + use<> {
        (0..self.ports.len() as u8).map(PortId)
    }

    /// Our own counters, port by port; cheap.
    pub fn stats(&self) -> impl Iterator<Item = PortStats> + '_ {
        self.ports.iter().map(|port| port.stats)
    }

    /// The kernel's counters of one port: a system call. Zero for a port without a socket.
    pub fn kernel_stats(&self, port: PortId) -> Result<KernelStats, XskError> {
        match self.ports[usize::from(port.0)].socket() {
            Some(socket) => KernelStats::read(socket.fd()),
            None => Ok(KernelStats::default()),
        }
    }

    /// Where every chunk is. The sum is the total by construction; a chunk that the kernel lost stays in `fill` or `tx`.
    pub fn census(&self) -> FrameCensus {
        let mut census = FrameCensus {
            total: self.umem.chunks(),
            free: self.umem.free_count(),
            held: self.umem.held_count(),
            ..FrameCensus::default()
        };
        for port in &self.ports {
            let (fill, rx, tx, completion) = port.census();
            census.fill += fill;
            census.rx += rx;
            census.tx += tx;
            census.completion += completion;
        }
        census
    }

    /// For [`crate::Steering::set_socket`], and for whoever reads kernel counters from another thread (duplicate it).
    pub fn socket_fds(&self) -> Vec<(PortId, BorrowedFd<'_>)> {
        let sockets = self.ports.iter().zip(0u8..);
        sockets
            .filter_map(|(port, id)| Some((PortId(id), port.socket()?.fd())))
            .collect()
    }

    pub fn bind_modes(&self) -> Vec<BindMode> {
        self.ports.iter().map(|port| port.mode).collect()
    }

    /// For tests that play the kernel.
    pub(crate) fn umem_mut(&mut self) -> &mut Umem {
        &mut self.umem
    }
}
