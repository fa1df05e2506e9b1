//! What a service asks of the packet path beyond forwarding: who may come, whether clients stick to their
//! backend, when a flow is forgotten, how flows leave a backend that goes, and what sizes fit.
//!
//! Most services ask for none of it. Their table entry holds no [`Policy`], and a worker pays one branch
//! to learn that.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::addr::{Addr, Family};

/// The whole of it. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Clients that are let in (`loadBalancerSourceRanges`); `None` = all.
    pub sources: Option<SourceRanges>,
    /// New flows go where the client's last ones went (`sessionAffinity: ClientIP`).
    pub affinity: Option<AffinityTimeout>,
    /// How long an established TCP flow, or a UDP flow, may be silent; `None` = as the worker is set.
    pub idle: Option<IdleTimeout>,
    /// How flows leave a backend that drains or is gone.
    pub removal: Removal,
    /// Largest TCP segment, in bytes, that a SYN or SYN-ACK through this node may announce (RFC 9293 §3.7.1).
    pub mss: Option<NonZeroU16>,
    /// Largest IP packet towards a backend, in bytes, outer headers included. The next hop's MTU still counts
    /// where it is less.
    pub mtu: Option<NonZeroU16>,
}

impl Policy {
    /// As a table entry holds it: nothing where nothing is asked for.
    pub fn shared(self) -> Option<Arc<Policy>> {
        (self != Policy::default()).then(|| Arc::new(self))
    }

    /// Is a client of this address let in?
    #[inline]
    pub fn admits(&self, client: Addr) -> bool {
        self.sources
            .as_ref()
            .is_none_or(|sources| sources.contain(client))
    }

    /// The largest packet where the next hop carries `mtu`.
    #[inline]
    pub fn limit(&self, mtu: u16) -> u16 {
        self.mtu.map_or(mtu, |own| own.get().min(mtu))
    }
}

/// The addresses of some prefixes, sorted. A family without a prefix is closed: kube-proxy would leave it
/// open, to the surprise of whoever has listed IPv4 ranges only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRanges {
    /// First and last address of each range; they don't overlap.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl SourceRanges {
    pub fn new(prefixes: impl IntoIterator<Item = IpNet>) -> Self {
        let (mut v4, mut v6) = (vec![], vec![]);
        for prefix in prefixes {
            match prefix {
                IpNet::V4(net) => v4.push(net),
                IpNet::V6(net) => v6.push(net),
            }
        }
        let (v4, v6) = (Ipv4Net::aggregate(&v4), Ipv6Net::aggregate(&v6));
        SourceRanges {
            v4: sorted(
                v4.iter()
                    .map(|net| (net.network().into(), net.broadcast().into())),
            ),
            v6: sorted(
                v6.iter()
                    .map(|net| (net.network().into(), net.broadcast().into())),
            ),
        }
    }

    #[inline]
    pub fn contain(&self, addr: Addr) -> bool {
        match addr.family() {
            Family::V4 => within(&self.v4, u32::from_be_bytes(addr.v4_bytes())),
            Family::V6 => within(&self.v6, addr.bits()),
        }
    }
}

fn sorted<T: Ord>(ranges: impl Iterator<Item = T>) -> Box<[T]> {
    let mut ranges: Vec<T> = ranges.collect();
    ranges.sort_unstable();
    ranges.into()
}

/// Is `at` in one of these sorted ranges?
#[inline]
fn within<T: Ord + Copy>(ranges: &[(T, T)], at: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= at);
    let candidate = after.checked_sub(1).and_then(|i| ranges.get(i));
    candidate.is_some_and(|(_, last)| at <= *last)
}

/// How long a client without new flows keeps its backend, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffinityTimeout(NonZeroU32);

impl AffinityTimeout {
    /// A day, as in the Kubernetes API.
    pub const MAX: u32 = 86_400;

    /// `None` outside 1 to [`Self::MAX`].
    pub fn from_secs(seconds: u32) -> Option<Self> {
        NonZeroU32::new(seconds)
            .filter(|seconds| seconds.get() <= Self::MAX)
            .map(AffinityTimeout)
    }

    #[inline]
    pub const fn millis(self) -> u32 {
        self.0.get() * 1000
    }
}

/// How long a flow may be silent, in whole seconds up to 18 hours. Replies are noted once a second, so of
/// a flow in which only the backend talks, one second more or less is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimeout(NonZeroU16);

impl IdleTimeout {
    pub const MAX: u32 = u16::MAX as u32;

    /// `None` outside 1 to [`Self::MAX`].
    pub fn from_secs(seconds: u32) -> Option<Self> {
        u16::try_from(seconds)
            .ok()
            .and_then(NonZeroU16::new)
            .map(IdleTimeout)
    }

    #[inline]
    pub const fn millis(self) -> u32 {
        self.0.get() as u32 * 1000
    }
}

