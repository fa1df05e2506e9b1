//! The sessions of this node, without their routes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use maglane_bgp::bfd::Hops;
use maglane_bgp::driver::Distance;
use maglane_bgp::settings::{PeerAs, SessionSettings};
use maglane_bgp::wire::Families;
use maglane_shared::addr::Family;

use super::attributes::Advertisements;
use super::decide::{Memory, Situation};
use super::plan::{BfdPlan, LinkPlan, Neighbor, PeerPlan, Routes};
use crate::model::{AnnounceSpec, BfdProfileSpec, BgpPeerSpec, ObjectName, ObjectRef};
use crate::problem::Problem;

pub(super) fn peers(
    situation: &Situation<'_>,
    memory: &mut Memory,
    advertisements: &Advertisements<'_>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<ObjectName, PeerPlan> {
    let defined = profiles(situation);
    memory
        .profiles
        .extend(defined.iter().map(|(name, profile)| (name.clone(), *profile)));
    let mut all = BTreeMap::new();
    for object in &situation.objects {
        let AnnounceSpec::BgpPeer(spec) = &object.spec else {
            continue;
        };
        if !spec.covers_node(situation.node.labels()) {
            continue;
        }
        let reference = object.object();
        if !advertisements.any_for(&object.name.name) {
            problems.push(untold(&reference));
        }
        let (bfd, complaint) = bfd(spec, &defined, memory);
        problems.extend(complaint.map(|problem| problem.about(reference.clone())));
        if bfd.is_none() && spec.bfd_profile.is_some() {
            // It would be told routes that nobody watches over.
            continue;
        }
        let plan = plan(spec, situation, bfd);
        match plan.session.check() {
            Ok(()) => drop(all.insert(object.name.clone(), plan)),
            Err(error) => {
                let message = format!("the session cannot be as written: {error}");
                problems.push(Problem::error(message, "correct the BgpPeer").about(reference));
            }
        }
    }
    all
}

fn profiles(situation: &Situation<'_>) -> BTreeMap<Box<str>, BfdProfileSpec> {
    let mut all = BTreeMap::new();
    for object in &situation.objects {
        if let AnnounceSpec::BfdProfile(profile) = &object.spec {
            all.entry(object.name.name.clone()).or_insert(*profile);
        }
    }
    all
}

fn untold(object: &ObjectRef) -> Problem {
    let message = "no BgpAdvertisement is for it, so it is told of nothing";
    Problem::warning(
        message,
        "write a BgpAdvertisement; an empty one announces every address to every peer",
    )
    .about(object.clone())
}

/// `None` without a profile, or when the one it names was never known.
fn bfd(
    spec: &BgpPeerSpec,
    defined: &BTreeMap<Box<str>, BfdProfileSpec>,
    memory: &Memory,
) -> (Option<BfdPlan>, Option<Problem>) {
    let Some(name) = &spec.bfd_profile else {
        return (None, None);
    };
    let missing = |then: &str| {
        let message = format!("there is no BfdProfile {name}; {then}");
        Problem::error(message, "create it, or remove the field").field("spec.bfdProfile")
    };
    let Some(profile) = memory.profiles.get(name) else {
        return (None, Some(missing("the peer is not spoken with until there is")));
    };
    let complaint = (!defined.contains_key(name)).then(|| missing("its last state holds"));
    let plan = BfdPlan {
        timers: profile.timers,
        hops: match spec.distance {
            Distance::Ttl(1) | Distance::Gtsm { hops: 1 } => Hops::Single,
            Distance::Ttl(_) | Distance::Gtsm { .. } => Hops::Multi {
                min_ttl: profile.min_ttl,
            },
            // An internal session may be either; a loopback address is more than a hop away.
            Distance::Any if spec.source.is_some() => Hops::Multi {
                min_ttl: profile.min_ttl,
            },
            Distance::Any => Hops::Single,
        },
        bring: profile.bring,
        hold_up_ms: profile.hold_up_ms,
    };
    (Some(plan), complaint)
}

fn plan(spec: &BgpPeerSpec, situation: &Situation<'_>, bfd: Option<BfdPlan>) -> PeerPlan {
    PeerPlan {
        session: SessionSettings {
            local_as: spec.local_as,
            router_id: spec.router_id.unwrap_or(situation.node.router_id),
            peer_as: spec.peer_as,
            hold_seconds: spec.hold,
            keepalive_seconds: spec.keepalive,
            connect_seconds: spec.connect,
            families: families(spec),
            extended_next_hop: spec.extended_next_hop,
            next_hops: spec.next_hops,
            role: spec.role,
            opening: spec.opening,
        },
        link: LinkPlan {
            neighbor: spec.neighbor.clone(),
            source: spec.source,
            device: spec.device.clone(),
            distance: spec.distance,
        },
        password: spec.password.clone(),
        bfd,
        routes: Routes::new(),
    }
}

fn families(spec: &BgpPeerSpec) -> Families {
    spec.families.unwrap_or(match &spec.neighbor {
        Neighbor::Address(SocketAddr::V4(_)) => Families::only(Family::V4),
        Neighbor::Address(SocketAddr::V6(_)) => Families::only(Family::V6),
        Neighbor::Unnumbered { .. } => Families::BOTH,
    })
}

/// As far as can be known before the peer has spoken.
pub(super) fn is_internal(session: &SessionSettings) -> bool {
    match session.peer_as {
        PeerAs::Internal => true,
        PeerAs::External => false,
        PeerAs::Exact(asn) => asn == session.local_as,
    }
}
