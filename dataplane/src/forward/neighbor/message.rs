//! A whole frame of ours about neighbours.

use std::fmt;

use arrayvec::ArrayVec;
use maglane_shared::addr::MacAddr;

use crate::wire::{ethernet, ipv6, ndp, vlan};

/// Ethernet with two tags around the longest message.
const MAX: usize = ethernet::LEN + 2 * vlan::LEN + ipv6::LEN + ndp::ADVERTISEMENT_LEN;
/// Ethernet frames are not shorter (IEEE 802.3 §4.2.3.3), the checksum not counted.
const MIN: usize = 60;

/// A frame ready to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Message(ArrayVec<u8, MAX>);

impl Message {
    /// Ethernet header, what stands between the addresses and the packet (tags and EtherType), packet.
    pub(super) fn new(destination: MacAddr, source: MacAddr, link: &[u8], packet: [&[u8]; 2]) -> Message {
        let [first, second] = packet;
        let parts = [&destination.0, &source.0, link, first, second];
        let bytes = parts.into_iter().flatten().copied();
        // Never more than it holds: `link` has two tags at most, the packet is one of ours.
        let mut frame: ArrayVec<u8, MAX> = bytes.take(MAX).collect();
        while frame.len() < MIN {
            frame.push(0);
        }
        Message(frame)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
