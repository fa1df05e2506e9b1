//! Opening one AF_XDP socket: options, ring mappings, bind. The place for NIC quirks and bind flags, and the only one.
//!
//! Order matters to the kernel: UMEM, ring sizes and mappings before bind. Ports after the first share its UMEM
//! (`XDP_SHARED_UMEM`) with fill and completion rings of their own, and inherit its bind flags.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::XskError;
use crate::config::{InterfaceConfig, QueueSetConfig};
use crate::port::Rings;
use crate::ring::{ADDRESS_WORDS, CompletionRing, DESCRIPTOR_WORDS, FillRing, RxRing, TxRing};
use crate::stats::BindMode;
use crate::sys::memory::{ChunkMemory, Mapping};
use crate::sys::ring_memory::{Offsets, RingMemory};
use crate::sys::socket as sys;

/// The flags to try together. All ports of a UMEM use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub zero_copy: bool,
    pub multi_buffer: bool,
}

impl Attempt {
    fn flags(self) -> u16 {
        let copy = if self.zero_copy {
            libc::XDP_ZEROCOPY
        } else {
            libc::XDP_COPY
        };
        let segments = if self.multi_buffer { libc::XDP_USE_SG } else { 0 };
        copy | segments | libc::XDP_USE_NEED_WAKEUP
    }
}

/// A bound socket.
#[derive(Debug)]
pub(crate) struct XskSocket {
    fd: OwnedFd,
}

/// What one port is opened with.
pub(crate) struct Request<'a> {
    pub config: &'a QueueSetConfig,
    pub interface: &'a InterfaceConfig,
    pub index: u32,
    pub memory: &'a ChunkMemory,
    pub attempt: Attempt,
    /// The first port's socket; None for the first port itself.
    pub shared: Option<BorrowedFd<'a>>,
}

impl XskSocket {
    pub(crate) fn open(request: &Request<'_>) -> Result<(XskSocket, Rings, BindMode), XskError> {
        let fd = sys::open().map_err(|e| open_error(e, &request.interface.name))?;
        let socket = XskSocket { fd };
        let rings = socket.set_up(request)?;
        socket.tune(request.config);
        socket.bind(request)?;
        let mode = socket.bound_mode(request)?;
        Ok((socket, rings, mode))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn kick(&self) -> io::Result<()> {
        sys::kick_tx(self.fd())
    }

    pub(crate) fn wake(&self) {
        sys::wake_rx(self.fd());
    }

    fn set_up(&self, request: &Request<'_>) -> Result<Rings, XskError> {
        let (fd, config) = (self.fd(), request.config);
        if request.shared.is_none() {
            let (start, bytes) = request.memory.region();
            sys::register_umem(fd, (start, bytes), config.chunk_size, config.headroom).map_err(|source| {
                XskError::Umem {
                    bytes: bytes as usize,
                    source,
                }
            })?;
        }
        let sizes = [
            (libc::XDP_UMEM_FILL_RING, config.fill_ring),
            (libc::XDP_UMEM_COMPLETION_RING, config.completion_ring),
            (libc::XDP_RX_RING, config.rx_ring),
            (libc::XDP_TX_RING, config.tx_ring),
        ];
        for (ring, size) in sizes {
            sys::set_ring_size(fd, ring, size).map_err(XskError::system("setting an AF_XDP ring's size"))?;
        }
        self.map_rings(config)
            .map_err(XskError::system("mapping an AF_XDP ring"))
    }

    fn map_rings(&self, config: &QueueSetConfig) -> io::Result<Rings> {
        let at = sys::mmap_offsets(self.fd())?;
        let map = |offset: &libc::xdp_ring_offset, page: i64, words: u32| {
            let offsets = Offsets {
                producer: offset.producer as usize,
                consumer: offset.consumer as usize,
                flags: offset.flags as usize,
                slots: offset.desc as usize,
            };
            let mapping = Mapping::ring(self.fd(), offsets.slots + words as usize * 8, page)?;
            RingMemory::new(Arc::new(mapping), offsets, words)
        };
        let (rx, tx) = (config.rx_ring, config.tx_ring);
        let (fill, completion) = (config.fill_ring, config.completion_ring);
        let fill_page = libc::XDP_UMEM_PGOFF_FILL_RING as i64;
        let completion_page = libc::XDP_UMEM_PGOFF_COMPLETION_RING as i64;
        Ok(Rings {
            rx: RxRing::new(map(&at.rx, libc::XDP_PGOFF_RX_RING, rx * DESCRIPTOR_WORDS)?, rx),
            tx: TxRing::new(map(&at.tx, libc::XDP_PGOFF_TX_RING, tx * DESCRIPTOR_WORDS)?, tx),
            fill: FillRing::new(map(&at.fr, fill_page, fill * ADDRESS_WORDS)?, fill),
            completion: CompletionRing::new(
                map(&at.cr, completion_page, completion * ADDRESS_WORDS)?,
                completion,
            ),
        })
    }

    /// Options that only make things faster; an older kernel may refuse each.
    fn tune(&self, config: &QueueSetConfig) {
        let budget = config.tx_budget.clamp(32, config.tx_ring);
        let _ = sys::set_tx_budget(self.fd(), budget);
        // Copy-mode TX charges about 2.5 KiB a packet in flight.
        let _ = sys::set_send_buffer(
            self.fd(),
            config.tx_ring.saturating_mul(4096).min(i32::MAX as u32 / 2),
        );
        if let Some(busy) = config.busy_poll {
            let _ = sys::set_busy_poll(self.fd(), busy.usecs, busy.budget);
        }
    }

    /// A queue closed a moment ago is busy for up to 50 ms (FAILURES D7), hence the retries.
    fn bind(&self, request: &Request<'_>) -> Result<(), XskError> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        let (queue, flags) = (request.interface.queue, request.attempt.flags());
        loop {
            match sys::bind(self.fd(), request.index, queue, flags, request.shared) {
                Ok(()) => return Ok(()),
                Err(e)
                    if e.raw_os_error() == Some(libc::EBUSY)
                        && started.elapsed() < request.config.bind_retry =>
                {
                    thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(16));
                }
                Err(e) => return Err(bind_error(e, request, started.elapsed())),
            }
        }
    }

