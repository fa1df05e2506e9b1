//! Ethernet addresses: is a frame for us, and whom does it go to next. VLAN tags stay as they came.

use maglane_shared::addr::MacAddr;
use maglane_shared::counters::DropReason;
use maglane_shared::next_hop::NextHop;

use crate::packet::Packet;
use crate::wire::ethernet::Ethernet;

/// Refuses a frame that was not sent to `own`: a switch floods, a promiscuous port receives all.
#[inline]
pub fn destination(data: &[u8], own: MacAddr) -> Result<(), DropReason> {
    let destination = Ethernet::at(data, 0)
        .ok_or(DropReason::EthernetTruncated)?
        .destination();
    if destination == own {
        Ok(())
    } else if destination.is_multicast() {
        Err(DropReason::EthernetMulticast)
    } else {
        Err(DropReason::EthernetOtherHost)
    }
}

/// Addresses a frame to a next hop.
#[inline]
pub fn address(packet: &mut Packet<'_>, hop: &NextHop) -> Result<(), DropReason> {
    let destination = hop.destination.ok_or(DropReason::NextHopUnresolved)?;
    let mut header = Ethernet::at_mut(packet.data_mut(), 0).ok_or(DropReason::EthernetTruncated)?;
    header.set_destination(destination);
    header.set_source(hop.source);
    Ok(())
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
