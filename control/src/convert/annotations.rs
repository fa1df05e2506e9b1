//! `maglane.io/*` annotations -> checked settings.

use std::collections::BTreeMap;

use maglane_shared::addr::{Addr, Family};
use maglane_shared::flow::HashInputs;
use maglane_shared::policy::IdleTimeout;
use maglane_shared::service::ForwardingMode;

use crate::ipam::ask;
use crate::model::{BackendKind, GlobalSpec, ObjectRef, OnRemoval, Setting};
use crate::problem::Problem;

const PREFIX: &str = "maglane.io/";
pub(super) const ADDRESSES: &str = "maglane.io/addresses";
const MODE: &str = "maglane.io/forwarding-mode";
const HASH_INPUTS: &str = "maglane.io/hash-inputs";
const WEIGHTS: &str = "maglane.io/weights";
const BACKENDS: &str = "maglane.io/backends";
const ON_REMOVAL: &str = "maglane.io/on-removal";
const TCP_TIMEOUT: &str = "maglane.io/tcp-timeout";
const UDP_TIMEOUT: &str = "maglane.io/udp-timeout";
const MSS: &str = "maglane.io/mss";
const MTU: &str = "maglane.io/mtu";
const GLOBAL: &str = "maglane.io/global";
/// Cilium's spelling of the same.
const CILIUM_GLOBAL: &str = "service.cilium.io/global";
const FAILOVER_THRESHOLD: &str = "maglane.io/failover-threshold";
const CLUSTER_WEIGHTS: &str = "maglane.io/cluster-weights";
const KNOWN: [&str; 13] = [
    ADDRESSES,
    MODE,
    HASH_INPUTS,
    WEIGHTS,
    BACKENDS,
    ON_REMOVAL,
    TCP_TIMEOUT,
    UDP_TIMEOUT,
    MSS,
    MTU,
    GLOBAL,
    FAILOVER_THRESHOLD,
    CLUSTER_WEIGHTS,
];

/// The annotations of one object.
pub(super) struct Annotations<'a> {
    pub object: &'a ObjectRef,
    /// File and document.
    pub place: &'a str,
    pub all: &'a BTreeMap<String, String>,
}

