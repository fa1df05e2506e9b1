//! One worker's packets: a UMEM and the sockets of queue *i* of every interface. A packet may enter on one port and leave on
//! another, since all share the UMEM.
//!
//! A turn of the worker: `receive` (refills before you process) -> your work on `chunk_mut` -> `transmit` or `release` ->
//! `flush`. No allocation, lock or log in any of them; a system call at most once a batch. Belongs to one thread.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::XskError;
use crate::config::{QueueSetConfig, Toggle};
use crate::port::{Endpoint, Port, Shares};
use crate::socket::{Attempt, Request, XskSocket};
use crate::stats::{BindMode, FrameCensus, KernelStats, PortStats};
use crate::sys;
use crate::umem::{Frame, Umem};

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
    poll: Vec<libc::pollfd>,
    /// The port to look at first, so that none is always served last.
    next: usize,
}

impl QueueSet {
    /// Opens, binds and pre-fills. The steering program is attached apart from this ([`crate::Steering`]).
    pub fn open(config: &QueueSetConfig) -> Result<QueueSet, XskError> {
        config.check()?;
        // When this is refused the UMEM registration fails next and says what to do.
        let _ = sys::raise_memlock_limit();
        let interfaces = interface_indices(config)?;
        let (umem, huge_pages) = open_umem(config)?;
        let attempts = attempts(config, &interfaces);
        let mut outcome = Err(XskError::Config("nothing to try".into()));
        for attempt in attempts {
            outcome = open_ports(config, &interfaces, &umem, attempt);
            match &outcome {
                Err(XskError::NoZeroCopy { .. } | XskError::QueueAbsent { .. } | XskError::Bind { .. }) => {}
                Ok(_) | Err(_) => break,
            }
        }
        let mut ports = outcome?;
        for port in &mut ports {
            port.mode.huge_pages = huge_pages;
        }
        Ok(Self::assemble(umem, ports))
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

    /// Sleeps until a packet waits on any port, at most `timeout`. Flush first.
    pub fn wait(&mut self, timeout: Duration) {
        if !self.poll.is_empty() {
            sys::socket::poll(&mut self.poll, timeout);
        }
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

/// Kernel index and MTU of each configured interface.
fn interface_indices(config: &QueueSetConfig) -> Result<Vec<(u32, u32)>, XskError> {
    let facts = |name: &str| {
        let index = sys::interface_index(name)?;
        let facts =
            sys::netlink::link_facts(index).map_err(XskError::system("asking netlink for an interface"))?;
        Ok((index, facts.mtu))
    };
    config
        .interfaces
        .iter()
        .map(|interface| facts(&interface.name))
        .collect()
}

/// The UMEM and whether it lies on huge pages (reserved ones; those that madvise may bring later do not count).
fn open_umem(config: &QueueSetConfig) -> Result<(Umem, bool), XskError> {
    let bytes = config.frames as usize * config.chunk_size as usize;
    let open = |huge| {
        Umem::new(
            config.frames as usize,
            config.chunk_size as usize,
            config.data_start() as usize,
            huge,
        )
    };
    let plain =
        || -> Result<Umem, XskError> { open(false).map_err(|source| XskError::Umem { bytes, source }) };
    let refused = |source: io::Error| XskError::HugePages {
        bytes,
        needed: bytes.div_ceil(2 << 20),
        source,
    };
    match config.huge_pages {
        Toggle::Off => Ok((plain()?, false)),
        Toggle::On => Ok((open(true).map_err(refused)?, true)),
        Toggle::Auto => match open(true) {
            Ok(umem) => Ok((umem, true)),
            Err(_) => {
                let umem = plain()?;
                umem.memory().advise_huge();
                Ok((umem, false))
            }
        },
    }
}

/// Bind flags from best to safest.
fn attempts(config: &QueueSetConfig, interfaces: &[(u32, u32)]) -> Vec<Attempt> {
    const ETHERNET_AND_TAGS: u32 = 14 + 8;
    let payload = config.chunk_size - config.data_start();
    let jumbo = interfaces
        .iter()
        .any(|(_, mtu)| mtu + ETHERNET_AND_TAGS > payload);
    let choices = |toggle: Toggle, wanted: bool| match toggle {
        Toggle::On => vec![true],
        Toggle::Off => vec![false],
        Toggle::Auto if wanted => vec![true, false],
        Toggle::Auto => vec![false],
    };
    let segments = choices(config.multi_buffer, jumbo);
    let pairs = |zero_copy| {
        segments.iter().map(move |&multi_buffer| Attempt {
            zero_copy,
            multi_buffer,
        })
    };
    choices(config.zero_copy, true)
        .into_iter()
        .flat_map(pairs)
        .collect()
}

fn open_ports(
    config: &QueueSetConfig,
    interfaces: &[(u32, u32)],
    umem: &Umem,
    attempt: Attempt,
) -> Result<Vec<Port>, XskError> {
    let count = config.interfaces.len() as u32;
    let shares = Shares::of(
        config.frames,
        count,
        config.fill_ring,
        config.tx_ring,
        config.completion_ring,
    );
    let mut ports: Vec<Port> = Vec::with_capacity(config.interfaces.len());
    for (interface, &(index, _)) in config.interfaces.iter().zip(interfaces) {
        let shared = ports.first().and_then(Port::socket).map(XskSocket::fd);
        let request = Request {
            config,
            interface,
            index,
            memory: umem.memory(),
            attempt,
            shared,
        };
        let (socket, rings, mode) = XskSocket::open(&request)?;
        let id = ports.len() as u8;
        ports.push(Port::new(id, rings, Endpoint::Socket(socket), mode, shares));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::InterfaceConfig;

    fn config() -> QueueSetConfig {
        QueueSetConfig::new(vec![InterfaceConfig {
            name: "lo".into(),
            queue: 0,
        }])
    }

    #[test]
    fn flags_are_tried_from_best_to_safest() {
        let attempt = |zero_copy, multi_buffer| Attempt {
            zero_copy,
            multi_buffer,
        };
        assert_eq!(
            attempts(&config(), &[(1, 1500)]),
            [attempt(true, false), attempt(false, false)]
        );
        let all = [
            attempt(true, true),
            attempt(true, false),
            attempt(false, true),
            attempt(false, false),
        ];
        assert_eq!(attempts(&config(), &[(1, 9000)]), all);
        let fixed = QueueSetConfig {
            zero_copy: Toggle::Off,
            multi_buffer: Toggle::On,
            ..config()
        };
        assert_eq!(attempts(&fixed, &[(1, 1500)]), [attempt(false, true)]);
    }

    #[test]
    fn an_absent_interface_is_named() {
        let config = QueueSetConfig::new(vec![InterfaceConfig {
            name: "nosuch9".into(),
            queue: 0,
        }]);
        let text = QueueSet::open(&config).unwrap_err().to_string();
        assert!(text.starts_with("interface nosuch9: not found"), "{text}");
    }
}
