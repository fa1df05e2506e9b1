//! Set-up errors: each names the object and the remedy. Nothing on the packet path returns one.

use std::io;

/// Why a socket, a UMEM or the steering program could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum XskError {
    #[error("interface {name}: not found in this network namespace ({source})")]
    UnknownInterface { name: String, source: io::Error },

    #[error(
        "{what}: missing {capability}; run as root or grant it (setcap, securityContext.capabilities): {source}"
    )]
    MissingCapability {
        what: String,
        capability: &'static str,
        source: io::Error,
    },

    #[error(
        "{name} queue {queue}: still in use after {waited_ms} ms; another AF_XDP socket holds this queue (stop it, or a crashed one needs up to 50 ms)"
    )]
    QueueBusy {
        name: String,
        queue: u32,
        waited_ms: u128,
    },

    #[error(
        "{name} queue {queue}: no such queue, or no RX and TX pair for it; see `ethtool -l {name}` and lower the number of workers: {source}"
    )]
    QueueAbsent {
        name: String,
        queue: u32,
        source: io::Error,
    },

    #[error(
        "{name} queue {queue}: the driver has no zero-copy AF_XDP; set zero_copy to auto or off: {source}"
    )]
    NoZeroCopy {
        name: String,
        queue: u32,
        source: io::Error,
    },

    #[error("the eventfd that wakes a worker: {0}; raise the limit of open files (ulimit -n)")]
    Waker(io::Error),

    #[error("{name} queue {queue}: cannot bind the AF_XDP socket: {source}")]
    Bind {
        name: String,
        queue: u32,
        source: io::Error,
    },

    #[error(
        "UMEM of {bytes} bytes: cannot be mapped or registered; raise RLIMIT_MEMLOCK (ulimit -l) or lower `frames`: {source}"
    )]
    Umem { bytes: usize, source: io::Error },

    #[error(
        "UMEM of {bytes} bytes on huge pages: none free; reserve {needed} with vm.nr_hugepages or set huge_pages to auto: {source}"
    )]
    HugePages {
        bytes: usize,
        needed: usize,
        source: io::Error,
    },

    #[error("AF_XDP is not available in this kernel (CONFIG_XDP_SOCKETS): {0}")]
    NoAfXdp(io::Error),

    #[error("{operation}: {source}")]
    System {
        operation: &'static str,
        source: io::Error,
    },

    #[error("queue set: {0}")]
    Config(String),

    #[error(
        "{name}: MTU {mtu} is too large for XDP on this driver; lower it (`ip link set {name} mtu {suggested}`) or use generic mode: {source}"
    )]
    MtuTooLarge {
        name: String,
        mtu: u32,
        suggested: u32,
        source: io::Error,
    },

    #[error(
        "{name}: the driver cannot run XDP in the mode asked for (MTU {mtu}); allow mode `auto` or `generic`: {source}"
    )]
    ModeUnsupported {
        name: String,
        mtu: u32,
        source: io::Error,
    },

    #[error("{name}: another Maglane (program id {program}{}) already steers this interface; stop it first", owner(.pid))]
    OtherInstance {
        name: String,
        program: u32,
        pid: Option<u32>,
    },

    #[error("{name}: foreign XDP program `{program_name}` (id {program}{}) is attached; remove it (`ip link set {name} xdp off`) or force its replacement", owner(.pid))]
    ForeignProgram {
        name: String,
        program: u32,
        program_name: String,
        pid: Option<u32>,
    },

    #[error("{name}: cannot attach the steering program: {source}")]
    Attach { name: String, source: io::Error },

    #[error(
        "steering program: the kernel refused to load it (needs CAP_BPF, CAP_NET_ADMIN and Linux 5.9): {0}"
    )]
    Load(String),

    #[error("steering map `{map}` ({entries} of {limit} entries): {detail}")]
    Map {
        map: &'static str,
        entries: usize,
        limit: u32,
        detail: String,
    },

    #[error(
        "core {0} does not exist or is outside this process's affinity mask; see `taskset -p` and the cpuset"
    )]
    NoSuchCore(usize),
}

fn owner(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(", held by pid {pid}")).unwrap_or_default()
}

impl XskError {
    pub(crate) fn system(operation: &'static str) -> impl FnOnce(io::Error) -> XskError {
        move |source| XskError::System { operation, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_object_and_the_owner() {
        let error = XskError::OtherInstance {
            name: "eth0".into(),
            program: 7,
            pid: Some(42),
        };
        assert_eq!(
            error.to_string(),
            "eth0: another Maglane (program id 7, held by pid 42) already steers this interface; stop it first"
        );
        let error = XskError::QueueBusy {
            name: "eth0".into(),
            queue: 1,
            waited_ms: 1000,
        };
        assert!(
            error
                .to_string()
                .starts_with("eth0 queue 1: still in use after 1000 ms")
        );
    }
}
