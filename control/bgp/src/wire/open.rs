//! OPEN and the capabilities we send and understand (RFC 4271 §4.2, RFC 5492 §4).
//!
//! A capability is read into one field of [`Capabilities`]; what we do not know is skipped, never an
//! error (RFC 5492 §3). The four-octet AS number stands in `asn` whichever way it came (RFC 6793 §4.1).

use std::net::Ipv4Addr;

use bytes::{Bytes, BytesMut};
use maglane_shared::addr::Family;
use rustbgpd_wire::{Afi, BgpRole, Capability, ExtendedNextHopFamily, OpenMessage, Safi};
use serde::{Deserialize, Serialize};

use super::family::{Families, afi, unicast};

/// The place-holder a four-octet AS number leaves in two-octet fields (RFC 6793 §9).
pub(super) const AS_TRANS: u16 = 23456;

const ROLE_CODE: u8 = 9;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS number, four octets.
    pub asn: u32,
    /// Proposed hold time in seconds; 0 means no keepalives.
    pub hold_seconds: u16,
    pub identifier: Ipv4Addr,
    pub capabilities: Capabilities,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Families named by multiprotocol capabilities (RFC 4760 §8).
    pub families: Families,
    /// Whether any multiprotocol capability was there at all; without one IPv4 unicast is meant.
    pub multiprotocol: bool,
    /// RFC 6793 §3.
    pub four_octet_as: bool,
    /// RFC 2918 §2.
    pub route_refresh: bool,
    /// RFC 8654 §3.
    pub extended_message: bool,
    /// IPv4 unicast with an IPv6 next hop (RFC 8950 §4).
    pub ipv4_via_ipv6: bool,
    /// Graceful restart with the N bit: plain Cease would leave our routes stale (RFC 8538 §2).
    pub restart_notification: bool,
    /// RFC 9234 §4.1.
    pub role: Option<OfferedRole>,
}

/// The role capability as received; ours is always [`Role`] (RFC 9234 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferedRole {
    Known(Role),
    /// An unknown value, or several that differ: matches nothing.
    Unusable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Provider,
    RouteServer,
    RouteServerClient,
    Customer,
    Peer,
}

impl Role {
    /// The only role the other side may have (RFC 9234 §4.2, table 2).
    pub(crate) const fn counterpart(self) -> Role {
        match self {
            Role::Provider => Role::Customer,
            Role::Customer => Role::Provider,
            Role::RouteServer => Role::RouteServerClient,
            Role::RouteServerClient => Role::RouteServer,
            Role::Peer => Role::Peer,
        }
    }

    const fn to_codec(self) -> BgpRole {
        match self {
            Role::Provider => BgpRole::Provider,
            Role::RouteServer => BgpRole::RouteServer,
            Role::RouteServerClient => BgpRole::RouteServerClient,
            Role::Customer => BgpRole::Customer,
            Role::Peer => BgpRole::Peer,
        }
    }

    fn from_codec(role: BgpRole) -> OfferedRole {
        [
            Role::Provider,
            Role::RouteServer,
            Role::RouteServerClient,
            Role::Customer,
            Role::Peer,
        ]
        .into_iter()
        .find(|ours| ours.to_codec() == role)
        .map_or(OfferedRole::Unusable, OfferedRole::Known)
    }
}

impl Capabilities {
    /// What an OPEN without multiprotocol capabilities means: IPv4 unicast (RFC 4760 §8).
    pub fn effective_families(&self) -> Families {
        if self.multiprotocol {
            self.families
        } else {
            Families::only(Family::V4)
        }
    }

    fn read(&mut self, capability: &Capability) {
        if let Capability::MultiProtocol { afi, safi } = capability {
            self.multiprotocol = true;
            if let Some(family) = unicast(*afi, *safi) {
                self.families = self.families.with(family);
            }
        } else if let Capability::Unknown { code: 1, .. } = capability {
            self.multiprotocol = true;
        } else if let Capability::FourOctetAs { .. } = capability {
            self.four_octet_as = true;
        } else if *capability == Capability::RouteRefresh {
            self.route_refresh = true;
        } else if *capability == Capability::ExtendedMessage {
            self.extended_message = true;
        } else if let Capability::ExtendedNextHop(families) = capability {
            self.ipv4_via_ipv6 |= families.contains(&IPV4_VIA_IPV6);
        } else if let Capability::GracefulRestart { notification, .. } = capability {
            self.restart_notification |= notification;
        } else {
            self.read_role(capability);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the codec's enum, open by design")]
    fn read_role(&mut self, capability: &Capability) {
        let offered = match capability {
            Capability::Role { role } => Role::from_codec(*role),
            Capability::Unknown { code: ROLE_CODE, .. } => OfferedRole::Unusable,
            _ => return,
        };
        self.role = match self.role {
            Some(before) if before != offered => Some(OfferedRole::Unusable),
            Some(_) | None => Some(offered),
        };
    }

    fn to_codec(&self, asn: u32) -> Vec<Capability> {
        let mut list = multiprotocol(self.families);
        if self.route_refresh {
            list.push(Capability::RouteRefresh);
        }
        if self.ipv4_via_ipv6 {
            list.push(Capability::ExtendedNextHop(vec![IPV4_VIA_IPV6]));
        }
        if self.extended_message {
            list.push(Capability::ExtendedMessage);
        }
        if let Some(OfferedRole::Known(role)) = self.role {
            list.push(Capability::Role {
                role: role.to_codec(),
            });
        }
        if self.four_octet_as {
            list.push(Capability::FourOctetAs { asn });
        }
        list
    }
}

const IPV4_VIA_IPV6: ExtendedNextHopFamily = ExtendedNextHopFamily {
    nlri_afi: Afi::Ipv4,
    nlri_safi: Safi::Unicast,
    next_hop_afi: Afi::Ipv6,
};

fn multiprotocol(families: Families) -> Vec<Capability> {
    families
        .iter()
        .map(|family| Capability::MultiProtocol {
            afi: afi(family),
            safi: Safi::Unicast,
        })
        .collect()
}

/// The data of an Unsupported Capability notification: the families we insist on (RFC 5492 §5).
pub(crate) fn required_families(families: Families) -> Bytes {
    capability_bytes(&multiprotocol(families))
}

/// The same for a peer that cannot write our AS number (RFC 6793 §4.2.3).
pub(crate) fn required_four_octet_as(asn: u32) -> Bytes {
    capability_bytes(&[Capability::FourOctetAs { asn }])
}

fn capability_bytes(list: &[Capability]) -> Bytes {
    let mut data = BytesMut::new();
    let encoded = list
        .iter()
        .try_for_each(|capability| capability.encode(&mut data));
    debug_assert!(encoded.is_ok(), "both capabilities have a fixed size");
    data.freeze()
}

impl Open {
    pub(super) fn to_codec(&self) -> OpenMessage {
        OpenMessage {
            version: 4,
            my_as: u16::try_from(self.asn).unwrap_or(AS_TRANS),
            hold_time: self.hold_seconds,
            bgp_identifier: self.identifier,
            capabilities: self.capabilities.to_codec(self.asn),
        }
    }

    pub(super) fn from_codec(message: &OpenMessage) -> Self {
        let mut capabilities = Capabilities::default();
        for capability in &message.capabilities {
            capabilities.read(capability);
        }
        Open {
            asn: message.four_byte_as(),
            hold_seconds: message.hold_time,
            identifier: message.bgp_identifier,
            capabilities,
        }
    }
}
