//! The fixed part of the TCP header (RFC 9293 §3.1).

use std::borrow::{Borrow, BorrowMut};
use std::fmt;

use super::{get, get_u16, header, header_mut, set, set_u16};

/// Without options.
pub const LEN: usize = 20;

/// Options that the search for another one has to know (RFC 9293 §3.2).
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

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

    #[inline]
    pub fn sequence(&self) -> u32 {
        u32::from_be_bytes(get(self.0.borrow(), 4))
    }

    /// Means something with ACK only.
    #[inline]
    pub fn acknowledgment(&self) -> u32 {
        u32::from_be_bytes(get(self.0.borrow(), 8))
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
    /// Writes the whole header but for the checksum, which is zero afterwards: no options, no window, no data.
    pub fn start(&mut self, ports: (u16, u16), sequence: u32, acknowledgment: u32, flags: TcpFlags) {
        let bytes = self.0.borrow_mut();
        *bytes = [0; LEN];
        set_u16(bytes, 0, ports.0);
        set_u16(bytes, 2, ports.1);
        set(bytes, 4, sequence.to_be_bytes());
        set(bytes, 8, acknowledgment.to_be_bytes());
        bytes[12] = (LEN / 4) as u8 * 16;
        bytes[13] = flags.0;
    }

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

/// Where in these options the two bytes of the maximum segment size are; `None` without one, or behind an
/// option whose length makes no sense.
pub fn segment_size_at(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let (&kind, rest) = options.get(at..)?.split_first()?;
        let len = match kind {
            END_OF_OPTIONS => return None,
            NO_OPERATION => 1,
            MAXIMUM_SEGMENT_SIZE => return (rest.len() >= 3 && rest[0] == 4).then_some(at + 2),
            _ => usize::from(*rest.first()?),
        };
        if len < 2 && kind != NO_OPERATION {
            return None;
        }
        at += len;
    }
}
