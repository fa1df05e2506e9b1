//! One VLAN tag after its EtherType (IEEE 802.1Q §9.6): tag control information, then the next EtherType.
//! Maglane keeps tags as they came, so there are no setters.

use std::borrow::Borrow;

use super::{get_u16, header};

pub const LEN: usize = 4;

#[derive(Clone, Copy, Debug)]
pub struct Vlan<B>(B);

impl<'a> Vlan<&'a [u8; LEN]> {
    #[inline]
    pub fn at(data: &'a [u8], offset: usize) -> Option<Self> {
        header(data, offset).map(Vlan)
    }
}

impl<B: Borrow<[u8; LEN]>> Vlan<B> {
    #[inline]
    pub fn ether_type(&self) -> u16 {
        get_u16(self.0.borrow(), 2)
    }
}
