//! Messages -> the crate's own types. `None`: nothing that concerns forwarding.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's enums are not ours, and grow"
)]

use std::net::IpAddr;

use maglane_shared::addr::{Addr, MacAddr};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteLwEnCapType, RouteMessage, RouteMetric, RouteNextHop,
    RouteNextHopFlags, RouteType, RouteVia,
};

use crate::routes::{Link, Neighbor, NeighborState, Route, RouteHop, Table, Way};

/// `RT_TABLE_MAIN`, `RT_TABLE_LOCAL` (rtnetlink.h).
const MAIN: u32 = 254;
const LOCAL: u32 = 255;

/// The first of the attributes that `pick` likes.
fn first<'m, A, T>(attributes: &'m [A], pick: impl Fn(&'m A) -> Option<T>) -> Option<T> {
    attributes.iter().find_map(pick)
}

pub(super) fn link(message: &LinkMessage) -> Option<Link> {
    let attributes = &message.attributes;
    let name = first(attributes, |a| {
        if let LinkAttribute::IfName(name) = a {
            Some(name)
        } else {
            None
        }
    })?;
    let address = first(attributes, |a| {
        if let LinkAttribute::Address(bytes) = a {
            Some(bytes)
        } else {
            None
        }
    });
    let mtu = first(attributes, |a| {
        if let LinkAttribute::Mtu(mtu) = a {
            Some(*mtu)
        } else {
            None
        }
    })?;
    Some(Link {
        index: message.header.index,
        name: name.as_str().into(),
        mac: address.and_then(|bytes| mac(bytes)).unwrap_or(MacAddr::ZERO),
        mtu,
        mute: message.header.flags.contains(LinkFlags::Noarp) || attributes.iter().any(enslaves),
        up: message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
    })
}

/// A port of a bond or the like leaves ARP to its master; one of a VRF does not.
fn enslaves(attribute: &LinkAttribute) -> bool {
    let LinkAttribute::LinkInfo(infos) = attribute else {
        return false;
    };
    let kind = first(infos, |info| match info {
        LinkInfo::PortKind(kind) => Some(kind),
        _ => None,
    });
    kind.is_some_and(|kind| *kind != InfoPortKind::Vrf)
}

fn mac(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(MacAddr)
}

pub(super) fn address(message: &AddressMessage) -> Option<Addr> {
    let attributes = &message.attributes;
    // On point-to-point links the address is the peer's, `local` ours.
    let local = first(attributes, |a| {
        if let AddressAttribute::Local(ip) = a {
            Some(*ip)
        } else {
            None
        }
    });
    let plain = || {
        first(attributes, |a| {
            if let AddressAttribute::Address(ip) = a {
                Some(*ip)
            } else {
                None
            }
        })
    };
    local.or_else(plain).map(Addr::from)
}

pub(super) fn neighbor(message: &NeighbourMessage) -> Option<Neighbor> {
    let (interface, addr) = neighbor_key(message)?;
    let bytes = first(&message.attributes, |a| {
        if let NeighbourAttribute::LinkLayerAddress(bytes) = a {
            Some(bytes)
        } else {
            None
        }
    });
    let mac = bytes.and_then(|bytes| mac(bytes));
    let state = message.header.state;
    let is_any = |states: &[NeighbourState]| states.contains(&state);
    use NeighbourState as S;
    let state = match mac {
        Some(mac) if is_any(&[S::Reachable, S::Stale, S::Delay]) => NeighborState::Resolved(mac),
        Some(mac) if state == S::Probe => NeighborState::Probing(mac),
        Some(mac) if is_any(&[S::Permanent, S::Noarp]) => NeighborState::Fixed(mac),
        _ if state == S::Failed => NeighborState::Failed,
        Some(_) | None => NeighborState::Pending,
    };
    Some(Neighbor {
        interface,
        addr,
        state,
    })
}

pub(super) fn neighbor_key(message: &NeighbourMessage) -> Option<(u32, Addr)> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let ip = first(&message.attributes, |a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })?;
    (!ip.is_multicast()).then_some((message.header.ifindex, Addr::from(ip)))
}

