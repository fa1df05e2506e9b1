//! The Internet checksum (RFC 1071), computed whole or changed by the difference (RFC 1624 equation 3).
//!
//! Partial sums are kept unfolded in 64 bits: 2^16 = 1 modulo 65535, so words of any width may be added as
//! they are, and up to 2^32 of them before a carry could be lost.

use maglane_shared::addr::{Addr, Family};

/// A ones' complement sum of 16-bit words, not yet folded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes that start at an even offset of what is summed; an odd last byte is padded with zero.
    ///
    /// Summed in the machine's byte order and swapped once at the end (RFC 1071 §2 (B)).
    #[inline]
    pub fn bytes(self, data: &[u8]) -> Sum {
        let (words, rest) = data.as_chunks::<4>();
        let mut native: u64 = words
            .iter()
            .map(|word| u64::from(u32::from_ne_bytes(*word)))
            .sum();
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        native += u64::from(u32::from_ne_bytes(last));
        Sum(self.0 + u64::from(u16::from_be(fold(native))))
    }

    #[inline]
    pub fn u16(self, value: u16) -> Sum {
        Sum(self.0 + u64::from(value))
    }

    /// Adds two words.
    #[inline]
    pub fn u32(self, value: u32) -> Sum {
        Sum(self.0 + u64::from(value))
    }

    /// Adds an address; for IPv4 the mapped prefix adds 0xffff, which is zero.
    #[inline]
    pub fn addr(self, addr: Addr) -> Sum {
        Sum(self.0 + words(addr.bits()))
    }

    /// The pseudo-header of TCP, UDP and ICMPv6 (RFC 9293 §3.1, RFC 8200 §8.1).
    #[inline]
    pub fn pseudo_header(self, src: Addr, dst: Addr, protocol: u8, len: u16) -> Sum {
        self.addr(src).addr(dst).u16(u16::from(protocol)).u16(len)
    }

    #[inline]
    pub fn plus(self, other: Sum) -> Sum {
        Sum(self.0 + other.0)
    }

    /// Takes away what `other` added.
    #[inline]
    pub fn minus(self, other: Sum) -> Sum {
        Sum(self.0 + u64::from(!fold(other.0)))
    }

    /// One 16-bit word changed.
    #[inline]
    pub fn replace_u16(self, old: u16, new: u16) -> Sum {
        Sum(self.0 + u64::from(!old) + u64::from(new))
    }

    /// An address changed; both are of this family.
    #[inline]
    pub fn replace_addr(self, family: Family, old: Addr, new: Addr) -> Sum {
        match family {
            Family::V4 => {
                let [old, new] = [old, new].map(|addr| u32::from_be_bytes(addr.v4_bytes()));
                Sum(self.0 + u64::from(!old) + u64::from(new))
            }
            Family::V6 => Sum(self.0 + words(!old.bits()) + words(new.bits())),
        }
    }

    /// 0xffff over data that contains its own correct checksum.
    #[inline]
    pub fn fold(self) -> u16 {
        fold(self.0)
    }

    /// The checksum of what was added.
    #[inline]
    pub fn checksum(self) -> u16 {
        !self.fold()
    }

    /// `old`, a checksum in a header, after the changes added here: HC' = ~(~HC + ~m + m').
    #[inline]
    pub fn update(self, old: u16) -> u16 {
        self.u16(!old).checksum()
    }
}

/// An IPv4 header's checksum after its TTL, the upper half of a word, went down by one: [`Sum::update`] with
/// one carry to add instead of two.
#[inline]
pub fn one_hop_less(old: u16) -> u16 {
    let sum = u32::from(!old) + u32::from(!0x100u16);
    !((sum & 0xffff) as u16 + (sum >> 16) as u16)
}

/// The four 32-bit words, added without loss.
#[inline]
fn words(bits: u128) -> u64 {
    let (high, low) = ((bits >> 64) as u64, bits as u64);
    (high >> 32) + (high & 0xffff_ffff) + (low >> 32) + (low & 0xffff_ffff)
}

/// Each step adds the upper half to the lower, and the carry: end-around addition (RFC 1071 §2 (A)).
#[inline]
fn fold(sum: u64) -> u16 {
    let (low, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let sum = low + u32::from(carry);
    let (low, carry) = (sum as u16).overflowing_add((sum >> 16) as u16);
    low + u16::from(carry)
}
