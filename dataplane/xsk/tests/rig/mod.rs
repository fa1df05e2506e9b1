//! What the root tests stand on: a network namespace a test (it dies with the test's thread), veth pairs in it, frames built by
//! hand and sent raw. Without root a test prints why and passes.

#![allow(dead_code, reason = "each test file uses its part")]

use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use maglane_xsk::{InterfaceConfig, QueueSet, QueueSetConfig, Received};

/// A namespace of its own for the calling thread, and for what that spawns.
pub struct Rig;

impl Rig {
    /// None without root.
    pub fn new() -> Option<Rig> {
        // SAFETY: no pointers; the calling thread alone leaves the machine's namespace.
        let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        if result != 0 {
            eprintln!(
                "skipped: needs root for a network namespace ({})",
                std::io::Error::last_os_error()
            );
            return None;
        }
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").ok();
        Some(Rig)
    }

    /// Two ends of one queue, up, with NAPI (`gro on`) so that native XDP on the other end loses nothing.
    pub fn veth(&self, a: &str, b: &str) {
        self.veth_queues(a, b, 1);
    }

    /// A raw sender's packets spread over the queues as the kernel likes: with several, serve them all.
    pub fn veth_queues(&self, a: &str, b: &str, queues: u32) {
        let queues = format!("numrxqueues {queues} numtxqueues {queues}");
        ip(&format!("link add {a} {queues} type veth peer name {b} {queues}"));
        for end in [a, b] {
            run("ethtool", &format!("-K {end} gro on tx off"));
            ip(&format!("link set {end} up"));
        }
    }
}

pub fn ip(arguments: &str) {
    run("ip", arguments);
}

pub fn run(program: &str, arguments: &str) {
    let output = Command::new(program).args(arguments.split_whitespace()).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {text}");
}

/// Whether `ip link` shows an XDP program there.
pub fn has_program(interface: &str) -> bool {
    let output = Command::new("ip")
        .args(["link", "show", interface])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).contains("prog/xdp")
}

/// Small rings, so that tests fill them.
pub fn config(interfaces: &[(&str, u32)]) -> QueueSetConfig {
    let interfaces = interfaces.iter().map(|&(name, queue)| InterfaceConfig {
        name: name.to_owned(),
        queue,
    });
    let interfaces: Vec<_> = interfaces.collect();
    QueueSetConfig {
        frames: 1024 * interfaces.len() as u32,
        rx_ring: 256,
        tx_ring: 256,
        fill_ring: 512,
        completion_ring: 256,
        ..QueueSetConfig::new(interfaces)
    }
}

/// Repeats until it is true or the time is up; the condition itself takes time (a poll, a command), so nothing sleeps.
pub fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if started.elapsed() > limit {
            return false;
        }
    }
}

/// Waits for packets and copies them out.
pub fn receive(set: &mut QueueSet, count: usize, limit: Duration) -> Vec<(u8, Vec<u8>)> {
    let mut got = Vec::new();
    let mut batch: Vec<Received> = Vec::with_capacity(64);
    eventually(limit, || {
        set.flush();
        if set.receive(&mut batch, 64) == 0 {
            set.wait(Duration::from_millis(20));
        }
        for Received { port, frame } in batch.drain(..) {
            got.push((port.0, set.chunk(&frame)[frame.start()..frame.end()].to_vec()));
            set.release(frame);
        }
        got.len() >= count
    });
    got
}

/// An AF_PACKET socket that sends whole frames on one interface, and sees what the kernel was left.
pub struct Raw {
    fd: OwnedFd,
}

impl Raw {
    pub fn new(interface: &str) -> Raw {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(protocol)) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: just opened, owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let name = std::ffi::CString::new(interface).unwrap();
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol,
            // SAFETY: a NUL-terminated string that lives through the call.
            sll_ifindex: unsafe { libc::if_nametoindex(name.as_ptr()) } as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = size_of_val(&address) as u32;
        // SAFETY: pointer and length describe `address`.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) };
        assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
        Raw { fd }
    }

    pub fn send(&self, frame: &[u8]) {
        // SAFETY: pointer and length describe `frame`.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "{}", std::io::Error::last_os_error());
    }

    /// Up to the limit, the next frame the kernel saw on this interface.
    pub fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        let mut entry = libc::pollfd {
            fd: self.fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one live entry.
        let ready = unsafe { libc::poll(&mut entry, 1, limit.as_millis() as i32) };
        if ready <= 0 {
            return None;
        }
        let mut buffer = vec![0; 65536];
        // SAFETY: pointer and length describe `buffer`.
        let len = unsafe { libc::recv(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        buffer.truncate(usize::try_from(len).ok()?);
        Some(buffer)
    }
}

// Frames, inside out.

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;

/// The first eight bytes of TCP or UDP.
pub fn ports(source: u16, destination: u16) -> Vec<u8> {
    [
        &source.to_be_bytes()[..],
        &destination.to_be_bytes(),
        &[0, 8, 0, 0],
    ]
    .concat()
}

/// An ICMP or ICMPv6 message.
pub fn icmp(kind: u8, inside: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0], inside].concat()
}

/// An IPv4 or IPv6 packet, by the addresses.
pub fn packet(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (source.parse().unwrap(), destination.parse().unwrap()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut bytes = vec![0x45, 0];
            bytes.extend((20 + payload.len() as u16).to_be_bytes());
            bytes.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
            bytes.extend(payload);
            bytes
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut bytes = vec![0x60, 0, 0, 0];
            bytes.extend((payload.len() as u16).to_be_bytes());
            bytes.extend([protocol, 64]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
            bytes.extend(payload);
            bytes
        }
        mixed => panic!("two families: {mixed:?}"),
    }
}

/// An Ethernet frame around a packet, with these tags' TPIDs; padded to 60 bytes.
pub fn frame(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 6];
    bytes.extend([2, 0, 0, 0, 0, 1]);
    for tag in tags {
        bytes.extend(tag.to_be_bytes());
        bytes.extend([0, 7]);
    }
    let ethertype: u16 = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
    bytes.extend(ethertype.to_be_bytes());
    bytes.extend(packet);
    bytes.resize(bytes.len().max(60), 0);
    bytes
}
