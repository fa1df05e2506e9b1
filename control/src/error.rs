//! Failures of set-up and of the sources themselves; what is wrong with single objects is a
//! [`crate::problem::Problem`].

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("--manifests {}: cannot be watched ({source}); name a directory that this user may read", dir.display())]
    Watch { dir: PathBuf, source: io::Error },
    #[error("netlink: cannot be opened ({0}); run as root or with CAP_NET_ADMIN")]
    NetlinkOpen(io::Error),
    #[error("netlink: reading the kernel's {what} failed ({detail}); this node's routes are as last read")]
    NetlinkRead { what: &'static str, detail: String },
    #[error("netlink: the connection has ended; the control loop must open it again")]
    NetlinkClosed,
}
