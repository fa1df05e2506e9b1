//! A forwarding table and settings as YAML that a person can write; see any `golden/*/table.yaml`.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::IpNet;
use maglane_dataplane::config::{Config, IcmpRates, Snat, UnknownPort};
use maglane_shared::addr::{Addr, MacAddr, VipKey};
use maglane_shared::flow::{HashInputs, HashKey};
use maglane_shared::maglev::{MaglevTable, Member};
use maglane_shared::next_hop::{
    HopGroupId, HopIndex, NextHop, PortIndex, PrefixTable, RouteTable, RouteTarget,
};
use maglane_shared::policy::{AffinityTimeout, IdleTimeout, Policy, Removal, SourceRanges};
use maglane_shared::service::{BackendId, BackendState, ForwardingMode, ServiceId, VipKind};
use maglane_shared::table::{BackendEntry, ForwardingTable, Generation, ServiceEntry, ServiceTable};
use serde::Deserialize;

/// One case's `table.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Setup {
    /// What the case shows.
    #[serde(rename = "about")]
    _about: String,
    /// MAC addresses of our interfaces.
    ports: Vec<MacAddr>,
    neighbors: BTreeMap<String, Neighbor>,
    /// A neighbour's name, `on-link` and a port, or `unusable`.
    #[serde(default)]
    routes: BTreeMap<IpNet, String>,
    services: Vec<Service>,
    #[serde(default)]
    settings: Settings,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Neighbor {
    port: u8,
    addr: Addr,
    /// Absent while unresolved.
    mac: Option<MacAddr>,
    #[serde(default = "ethernet_mtu")]
    mtu: u16,
}

fn ethernet_mtu() -> u16 {
    1500
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    /// `addr`, `port`, `protocol`.
    vip: VipKey,
    #[serde(default)]
    kind: VipKind,
    mode: ForwardingMode,
    #[serde(default)]
    hash: HashInputs,
    backends: Vec<Backend>,
    #[serde(default)]
    policy: Wishes,
}

/// A [`Policy`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wishes {
    sources: Option<Vec<IpNet>>,
    /// Seconds.
    affinity: Option<u32>,
    idle: Option<u32>,
    removal: Removal,
    /// Bytes.
    mss: Option<NonZeroU16>,
    mtu: Option<NonZeroU16>,
}

impl Wishes {
    fn policy(&self) -> Policy {
        let sources = self.sources.as_ref();
        Policy {
            sources: sources.map(|prefixes| SourceRanges::new(prefixes.iter().copied())),
            affinity: self.affinity.map(|s| AffinityTimeout::from_secs(s).unwrap()),
            idle: self.idle.map(|s| IdleTimeout::from_secs(s).unwrap()),
            removal: self.removal,
            mss: self.mss,
            mtu: self.mtu,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Backend {
    addr: Addr,
    port: u16,
    via: String,
    #[serde(default = "active")]
    state: BackendState,
    /// From when on, in milliseconds, it drains, and is gone.
    #[serde(default = "never")]
    drains_at: u32,
    #[serde(default = "never")]
    gone_at: u32,
}

impl Backend {
    fn state(&self, now: u32) -> BackendState {
        if now >= self.drains_at {
            BackendState::Draining
        } else {
            self.state
        }
    }
}

fn never() -> u32 {
    u32::MAX
}

fn active() -> BackendState {
    BackendState::Active
}

/// What differs from [`Config::default`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    snat: Vec<Addr>,
    snat_ports: (u16, u16),
    gue: Vec<Addr>,
    refuse_unknown_ports: bool,
    /// ICMP answers a second.
    icmp_rate: u32,
    /// Translated flows the node has room for.
    pub returns: usize,
    /// Bytes in front of each frame.
    pub headroom: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            snat: vec![],
            snat_ports: (20_000, 20_999),
            gue: vec![],
            refuse_unknown_ports: false,
            icmp_rate: 1000,
            returns: 1024,
            headroom: 256,
        }
    }
}

