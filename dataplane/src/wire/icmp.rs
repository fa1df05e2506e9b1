//! The eight bytes that echoes and errors share in ICMP (RFC 792) and ICMPv6 (RFC 4443).

use std::borrow::{Borrow, BorrowMut};

use super::{get, get_u16, header, header_mut, set_u16};

pub const LEN: usize = 8;

/// ICMP types (RFC 792).
pub mod v4 {
    pub const ECHO_REPLY: u8 = 0;
    pub const UNREACHABLE: u8 = 3;
    pub const ECHO_REQUEST: u8 = 8;
    pub const TIME_EXCEEDED: u8 = 11;
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Codes of [`UNREACHABLE`].
    pub const PORT_UNREACHABLE: u8 = 3;
    pub const FRAGMENTATION_NEEDED: u8 = 4;
}

/// ICMPv6 types (RFC 4443 §2.1).
pub mod v6 {
    pub const UNREACHABLE: u8 = 1;
    pub const TOO_BIG: u8 = 2;
    pub const TIME_EXCEEDED: u8 = 3;
    pub const PARAMETER_PROBLEM: u8 = 4;
    pub const ECHO_REQUEST: u8 = 128;
    pub const ECHO_REPLY: u8 = 129;
    /// RFC 4861 §4.3 and §4.4.
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    /// Code of [`UNREACHABLE`].
    pub const PORT_UNREACHABLE: u8 = 4;
}

#[derive(Clone, Copy, Debug)]
pub struct Icmp<B>(B);

impl<'a> Icmp<&'a [u8; LEN]> {
    #[inline]
    pub fn at(data: &'a [u8], offset: usize) -> Option<Self> {
        header(data, offset).map(Icmp)
    }
}

impl<'a> Icmp<&'a mut [u8; LEN]> {
    #[inline]
    pub fn at_mut(data: &'a mut [u8], offset: usize) -> Option<Self> {
        header_mut(data, offset).map(Icmp)
    }
}

impl<B: Borrow<[u8; LEN]>> Icmp<B> {
    #[inline]
    pub fn kind(&self) -> u8 {
        self.0.borrow()[0]
    }

    #[inline]
    pub fn code(&self) -> u8 {
        self.0.borrow()[1]
    }

    #[inline]
    pub fn checksum(&self) -> u16 {
        get_u16(self.0.borrow(), 2)
    }

    /// The last four bytes: next-hop MTU (RFC 1191 §4 in its lower half, RFC 4443 §3.2) in bytes.
    #[inline]
    pub fn mtu(&self) -> u32 {
        u32::from_be_bytes(get(self.0.borrow(), 4))
    }
}

impl<B: BorrowMut<[u8; LEN]>> Icmp<B> {
    /// All eight bytes, the checksum zero.
    #[inline]
    pub fn start(&mut self, kind: u8, code: u8, mtu: u16) {
        let [high, low] = mtu.to_be_bytes();
        *self.0.borrow_mut() = [kind, code, 0, 0, 0, 0, high, low];
    }

    #[inline]
    pub fn set_kind(&mut self, kind: u8) {
        self.0.borrow_mut()[0] = kind;
    }

    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        set_u16(self.0.borrow_mut(), 2, checksum);
    }
}
