//! `BfdProfile`: how fast a router that is gone is noticed. Everything that MetalLB's BFDProfile takes, in its
//! spelling.

use kube::{CustomResource, KubeSchema};
use maglane_bgp::bfd::Timers;
use serde::{Deserialize, Serialize};

use super::announce::{AnnounceStatus, bounded};
use super::{Read, bad_field};
use crate::announce::Bring;
use crate::convert::Announces;
use crate::model::{AnnounceSpec, BfdProfileSpec as Profile};

/// Intervals in milliseconds. A router that says nothing for detectMultiplier intervals is gone.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "maglane.io",
    version = "v1alpha1",
    kind = "BfdProfile",
    plural = "bfdprofiles",
    shortname = "bfdp",
    category = "maglane",
    status = "AnnounceStatus",
    derive = "PartialEq",
    doc = "Bidirectional forwarding detection with BgpPeers.",
    printcolumn(name = "Transmit", type_ = "integer", json_path = ".spec.transmitInterval"),
    printcolumn(name = "Receive", type_ = "integer", json_path = ".spec.receiveInterval"),
    printcolumn(name = "Multiplier", type_ = "integer", json_path = ".spec.detectMultiplier"),
    printcolumn(
        name = "Passive",
        type_ = "boolean",
        json_path = ".spec.passiveMode",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.echoMode) || !self.echoMode", "the echo function is not offered; shorten the intervals"))]
pub struct BfdProfileSpec {
    /// The shortest time between two packets of the router that we can take.
    #[serde(default = "interval")]
    #[schemars(range(min = 10, max = 60000))]
    pub receive_interval: i32,
    /// The shortest time between two packets of ours.
    #[serde(default = "interval")]
    #[schemars(range(min = 10, max = 60000))]
    pub transmit_interval: i32,
    /// How many of our packets in a row may be lost before the router gives us up.
    #[serde(default = "multiplier")]
    #[schemars(range(min = 2, max = 255))]
    pub detect_multiplier: i32,
    /// Not offered; ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60000))]
    pub echo_interval: Option<i32>,
    /// Not offered; only false is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo_mode: Option<bool>,
    /// Whether we wait for the router to speak first.
    #[serde(default)]
    pub passive_mode: bool,
    /// The least TTL of packets from a router that is more than one hop away.
    #[serde(default = "ttl")]
    #[schemars(range(min = 1, max = 254))]
    pub minimum_ttl: i32,
    /// For how many milliseconds the session must have been up before the router is told any route.
    #[serde(default)]
    #[schemars(range(min = 0, max = 600000))]
    pub hold_up: i32,
}

const fn interval() -> i32 {
    300
}

const fn multiplier() -> i32 {
    3
}

const fn ttl() -> i32 {
    254
}

impl Announces for BfdProfile {
    type Status = AnnounceStatus;

    fn status(&self) -> &Option<AnnounceStatus> {
        &self.status
    }

    fn spec(&self) -> Read<AnnounceSpec> {
        let spec = &self.spec;
        let mut problems = vec![];
        if spec.echo_mode == Some(true) {
            let text = "the echo function is not offered; remove it, and shorten the intervals instead";
            problems.push(bad_field("spec.echoMode".to_owned(), text));
        }
        let mut interval =
            |field, ms: i32| 1000 * bounded::<u32>(field, i64::from(ms), (10, 60_000), &mut problems);
        let (rx, tx) = (
            interval("receiveInterval", spec.receive_interval),
            interval("transmitInterval", spec.transmit_interval),
        );
        let mut small =
            |field, number: i32, bounds| bounded::<u8>(field, i64::from(number), bounds, &mut problems);
        let (detect_mult, min_ttl) = (
            small("detectMultiplier", spec.detect_multiplier, (2, 255)),
            small("minimumTtl", spec.minimum_ttl, (1, 254)),
        );
        let profile = Profile {
            timers: Timers {
                desired_min_tx: tx,
                required_min_rx: rx,
                detect_mult,
            },
            min_ttl,
            bring: if spec.passive_mode {
                Bring::Passive
            } else {
                Bring::Active
            },
            hold_up_ms: bounded("holdUp", i64::from(spec.hold_up), (0, 600_000), &mut problems),
        };
        Read::new(AnnounceSpec::BfdProfile(profile), problems)
    }
}