impl Setup {
    pub fn read(yaml: &str) -> Setup {
        serde_norway::from_str(yaml).unwrap_or_else(|e| panic!("table.yaml: {e}\n{yaml}"))
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The interface a frame came in on: the one it was sent to; the first, if to none of ours.
    pub fn port_of(&self, frame: &[u8]) -> PortIndex {
        PortIndex(
            self.ports
                .iter()
                .position(|mac| frame.starts_with(&mac.0))
                .unwrap_or(0) as u8,
        )
    }

    pub fn config(&self) -> Config {
        let settings = &self.settings;
        let (v4, v6) = settings.snat.iter().partition(|addr| addr.is_v4());
        let mut config = Config {
            snat: Snat {
                v4,
                v6,
                ports: settings.snat_ports.0..=settings.snat_ports.1,
            },
            flow_table_size: 1024,
            fragment_capacity: 64,
            icmp: IcmpRates {
                total: settings.icmp_rate,
                per_source: settings.icmp_rate,
            },
            ..Config::default()
        };
        config.tunnels.gue_v4 = settings.gue.iter().copied().find(|addr| addr.is_v4());
        config.tunnels.gue_v6 = settings.gue.iter().copied().find(|addr| !addr.is_v4());
        if settings.refuse_unknown_ports {
            config.unknown_port = UnknownPort::Refuse;
        }
        config.check().unwrap();
        config
    }

    /// As it is `now` milliseconds after the start.
    pub fn table(&self, now: u32) -> ForwardingTable {
        let mut backends = vec![];
        let services = self.services.iter().enumerate();
        let services = services
            .map(|(slot, service)| self.service(slot, service, now, &mut backends))
            .collect();
        let table = ForwardingTable {
            generation: Generation(1),
            hash_key: HashKey::default(),
            services: Arc::new(ServiceTable::new(services).with_dnat_backends(self.dnat_backends())),
            backends: backends.into_iter().collect(),
            routes: Arc::new(self.route_table()),
        };
        table.check().unwrap();
        table
    }

    fn service(
        &self,
        slot: usize,
        service: &Service,
        now: u32,
        backends: &mut Vec<BackendEntry>,
    ) -> ServiceEntry {
        let first = backends.len() as u32;
        let mut sorted: Vec<&Backend> = service.backends.iter().collect();
        sorted.sort_by_key(|b| identity(b));
        backends.extend(sorted.iter().map(|b| self.backend(b, now)));
        let (ids, members): (Vec<BackendId>, Vec<Member>) = (first..)
            .zip(sorted)
            .filter(|(_, b)| now < b.gone_at)
            .map(|(slot, b)| (BackendId { slot, epoch: 1 }, member(b, now)))
            .unzip();
        ServiceEntry {
            id: ServiceId {
                slot: slot as u32,
                epoch: 1,
            },
            key: service.vip,
            kind: service.kind,
            mode: service.mode,
            hash_inputs: service.hash,
            maglev: Arc::new(MaglevTable::build(&members, 251, &HashKey::default())),
            backends: ids.into(),
            policy: service.policy.policy().shared(),
        }
    }

    fn backend(&self, backend: &Backend, now: u32) -> BackendEntry {
        if now >= backend.gone_at {
            return BackendEntry::VACANT;
        }
        BackendEntry {
            addr: backend.addr,
            port: backend.port,
            state: backend.state(now),
            epoch: 1,
            hops: self.group(&backend.via),
        }
    }

    fn dnat_backends(&self) -> std::collections::HashSet<VipKey> {
        let dnat = self.services.iter().filter(|s| s.mode == ForwardingMode::Dnat);
        dnat.flat_map(|s| {
            s.backends.iter().map(|b| VipKey {
                addr: b.addr,
                port: b.port,
                protocol: s.vip.protocol,
            })
        })
        .collect()
    }

    /// Each neighbour is a group of its own.
    fn group(&self, name: &str) -> HopGroupId {
        let at = self.neighbors.keys().position(|n| n == name);
        HopGroupId(at.unwrap_or_else(|| panic!("no neighbour {name}")) as u32)
    }

    fn route_table(&self) -> RouteTable {
        let mut prefixes = PrefixTable::default();
        for (prefix, via) in &self.routes {
            let target = match via.split_once(' ') {
                Some(("on-link", port)) => RouteTarget::OnLink(PortIndex(port.parse().unwrap())),
                None if via == "unusable" => RouteTarget::Unusable,
                _ => RouteTarget::Group(self.group(via)),
            };
            prefixes.insert(prefix.network().into(), prefix.prefix_len(), target);
        }
        let hop = |n: &Neighbor| NextHop {
            port: PortIndex(n.port),
            mtu: n.mtu,
            source: self.ports[usize::from(n.port)],
            destination: n.mac,
            neighbor: n.addr,
        };
        let resolved = self.neighbors.iter().filter(|(_, n)| n.mac.is_some());
        let neighbors: HashMap<_, _> = resolved
            .map(|(name, n)| ((PortIndex(n.port), n.addr), self.group(name)))
            .collect();
        RouteTable {
            version: 1,
            hops: self.neighbors.values().map(hop).collect(),
            groups: (0..self.neighbors.len())
                .map(|i| Box::from([HopIndex(i as u16)]))
                .collect(),
            neighbors: Arc::new(neighbors),
            prefixes: Arc::new(prefixes),
            port_macs: self.ports.as_slice().into(),
        }
    }
}

fn identity(backend: &Backend) -> String {
    format!("{}:{}", backend.addr, backend.port)
}

fn member(backend: &Backend, now: u32) -> Member {
    let weight = match backend.state(now) {
        BackendState::Active => 1,
        BackendState::Draining => 0,
    };
    Member {
        identity: identity(backend).into(),
        weight,
    }
}
