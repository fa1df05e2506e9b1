//! Counters and facts a port reports. Plain numbers, read by the worker; the kernel's own need a system call.

use std::os::fd::BorrowedFd;

use crate::XskError;

/// What this process counted on one port since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    pub rx_frames: u64,
    /// Put in the TX ring; whether the NIC sent them is the kernel's to say.
    pub tx_frames: u64,
    /// RX or completion descriptors naming a chunk or range that was not the kernel's to return.
    pub bad_descriptors: u64,
    /// Frames that came in several buffers (`XDP_PKT_CONTD`); dropped whole.
    pub fragmented_frames: u64,
    /// `transmit` gave the frame back: ring or in-flight cap still full after reclaim and kick.
    pub tx_ring_full: u64,
    /// `sendto` calls.
    pub kicks: u64,
    /// Kicks that the kernel refused for another reason than its budget (link down, no buffers).
    pub kick_errors: u64,
    /// System calls to make the kernel look at the fill ring again.
    pub wakeups: u64,
}

/// `XDP_STATISTICS` of one socket: what the kernel dropped before we saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelStats {
    pub rx_dropped: u64,
    pub rx_invalid: u64,
    pub tx_invalid: u64,
    pub rx_ring_full: u64,
    pub fill_empty: u64,
    pub tx_ring_empty: u64,
}

impl KernelStats {
    /// Asks the kernel. Works from any thread that holds the descriptor, so a metrics reader needs no worker.
    pub fn read(socket: BorrowedFd<'_>) -> Result<KernelStats, XskError> {
        let raw =
            crate::sys::socket::statistics(socket).map_err(XskError::system("getsockopt(XDP_STATISTICS)"))?;
        Ok(KernelStats {
            rx_dropped: raw.rx_dropped,
            rx_invalid: raw.rx_invalid_descs,
            tx_invalid: raw.tx_invalid_descs,
            rx_ring_full: raw.rx_ring_full,
            fill_empty: raw.rx_fill_ring_empty_descs,
            tx_ring_empty: raw.tx_ring_empty_descs,
        })
    }
}

/// Where every chunk is. `free + fill + rx + tx + completion + held == total`, always (invariant 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCensus {
    pub total: usize,
    /// On the free list.
    pub free: usize,
    /// Given to the kernel to receive into.
    pub fill: usize,
    /// Received, waiting in an RX ring.
    pub rx: usize,
    /// Given to the kernel to send.
    pub tx: usize,
    /// Sent, waiting in a completion ring.
    pub completion: usize,
    /// Out as [`crate::Frame`] tokens.
    pub held: usize,
}

impl FrameCensus {
    pub fn sum(&self) -> usize {
        self.free + self.fill + self.rx + self.tx + self.completion + self.held
    }
}

/// What the kernel agreed to for one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindMode {
    pub zero_copy: bool,
    pub need_wakeup: bool,
    /// Asked for *and* the queue has a NAPI id to poll; false on veth since Linux 6.14.
    pub busy_poll: bool,
    pub multi_buffer: bool,
    pub huge_pages: bool,
}
