//! Neighbour solicitations and advertisements (RFC 4861 §4.3, §4.4) and their options (§4.6).

use std::borrow::Borrow;

use maglane_shared::addr::{Addr, MacAddr};

use super::{get, header};
use crate::wire::icmp::v6;

/// ICMPv6 header and target, without options.
pub const LEN: usize = 24;
/// An advertisement of ours: with one option, the target's link-layer address.
pub const ADVERTISEMENT_LEN: usize = LEN + 8;
/// Nothing that crossed a router has it (RFC 4861 §7.1).
pub const HOP_LIMIT: u8 = 255;

const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// Flags of an advertisement.
pub const SOLICITED: u8 = 0x40;
pub const OVERRIDE: u8 = 0x20;

#[derive(Clone, Copy, Debug)]
pub struct Message<B>(B);

impl<'a> Message<&'a [u8; LEN]> {
    #[inline]
    pub fn at(data: &'a [u8], offset: usize) -> Option<Self> {
        header(data, offset).map(Message)
    }
}

impl<B: Borrow<[u8; LEN]>> Message<B> {
    pub fn kind(&self) -> u8 {
        self.0.borrow()[0]
    }

    pub fn code(&self) -> u8 {
        self.0.borrow()[1]
    }

    pub fn target(&self) -> Addr {
        Addr::from_v6_bytes(get(self.0.borrow(), 8))
    }
}

/// The link-layer addresses that options give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub source: Option<MacAddr>,
    pub target: Option<MacAddr>,
}

/// Reads all options; `None` when one of them has no length or runs past the end.
pub fn options(mut data: &[u8]) -> Option<Options> {
    let mut found = Options::default();
    while let [kind, units, ..] = *data {
        let len = usize::from(units) * 8;
        let option = data.get(..len).filter(|_| len > 0)?;
        let mac = || header(option, 2).copied().map(MacAddr);
        match kind {
            SOURCE_LINK_LAYER => found.source = mac(),
            TARGET_LINK_LAYER => found.target = mac(),
            _ => {}
        }
        data = &data[len..];
    }
    data.is_empty().then_some(found)
}

/// An advertisement of `target` at `mac`, its checksum zero.
pub fn advertisement(flags: u8, target: Addr, mac: MacAddr) -> [u8; ADVERTISEMENT_LEN] {
    let mut bytes = [0; ADVERTISEMENT_LEN];
    bytes[0] = v6::NEIGHBOR_ADVERTISEMENT;
    bytes[4] = flags;
    bytes[8..24].copy_from_slice(&target.v6_bytes());
    bytes[24..26].copy_from_slice(&[TARGET_LINK_LAYER, 1]);
    bytes[26..].copy_from_slice(&mac.0);
    bytes
}
