//! Whole frames out of an interface past the rings, for what is sent rarely and from no worker: announcements.
//! Receives nothing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::XskError;
use crate::sys;

/// One for all interfaces.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    pub fn open() -> Result<PacketSocket, XskError> {
        let socket = sys::packet::open();
        socket
            .map(PacketSocket)
            .map_err(XskError::system("opening a packet socket (it needs CAP_NET_RAW)"))
    }

    /// Never waits: where the interface takes no more, the frame is lost and the error says so.
    pub fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        sys::packet::send(self.0.as_fd(), interface, frame)
    }
}
