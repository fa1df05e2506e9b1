//! The fixed part of the TCP header (RFC 9293 §3.1).

use std::borrow::{Borrow, BorrowMut};
use std::fmt;

use super::{get_u16, header, header_mut, set_u16};

/// Without options.
pub const LEN: usize = 20;

/// The eight control bits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    pub const FIN: TcpFlags = TcpFlags(0x01);
    pub const SYN: TcpFlags = TcpFlags(0x02);
    pub const RST: TcpFlags = TcpFlags(0x04);
    pub const PSH: TcpFlags = TcpFlags(0x08);
    pub const ACK: TcpFlags = TcpFlags(0x10);
    pub const URG: TcpFlags = TcpFlags(0x20);

    /// Are all of `flags` set?
    #[inline]
    pub const fn contains(self, flags: TcpFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    #[inline]
    pub const fn union(self, flags: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | flags.0)
    }

    /// Could an honest sender have set these? Not none of the six (a null scan), nor SYN with FIN or RST.
    #[inline]
    pub const fn possible(self) -> bool {
        let opposed = TcpFlags::FIN.0 | TcpFlags::RST.0;
        self.0 & 0x3f != 0 && !(self.contains(TcpFlags::SYN) && self.0 & opposed != 0)
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (0x02, 'S'),
            (0x01, 'F'),
            (0x04, 'R'),
            (0x08, 'P'),
            (0x10, 'A'),
            (0x20, 'U'),
        ];
        names
            .iter()
            .filter(|(bit, _)| self.0 & bit != 0)
            .try_for_each(|(_, name)| write!(f, "{name}"))
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Tcp<B>(B);

impl<'a> Tcp<&'a [u8; LEN]> {
    #[inline]
    pub fn at(data: &'a [u8], offset: usize) -> Option<Self> {
        header(data, offset).map(Tcp)
    }
}

impl<'a> Tcp<&'a mut [u8; LEN]> {
    #[inline]
    pub fn at_mut(data: &'a mut [u8], offset: usize) -> Option<Self> {
        header_mut(data, offset).map(Tcp)
    }
}

impl<B: Borrow<[u8; LEN]>> Tcp<B> {
    #[inline]
    pub fn src_port(&self) -> u16 {
        get_u16(self.0.borrow(), 0)
    }

    #[inline]
    pub fn dst_port(&self) -> u16 {
        get_u16(self.0.borrow(), 2)
    }

    /// In bytes; below 20 in a malformed header.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.0.borrow()[12] >> 4) * 4
    }

    #[inline]
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.0.borrow()[13])
    }

    #[inline]
    pub fn checksum(&self) -> u16 {
        get_u16(self.0.borrow(), 16)
    }
}

impl<B: BorrowMut<[u8; LEN]>> Tcp<B> {
    #[inline]
    pub fn set_src_port(&mut self, port: u16) {
        set_u16(self.0.borrow_mut(), 0, port);
    }

    #[inline]
    pub fn set_dst_port(&mut self, port: u16) {
        set_u16(self.0.borrow_mut(), 2, port);
    }

    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        set_u16(self.0.borrow_mut(), 16, checksum);
    }
}