pub(super) fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    let attributes = &message.attributes;
    let table = first(attributes, |a| {
        if let RouteAttribute::Table(table) = a {
            Some(*table)
        } else {
            None
        }
    });
    let table = match table.unwrap_or(u32::from(header.table)) {
        LOCAL => Table::Local,
        MAIN => Table::Main,
        _ => return None,
    };
    // Cached exceptions, source and TOS routing: not what a packet in general meets.
    if header.flags.contains(RouteFlags::Cloned) || header.source_prefix_length != 0 || header.tos != 0 {
        return None;
    }
    let unspecified = match header.address_family {
        AddressFamily::Inet => Addr::from_v4_bytes([0; 4]),
        AddressFamily::Inet6 => Addr::from_v6_bytes([0; 16]),
        _ => return None,
    };
    let network = first(attributes, |a| {
        if let RouteAttribute::Destination(d) = a {
            route_addr(d)
        } else {
            None
        }
    });
    let priority = first(attributes, |a| {
        if let RouteAttribute::Priority(p) = a {
            Some(*p)
        } else {
            None
        }
    });
    Some(Route {
        table,
        network: network.unwrap_or(unspecified),
        prefix_len: header.destination_prefix_length,
        priority: priority.unwrap_or(0),
        mtu: mtu(attributes),
        way: way(message)?,
    })
}

/// `None`: the kernel skips such a route and looks further.
fn way(message: &RouteMessage) -> Option<Way> {
    match message.header.kind {
        RouteType::Unicast => {}
        RouteType::Throw | RouteType::Unspec => return None,
        _ => return Some(Way::Nowhere),
    }
    if is_encapsulated(&message.attributes) {
        return Some(Way::Nowhere);
    }
    let attributes = &message.attributes;
    let many = first(attributes, |a| {
        if let RouteAttribute::MultiPath(hops) = a {
            Some(hops)
        } else {
            None
        }
    });
    let hops: Vec<RouteHop> = match many {
        Some(hops) => hops.iter().filter_map(hop).collect(),
        None => single(message).into_iter().collect(),
    };
    (!hops.is_empty()).then_some(Way::Hops(hops))
}

fn single(message: &RouteMessage) -> Option<RouteHop> {
    if message
        .header
        .flags
        .intersects(RouteFlags::Dead | RouteFlags::Linkdown)
    {
        return None;
    }
    let attributes = &message.attributes;
    let interface = first(attributes, |a| {
        if let RouteAttribute::Oif(index) = a {
            Some(*index)
        } else {
            None
        }
    })?;
    Some(RouteHop {
        interface,
        gateway: gateway(attributes),
        weight: 1,
    })
}

/// The kernel counts weights from 0.
fn hop(hop: &RouteNextHop) -> Option<RouteHop> {
    let dead = hop
        .flags
        .intersects(RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown);
    let usable = !dead && !is_encapsulated(&hop.attributes);
    usable.then(|| RouteHop {
        interface: hop.interface_index,
        gateway: gateway(&hop.attributes),
        weight: u16::from(hop.hops) + 1,
    })
}

fn is_encapsulated(attributes: &[RouteAttribute]) -> bool {
    attributes
        .iter()
        .any(|a| matches!(a, RouteAttribute::EncapType(kind) if *kind != RouteLwEnCapType::None))
}

/// Also of the other family (RFC 5549, `via inet6`).
fn gateway(attributes: &[RouteAttribute]) -> Option<Addr> {
    first(attributes, |a| match a {
        RouteAttribute::Gateway(addr) => route_addr(addr),
        RouteAttribute::Via(RouteVia::Inet(ip)) => Some(Addr::from(IpAddr::V4(*ip))),
        RouteAttribute::Via(RouteVia::Inet6(ip)) => Some(Addr::from(IpAddr::V6(*ip))),
        _ => None,
    })
}

fn route_addr(addr: &RouteAddress) -> Option<Addr> {
    match addr {
        RouteAddress::Inet(ip) => Some(Addr::from(IpAddr::V4(*ip))),
        RouteAddress::Inet6(ip) => Some(Addr::from(IpAddr::V6(*ip))),
        _ => None,
    }
}

fn mtu(attributes: &[RouteAttribute]) -> Option<u32> {
    let metrics = first(attributes, |a| {
        if let RouteAttribute::Metrics(metrics) = a {
            Some(metrics)
        } else {
            None
        }
    })?;
    first(metrics, |m| {
        if let RouteMetric::Mtu(mtu) = m {
            Some(*mtu)
        } else {
            None
        }
    })
}
