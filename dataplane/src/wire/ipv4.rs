//! The fixed part of the IPv4 header (RFC 791 §3.1).

use std::borrow::{Borrow, BorrowMut};

use maglane_shared::addr::Addr;

use super::checksum::Sum;
use super::{get, get_u16, header, header_mut, set, set_u16};

/// Without options.
pub const LEN: usize = 20;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

#[derive(Clone, Copy, Debug)]
pub struct Ipv4<B>(B);

impl<'a> Ipv4<&'a [u8; LEN]> {
    #[inline]
    pub fn at(data: &'a [u8], offset: usize) -> Option<Self> {
        header(data, offset).map(Ipv4)
    }
}

impl<'a> Ipv4<&'a mut [u8; LEN]> {
    #[inline]
    pub fn at_mut(data: &'a mut [u8], offset: usize) -> Option<Self> {
        header_mut(data, offset).map(Ipv4)
    }
}

impl<B: Borrow<[u8; LEN]>> Ipv4<B> {
    #[inline]
    pub fn version(&self) -> u8 {
        self.0.borrow()[0] >> 4
    }

    /// In bytes; below 20 in a malformed header.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.0.borrow()[0] & 0xf) * 4
    }

    /// DSCP and ECN (RFC 2474 §3, RFC 3168 §5).
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        self.0.borrow()[1]
    }

    /// Header and payload, in bytes.
    #[inline]
    pub fn total_len(&self) -> u16 {
        get_u16(self.0.borrow(), 2)
    }

    #[inline]
    pub fn id(&self) -> u16 {
        get_u16(self.0.borrow(), 4)
    }

    #[inline]
    pub fn dont_fragment(&self) -> bool {
        get_u16(self.0.borrow(), 6) & DONT_FRAGMENT != 0
    }

    #[inline]
    pub fn more_fragments(&self) -> bool {
        get_u16(self.0.borrow(), 6) & MORE_FRAGMENTS != 0
    }

    /// In bytes, a multiple of 8, at most 65,528.
    #[inline]
    pub fn fragment_offset(&self) -> u16 {
        get_u16(self.0.borrow(), 6) << 3
    }

    #[inline]
    pub fn ttl(&self) -> u8 {
        self.0.borrow()[8]
    }

    #[inline]
    pub fn protocol(&self) -> u8 {
        self.0.borrow()[9]
    }

    #[inline]
    pub fn checksum(&self) -> u16 {
        get_u16(self.0.borrow(), 10)
    }

    #[inline]
    pub fn src(&self) -> Addr {
        Addr::from_v4_bytes(get(self.0.borrow(), 12))
    }

    #[inline]
    pub fn dst(&self) -> Addr {
        Addr::from_v4_bytes(get(self.0.borrow(), 16))
    }

    /// The sum of these 20 bytes; options, if any, are the caller's to add.
    #[inline]
    pub fn sum(&self) -> Sum {
        Sum::default().bytes(self.0.borrow())
    }
}

impl<B: BorrowMut<[u8; LEN]>> Ipv4<B> {
    /// Writes the whole header. The checksum comes from the fields: summing bytes just stored would wait
    /// for the stores.
    #[inline]
    pub fn write(&mut self, header: &Header) {
        let Header {
            total_len,
            id,
            dont_fragment,
            ..
        } = *header;
        let first = 0x4500 | u16::from(header.traffic_class);
        let flags = if dont_fragment { DONT_FRAGMENT } else { 0 };
        let hops = u16::from_be_bytes([header.ttl, header.protocol]);
        let sum = Sum::default()
            .u16(first)
            .u16(total_len)
            .u16(id)
            .u16(flags)
            .u16(hops);
        let [src, dst] = [header.src, header.dst].map(|addr| u32::from_be_bytes(addr.v4_bytes()));
        let checksum = sum.u32(src).u32(dst).checksum();
        let bytes = self.0.borrow_mut();
        set(bytes, 0, join(first, total_len));
        set(bytes, 4, join(id, flags));
        set(bytes, 8, join(hops, checksum));
        set(bytes, 12, header.src.v4_bytes());
        set(bytes, 16, header.dst.v4_bytes());
    }

    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        self.0.borrow_mut()[8] = ttl;
    }

    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        set_u16(self.0.borrow_mut(), 10, checksum);
    }

    /// `addr` is IPv4.
    #[inline]
    pub fn set_src(&mut self, addr: Addr) {
        set(self.0.borrow_mut(), 12, addr.v4_bytes());
    }

    /// `addr` is IPv4.
    #[inline]
    pub fn set_dst(&mut self, addr: Addr) {
        set(self.0.borrow_mut(), 16, addr.v4_bytes());
    }
}

/// Two fields as they follow each other.
#[inline]
fn join(first: u16, second: u16) -> [u8; 4] {
    (u32::from(first) << 16 | u32::from(second)).to_be_bytes()
}

/// What [`Ipv4::write`] makes a header of: without options, not a fragment.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub total_len: u16,
    pub protocol: u8,
    pub traffic_class: u8,
    pub ttl: u8,
    pub id: u16,
    pub dont_fragment: bool,
    /// IPv4, as `dst`.
    pub src: Addr,
    pub dst: Addr,
}
