//! A BgpPeer as the planner wants it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use maglane_bgp::driver::{Distance, Password};
use maglane_bgp::settings::{ExtendedNextHop, NextHops as SessionNextHops, Opening, PeerAs};
use maglane_bgp::wire::{Families, Role};
use maglane_shared::addr::Family;

use super::{AddressFamily, BgpPeer, BgpPeerSpec, BgpRole, DynamicAsn, NextHops};
use crate::announce::{Hidden, Neighbor, PasswordSource};
use crate::convert::Announces;
use crate::crd::announce::{AnnounceStatus, selectors};
use crate::crd::duration::seconds;
use crate::crd::{Read, bad_field};
use crate::model::{AnnounceSpec, BgpPeerSpec as Peer, DrainSpec};
use crate::problem::Problem;

impl Announces for BgpPeer {
    type Status = AnnounceStatus;

    fn status(&self) -> &Option<AnnounceStatus> {
        &self.status
    }

    fn spec(&self) -> Read<AnnounceSpec> {
        let mut problems = vec![];
        let generation = self.metadata.generation.unwrap_or_default();
        let peer = Reader {
            spec: &self.spec,
            problems: &mut problems,
        }
        .peer(generation);
        Read::of(peer.map(|peer| AnnounceSpec::BgpPeer(Box::new(peer))), problems)
    }
}

/// Reads a spec; what is wrong becomes problems.
struct Reader<'r> {
    spec: &'r BgpPeerSpec,
    problems: &'r mut Vec<Problem>,
}

