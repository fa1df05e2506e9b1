//! The node's own sockets and port ranges, which `nat` must not take replies away from
//! (`/proc/net/{tcp,tcp6,udp,udp6}`, `net.ipv4.ip_local_port_range`, `ip_local_reserved_ports`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use maglane_shared::addr::Protocol;

use crate::cli::values::Ports;

/// A socket of this node: whatever holds a local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalSocket {
    pub protocol: Protocol,
    pub local: SocketAddr,
}

impl LocalSocket {
    /// Would a reply to a flow translated to `address` and one of `ports` reach this socket?
    pub fn collides(&self, address: IpAddr, ports: Ports) -> bool {
        let ip = self.local.ip();
        // An IPv6 wildcard socket takes IPv4 as well, unless it was told not to.
        let same = ip == address || (ip.is_unspecified() && (ip.is_ipv6() || address.is_ipv4()));
        same && ports.contains(self.local.port())
    }
}

impl fmt::Display for LocalSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.local)
    }
}

/// Every socket with a local port in this network namespace. A missing table (no IPv6) is an empty one.
pub fn local_sockets() -> Vec<LocalSocket> {
    [
        ("tcp", Protocol::Tcp),
        ("tcp6", Protocol::Tcp),
        ("udp", Protocol::Udp),
        ("udp6", Protocol::Udp),
    ]
    .into_iter()
    .flat_map(|(table, protocol)| {
        let text = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        parse_table(&text, protocol)
    })
    .collect()
}

/// `  sl  local_address rem_address   st ...`: the addresses are words in host byte order.
pub fn parse_table(text: &str, protocol: Protocol) -> Vec<LocalSocket> {
    text.lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .filter_map(|local| {
            let (address, port) = local.split_once(':')?;
            let ip = parse_address(address)?;
            Some(LocalSocket {
                protocol,
                local: SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?),
            })
        })
        .collect()
}

fn parse_address(hex: &str) -> Option<IpAddr> {
    let words: Vec<u32> = (0..hex.len())
        .step_by(8)
        .map(|at| {
            hex.get(at..at + 8)
                .and_then(|word| u32::from_str_radix(word, 16).ok())
        })
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()),
        _ => None,
    }
}

/// Ports the kernel gives to sockets that ask for none.
pub fn ephemeral_ports() -> Option<Ports> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = text.split_whitespace().map(|n| n.parse().ok());
    Some(Ports {
        first: ends.next()??,
        last: ends.next()??,
    })
}

/// Of those, ports the operator has taken out (`net.ipv4.ip_local_reserved_ports`).
pub fn reserved_ports() -> Vec<Ports> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    parse_reserved(&text)
}

pub fn parse_reserved(text: &str) -> Vec<Ports> {
    text.trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(Ports {
                first: first.parse().ok()?,
                last: last.parse().ok()?,
            })
        })
        .collect()
}

/// A port that is in both ranges and not reserved: the kernel might give it to a socket.
pub fn first_shared(ours: Ports, ephemeral: Ports, reserved: &[Ports]) -> Option<u16> {
    let both = ours.first.max(ephemeral.first)..=ours.last.min(ephemeral.last);
    both.into_iter()
        .find(|port| !reserved.iter().any(|range| range.contains(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue\n   \
                       0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n   \
                       1: 00000000:4E20 00000000:0000 0A 00000000:00000000\n";
    const TCP6: &str = "  sl  local_address  remote_address\n   \
        0: 00000000000000000000000000000000:4E21 00000000000000000000000000000000:0000 0A\n   \
        1: B80D0120000000000000000001000000:0016 00000000000000000000000000000000:0000 0A\n";

    #[test]
    fn the_kernel_s_tables_are_read_in_both_families() {
        let show = |text, protocol| {
            parse_table(text, protocol)
                .iter()
                .map(LocalSocket::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            show(TCP, Protocol::Tcp),
            ["TCP 127.0.0.1:8080", "TCP 0.0.0.0:20000"]
        );
        assert_eq!(
            show(TCP6, Protocol::Udp),
            ["UDP [::]:20001", "UDP [2001:db8::1]:22"]
        );
        assert!(parse_table("", Protocol::Tcp).is_empty());
    }

    #[test]
    fn wildcard_sockets_collide_with_every_address_of_their_family() {
        let ports = Ports {
            first: 20_000,
            last: 20_001,
        };
        let (v4, v6): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "2001:db8::9".parse().unwrap());
        let [loopback, any_v4] = parse_table(TCP, Protocol::Tcp)[..] else {
            panic!()
        };
        let [any_v6, ssh] = parse_table(TCP6, Protocol::Tcp)[..] else {
            panic!()
        };
        assert!(any_v4.collides(v4, ports) && !any_v4.collides(v6, ports));
        assert!(any_v6.collides(v4, ports) && any_v6.collides(v6, ports));
        assert!(!loopback.collides(v4, ports) && !ssh.collides(v6, ports));
    }

    #[test]
    fn reserved_ports_are_free_for_us() {
        let (ours, ephemeral) = (
            Ports {
                first: 30_000,
                last: 33_000,
            },
            Ports {
                first: 32_768,
                last: 60_999,
            },
        );
        assert_eq!(first_shared(ours, ephemeral, &[]), Some(32_768));
        assert_eq!(
            first_shared(ours, ephemeral, &parse_reserved("5,32768-32999\n")),
            Some(33_000)
        );
        assert_eq!(
            first_shared(ours, ephemeral, &parse_reserved("32768-33000")),
            None
        );
        assert_eq!(first_shared(Ports { first: 1, last: 9 }, ephemeral, &[]), None);
        assert!(parse_reserved("\n").is_empty());
    }
}
