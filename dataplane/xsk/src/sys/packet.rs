//! Packet sockets (`linux/if_packet.h`), for sending alone.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// Protocol 0: nothing is received.
pub(crate) fn open() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: a descriptor the kernel just gave us, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `frame` with its Ethernet header, out of the interface with this index.
pub(crate) fn send(socket: BorrowedFd<'_>, interface: u32, frame: &[u8]) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: interface as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = mem::size_of_val(&address) as libc::socklen_t;
    let (fd, data) = (socket.as_raw_fd(), frame.as_ptr().cast());
    // SAFETY: both pointers and lengths describe live memory that the call only reads.
    let sent = unsafe { libc::sendto(fd, data, frame.len(), 0, (&raw const address).cast(), len) };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
