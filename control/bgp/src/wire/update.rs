//! UPDATEs out: as few messages as the agreed size allows (RFC 4271 §4.3, RFC 4760 §3 and §4).
//!
//! IPv4 with an IPv4 next hop goes in the classic fields; IPv6, and IPv4 with an IPv6 next hop
//! (RFC 8950 §4), in MP_REACH_NLRI. IPv4 withdraws always use the classic field, which every peer takes.

use bytes::{BufMut, Bytes, BytesMut};
use ipnet::IpNet;
use maglane_shared::addr::Family;
use rustbgpd_wire as codec;
use rustbgpd_wire::{MpReachNlri, MpUnreachNlri, NlriEntry, PathAttribute, Prefix, Safi};

use super::HEADER_LEN;
use super::attributes::{NextHop, Path};
use super::family::afi;

/// Internal or external session: decides AS path and LOCAL_PREF (RFC 4271 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    Internal,
    External,
}

/// How this session spells UPDATEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    pub local_as: u32,
    pub relation: Relation,
    /// Both sides write four-octet AS numbers (RFC 6793 §4.1).
    pub four_octet_as: bool,
    /// The largest message agreed on, in bytes.
    pub limit: u16,
}

/// The attributes alone leave no room for a prefix in the largest message agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversized;

/// The two length fields of the UPDATE body.
const LENGTH_FIELDS: usize = 4;
/// Flags, type and two-octet length of an MP attribute, then AFI, SAFI and, for MP_REACH_NLRI, the
/// next hop's length octet and the reserved octet.
const MP_REACH_FIXED: usize = 4 + 3 + 2;
const MP_UNREACH_FIXED: usize = 4 + 3;

/// Announces `prefixes`, all of `family` and all with `path`.
pub fn announce(
    path: &Path,
    family: Family,
    prefixes: &[IpNet],
    session: &Encoding,
) -> Result<Vec<Bytes>, Oversized> {
    let common = attributes(path, session);
    let common_len = encoded_len(&common, session)?;
    let classic = family == Family::V4 && matches!(path.next_hop, NextHop::V4(_));
    let fixed = if classic {
        0
    } else {
        MP_REACH_FIXED + next_hop_len(path.next_hop)
    };
    let room = room(session, common_len + fixed);
    pack(prefixes, room)?
        .map(|chunk| {
            if classic {
                build(&common, chunk, &[], session)
            } else {
                let mut all = common.clone();
                all.push(mp_reach(path.next_hop, family, chunk));
                build(&all, &[], &[], session)
            }
        })
        .collect()
}

/// Withdraws `prefixes`, all of `family`.
pub fn withdraw(family: Family, prefixes: &[IpNet], session: &Encoding) -> Result<Vec<Bytes>, Oversized> {
    match family {
        Family::V4 => pack(prefixes, room(session, 0))?
            .map(|chunk| build(&[], &[], chunk, session))
            .collect(),
        Family::V6 => pack(prefixes, room(session, MP_UNREACH_FIXED))?
            .map(|chunk| build(&[mp_unreach(family, chunk)], &[], &[], session))
            .collect(),
    }
}

/// The marker that everything of `family` has been said (RFC 4724 §2).
pub fn end_of_rib(family: Family, session: &Encoding) -> Result<Bytes, Oversized> {
    match family {
        Family::V4 => build(&[], &[], &[], session),
        Family::V6 => build(&[mp_unreach(family, &[])], &[], &[], session),
    }
}

const fn room(session: &Encoding, attributes: usize) -> Option<usize> {
    (session.limit as usize).checked_sub(HEADER_LEN + LENGTH_FIELDS + attributes)
}

const fn next_hop_len(next_hop: NextHop) -> usize {
    match next_hop {
        NextHop::V4(_) => 4,
        NextHop::V6 { link_local: None, .. } => 16,
        NextHop::V6 {
            link_local: Some(_), ..
        } => 32,
    }
}

/// Octets of a prefix: its length, then as many octets as the length needs (RFC 4271 §4.3).
fn prefix_len(prefix: &IpNet) -> usize {
    1 + usize::from(prefix.prefix_len()).div_ceil(8)
}

/// Cuts `prefixes` into runs of at most `room` bytes.
fn pack(prefixes: &[IpNet], room: Option<usize>) -> Result<impl Iterator<Item = &[IpNet]>, Oversized> {
    let room = room
        .filter(|room| prefixes.iter().all(|prefix| prefix_len(prefix) <= *room))
        .ok_or(Oversized)?;
    let mut rest = prefixes;
    Ok(std::iter::from_fn(move || {
        let mut used = 0;
        let count = rest.iter().take_while(|prefix| {
            used += prefix_len(prefix);
            used <= room
        });
        let (chunk, tail) = rest.split_at(count.count());
        rest = tail;
        (!chunk.is_empty()).then_some(chunk)
    }))
}

