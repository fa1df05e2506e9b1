//! Before anything is attached: can this node give what the settings ask for?
//!
//! [`survey`] asks the kernel; [`resolve`] decides from what it said, and is pure. Every refusal is one
//! line that names the flag or the object, and the remedy.

mod interface;
pub mod lock;
mod offloads;
mod sockets;

use std::net::IpAddr;

use anyhow::{Result, anyhow, bail};
use maglane_xsk::config::KERNEL_HEADROOM;

use crate::cli::values::{AutoOr, Cores, Ports};
use crate::settings::{NatSettings, Settings, SettingsError, core_count};
pub use interface::InterfaceFacts;
pub use lock::create_private_dir;
use sockets::LocalSocket;

/// What the kernel says about this node.
#[derive(Clone, Debug)]
pub struct Node {
    pub interfaces: Vec<InterfaceFacts>,
    pub addresses: Vec<IpAddr>,
    pub sockets: Vec<LocalSocket>,
    pub ephemeral: Option<Ports>,
    pub reserved: Vec<Ports>,
    /// Cores this process may run on.
    pub cores: Vec<usize>,
    /// About offloads, one line an interface.
    pub warnings: Vec<String>,
}

/// Settings completed by what the node has: nothing is left to guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub interfaces: Vec<InterfaceFacts>,
    /// One a receive queue.
    pub workers: u16,
    /// By worker; a core comes twice when there are fewer cores than workers.
    pub cores: Vec<usize>,
    /// Cores left to the control side; never empty.
    pub control_cores: Vec<usize>,
    /// Source addresses towards backends.
    pub snat_addresses: Vec<IpAddr>,
    pub chunk_size: u32,
    /// Packet buffers a worker.
    pub frames: u32,
    /// What the operator should know, though it is no reason to refuse.
    pub warnings: Vec<String>,
}

/// Asks the kernel everything [`resolve`] needs.
pub fn survey(settings: &Settings, cores: Vec<usize>) -> Result<Node> {
    Ok(Node {
        interfaces: settings
            .interfaces
            .iter()
            .map(|name| interface::facts(name))
            .collect::<Result<_>>()?,
        addresses: interface::node_addresses()?,
        sockets: sockets::local_sockets(),
        ephemeral: sockets::ephemeral_ports(),
        reserved: sockets::reserved_ports(),
        cores,
        warnings: offloads::warnings(&settings.interfaces, settings.xdp_mode),
    })
}

/// Completes the settings, or says what stands against them.
pub fn resolve(settings: &Settings, mut node: Node) -> Result<Launch> {
    let mut warnings = std::mem::take(&mut node.warnings);
    let workers = worker_count(settings.workers.count, &node.interfaces)?;
    let cores = pin(
        &settings.workers.cores,
        usize::from(workers),
        &node.cores,
        &mut warnings,
    )?;
    let snat_addresses = snat_addresses(&settings.nat, &node)?;
    check_ports(&settings.nat, &snat_addresses, &node)?;
    let chunk_size = chunk_size(settings.sockets.chunk_size, &node.interfaces, &mut warnings);
    let frames = match settings.sockets.frames {
        AutoOr::Fixed(frames) => frames,
        AutoOr::Auto => FRAMES_PER_INTERFACE.max(4 * settings.sockets.rx_ring) * node.interfaces.len() as u32,
    };
    Ok(Launch {
        workers,
        control_cores: control_cores(&node.cores, &cores),
        cores,
        interfaces: node.interfaces,
        snat_addresses,
        chunk_size,
        frames,
        warnings,
    })
}

const FRAMES_PER_INTERFACE: u32 = 8192;

/// One worker a queue, the same number on every interface: a queue without a socket would go unserved.
fn worker_count(wanted: AutoOr<u16>, interfaces: &[InterfaceFacts]) -> Result<u16> {
    let first = interfaces
        .first()
        .ok_or_else(|| anyhow!("--interface: name at least one"))?;
    let (count, flag) = match wanted {
        AutoOr::Auto => (
            first.rx_queues,
            format!("--workers auto takes {} from {}", first.rx_queues, first.name),
        ),
        AutoOr::Fixed(count) => (count, format!("--workers {count}")),
    };
    for interface in interfaces {
        if interface.rx_queues != count {
            bail!(
                "{flag}: {name} has {queues} receive queues and each needs one worker; \
                 run `ethtool -L {name} combined {count}` (or `rx {count} tx {count}`), or say --workers {queues}",
                name = interface.name,
                queues = interface.rx_queues
            );
        }
    }
    if count == 0 {
        bail!("{flag}: at least one worker is needed; say --workers auto")
    } else {
        Ok(count)
    }
}