impl Reader<'_> {
    fn bad(&mut self, field: &str, text: &str) {
        self.problems.push(bad_field(format!("spec.{field}"), text));
    }

    fn peer(mut self, generation: i64) -> Option<Peer> {
        let spec = self.spec;
        self.rules();
        let local_as = self.asn("myASN", Some(spec.my_asn));
        let peer_as = self.peer_as();
        let neighbor = self.neighbor();
        let hold = self.seconds("holdTime", &spec.hold_time).unwrap_or(90);
        let keepalive = self.seconds("keepaliveTime", &spec.keepalive_time);
        let connect = self.seconds("connectTime", &spec.connect_time).unwrap_or(10);
        let router_id = self.address("routerID", &spec.router_id);
        let source = self.address("sourceAddress", &spec.source_address);
        let password = self.password(generation);
        let next_hops = self.next_hops();
        let nodes = selectors("spec.nodeSelectors", &spec.node_selectors, self.problems);
        let distance = self.distance(local_as, peer_as);
        let drain = self.drain();
        let unnumbered = spec.peer_address.is_none();
        Some(Peer {
            local_as: local_as?,
            peer_as: peer_as?,
            neighbor: neighbor?,
            device: spec.vrf.as_deref().or(spec.interface.as_deref()).map(Into::into),
            source,
            hold,
            keepalive,
            connect,
            router_id,
            nodes,
            password,
            bfd_profile: spec.bfd_profile.as_deref().map(Into::into),
            distance,
            opening: if spec.listen {
                Opening::Both
            } else {
                Opening::Active
            },
            families: families(&spec.families),
            extended_next_hop: match spec.extended_next_hop.unwrap_or(unnumbered) {
                true => ExtendedNextHop::Offer,
                false => ExtendedNextHop::Off,
            },
            next_hops,
            role: spec.role.map(role),
            drain,
        })
    }

    /// What the API server has checked by rules, where there is one.
    fn rules(&mut self) {
        let spec = self.spec;
        if spec.enable_graceful_restart == Some(true) {
            let text = "graceful restart is not offered: BGP and forwarding end together, so the router would send \
                        packets into nowhere; remove it";
            self.bad("enableGracefulRestart", text);
        }
        if spec.ttl_security_hops.is_some() && spec.ebgp_multi_hop {
            self.bad("ttlSecurityHops", "excludes ebgpMultiHop; remove one of the two");
        }
        if spec.vrf.is_some() && spec.interface.is_some() {
            self.bad("vrf", "excludes interface; remove one of the two");
        }
    }

    fn asn(&mut self, field: &str, number: Option<i64>) -> Option<u32> {
        let number = number?;
        match u32::try_from(number) {
            Ok(asn) if asn > 0 => Some(asn),
            Ok(_) | Err(_) => {
                self.bad(field, &format!("{number} is no AS number; write 1 to 4294967295"));
                None
            }
        }
    }

    fn peer_as(&mut self) -> Option<PeerAs> {
        match (self.spec.peer_asn, self.spec.dynamic_asn) {
            (Some(number), None) => self.asn("peerASN", Some(number)).map(PeerAs::Exact),
            (None, Some(DynamicAsn::Internal)) => Some(PeerAs::Internal),
            (None, Some(DynamicAsn::External)) => Some(PeerAs::External),
            (None, None) => {
                self.bad(
                    "peerASN",
                    "is missing; write the router's AS number, or dynamicASN",
                );
                None
            }
            (Some(_), Some(_)) => {
                self.bad("dynamicASN", "excludes peerASN; remove one of the two");
                None
            }
        }
    }

    fn neighbor(&mut self) -> Option<Neighbor> {
        let spec = self.spec;
        let port = match u16::try_from(spec.peer_port) {
            Ok(port) if port > 0 => port,
            Ok(_) | Err(_) => {
                self.bad(
                    "peerPort",
                    &format!("{} is no port; write 1 to 65535", spec.peer_port),
                );
                return None;
            }
        };
        match (&spec.peer_address, &spec.interface) {
            (None, None) => {
                self.bad(
                    "peerAddress",
                    "is missing; write the router's address, or interface",
                );
                None
            }
            (None, Some(interface)) => Some(Neighbor::Unnumbered {
                interface: interface.as_str().into(),
                port,
            }),
            (Some(_), interface) => {
                let address: IpAddr = self.address("peerAddress", &spec.peer_address)?;
                let needs_scope = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
                if needs_scope && interface.is_none() {
                    self.bad("peerAddress", "is link-local; name the interface as well");
                    return None;
                }
                Some(Neighbor::Address(SocketAddr::new(address, port)))
            }
        }
    }

    fn address<A: std::str::FromStr>(&mut self, field: &str, text: &Option<String>) -> Option<A> {
        let text = text.as_deref()?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let kind = match field {
                "routerID" | "nextHops.ipv4" => "an IPv4 address",
                "nextHops.ipv6" | "nextHops.linkLocal" => "an IPv6 address",
                _ => "an IP address",
            };
            self.bad(
                field,
                &format!("{text:?} is not {kind}; write one without prefix length"),
            );
        }
        parsed
    }

    fn seconds(&mut self, field: &str, text: &Option<String>) -> Option<u16> {
        let parsed = seconds(text.as_deref()?);
        let least = match field {
            "holdTime" => 0,
            _ => 1,
        };
        match parsed {
            Ok(seconds) if seconds < least || (field == "holdTime" && matches!(seconds, 1 | 2)) => {
                self.bad(
                    field,
                    &format!("{seconds} s is too short; write 3s or more for holdTime, else 1s or more"),
                );
                None
            }
            Ok(seconds) => Some(seconds),
            Err(text) => {
                self.bad(field, &text);
                None
            }
        }
    }

    fn password(&mut self, generation: i64) -> Option<PasswordSource> {
        let spec = self.spec;
        match (&spec.password, &spec.password_secret) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.bad("password", "excludes passwordSecret; remove one of the two");
                None
            }
            (Some(text), None) => {
                if let Err(error) = Password::new(text) {
                    self.bad("password", &format!("{error}; shorten it"));
                }
                Some(PasswordSource::Inline {
                    text: Hidden::new(text),
                    generation,
                })
            }
            (None, Some(secret)) => Some(PasswordSource::Secret {
                name: secret.name.as_str().into(),
            }),
        }
    }

    fn next_hops(&mut self) -> SessionNextHops {
        let none = NextHops::default();
        let hops = self.spec.next_hops.as_ref().unwrap_or(&none);
        let link_local = self.address::<Ipv6Addr>("nextHops.linkLocal", &hops.link_local);
        if link_local.is_some_and(|address| !address.is_unicast_link_local()) {
            self.bad(
                "nextHops.linkLocal",
                "is not in fe80::/10; write the interface's link-local address",
            );
        }
        SessionNextHops {
            v4: self.address::<Ipv4Addr>("nextHops.ipv4", &hops.ipv4),
            v6: self.address::<Ipv6Addr>("nextHops.ipv6", &hops.ipv6),
            link_local,
        }
    }

    fn distance(&mut self, local_as: Option<u32>, peer_as: Option<PeerAs>) -> Distance {
        let internal = match peer_as {
            Some(PeerAs::Internal) => true,
            Some(PeerAs::Exact(asn)) => Some(asn) == local_as,
            Some(PeerAs::External) | None => false,
        };
        match self.spec.ttl_security_hops.map(u8::try_from) {
            Some(Ok(hops @ 1..=254)) => Distance::Gtsm { hops },
            Some(_) => {
                self.bad("ttlSecurityHops", "is no number of hops; write 1 to 254");
                Distance::Ttl(1)
            }
            None if internal => Distance::Any,
            None if self.spec.ebgp_multi_hop => Distance::Ttl(255),
            None => Distance::Ttl(1),
        }
    }

    fn drain(&mut self) -> Option<DrainSpec> {
        let drain = self.spec.drain?;
        let read = u16::try_from(drain.seconds).ok().filter(|s| *s <= 3600);
        let prepend = u8::try_from(drain.prepend).ok().filter(|p| *p <= 10);
        if read.is_none() || prepend.is_none() {
            self.bad(
                "drain",
                "is out of bounds; write 1 to 3600 seconds, and prepend 0 to 10",
            );
        }
        Some(DrainSpec {
            seconds: read?,
            graceful_shutdown: drain.graceful_shutdown,
            prepend: prepend?,
        })
    }
}

fn families(named: &[AddressFamily]) -> Option<Families> {
    let all = named.iter().map(|family| match family {
        AddressFamily::Ipv4 => Family::V4,
        AddressFamily::Ipv6 => Family::V6,
    });
    (!named.is_empty()).then(|| all.fold(Families::NONE, Families::with))
}

const fn role(role: BgpRole) -> Role {
    match role {
        BgpRole::Provider => Role::Provider,
        BgpRole::RouteServer => Role::RouteServer,
        BgpRole::RouteServerClient => Role::RouteServerClient,
        BgpRole::Customer => Role::Customer,
        BgpRole::Peer => Role::Peer,
    }
}
