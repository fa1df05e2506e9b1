//! BGP and BFD under the names MetalLB's users have dashboards for; peers are named by their BgpPeer.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::encode::{Labels, counter, gauge};
use crate::admin::{BfdFigures, PeerFigures};

#[derive(Clone, Debug)]
pub(super) struct Sessions(pub Vec<PeerFigures>);

type Pick<T> = fn(&T) -> f64;

/// Name, help, value.
const GAUGES: [(&str, &str, Pick<PeerFigures>); 3] = [
    (
        "bgp_session_up",
        "BGP session state (1 is up, 0 is down)",
        |peer| f64::from(u8::from(peer.bgp.is_established())),
    ),
    (
        "bgp_announced_prefixes_total",
        "Number of prefixes currently being advertised on the BGP session",
        |peer| peer.bgp.told as f64,
    ),
    (
        "bgp_pending_prefixes_total",
        "Number of prefixes that should be advertised on the BGP session",
        |peer| peer.plan.routes.len() as f64,
    ),
];

const COUNTERS: [(&str, &str, Pick<PeerFigures>); 6] = [
    ("bgp_updates", "Number of BGP UPDATE messages sent", |peer| {
        peer.bgp.counters.updates_out as f64
    }),
    (
        "bgp_updates_received",
        "Number of BGP UPDATE messages received",
        |peer| peer.bgp.counters.updates_in as f64,
    ),
    (
        "bgp_keepalives_sent",
        "Number of BGP keepalive messages sent",
        |peer| peer.bgp.counters.keepalives_out as f64,
    ),
    (
        "bgp_keepalives_received",
        "Number of BGP keepalive messages received",
        |peer| peer.bgp.counters.keepalives_in as f64,
    ),
    (
        "bgp_notifications_sent",
        "Number of BGP notification messages sent",
        |peer| peer.bgp.counters.notifications_out as f64,
    ),
    (
        "bgp_sessions_ended",
        "Number of established BGP sessions that ended",
        |peer| peer.bgp.counters.sessions_down as f64,
    ),
];

const BFD: [(&str, &str, Pick<BfdFigures>); 4] = [
    (
        "bfd_control_packet_input",
        "Number of received BFD control packets",
        |bfd| bfd.status.received as f64,
    ),
    (
        "bfd_control_packet_output",
        "Number of sent BFD control packets",
        |bfd| bfd.status.sent as f64,
    ),
    (
        "bfd_session_down_events",
        "Number of BFD session down events",
        |bfd| bfd.status.downs as f64,
    ),
    (
        "bfd_session_up_events",
        "Number of BFD session up events",
        |bfd| bfd.status.ups as f64,
    ),
];

impl Collector for Sessions {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        for (name, help, pick) in GAUGES {
            gauge(
                out,
                name,
                help,
                self.0.iter().map(|peer| (label(peer), pick(peer))),
            )?;
        }
        for (name, help, pick) in COUNTERS {
            counter(
                out,
                name,
                help,
                self.0.iter().map(|peer| (label(peer), pick(peer))),
            )?;
        }
        let sessions = || self.0.iter().filter_map(|peer| Some((label(peer), peer.bfd?)));
        let up = sessions().map(|(label, bfd)| {
            let up = bfd.status.state == maglane_bgp::bfd::State::Up;
            (label, f64::from(u8::from(up)))
        });
        gauge(
            out,
            "bfd_session_up",
            "BFD session state (1 is up, 0 is down)",
            up,
        )?;
        for (name, help, pick) in BFD {
            counter(
                out,
                name,
                help,
                sessions().map(|(label, bfd)| (label, pick(&bfd))),
            )?;
        }
        Ok(())
    }
}

fn label(peer: &PeerFigures) -> Labels {
    vec![("peer", peer.bgp.peer.to_string())]
}