fn pin(
    wanted: &Cores,
    workers: usize,
    available: &[usize],
    warnings: &mut Vec<String>,
) -> Result<Vec<usize>> {
    match wanted {
        Cores::List(list) => {
            core_count(list, workers)?;
            match list.iter().find(|core| !available.contains(core)) {
                Some(core) => Err(absent_core(*core, available).into()),
                None => Ok(list.clone()),
            }
        }
        Cores::Auto if workers <= available.len() => Ok(available[available.len() - workers..].to_vec()),
        Cores::Auto => {
            warnings.push(format!(
                "{workers} workers share {} cores: expect less than full speed",
                available.len()
            ));
            Ok(available.iter().copied().cycle().take(workers).collect())
        }
    }
}

fn absent_core(core: usize, available: &[usize]) -> SettingsError {
    let problem = "does not exist, or this process may not run on it";
    SettingsError::new(
        "--cores",
        core,
        problem,
        format!("choose from {available:?} (`taskset -p $$`)"),
    )
}

/// The cores no worker has; all of them when workers have all.
fn control_cores(available: &[usize], workers: &[usize]) -> Vec<usize> {
    let free: Vec<usize> = available
        .iter()
        .copied()
        .filter(|core| !workers.contains(core))
        .collect();
    if free.is_empty() { available.to_vec() } else { free }
}

/// The given addresses, which must be the node's; or one a family, from the last interface that has one
/// (with two interfaces that is the one towards the backends).
fn snat_addresses(nat: &NatSettings, node: &Node) -> Result<Vec<IpAddr>> {
    if let Some(foreign) = nat.addresses.iter().find(|ip| !node.addresses.contains(ip)) {
        let remedy = "add it to an interface first (`ip addr add`), or name one that `ip addr` shows";
        bail!(SettingsError::new(
            "--snat-address",
            foreign,
            "is not an address of this node",
            remedy
        ));
    }
    if !nat.addresses.is_empty() {
        return Ok(nat.addresses.clone());
    }
    let last_first = || {
        node.interfaces
            .iter()
            .rev()
            .flat_map(|interface| &interface.addresses)
            .copied()
    };
    Ok([
        last_first().find(IpAddr::is_ipv4),
        last_first().find(IpAddr::is_ipv6),
    ]
    .into_iter()
    .flatten()
    .collect())
}

/// Replies to our translated flows are redirected away from the kernel: nothing of the node's own may use
/// these ports.
fn check_ports(nat: &NatSettings, addresses: &[IpAddr], node: &Node) -> Result<()> {
    if let Some(ephemeral) = node.ephemeral
        && let Some(port) = sockets::first_shared(nat.ports, ephemeral, &node.reserved)
    {
        let problem = format!("overlaps net.ipv4.ip_local_port_range {ephemeral} (port {port}, for one)");
        let remedy = "choose ports outside it, or add them to net.ipv4.ip_local_reserved_ports";
        bail!(SettingsError::new("--snat-ports", nat.ports, problem, remedy));
    }
    for address in addresses {
        if let Some(socket) = node
            .sockets
            .iter()
            .find(|socket| socket.collides(*address, nat.ports))
        {
            let problem = format!("is in use on --snat-address {address}: {socket}");
            let port = socket.local.port();
            let remedy = format!("choose other ports, or stop what holds it (`ss -Hanptu sport = :{port}`)");
            bail!(SettingsError::new("--snat-ports", nat.ports, problem, remedy));
        }
    }
    Ok(())
}

/// Bytes around the layer-3 packet: Ethernet and two VLAN tags.
const LINK_BYTES: u32 = 14 + 8;

fn chunk_size(wanted: AutoOr<u32>, interfaces: &[InterfaceFacts], warnings: &mut Vec<String>) -> u32 {
    let room = |chunk: u32| chunk.saturating_sub(KERNEL_HEADROOM + LINK_BYTES);
    let largest = interfaces
        .iter()
        .map(|interface| interface.mtu)
        .max()
        .unwrap_or_default();
    let chunk = match wanted {
        AutoOr::Fixed(chunk) => chunk,
        AutoOr::Auto if largest <= room(2048) => 2048,
        AutoOr::Auto => 4096,
    };
    for interface in interfaces.iter().filter(|interface| interface.mtu > room(chunk)) {
        warnings.push(format!(
            "{}: MTU {} does not fit a packet buffer of {chunk} bytes: packets above {} bytes are dropped and counted; \
             lower it with `ip link set {} mtu {}`",
            interface.name,
            interface.mtu,
            room(chunk),
            interface.name,
            room(chunk)
        ));
    }
    chunk
}

#[cfg(test)]
mod tests;
