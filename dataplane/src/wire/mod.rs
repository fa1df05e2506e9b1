//! Typed views over header bytes, in the manner of smoltcp: a view reads and writes in place, never copies.
//!
//! A view holds a fixed-size array (`&[u8; 20]`, `&mut [u8; 20]`, or the bytes themselves), so the one
//! length check is in `at`/`at_mut`, and no getter or setter can panic: every offset is a constant inside
//! the array. Views check no values; [`crate::forward::parse`] does.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
pub mod tcp;
pub mod udp;
pub mod vlan;

/// The `N` bytes of `data` at `offset`; `None` where it is too short.
#[inline]
pub(crate) fn header<const N: usize>(data: &[u8], offset: usize) -> Option<&[u8; N]> {
    data.get(offset..)?.first_chunk()
}

#[inline]
pub(crate) fn header_mut<const N: usize>(data: &mut [u8], offset: usize) -> Option<&mut [u8; N]> {
    data.get_mut(offset..)?.first_chunk_mut()
}

/// The big-endian field at a constant offset; inlined, it has no bounds check left.
#[inline(always)]
const fn get_u16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
const fn set_u16<const N: usize>(bytes: &mut [u8; N], at: usize, value: u16) {
    let [high, low] = value.to_be_bytes();
    bytes[at] = high;
    bytes[at + 1] = low;
}

/// `M` bytes at a constant offset.
#[inline(always)]
fn get<const N: usize, const M: usize>(bytes: &[u8; N], at: usize) -> [u8; M] {
    let mut field = [0; M];
    field.copy_from_slice(&bytes[at..at + M]);
    field
}

#[inline(always)]
fn set<const N: usize, const M: usize>(bytes: &mut [u8; N], at: usize, field: [u8; M]) {
    bytes[at..at + M].copy_from_slice(&field);
}
