//! ARP for IPv4 over Ethernet (RFC 826).

use std::borrow::Borrow;

use maglane_shared::addr::{Addr, MacAddr};

use super::{get, get_u16, header};

pub const LEN: usize = 28;

pub const REQUEST: u16 = 1;
pub const REPLY: u16 = 2;

/// Hardware Ethernet, protocol IPv4, addresses of 6 and 4 bytes.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

#[derive(Clone, Copy, Debug)]
pub struct Arp<B>(B);

impl<'a> Arp<&'a [u8; LEN]> {
    #[inline]
    pub fn at(data: &'a [u8], offset: usize) -> Option<Self> {
        header(data, offset).map(Arp)
    }
}

impl<B: Borrow<[u8; LEN]>> Arp<B> {
    /// IPv4 over Ethernet; the fields below mean nothing otherwise.
    pub fn is_ethernet_ipv4(&self) -> bool {
        get(self.0.borrow(), 0) == KIND
    }

    pub fn operation(&self) -> u16 {
        get_u16(self.0.borrow(), 6)
    }

    pub fn sender_mac(&self) -> MacAddr {
        MacAddr(get(self.0.borrow(), 8))
    }

    /// 0.0.0.0 in a probe (RFC 5227 §1.1).
    pub fn sender(&self) -> Addr {
        Addr::from_v4_bytes(get(self.0.borrow(), 14))
    }

    pub fn target(&self) -> Addr {
        Addr::from_v4_bytes(get(self.0.borrow(), 24))
    }
}

/// One side of an ARP packet.
#[derive(Clone, Copy, Debug)]
pub struct Party {
    pub mac: MacAddr,
    pub addr: Addr,
}

/// The whole packet; both addresses are IPv4.
pub fn packet(operation: u16, sender: Party, target: Party) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..6].copy_from_slice(&KIND);
    bytes[6..8].copy_from_slice(&operation.to_be_bytes());
    for (at, Party { mac, addr }) in [(8, sender), (18, target)] {
        bytes[at..at + 6].copy_from_slice(&mac.0);
        bytes[at + 6..at + 10].copy_from_slice(&addr.v4_bytes());
    }
    bytes
}
