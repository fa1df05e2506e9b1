//! The UDP header (RFC 768).

use std::borrow::{Borrow, BorrowMut};

use super::{get_u16, header, header_mut, set_u16};

pub const LEN: usize = 8;

#[derive(Clone, Copy, Debug)]
pub struct Udp<B>(B);

impl<'a> Udp<&'a [u8; LEN]> {
    #[inline]
    pub fn at(data: &'a [u8], offset: usize) -> Option<Self> {
        header(data, offset).map(Udp)
    }
}

impl<'a> Udp<&'a mut [u8; LEN]> {
    #[inline]
    pub fn at_mut(data: &'a mut [u8], offset: usize) -> Option<Self> {
        header_mut(data, offset).map(Udp)
    }
}

impl<B: Borrow<[u8; LEN]>> Udp<B> {
    #[inline]
    pub fn src_port(&self) -> u16 {
        get_u16(self.0.borrow(), 0)
    }

    #[inline]
    pub fn dst_port(&self) -> u16 {
        get_u16(self.0.borrow(), 2)
    }

    /// Header and payload, in bytes; below 8 in a malformed header.
    #[inline]
    pub fn datagram_len(&self) -> u16 {
        get_u16(self.0.borrow(), 4)
    }

    /// 0 = none was computed, which only IPv4 allows (RFC 8200 §8.1).
    #[inline]
    pub fn checksum(&self) -> u16 {
        get_u16(self.0.borrow(), 6)
    }
}

impl<B: BorrowMut<[u8; LEN]>> Udp<B> {
    #[inline]
    pub fn set_src_port(&mut self, port: u16) {
        set_u16(self.0.borrow_mut(), 0, port);
    }

    #[inline]
    pub fn set_dst_port(&mut self, port: u16) {
        set_u16(self.0.borrow_mut(), 2, port);
    }

    #[inline]
    pub fn set_datagram_len(&mut self, len: u16) {
        set_u16(self.0.borrow_mut(), 4, len);
    }

    /// Says that there is no checksum.
    #[inline]
    pub fn clear_checksum(&mut self) {
        set_u16(self.0.borrow_mut(), 6, 0);
    }

    /// Sets a computed checksum; 0 goes out as 0xffff, its other form, as 0 would say "none" (RFC 768).
    #[inline]
    pub fn set_checksum(&mut self, computed: u16) {
        set_u16(
            self.0.borrow_mut(),
            6,
            if computed == 0 { 0xffff } else { computed },
        );
    }
}