fn attributes(path: &Path, session: &Encoding) -> Vec<PathAttribute> {
    let ours = &path.attributes;
    let mut list = vec![
        PathAttribute::Origin(codec::Origin::Igp),
        PathAttribute::AsPath(as_path(ours.prepend, session)),
    ];
    if let NextHop::V4(address) = path.next_hop {
        list.push(PathAttribute::NextHop(address));
    }
    list.extend(ours.med.map(PathAttribute::Med));
    if session.relation == Relation::Internal {
        list.push(PathAttribute::LocalPref(ours.local_pref.unwrap_or(100)));
    }
    if !ours.communities.is_empty() {
        list.push(PathAttribute::Communities(
            ours.communities.iter().map(|c| c.0).collect(),
        ));
    }
    if !ours.extended_communities.is_empty() {
        let extended = ours
            .extended_communities
            .iter()
            .map(|c| codec::ExtendedCommunity::new(c.0));
        list.push(PathAttribute::ExtendedCommunities(extended.collect()));
    }
    if !ours.large_communities.is_empty() {
        let large = ours
            .large_communities
            .iter()
            .map(|c| codec::LargeCommunity::new(c.0, c.1, c.2));
        list.push(PathAttribute::LargeCommunities(large.collect()));
    }
    list
}

fn as_path(prepend: u8, session: &Encoding) -> codec::AsPath {
    let segments = match session.relation {
        Relation::Internal => Vec::new(),
        Relation::External => {
            vec![codec::AsPathSegment::AsSequence(vec![
                session.local_as;
                1 + usize::from(prepend)
            ])]
        }
    };
    codec::AsPath { segments }
}

fn encoded_len(attributes: &[PathAttribute], session: &Encoding) -> Result<usize, Oversized> {
    let mut bytes = Vec::new();
    codec::attribute::encode_path_attributes(attributes, &mut bytes, session.four_octet_as, false)
        .map_err(|_| Oversized)?;
    Ok(bytes.len())
}

fn mp_reach(next_hop: NextHop, family: Family, prefixes: &[IpNet]) -> PathAttribute {
    let (next_hop, link_local_next_hop) = match next_hop {
        NextHop::V4(address) => (address.into(), None),
        NextHop::V6 { address, link_local } => (address.into(), link_local),
    };
    PathAttribute::MpReachNlri(Box::new(MpReachNlri {
        afi: afi(family),
        safi: Safi::Unicast,
        next_hop,
        link_local_next_hop,
        announced: prefixes.iter().map(nlri).collect(),
        flowspec_announced: Vec::new(),
        evpn_announced: Vec::new(),
        bgpls_announced: Vec::new(),
        vpn_announced: Vec::new(),
        labeled_announced: Vec::new(),
        rtc_announced: Vec::new(),
    }))
}

fn mp_unreach(family: Family, prefixes: &[IpNet]) -> PathAttribute {
    PathAttribute::MpUnreachNlri(Box::new(MpUnreachNlri {
        afi: afi(family),
        safi: Safi::Unicast,
        withdrawn: prefixes.iter().map(nlri).collect(),
        flowspec_withdrawn: Vec::new(),
        evpn_withdrawn: Vec::new(),
        bgpls_withdrawn: Vec::new(),
        vpn_withdrawn: Vec::new(),
        labeled_withdrawn: Vec::new(),
        rtc_withdrawn: Vec::new(),
    }))
}

fn nlri(prefix: &IpNet) -> NlriEntry {
    let prefix = match prefix {
        IpNet::V4(net) => Prefix::V4(codec::Ipv4Prefix::new(net.addr(), net.prefix_len())),
        IpNet::V6(net) => Prefix::V6(codec::Ipv6Prefix::new(net.addr(), net.prefix_len())),
    };
    NlriEntry { path_id: 0, prefix }
}

fn classic(prefixes: &[IpNet]) -> Bytes {
    let mut bytes = BytesMut::new();
    for prefix in prefixes {
        if let IpNet::V4(net) = prefix {
            bytes.put_u8(net.prefix_len());
            bytes.put_slice(&net.network().octets()[..usize::from(net.prefix_len()).div_ceil(8)]);
        }
    }
    bytes.freeze()
}

fn build(
    attributes: &[PathAttribute],
    announced: &[IpNet],
    withdrawn: &[IpNet],
    session: &Encoding,
) -> Result<Bytes, Oversized> {
    let mut path_attributes = Vec::new();
    codec::attribute::encode_path_attributes(attributes, &mut path_attributes, session.four_octet_as, false)
        .map_err(|_| Oversized)?;
    let update = codec::UpdateMessage {
        withdrawn_routes: classic(withdrawn),
        path_attributes: path_attributes.into(),
        nlri: classic(announced),
    };
    let mut message = BytesMut::with_capacity(update.encoded_len());
    update
        .encode_with_limit(&mut message, session.limit)
        .map_err(|_| Oversized)?;
    Ok(message.freeze())
}
