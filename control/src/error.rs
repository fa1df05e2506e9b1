//! Failures of set-up and of the sources themselves; what is wrong with single objects is a
//! [`crate::problem::Problem`].

use std::io;
use std::path::PathBuf;
use std::time::Duration;

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
    #[error("{flag}: {detail}; name a kubeconfig that this user may read, with a current context")]
    Kubeconfig { flag: String, detail: String },
    #[error(
        "in-cluster credentials: {0}; run in a pod with a service account, or name a file with --kubeconfig"
    )]
    InCluster(String),
    #[error(
        "lease times {duration:?}/{renew_deadline:?}/{retry:?}: cannot keep one writer; the duration must be whole seconds up to a day, \
         the renew deadline at most four fifths of it, and twice the retry time less than the deadline"
    )]
    LeaseTimes {
        duration: Duration,
        renew_deadline: Duration,
        retry: Duration,
    },
}
