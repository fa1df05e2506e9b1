//! The Ethernet II header (IEEE 802.3 §3.2).

use std::borrow::{Borrow, BorrowMut};

use maglane_shared::addr::MacAddr;

use super::{get, get_u16, header, header_mut, set};

pub const LEN: usize = 14;

pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const IPV6: u16 = 0x86dd;
/// 802.1Q customer tag.
pub const VLAN: u16 = 0x8100;
/// 802.1ad service tag (QinQ).
pub const SERVICE_VLAN: u16 = 0x88a8;

#[derive(Clone, Copy, Debug)]
pub struct Ethernet<B>(B);

impl<'a> Ethernet<&'a [u8; LEN]> {
    #[inline]
    pub fn at(data: &'a [u8], offset: usize) -> Option<Self> {
        header(data, offset).map(Ethernet)
    }
}

impl<'a> Ethernet<&'a mut [u8; LEN]> {
    #[inline]
    pub fn at_mut(data: &'a mut [u8], offset: usize) -> Option<Self> {
        header_mut(data, offset).map(Ethernet)
    }
}

impl<B: Borrow<[u8; LEN]>> Ethernet<B> {
    #[inline]
    pub fn destination(&self) -> MacAddr {
        MacAddr(get(self.0.borrow(), 0))
    }

    #[inline]
    pub fn source(&self) -> MacAddr {
        MacAddr(get(self.0.borrow(), 6))
    }

    #[inline]
    pub fn ether_type(&self) -> u16 {
        get_u16(self.0.borrow(), 12)
    }
}

impl<B: BorrowMut<[u8; LEN]>> Ethernet<B> {
    #[inline]
    pub fn set_destination(&mut self, mac: MacAddr) {
        set(self.0.borrow_mut(), 0, mac.0);
    }

    #[inline]
    pub fn set_source(&mut self, mac: MacAddr) {
        set(self.0.borrow_mut(), 6, mac.0);
    }
}
