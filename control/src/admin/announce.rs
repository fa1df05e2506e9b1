//! BGP and BFD as shown: rows made of what the speaker keeps.

use std::net::IpAddr;

use maglane_bgp::bfd::live;
use maglane_bgp::peer::Counters;
use serde::{Deserialize, Serialize};

use crate::announce::{BgpSession, Neighbor, PeerPlan, Withheld};
use crate::model::ObjectName;

/// A peer of the speaker.
#[derive(Clone, Debug)]
pub struct PeerFigures {
    pub plan: std::sync::Arc<PeerPlan>,
    pub bgp: BgpSession,
    /// Milliseconds that the session stands.
    pub up_ms: Option<u64>,
    pub bfd: Option<BfdFigures>,
}

#[derive(Clone, Copy, Debug)]
pub struct BfdFigures {
    pub status: live::Status,
    /// Why it is not up; empty when it is.
    pub why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerRow {
    /// The BgpPeer.
    pub peer: ObjectName,
    /// Address, or the interface of an unnumbered peer.
    pub neighbor: String,
    pub state: String,
    pub up_ms: Option<u64>,
    pub local: Option<IpAddr>,
    /// Prefixes planned for it, and told.
    pub planned: usize,
    pub told: usize,
    /// Everything told is taken by the peer's TCP.
    pub synced: bool,
    pub withheld: Option<Withheld>,
    /// State of its BFD session, where it has one.
    pub bfd: Option<String>,
    pub last_error: Option<String>,
    pub counters: Counters,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRow {
    pub peer: ObjectName,
    pub prefix: String,
    /// Standard and large, as texts.
    pub communities: Vec<String>,
    pub local_pref: Option<u32>,
    pub med: Option<u32>,
    pub told: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BfdRow {
    pub peer: ObjectName,
    pub neighbor: String,
    pub state: String,
    pub why: String,
    /// Microseconds; none while the peer wants nothing, or was not heard.
    pub transmit_interval_us: Option<u64>,
    pub detection_time_us: Option<u64>,
    pub ups: u64,
    pub downs: u64,
    pub failures: u32,
    pub sent: u64,
    pub received: u64,
    /// Packets that were not for the session: malformed, from too far away, or of somebody else.
    pub discarded: u64,
}

/// One row a BgpPeer.
pub fn peers(figures: &[PeerFigures]) -> Vec<PeerRow> {
    figures.iter().map(peer).collect()
}

fn peer(figures: &PeerFigures) -> PeerRow {
    let PeerFigures {
        plan,
        bgp,
        up_ms,
        bfd,
    } = figures;
    let missing = plan.bfd.map(|_| "not begun".to_owned());
    PeerRow {
        peer: bgp.peer.clone(),
        neighbor: neighbor(plan),
        state: format!("{:?}", bgp.state),
        up_ms: *up_ms,
        local: bgp.local,
        planned: plan.routes.len(),
        told: bgp.told,
        synced: bgp.synced.is_some(),
        withheld: bgp.withheld,
        bfd: bfd.map(|bfd| format!("{:?}", bfd.status.state)).or(missing),
        last_error: bgp.last_error.as_deref().map(str::to_owned),
        counters: bgp.counters,
    }
}

fn neighbor(plan: &PeerPlan) -> String {
    match &plan.link.neighbor {
        Neighbor::Address(address) => address.ip().to_string(),
        Neighbor::Unnumbered { interface, port: _ } => interface.to_string(),
    }
}

/// What each peer is to be told.
pub fn routes(figures: &[PeerFigures]) -> Vec<RouteRow> {
    figures
        .iter()
        .flat_map(|figures| {
            let told = figures.bgp.synced.is_some() && figures.bgp.told > 0;
            figures.plan.routes.iter().map(move |(prefix, attributes)| {
                let standard = attributes.communities.iter().map(ToString::to_string);
                let large = attributes.large_communities.iter().map(ToString::to_string);
                RouteRow {
                    peer: figures.bgp.peer.clone(),
                    prefix: prefix.to_string(),
                    communities: standard.chain(large).collect(),
                    local_pref: attributes.local_pref,
                    med: attributes.med,
                    told,
                }
            })
        })
        .collect()
}

/// One row a BFD session.
pub fn bfd(figures: &[PeerFigures]) -> Vec<BfdRow> {
    let row = |figures: &PeerFigures| {
        let BfdFigures { status, why } = figures.bfd?;
        let seen = status.discards;
        Some(BfdRow {
            peer: figures.bgp.peer.clone(),
            neighbor: neighbor(&figures.plan),
            state: format!("{:?}", status.state),
            why: why.to_owned(),
            transmit_interval_us: status.transmit_interval.map(|micros| micros.0),
            detection_time_us: status.detection_time.map(|micros| micros.0),
            ups: status.ups,
            downs: status.downs,
            failures: status.failures,
            sent: status.sent,
            received: status.received,
            discarded: seen.malformed
                + seen.ttl
                + seen.source
                + seen.discriminator
                + seen.authenticated
                + seen.interface,
        })
    };
    figures.iter().filter_map(row).collect()
}
