//! AF_XDP system calls (`linux/if_xdp.h`), one function each.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use super::check;

// Newer than the libc crate's list; values from linux/if_xdp.h and asm-generic/socket.h.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

pub(crate) fn open() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: a descriptor the kernel just gave us, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Registers `len` bytes at `address`; the caller keeps that memory mapped as long as the socket lives.
pub(crate) fn register_umem(
    socket: BorrowedFd<'_>,
    (address, len): (u64, u64),
    chunk_size: u32,
    headroom: u32,
) -> io::Result<()> {
    let region = libc::xdp_umem_reg {
        addr: address,
        len,
        chunk_size,
        headroom,
        flags: 0,
        // Must be zero: without XDP_UMEM_TX_METADATA_LEN a length is refused.
        tx_metadata_len: 0,
    };
    set_option(socket, libc::SOL_XDP, libc::XDP_UMEM_REG, &region)
}

pub(crate) fn set_ring_size(socket: BorrowedFd<'_>, ring: libc::c_int, size: u32) -> io::Result<()> {
    set_option(socket, libc::SOL_XDP, ring, &size)
}

pub(crate) fn mmap_offsets(socket: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    get_option(socket, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)
}

/// `flags`: `XDP_*` bind flags; `shared`: the socket whose UMEM to use (`XDP_SHARED_UMEM` is then added).
pub(crate) fn bind(
    socket: BorrowedFd<'_>,
    interface: u32,
    queue: u32,
    flags: u16,
    shared: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: if shared.is_some() {
            libc::XDP_SHARED_UMEM
        } else {
            flags
        },
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: shared.map_or(0, |fd| fd.as_raw_fd() as u32),
    };
    let len = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: pointer and length describe a live sockaddr_xdp that the call only reads.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) }).map(drop)
}

pub(crate) fn statistics(socket: BorrowedFd<'_>) -> io::Result<libc::xdp_statistics> {
    get_option(socket, libc::SOL_XDP, libc::XDP_STATISTICS)
}

/// Whether the kernel really runs this socket in zero-copy mode.
pub(crate) fn is_zero_copy(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let options: libc::xdp_options = get_option(socket, libc::SOL_XDP, libc::XDP_OPTIONS)?;
    Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

/// Linux 6.17 and later; older kernels say ENOPROTOOPT.
pub(crate) fn set_tx_budget(socket: BorrowedFd<'_>, packets: u32) -> io::Result<()> {
    set_option(socket, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &packets)
}

/// Copy-mode TX allocates socket buffers against this. Past the system's limit when privileged.
pub(crate) fn set_send_buffer(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &bytes)
        .or_else(|_| set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, &bytes))
}

pub(crate) fn set_busy_poll(socket: BorrowedFd<'_>, usecs: u32, budget: u32) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, &1u32)?;
    set_option(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &usecs)?;
    set_option(socket, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget)
}

/// 0 when the queue has no NAPI context to poll.
pub(crate) fn napi_id(socket: BorrowedFd<'_>) -> io::Result<u32> {
    get_option(socket, libc::SOL_SOCKET, libc::SO_INCOMING_NAPI_ID)
}

/// Makes the kernel take from the TX ring: always needed in copy mode, at most one budget a call.
pub(crate) fn kick_tx(socket: BorrowedFd<'_>) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    // SAFETY: no payload and no address: null pointers with length 0 are allowed.
    let sent = unsafe { libc::sendto(fd, ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Makes the kernel look at the fill ring again, and busy-polls the queue when that is set up.
pub(crate) fn wake_rx(socket: BorrowedFd<'_>) {
    let fd = socket.as_raw_fd();
    let none = ptr::null_mut();
    // SAFETY: no buffer and no address: null pointers with length 0 are allowed. The result carries no news.
    unsafe { libc::recvfrom(fd, none, 0, libc::MSG_DONTWAIT, ptr::null_mut(), ptr::null_mut()) };
}

/// A counter that can be polled; reads and writes of it never block.
pub(crate) fn event() -> io::Result<OwnedFd> {
    // SAFETY: takes two integers and touches no memory of ours.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the call succeeded, so the descriptor is open and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A readiness request for one socket.
pub(crate) fn poll_entry(socket: BorrowedFd<'_>) -> libc::pollfd {
    libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    }
}

/// Blocks until a socket has packets, a signal comes or the time is up.
pub(crate) fn poll(entries: &mut [libc::pollfd], timeout: Duration) {
    let time = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos() as libc::c_long,
    };
    let count = entries.len() as libc::nfds_t;
    // SAFETY: pointer and count describe the slice; the timespec lives through the call; no signal mask is changed.
    unsafe { libc::ppoll(entries.as_mut_ptr(), count, &time, ptr::null()) };
}

fn set_option<T>(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let (fd, len) = (socket.as_raw_fd(), mem::size_of::<T>() as libc::socklen_t);
    // SAFETY: pointer and length describe `value`, which the call only reads.
    check(unsafe { libc::setsockopt(fd, level, name, ptr::from_ref(value).cast(), len) }).map(drop)
}

/// Types the kernel may fill with any bytes, short answers included.
trait Plain: Copy {
    const ZERO: Self;
}

impl Plain for u32 {
    const ZERO: u32 = 0;
}

macro_rules! plain {
    ($($name:ty),*) => {$(
        impl Plain for $name {
            // SAFETY: a kernel struct of integers; all-zero is a value of it.
            const ZERO: Self = unsafe { mem::zeroed() };
        }
    )*};
}
plain!(libc::xdp_mmap_offsets, libc::xdp_statistics, libc::xdp_options);

fn get_option<T: Plain>(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
    let mut value = T::ZERO;
    let mut len = mem::size_of::<T>() as libc::socklen_t;
    let fd = socket.as_raw_fd();
    // SAFETY: pointer and length describe `value`, plain integers that any bytes are a value of.
    check(unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &mut len) })?;
    Ok(value)
}