impl Annotations<'_> {
    pub fn addresses(&self) -> Setting<Vec<Addr>> {
        self.setting(ADDRESSES, |text| {
            let addresses: Vec<Addr> = list(text).map(vip).collect::<Result<_, _>>()?;
            match addresses.is_empty() {
                true => Err("names no address; write one or more addresses joined by commas".to_owned()),
                false => Ok(addresses),
            }
        })
    }

    pub fn mode(&self) -> Setting<ForwardingMode> {
        self.setting(MODE, |text| {
            text.parse()
                .map_err(|_| "is not a forwarding mode; use nat, dnat, l2-dsr, ipip or gue".to_owned())
        })
    }

    pub fn hash_inputs(&self) -> Setting<HashInputs> {
        self.setting(HASH_INPUTS, |text| match text {
            "five-tuple" => Ok(HashInputs::FiveTuple),
            "client-address" => Ok(HashInputs::ClientAddress),
            _ => Err("is not known; use five-tuple or client-address".to_owned()),
        })
    }

    pub fn weights(&self) -> Setting<BTreeMap<Addr, u16>> {
        self.setting(WEIGHTS, |text| list(text).map(weight).collect())
    }

    pub fn backends(&self) -> Setting<BackendKind> {
        self.setting(BACKENDS, |text| match text {
            "pods" => Ok(BackendKind::Pods),
            "nodes" => Ok(BackendKind::Nodes),
            _ => Err("is not known; use pods or nodes".to_owned()),
        })
    }

    pub fn on_removal(&self) -> Setting<OnRemoval> {
        self.setting(ON_REMOVAL, |text| match text {
            "drain" => Ok(OnRemoval::Drain),
            "move" => Ok(OnRemoval::Move),
            "reset" => Ok(OnRemoval::Reset),
            _ => Err("is not known; use drain, move or reset".to_owned()),
        })
    }

    pub fn tcp_timeout(&self) -> Setting<u32> {
        self.setting(TCP_TIMEOUT, timeout)
    }

    pub fn udp_timeout(&self) -> Setting<u32> {
        self.setting(UDP_TIMEOUT, timeout)
    }

    /// 536 is what every host takes (RFC 9293 §3.7.1); more than 65495 fits in no IPv4 packet.
    pub fn mss(&self) -> Setting<u16> {
        self.setting(MSS, |text| match text.parse() {
            Ok(mss) if (536..=65_495).contains(&mss) => Ok(mss),
            Ok(_) | Err(_) => Err("is no segment size; write bytes from 536 to 65495".to_owned()),
        })
    }

    /// 1280 is what every IPv6 link carries (RFC 8200 §5).
    pub fn mtu(&self) -> Setting<u16> {
        self.setting(MTU, |text| match text.parse() {
            Ok(mtu) if mtu >= 1280 => Ok(mtu),
            Ok(_) | Err(_) => Err("is no packet size; write bytes from 1280 to 65535".to_owned()),
        })
    }

    pub fn global(&self) -> Setting<GlobalSpec> {
        let key = if self.all.contains_key(GLOBAL) {
            GLOBAL
        } else {
            CILIUM_GLOBAL
        };
        let global = self.setting(key, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("is not known; use true or false".to_owned()),
        });
        let parts = |on: bool| match (on, self.tiers()) {
            (false, _) => Setting::Unset,
            (true, Setting::Unset) => Setting::Valid(GlobalSpec::default()),
            (true, parts @ (Setting::Valid(_) | Setting::Invalid { .. })) => parts,
        };
        match global {
            Setting::Unset => Setting::Unset,
            Setting::Valid(on) => parts(on),
            Setting::Invalid { problem, .. } => Setting::Invalid {
                problem,
                last_good: None,
            },
        }
    }

    /// How other clusters count, should they: unset when nothing is said of it.
    pub fn tiers(&self) -> Setting<GlobalSpec> {
        let threshold = self.setting(FAILOVER_THRESHOLD, |text| {
            text.parse()
                .map_err(|_| "is no number of endpoints; write 1 to 65535".to_owned())
        });
        let weights = self.setting(CLUSTER_WEIGHTS, |text| list(text).map(cluster_weight).collect());
        let spec = GlobalSpec {
            failover_threshold: threshold.get().copied(),
            weights: weights.get().cloned().unwrap_or_default(),
        };
        match (
            threshold.problem().or(weights.problem()),
            threshold.get(),
            weights.get(),
        ) {
            (None, None, None) => Setting::Unset,
            (None, _, _) => Setting::Valid(spec),
            (Some(problem), _, _) => Setting::Invalid {
                problem: problem.clone(),
                last_good: Some(spec),
            },
        }
    }

    /// Annotations under our prefix that mean nothing.
    pub fn unknown(&self) -> impl Iterator<Item = Problem> {
        let ours = self
            .all
            .keys()
            .filter(|key| key.starts_with(PREFIX) && !known().any(|known| known == key.as_str()));
        ours.map(|key| {
            let known: Vec<&str> = known().collect();
            let remedy = format!(
                "correct its spelling or remove it; known are {}",
                known.join(", ")
            );
            self.problem(key, "is no annotation that this version knows".to_owned(), remedy)
        })
    }

    /// `parse` says in its error what is wrong and, after a semicolon, what to do.
    fn setting<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Setting<T> {
        let Some(text) = self.all.get(key) else {
            return Setting::Unset;
        };
        match parse(text.trim()) {
            Ok(value) => Setting::Valid(value),
            Err(error) => {
                let (message, remedy) = error.split_once("; ").unwrap_or((&error, "correct it"));
                let remedy = format!("{remedy}; until then the last good value or the default holds");
                let problem = self.problem(key, format!("{text:?} {message}"), remedy);
                Setting::Invalid {
                    problem,
                    last_good: None,
                }
            }
        }
    }

    fn problem(&self, key: &str, message: String, remedy: String) -> Problem {
        let field = format!("metadata.annotations[{key}]");
        Problem::warning(message, remedy)
            .about(self.object.clone())
            .at(self.place)
            .field(field)
    }
}

/// Every annotation that some part of this program reads.
fn known() -> impl Iterator<Item = &'static str> {
    let of_addresses = ask::KNOWN.into_iter().filter(|key| !KNOWN.contains(key));
    KNOWN.into_iter().chain(of_addresses)
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// An address that clients can connect to.
pub(crate) fn vip(text: &str) -> Result<Addr, String> {
    let addr: Addr = text.parse().map_err(|_| {
        format!("holds {text:?}, which is no IP address; write addresses without prefix length")
    })?;
    let ip = addr.ip();
    let broadcast = addr.family() == Family::V4 && addr.v4_bytes() == [255; 4];
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || broadcast {
        return Err(format!(
            "holds {text}, which cannot be a virtual address; name a unicast address"
        ));
    }
    Ok(addr)
}

/// `300` or `300s`
fn timeout(text: &str) -> Result<u32, String> {
    let most = IdleTimeout::MAX;
    match text.strip_suffix('s').unwrap_or(text).parse() {
        Ok(seconds) if (1..=most).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err(format!(
            "is no time; write whole seconds from 1 to {most}, as 300s"
        )),
    }
}

/// `east=3`
fn cluster_weight(item: &str) -> Result<(Box<str>, u16), String> {
    let bad = || format!("holds {item:?}; write CLUSTER=WEIGHT, the weight 0 to 65535, joined by commas");
    let (cluster, weight) = item.split_once('=').ok_or_else(bad)?;
    Ok((cluster.trim().into(), weight.trim().parse().map_err(|_| bad())?))
}

/// `10.0.0.1=3`
fn weight(item: &str) -> Result<(Addr, u16), String> {
    let bad =
        || format!("holds {item:?}; write ADDRESS=WEIGHT, the weight 0 (drains) to 65535, joined by commas");
    let (addr, weight) = item.split_once('=').ok_or_else(bad)?;
    Ok((
        addr.trim().parse().map_err(|_| bad())?,
        weight.trim().parse().map_err(|_| bad())?,
    ))
}
