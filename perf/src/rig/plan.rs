//! Who has which name and address; pure, so that tests and manifests agree with the namespaces.
//!
//! Client nets are 10.10.k.0/24, the front net 10.20.0.0/24, the backend net 10.30.0.0/24, each with its
//! IPv6 twin. VIPs come from the documentation ranges (RFC 5737, RFC 3849).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::RigError;

pub const VIP_NET_V4: &str = "203.0.113.0/24";
pub const VIP_NET_V6: &str = "2001:db8:f00d::/64";

/// One host of the rig; numbers start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    Client(u8),
    Router,
    Switch,
    Balancer(u8),
    Backend(u8),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(n) => write!(f, "c{n}"),
            Self::Router => f.write_str("r"),
            Self::Switch => f.write_str("sw"),
            Self::Balancer(n) => write!(f, "lb{n}"),
            Self::Backend(n) => write!(f, "b{n}"),
        }
    }
}

impl FromStr for Host {
    type Err = RigError;

    fn from_str(name: &str) -> Result<Self, RigError> {
        let number = |digits: &str| digits.parse::<u8>().ok().filter(|n| *n > 0);
        let host = match name {
            "r" => Some(Self::Router),
            "sw" => Some(Self::Switch),
            "lb" => Some(Self::Balancer(1)),
            other => None
                .or_else(|| other.strip_prefix("lb").and_then(number).map(Self::Balancer))
                .or_else(|| other.strip_prefix('c').and_then(number).map(Self::Client))
                .or_else(|| other.strip_prefix('b').and_then(number).map(Self::Backend)),
        };
        host.ok_or_else(|| RigError::NoHost(name.to_owned()))
    }
}

/// The IPv4 and IPv6 address of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dual {
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
}

impl Dual {
    #[must_use]
    pub fn both(self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}

/// How a balancer is wired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// `eth0` towards the router, `eth1` towards the backends.
    #[default]
    TwoArmed,
    /// One `eth0` on the backend net, which the router reaches as well.
    Flat,
}

/// Where backends send what is not on their own net.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnPath {
    /// Straight to the router: direct server return.
    Router,
    /// Through the balancer with this number: `dnat`.
    Balancer(u8),
}

fn front(last: u8) -> Dual {
    Dual {
        v4: Ipv4Addr::new(10, 20, 0, last),
        v6: Ipv6Addr::new(0xfd20, 0, 0, 0, 0, 0, 0, last.into()),
    }
}

fn back(last: u8) -> Dual {
    Dual {
        v4: Ipv4Addr::new(10, 30, 0, last),
        v6: Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, last.into()),
    }
}

fn client_net(client: u8, last: u8) -> Dual {
    Dual {
        v4: Ipv4Addr::new(10, 10, client, last),
        v6: Ipv6Addr::new(0xfd10, client.into(), 0, 0, 0, 0, 0, last.into()),
    }
}

/// Address `index` (0..=239) of a client; the first is its own, the others are extra sources.
#[must_use]
pub fn client(client: u8, index: u8) -> Dual {
    client_net(client, 10 + index)
}

#[must_use]
pub fn router_towards_client(client: u8) -> Dual {
    client_net(client, 1)
}

#[must_use]
pub fn router_front() -> Dual {
    front(1)
}

#[must_use]
pub fn router_back() -> Dual {
    back(1)
}

#[must_use]
pub fn balancer_front(balancer: u8) -> Dual {
    front(10 + balancer)
}

/// The balancer's address on the backend net: its source address in `nat` mode.
#[must_use]
pub fn balancer_back(balancer: u8) -> Dual {
    back(10 + balancer)
}

#[must_use]
pub fn backend(backend: u8) -> Dual {
    back(100 + backend)
}

/// Virtual IP `n` (1..=254) of the pool that the router sends to the balancers.
#[must_use]
pub fn vip(n: u8) -> Dual {
    Dual {
        v4: Ipv4Addr::new(203, 0, 113, n),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0xf00d, 0, 0, 0, 0, n.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_round_trip() {
        for host in [
            Host::Client(2),
            Host::Router,
            Host::Switch,
            Host::Balancer(3),
            Host::Backend(16),
        ] {
            assert_eq!(host.to_string().parse::<Host>().unwrap(), host);
        }
        assert_eq!("lb".parse::<Host>().unwrap(), Host::Balancer(1));
        for bad in ["", "b0", "c", "x1", "lb0", "b300"] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_differ() {
        let mut all: Vec<IpAddr> = Vec::new();
        for n in 1..=8 {
            for dual in [
                client(n, 0),
                balancer_front(n),
                balancer_back(n),
                backend(n),
                vip(n),
            ] {
                all.extend(dual.both());
            }
        }
        all.extend([router_front(), router_back()].iter().flat_map(|d| d.both()));
        let unique: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
    }
}