    fn bound_mode(&self, request: &Request<'_>) -> Result<BindMode, XskError> {
        let zero_copy = sys::is_zero_copy(self.fd()).map_err(XskError::system("getsockopt(XDP_OPTIONS)"))?;
        let napi = sys::napi_id(self.fd()).unwrap_or(0);
        Ok(BindMode {
            zero_copy,
            need_wakeup: true,
            busy_poll: request.config.busy_poll.is_some() && napi != 0,
            multi_buffer: request.attempt.multi_buffer,
            huge_pages: false,
        })
    }
}

fn open_error(source: io::Error, interface: &str) -> XskError {
    match source.raw_os_error() {
        Some(libc::EPERM) => XskError::MissingCapability {
            what: format!("{interface}: opening an AF_XDP socket"),
            capability: "CAP_NET_RAW",
            source,
        },
        Some(libc::EAFNOSUPPORT) => XskError::NoAfXdp(source),
        _ => XskError::System {
            operation: "socket(AF_XDP)",
            source,
        },
    }
}

fn bind_error(source: io::Error, request: &Request<'_>, waited: Duration) -> XskError {
    let InterfaceConfig { name, queue } = request.interface.clone();
    match source.raw_os_error() {
        Some(libc::EBUSY) => XskError::QueueBusy {
            name,
            queue,
            waited_ms: waited.as_millis(),
        },
        Some(libc::EINVAL) => XskError::QueueAbsent { name, queue, source },
        Some(libc::EOPNOTSUPP) if request.attempt.zero_copy => XskError::NoZeroCopy { name, queue, source },
        Some(libc::EPERM) => XskError::MissingCapability {
            what: format!("{name} queue {queue}: binding the AF_XDP socket"),
            capability: "CAP_NET_RAW and CAP_NET_ADMIN",
            source,
        },
        _ => XskError::Bind { name, queue, source },
    }
}
