//! Layer 2's voice: says unasked where an address is, and makes switches and cards let its questions through.
//! Decides nothing; answers are the workers' ([`maglane_dataplane::forward::neighbor`]).
//!
//! IPv6 asks by multicast, so the solicited-node group of each address is joined by socket: that programs the
//! card's filter and tells snooping switches (MLD). ARP comes by broadcast anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv6Addr, UdpSocket};

use anyhow::Result;
use maglane_dataplane::forward::neighbor::announcements;
use maglane_shared::addr::{Addr, MacAddr};
use maglane_shared::counters::Counter;
use maglane_xsk::PacketSocket;

/// Groups that one socket joins; the kernel's memory for them is limited a socket (net.core.optmem_max).
const GROUPS_A_SOCKET: usize = 128;
/// Bind to nothing in particular: no packet is ever taken from these sockets.
const NOWHERE: (Ipv6Addr, u16) = (Ipv6Addr::UNSPECIFIED, 0);

/// By number of the interface and group.
type Group = (u8, Ipv6Addr);

#[derive(Debug)]
pub struct Announcer {
    interfaces: Vec<String>,
    socket: PacketSocket,
    groups: BTreeMap<Group, Membership>,
    sockets: Vec<(UdpSocket, usize)>,
}

/// Which socket has joined, on which interface of the kernel.
#[derive(Clone, Copy, Debug)]
struct Membership {
    socket: usize,
    interface: u32,
}

impl Announcer {
    pub fn open(interfaces: &[String]) -> Result<Announcer> {
        Ok(Announcer {
            interfaces: interfaces.to_vec(),
            socket: PacketSocket::open()?,
            groups: BTreeMap::new(),
            sockets: vec![],
        })
    }

    /// Tells everybody on the link; `macs` are the interfaces' own. One that is down cannot, and is told of in
    /// the log alone: the address is announced again soon.
    pub fn announce(&self, due: &[(u8, Addr)], macs: &[MacAddr], sent: &Counter) {
        for (port, addr) in due {
            let Some(mac) = macs.get(usize::from(*port)) else {
                continue;
            };
            for message in announcements(*addr, *mac) {
                let send = |interface| self.socket.send(interface, message.bytes());
                match self.index(*port).and_then(send) {
                    Ok(()) => sent.add(1),
                    Err(error) => {
                        let name = &self.interfaces[usize::from(*port)];
                        tracing::warn!("{name}: {addr} could not be announced: {error}");
                    }
                }
            }
        }
    }

    /// Is a member of exactly the groups that these addresses need, by interface.
    pub fn listen(&mut self, owned: &[BTreeSet<Addr>]) {
        let ports = (0u8..).zip(owned);
        let wanted: BTreeSet<Group> = ports
            .flat_map(|(port, addrs)| {
                addrs
                    .iter()
                    .filter_map(move |addr| Some((port, solicited(*addr)?)))
            })
            .collect();
        let surplus: Vec<Group> = self
            .groups
            .keys()
            .filter(|g| !wanted.contains(g))
            .copied()
            .collect();
        for group in surplus {
            self.leave(group);
        }
        let missing: Vec<Group> = wanted
            .into_iter()
            .filter(|g| !self.groups.contains_key(g))
            .collect();
        for group in missing {
            if let Err(error) = self.join(group) {
                let (port, addr) = group;
                let name = &self.interfaces[usize::from(port)];
                tracing::warn!(
                    "{name}: the group {addr} cannot be joined: {error}; is IPv6 on there? ({DISABLE})"
                );
            }
        }
    }

    fn join(&mut self, group: Group) -> io::Result<()> {
        let (port, addr) = group;
        let interface = self.index(port)?;
        let free = self.sockets.iter().position(|(_, used)| *used < GROUPS_A_SOCKET);
        let socket = match free {
            Some(socket) => socket,
            None => {
                self.sockets.push((UdpSocket::bind(NOWHERE)?, 0));
                self.sockets.len() - 1
            }
        };
        let (joining, used) = &mut self.sockets[socket];
        joining.join_multicast_v6(&addr, interface)?;
        *used += 1;
        self.groups.insert(group, Membership { socket, interface });
        Ok(())
    }

    fn leave(&mut self, group: Group) {
        let Some(Membership { socket, interface }) = self.groups.remove(&group) else {
            return;
        };
        let (leaving, used) = &mut self.sockets[socket];
        *used -= 1;
        // An interface that is gone took its memberships along.
        if let Err(error) = leaving.leave_multicast_v6(&group.1, interface) {
            tracing::debug!(%error, group = %group.1, "leaving a group");
        }
    }

    fn index(&self, port: u8) -> io::Result<u32> {
        let name = &self.interfaces[usize::from(port)];
        nix::net::if_::if_nametoindex(name.as_str()).map_err(io::Error::from)
    }
}

const DISABLE: &str = "net.ipv6.conf.<interface>.disable_ipv6";

/// ff02::1:ffXX:XXXX (RFC 4291 §2.7.1); none for IPv4.
fn solicited(addr: Addr) -> Option<Ipv6Addr> {
    let prefix: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    (!addr.is_v4()).then(|| Ipv6Addr::from(prefix | addr.bits() & 0xff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_has_the_addresss_last_three_bytes() {
        let of = |text: &str| solicited(text.parse().unwrap());
        assert_eq!(
            of("2001:db8::12:3456"),
            Some("ff02::1:ff12:3456".parse().unwrap())
        );
        assert_eq!(of("192.0.2.1"), None);
    }
}
