//! What the control side wants steered, and its spelling as map keys (`struct address`, `struct endpoint` in steer.c).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Ports in host order, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A port of an address: where a `dnat` backend answers from, or a node port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub addr: IpAddr,
    pub port: u16,
    pub proto: Protocol,
}

pub(crate) type NatReturns = BTreeMap<IpAddr, PortRange>;

/// The whole wanted set of one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SteerSet {
    /// Everything to these addresses.
    pub vips: BTreeSet<IpAddr>,
    /// TCP, UDP to these ports, and ICMP errors about what they sent; all else to their addresses is the kernel's.
    pub endpoints: BTreeSet<Endpoint>,
    /// TCP, UDP and ICMP errors to these addresses and ports.
    pub nat_returns: NatReturns,
    /// TCP, UDP from these endpoints, and ICMP errors about packets to them, unless for a local address.
    pub dnat_returns: BTreeSet<Endpoint>,
    /// Addresses of this node: what comes to them from a `dnat` backend is the kernel's.
    pub local: BTreeSet<IpAddr>,
}

/// 16 bytes; IPv4 as ::ffff:a.b.c.d.
pub(crate) type AddressKey = [u8; 16];
/// Address, port in network order, protocol number, five bytes of zero.
pub(crate) type EndpointKey = [u8; 24];

pub(crate) fn address_key(address: IpAddr) -> AddressKey {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Newtypes would need `Pod` by hand; these two conversions are all the maps want.
pub(crate) trait MapKey<K> {
    fn key(self) -> K;
}

impl MapKey<AddressKey> for IpAddr {
    fn key(self) -> AddressKey {
        address_key(self)
    }
}

impl MapKey<EndpointKey> for Endpoint {
    fn key(self) -> EndpointKey {
        let mut key = [0; 24];
        key[..16].copy_from_slice(&address_key(self.addr));
        key[16..18].copy_from_slice(&self.port.to_be_bytes());
        key[18] = match self.proto {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        };
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_as_in_steer_c() {
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(v4.key(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]);
        let key = Endpoint {
            addr: v4,
            port: 0x1234,
            proto: Protocol::Udp,
        }
        .key();
        assert_eq!(key[16..], [0x12, 0x34, 17, 0, 0, 0, 0, 0]);
    }
}
