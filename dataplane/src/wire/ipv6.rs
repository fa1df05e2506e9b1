//! The IPv6 header (RFC 8200 §3) and what extension headers have in common (RFC 8200 §4).

use std::borrow::{Borrow, BorrowMut};

use maglane_shared::addr::Addr;

use super::{get, get_u16, header, header_mut, set, set_u16};

pub const LEN: usize = 40;

/// No IPv6 link carries less, so no packet up to this size may be refused as too big (RFC 8200 §5).
pub const MIN_MTU: u16 = 1280;

/// Next header values of the extension headers that are followed.
pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const DESTINATION_OPTIONS: u8 = 60;

#[derive(Clone, Copy, Debug)]
pub struct Ipv6<B>(B);

impl<'a> Ipv6<&'a [u8; LEN]> {
    #[inline]
    pub fn at(data: &'a [u8], offset: usize) -> Option<Self> {
        header(data, offset).map(Ipv6)
    }
}

impl<'a> Ipv6<&'a mut [u8; LEN]> {
    #[inline]
    pub fn at_mut(data: &'a mut [u8], offset: usize) -> Option<Self> {
        header_mut(data, offset).map(Ipv6)
    }
}

impl<B: Borrow<[u8; LEN]>> Ipv6<B> {
    #[inline]
    pub fn version(&self) -> u8 {
        self.0.borrow()[0] >> 4
    }

    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (get_u16(self.0.borrow(), 0) >> 4) as u8
    }

    /// Extension headers and payload, in bytes.
    #[inline]
    pub fn payload_len(&self) -> u16 {
        get_u16(self.0.borrow(), 4)
    }

    #[inline]
    pub fn next_header(&self) -> u8 {
        self.0.borrow()[6]
    }

    #[inline]
    pub fn hop_limit(&self) -> u8 {
        self.0.borrow()[7]
    }

    #[inline]
    pub fn src(&self) -> Addr {
        Addr::from_v6_bytes(get(self.0.borrow(), 8))
    }

    #[inline]
    pub fn dst(&self) -> Addr {
        Addr::from_v6_bytes(get(self.0.borrow(), 24))
    }
}

impl<B: BorrowMut<[u8; LEN]>> Ipv6<B> {
    /// The first eight bytes; the lowest 20 bits of `flow_label` are used (RFC 6437).
    #[inline]
    pub fn start(
        &mut self,
        payload_len: u16,
        next_header: u8,
        traffic_class: u8,
        hop_limit: u8,
        flow_label: u32,
    ) {
        let first = 6 << 28 | u32::from(traffic_class) << 20 | flow_label & 0xf_ffff;
        let bytes = self.0.borrow_mut();
        set(bytes, 0, first.to_be_bytes());
        set_u16(bytes, 4, payload_len);
        bytes[6] = next_header;
        bytes[7] = hop_limit;
    }

    #[inline]
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.0.borrow_mut()[7] = hop_limit;
    }

    #[inline]
    pub fn set_src(&mut self, addr: Addr) {
        set(self.0.borrow_mut(), 8, addr.v6_bytes());
    }

    #[inline]
    pub fn set_dst(&mut self, addr: Addr) {
        set(self.0.borrow_mut(), 24, addr.v6_bytes());
    }
}

/// The first eight bytes of an extension header.
#[derive(Clone, Copy, Debug)]
pub struct Extension<B>(B);

impl<'a> Extension<&'a [u8; 8]> {
    #[inline]
    pub fn at(data: &'a [u8], offset: usize) -> Option<Self> {
        header(data, offset).map(Extension)
    }
}

impl<B: Borrow<[u8; 8]>> Extension<B> {
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.0.borrow()[0]
    }

    /// In bytes; not for the fragment header, which is always 8 long (RFC 8200 §4.5).
    #[inline]
    pub fn header_len(&self) -> usize {
        (usize::from(self.0.borrow()[1]) + 1) * 8
    }

    /// Of a routing header: waypoints still ahead (RFC 8200 §4.4).
    #[inline]
    pub fn segments_left(&self) -> u8 {
        self.0.borrow()[3]
    }

    /// Of a fragment header: in bytes, a multiple of 8.
    #[inline]
    pub fn fragment_offset(&self) -> u16 {
        get_u16(self.0.borrow(), 2) & !7
    }

    /// Of a fragment header.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        self.0.borrow()[3] & 1 != 0
    }

    /// Of a fragment header.
    #[inline]
    pub fn fragment_id(&self) -> u32 {
        u32::from_be_bytes(get(self.0.borrow(), 4))
    }
}
