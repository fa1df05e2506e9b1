//! What every session is to be and to say; the whole of it, each time.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use maglane_bgp::bfd;
use maglane_bgp::driver::Distance;
use maglane_bgp::settings::SessionSettings;
use maglane_bgp::wire::Attributes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::ObjectName;

/// What one peer is to be told.
pub type Routes = BTreeMap<IpNet, Arc<Attributes>>;

/// The sessions that are to be, and no others. A session that is as before but for its routes goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpPlan {
    /// Grows with each plan; [`super::BgpSession::synced`] repeats it.
    pub revision: u64,
    /// By BgpPeer.
    #[serde(with = "pairs")]
    pub peers: BTreeMap<ObjectName, PeerPlan>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPlan {
    pub session: SessionSettings,
    pub link: LinkPlan,
    /// TCP MD5. A session that has one never runs without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<BfdPlan>,
    #[serde(with = "routes")]
    pub routes: Routes,
}

/// [`maglane_bgp::driver::LinkSettings`], as far as it can be known without the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkPlan {
    pub neighbor: Neighbor,
    /// The address to speak from; the kernel chooses without one.
    pub source: Option<IpAddr>,
    /// Interface or VRF to bind to.
    pub device: Option<Box<str>>,
    pub distance: Distance,
}

/// Whom to dial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Neighbor {
    /// Without a scope id; a link-local address comes with [`LinkPlan::device`].
    Address(SocketAddr),
    /// Whoever sends router advertisements on this interface; we send some too, and on no other interface.
    Unnumbered { interface: Box<str>, port: u16 },
}

/// Where a password is. Its text is in no recording, no log and no state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordSource {
    /// In the BgpPeer of this `metadata.generation`.
    Inline { text: Hidden, generation: i64 },
    /// Key `password` of this Secret, in the namespace that this process runs in.
    Secret { name: Box<str> },
}

/// A text that is neither shown nor written; what was written is read as unknown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Option<Box<str>>);

impl Hidden {
    pub fn new(text: &str) -> Hidden {
        Hidden(Some(text.into()))
    }

    /// `None`: it is in the object, and that was read from the disk or a recording.
    pub fn reveal(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hidden, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer)?;
        Ok(Hidden(None))
    }
}

/// A BFD session with the peer, between the addresses of the BGP session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdPlan {
    pub timers: bfd::Timers,
    pub hops: bfd::Hops,
    pub bring: Bring,
    /// For how many milliseconds it must have been up before the peer is told any route.
    pub hold_up_ms: u32,
}

/// Who speaks first (RFC 5880 §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bring {
    #[default]
    Active,
    /// We send nothing before the peer does.
    Passive,
}

/// JSON has no maps with such keys.
mod pairs {
    use super::{BTreeMap, Deserialize, Deserializer, ObjectName, PeerPlan, Serializer};

    pub fn serialize<S: Serializer>(
        all: &BTreeMap<ObjectName, PeerPlan>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<ObjectName, PeerPlan>, D::Error> {
        Vec::deserialize(deserializer).map(|all| all.into_iter().collect())
    }
}

/// Attributes once, with the prefixes that have them.
mod routes {
    use super::{Arc, Attributes, BTreeMap, Deserialize, Deserializer, IpNet, Routes, Serializer};

    pub fn serialize<S: Serializer>(all: &Routes, serializer: S) -> Result<S::Ok, S::Error> {
        let mut groups: BTreeMap<&Attributes, Vec<IpNet>> = BTreeMap::new();
        for (prefix, attributes) in all {
            groups.entry(attributes).or_default().push(*prefix);
        }
        serializer.collect_seq(groups)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Routes, D::Error> {
        let groups: Vec<(Attributes, Vec<IpNet>)> = Vec::deserialize(deserializer)?;
        let mut routes = Routes::new();
        for (attributes, prefixes) in groups {
            let attributes = Arc::new(attributes);
            routes.extend(
                prefixes
                    .into_iter()
                    .map(|prefix| (prefix, Arc::clone(&attributes))),
            );
        }
        Ok(routes)
    }
}
