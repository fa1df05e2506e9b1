//! Ethernet addresses: whom a frame goes to next. VLAN tags stay as they came.

use maglane_shared::addr::MacAddr;

use crate::packet::Packet;
use crate::wire::ethernet::Ethernet;

/// Addresses a frame to a next hop.
#[inline]
pub fn address(packet: &mut Packet<'_>, destination: MacAddr, source: MacAddr) {
    if let Some(mut header) = Ethernet::at_mut(packet.data_mut(), 0) {
        header.set_destination(destination);
        header.set_source(source);
    }
}

/// Sends a frame back to the neighbour it came from.
#[inline]
pub fn turn_round(packet: &mut Packet<'_>) {
    if let Some(mut header) = Ethernet::at_mut(packet.data_mut(), 0) {
        let (destination, source) = (header.destination(), header.source());
        header.set_destination(source);
        header.set_source(destination);
    }
}

/// Whom the frame was sent to; `None` when it is too short to tell.
#[inline]
pub fn destination(data: &[u8]) -> Option<MacAddr> {
    Ethernet::at(data, 0).map(|header| header.destination())
}
