//! What advertisements say about a prefix, and what comes of several that are about the same one: communities add
//! up; of contradicting numbers the one that routers prefer holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use maglane_bgp::wire::{Attributes, Community, ExtendedCommunity, LargeCommunity};

use super::decide::{Memory, Situation};
use crate::model::{
    AnnounceObject, AnnounceSpec, BgpAdvertisementSpec, CommunityRef, CommunityValue, DrainSpec, ObjectRef,
};
use crate::problem::Problem;

const BYTES_PER_MBIT: f32 = 125_000.0;

/// A BgpAdvertisement, its names resolved.
#[derive(Debug)]
pub(super) struct Advertisement<'s> {
    pub object: ObjectRef,
    pub spec: &'s BgpAdvertisementSpec,
    /// Of this node?
    pub here: bool,
    standard: BTreeSet<Community>,
    large: BTreeSet<LargeCommunity>,
}

#[derive(Debug)]
pub(super) struct Advertisements<'s>(pub Vec<Advertisement<'s>>);

/// Of whom a route is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Audience {
    pub internal: bool,
    pub local_as: u32,
}

impl<'s> Advertisements<'s> {
    pub fn new(
        situation: &Situation<'s>,
        memory: &mut Memory,
        problems: &mut Vec<Problem>,
    ) -> Advertisements<'s> {
        let defined = communities(&situation.objects, problems);
        memory
            .communities
            .extend(defined.iter().map(|(name, value)| (name.clone(), *value)));
        let mut all = vec![];
        for object in &situation.objects {
            let AnnounceSpec::BgpAdvertisement(spec) = &object.spec else {
                continue;
            };
            let mut advertisement = Advertisement {
                object: object.object(),
                here: spec.scope.covers_node(situation.node.labels()),
                spec,
                standard: BTreeSet::from([Community::NO_LLGR]),
                large: BTreeSet::new(),
            };
            if advertisement.resolve(&defined, memory, problems) {
                all.push(advertisement);
            }
        }
        Advertisements(all)
    }

    pub fn any_for(&self, peer: &str) -> bool {
        self.0.iter().any(|advertisement| advertisement.is_for(peer))
    }
}

/// The first to define a name holds.
fn communities(
    objects: &[&AnnounceObject],
    problems: &mut Vec<Problem>,
) -> BTreeMap<Box<str>, CommunityValue> {
    let mut all: BTreeMap<Box<str>, CommunityValue> = BTreeMap::new();
    for object in objects {
        let AnnounceSpec::Community(spec) = &object.spec else {
            continue;
        };
        for (name, value) in &spec.communities {
            let held = *all.entry(name.clone()).or_insert(*value);
            if held != *value {
                let message = format!(
                    "{name:?} is defined otherwise by another Community, which comes first by name and holds"
                );
                problems.push(Problem::error(message, "rename one of the two").about(object.object()));
            }
        }
    }
    all
}

impl Advertisement<'_> {
    pub fn is_for(&self, peer: &str) -> bool {
        self.spec.peers.is_empty() || self.spec.peers.contains(peer)
    }

    /// Says whether it can be used: a route must not go out without a community that may be what keeps it in.
    fn resolve(
        &mut self,
        defined: &BTreeMap<Box<str>, CommunityValue>,
        memory: &Memory,
        problems: &mut Vec<Problem>,
    ) -> bool {
        for (at, community) in self.spec.communities.iter().enumerate() {
            let value = match community {
                CommunityRef::Value(value) => Some(*value),
                CommunityRef::Name(name) => {
                    let known = memory.communities.get(name).copied();
                    if !defined.contains_key(name) {
                        let then = match known {
                            Some(_) => "its last value holds",
                            None => "the advertisement is not used until it is",
                        };
                        let message = format!("{name:?} is not defined; {then}");
                        let remedy = "define it in a Community, or write its value";
                        let problem = Problem::error(message, remedy).about(self.object.clone());
                        problems.push(problem.field(format!("spec.communities[{at}]")));
                    }
                    known
                }
            };
            match value {
                Some(CommunityValue::Standard(value)) => drop(self.standard.insert(value)),
                Some(CommunityValue::Large(value)) => drop(self.large.insert(value)),
                None => return false,
            }
        }
        true
    }
}

/// What all of them say about one prefix, in the order of the objects.
pub(super) fn merged(
    all: &[&Advertisement<'_>],
    audience: Audience,
    drain: Option<&DrainSpec>,
) -> Arc<Attributes> {
    let specs = || all.iter().map(|advertisement| advertisement.spec);
    let bandwidth = specs().filter_map(|spec| spec.link_bandwidth).max();
    let mut attributes = Attributes {
        prepend: specs()
            .map(|spec| spec.prepend)
            .filter(|n| *n > 0)
            .min()
            .unwrap_or(0),
        med: specs().filter_map(|spec| spec.med).min(),
        local_pref: specs().filter_map(|spec| spec.local_pref).max(),
        communities: all.iter().flat_map(|a| &a.standard).copied().collect(),
        large_communities: all.iter().flat_map(|a| &a.large).copied().collect(),
        extended_communities: bandwidth
            .map(|mbit| ExtendedCommunity::link_bandwidth(audience.local_as, mbit as f32 * BYTES_PER_MBIT))
            .into_iter()
            .collect(),
    };
    if let Some(drain) = drain {
        attributes.prepend = attributes.prepend.saturating_add(drain.prepend);
        if drain.graceful_shutdown {
            attributes.communities.insert(Community::GRACEFUL_SHUTDOWN);
            attributes.local_pref = Some(0);
        }
    }
    if audience.internal {
        attributes.prepend = 0;
    } else {
        attributes.local_pref = None;
    }
    Arc::new(attributes)
}

/// Do they contradict each other? Who says nothing contradicts nobody.
pub(super) fn conflict(all: &[&Advertisement<'_>]) -> Option<&'static str> {
    fn differ<'s, N: PartialEq>(
        all: &[&Advertisement<'s>],
        number: impl Fn(&'s BgpAdvertisementSpec) -> Option<N>,
    ) -> bool {
        let mut said = all.iter().filter_map(|advertisement| number(advertisement.spec));
        let first = said.next();
        said.any(|next| Some(&next) != first.as_ref())
    }
    if differ(all, |spec| spec.local_pref) {
        return Some("localPref");
    }
    if differ(all, |spec| spec.med) {
        return Some("med");
    }
    if differ(all, |spec| Some(spec.prepend).filter(|n| *n > 0)) {
        return Some("prepend");
    }
    differ(all, |spec| spec.link_bandwidth).then_some("linkBandwidthMbps")
}
