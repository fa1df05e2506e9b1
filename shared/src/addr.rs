//! Addresses as the packet path wants them: one 128-bit integer for both families, so that one
//! comparison and one hash serve IPv4 and IPv6. IPv4 is held IPv4-mapped (RFC 4291 §2.5.5.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 or IPv6 address; IPv4 is `::ffff:a.b.c.d`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Addr(u128);

const V4_MAPPED: u128 = 0xffff_0000_0000;

impl Addr {
    /// The all-zero IPv6 address; never a valid backend, client or VIP.
    pub const UNSPECIFIED: Addr = Addr(0);

    /// From the four bytes of an IPv4 header field.
    #[inline]
    pub const fn from_v4_bytes(bytes: [u8; 4]) -> Self {
        Addr(V4_MAPPED | u32::from_be_bytes(bytes) as u128)
    }

    /// From the sixteen bytes of an IPv6 header field.
    #[inline]
    pub const fn from_v6_bytes(bytes: [u8; 16]) -> Self {
        Addr(u128::from_be_bytes(bytes))
    }

    #[inline]
    pub const fn is_v4(self) -> bool {
        self.0 >> 32 == V4_MAPPED >> 32
    }

    #[inline]
    pub const fn family(self) -> Family {
        if self.is_v4() { Family::V4 } else { Family::V6 }
    }

    /// The IPv4 bytes; only meaningful where [`Self::is_v4`].
    #[inline]
    pub const fn v4_bytes(self) -> [u8; 4] {
        (self.0 as u32).to_be_bytes()
    }

    #[inline]
    pub const fn v6_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The address as an integer, for hashing and prefix arithmetic.
    #[inline]
    pub const fn bits(self) -> u128 {
        self.0
    }

    #[inline]
    pub const fn from_bits(bits: u128) -> Self {
        Addr(bits)
    }

    pub fn ip(self) -> IpAddr {
        match self.family() {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(self.v4_bytes())),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(self.0)),
        }
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Addr::from_v4_bytes(v4.octets()),
            IpAddr::V6(v6) => Addr::from_v6_bytes(v6.octets()),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl FromStr for Addr {
    type Err = std::net::AddrParseError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        IpAddr::from_str(s).map(Addr::from)
    }
}

impl Serialize for Addr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Addr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    V4,
    V6,
}

/// A layer-4 protocol Maglane balances; the discriminant is the IP protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[repr(u8)]
pub enum Protocol {
    Tcp = 6,
    Udp = 17,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        })
    }
}

/// What a client connects to: address, port and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VipKey {
    pub addr: Addr,
    pub port: u16,
    pub protocol: Protocol,
}

impl fmt::Display for VipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}",
            std::net::SocketAddr::new(self.addr.ip(), self.port),
            self.protocol
        )
    }
}

/// A 48-bit Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    pub const ZERO: MacAddr = MacAddr([0; 6]);

    /// Group bit set: multicast or broadcast (IEEE 802.3 §3.2.3).
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let mut parts = s.split(':');
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|p| p.len() == 2)
                .ok_or_else(|| ParseMacError(s.to_owned()))?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| ParseMacError(s.to_owned()))?;
        }
        if parts.next().is_some() {
            Err(ParseMacError(s.to_owned()))
        } else {
            Ok(MacAddr(bytes))
        }
    }
}

impl Serialize for MacAddr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is not six two-digit hexadecimal bytes joined by colons.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a MAC address: write six hexadecimal bytes, as in 02:00:00:00:00:01")]
pub struct ParseMacError(String);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn addr_round_trips_both_families(v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>()) {
            let a = Addr::from_v4_bytes(v4);
            prop_assert!(a.is_v4());
            prop_assert_eq!(a.v4_bytes(), v4);
            prop_assert_eq!(a.ip(), IpAddr::from(v4));
            prop_assert_eq!(a.to_string().parse::<Addr>().unwrap(), a);
            let b = Addr::from_v6_bytes(v6);
            prop_assert_eq!(b.v6_bytes(), v6);
        }

        #[test]
        fn mac_round_trips(bytes in any::<[u8; 6]>()) {
            let mac = MacAddr(bytes);
            prop_assert_eq!(mac.to_string().parse::<MacAddr>().unwrap(), mac);
        }
    }

    #[test]
    fn mac_errors_name_the_text() {
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "2:0:0:0:0:1",
            "zz:00:00:00:00:01",
        ] {
            assert!(
                bad.parse::<MacAddr>()
                    .unwrap_err()
                    .to_string()
                    .contains(&format!("{bad:?}")),
                "{bad}"
            );
        }
    }
}
