//! The backend's end of `ipip` and `gue`: takes the outer header off and hands the packet to the kernel.
//!
//! A kernel with the ipip, sit and fou modules does this alone; the rig must run without them. Outer
//! packets arrive on raw and UDP sockets (already reassembled), inner ones enter through a TUN device. The
//! VIP is on loopback, so the kernel delivers them to the server, and answers leave directly.

pub mod gue;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The name of the TUN device.
pub const DEVICE: &str = "maglane-decap";
/// The largest IP packet.
const BUFFER: usize = 65_536;
const SOCKET_BUFFER: usize = 8 << 20;
const IPIP: i32 = 4;
const IPV6: i32 = 41;
const UDP: i32 = 17;

/// Packets handed on and packets refused.
#[derive(Debug, Default)]
pub struct Counts {
    pub handed_on: AtomicU64,
    pub refused: AtomicU64,
}

/// Finds the inner packet in what one socket receives.
type Unwrap = fn(&[u8]) -> Option<&[u8]>;

/// Opens the device and the sockets and starts a thread for each socket; they run until the process ends.
///
/// # Errors
/// Without CAP_NET_RAW and CAP_NET_ADMIN, or without /dev/net/tun.
pub fn start() -> anyhow::Result<Arc<Counts>> {
    let device = DeviceBuilder::new()
        .name(DEVICE)
        .mtu(65_535)
        .build_sync()
        .context("make the TUN device: root and /dev/net/tun are needed")?;
    let device = Arc::new(device);
    let counts = Arc::new(Counts::default());
    let raw: [(Domain, i32, Unwrap); 5] = [
        (Domain::IPV4, IPIP, behind_ipv4),
        (Domain::IPV4, IPV6, behind_ipv4),
        (Domain::IPV6, IPIP, whole),
        (Domain::IPV6, IPV6, whole),
        // The UDP socket refuses zero checksums in IPv6, which RFC 6935 allows to tunnels; this takes both.
        (Domain::IPV6, UDP, gue_datagram),
    ];
    for (domain, protocol, unwrap) in raw {
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(protocol)))
            .context("open a raw socket: root is needed")?;
        pump(socket, unwrap, &device, &counts)?;
    }
    pump(udp(Ipv4Addr::UNSPECIFIED.into())?, gue::inner, &device, &counts)?;
    // Never read: it keeps the kernel from answering "port unreachable" to what the raw socket takes.
    std::mem::forget(udp(Ipv6Addr::UNSPECIFIED.into())?);
    Ok(counts)
}

/// A bound UDP socket of one family.
fn udp(any: IpAddr) -> anyhow::Result<Socket> {
    let address = SocketAddr::new(any, gue::PORT);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if any.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket
        .bind(&address.into())
        .with_context(|| format!("bind UDP {address}: is it in use?"))?;
    Ok(socket)
}

fn pump(
    mut socket: Socket,
    unwrap: Unwrap,
    device: &Arc<SyncDevice>,
    counts: &Arc<Counts>,
) -> anyhow::Result<()> {
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    let (device, counts) = (Arc::clone(device), Arc::clone(counts));
    std::thread::Builder::new()
        .name("decap".to_owned())
        .spawn(move || {
            let mut buffer = vec![0; BUFFER];
            // An ICMP error may be reported on a UDP socket: not the end.
            loop {
                let Ok(length) = socket.read(&mut buffer) else {
                    continue;
                };
                let inner = unwrap(&buffer[..length]);
                let sent = inner.is_some_and(|packet| device.send(packet).is_ok());
                let counter = if sent { &counts.handed_on } else { &counts.refused };
                counter.fetch_add(1, Ordering::Relaxed);
            }
        })?;
    Ok(())
}

fn whole(packet: &[u8]) -> Option<&[u8]> {
    Some(packet)
}

/// Raw IPv4 sockets deliver the outer header too.
fn behind_ipv4(packet: &[u8]) -> Option<&[u8]> {
    let words = usize::from(packet.first()? & 0x0f);
    packet.get(4 * words..)
}

fn gue_datagram(datagram: &[u8]) -> Option<&[u8]> {
    let port = u16::from_be_bytes(datagram.get(2..4)?.try_into().ok()?);
    if port == gue::PORT {
        gue::inner(datagram.get(8..)?)
    } else {
        None
    }
}