/// How TCP flows leave a backend that drains or is gone. UDP flows leave a draining one at once in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Removal {
    /// They stay while it drains; when it is gone, their packets go where new flows would.
    #[default]
    Drain,
    /// Their packets go where new flows would, at once. For backends that share their connections.
    Move,
    /// The client is told by a TCP reset at its next packet, and connects anew.
    Reset,
}

impl Removal {
    pub const ALL: [Removal; 3] = [Removal::Drain, Removal::Move, Removal::Reset];

    pub const fn name(self) -> &'static str {
        match self {
            Removal::Drain => "drain",
            Removal::Move => "move",
            Removal::Reset => "reset",
        }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Removal {
    type Err = UnknownRemoval;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|removal| removal.name() == s)
            .ok_or_else(|| UnknownRemoval(s.to_owned()))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a removal policy: use drain, move or reset")]
pub struct UnknownRemoval(String);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges(prefixes: &[&str]) -> SourceRanges {
        SourceRanges::new(prefixes.iter().map(|p| p.parse().unwrap()))
    }

    fn addr(text: &str) -> Addr {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_end_where_their_prefixes_end() {
        let sources = ranges(&[
            "203.0.113.64/26",
            "198.51.100.7/32",
            "203.0.113.0/25",
            "2001:db8::/33",
        ]);
        for (client, inside) in [
            ("203.0.112.255", false),
            ("203.0.113.0", true),
            ("203.0.113.127", true),
            ("203.0.113.128", false),
            ("198.51.100.6", false),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
            ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2001:db8::", true),
            ("2001:db8:7fff:ffff:ffff:ffff:ffff:ffff", true),
            ("2001:db8:8000::", false),
        ] {
            assert_eq!(sources.contain(addr(client)), inside, "{client}");
        }
    }

    #[test]
    fn a_family_without_ranges_is_closed() {
        let (v4, v6) = (ranges(&["0.0.0.0/0"]), ranges(&["::/0"]));
        let (client4, client6) = (addr("203.0.113.7"), addr("2001:db8::7"));
        assert!(v4.contain(client4) && !v4.contain(client6));
        assert!(v6.contain(client6) && !v6.contain(client4));
        assert!(!ranges(&[]).contain(client4));
        assert!(Policy::default().admits(client4) && Policy::default().admits(client6));
    }

    proptest! {
        /// Few addresses and long prefixes, so that they nest, touch and miss.
        #[test]
        fn ranges_hold_what_one_of_the_prefixes_holds(
            prefixes in prop::collection::vec((any::<u8>(), 22u8..=32, any::<bool>()), 0..12),
            clients in prop::collection::vec((any::<u16>(), any::<bool>()), 100),
        ) {
            let v4 = |low: u16| std::net::Ipv4Addr::from(0x0a00_0000 | u32::from(low % 2048));
            let v6 = |low: u16| std::net::Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(low % 2048));
            let nets: Vec<IpNet> = prefixes.iter().map(|&(at, len, six)| match six {
                true => Ipv6Net::new_assert(v6(u16::from(at) * 8), len + 96).into(),
                false => Ipv4Net::new_assert(v4(u16::from(at) * 8), len).into(),
            }).collect();
            let sources = SourceRanges::new(nets.iter().copied());
            for (low, six) in clients {
                let client: std::net::IpAddr = if six { v6(low).into() } else { v4(low).into() };
                let wanted = nets.iter().any(|net| net.contains(&client));
                prop_assert_eq!(sources.contain(client.into()), wanted, "{}", client);
            }
        }
    }

    #[test]
    fn timeouts_have_bounds() {
        let affinity = |seconds| AffinityTimeout::from_secs(seconds).map(AffinityTimeout::millis);
        assert_eq!(
            [0, 1, 86_400, 86_401].map(affinity),
            [None, Some(1000), Some(86_400_000), None]
        );
        let idle = |seconds| IdleTimeout::from_secs(seconds).map(IdleTimeout::millis);
        assert_eq!(
            [0, 1, 65_535, 65_536].map(idle),
            [None, Some(1000), Some(65_535_000), None]
        );
    }

    #[test]
    fn only_a_policy_that_asks_for_something_is_kept() {
        assert_eq!(Policy::default().shared(), None);
        let removal = Removal::Move;
        let policy = Policy {
            removal,
            ..Policy::default()
        };
        assert_eq!(policy.clone().shared().as_deref(), Some(&policy));
    }

    #[test]
    fn removals_are_read_by_their_names() {
        for removal in Removal::ALL {
            assert_eq!(removal.to_string().parse::<Removal>().unwrap(), removal);
        }
        assert!(
            "Drain"
                .parse::<Removal>()
                .unwrap_err()
                .to_string()
                .contains("drain, move or reset")
        );
    }
}
