//! A small network to forward in: clients behind a router on port 0, backends on link on port 1.

use std::sync::Arc;

use maglane_dataplane::packet::Packet;
use maglane_dataplane::{Affinities, Config, Forwarder, NatReturns, Verdict};
use maglane_shared::addr::{Addr, MacAddr, Protocol, VipKey};
use maglane_shared::counters::Counters;
use maglane_shared::facts::Facts;
use maglane_shared::flow::{HashInputs, HashKey};
use maglane_shared::maglev::{MaglevTable, Member};
use maglane_shared::next_hop::{
    HopGroupId, HopIndex, NextHop, PortIndex, PrefixTable, RouteTable, RouteTarget,
};
use maglane_shared::policy::Policy;
use maglane_shared::service::{BackendId, BackendState, ForwardingMode, ServiceId, VipKind};
use maglane_shared::table::{BackendEntry, ForwardingTable, Generation, ServiceEntry, ServiceTable};
use maglane_shared::tick::Tick;

use crate::support::frame::{PORT0, PORT1, ROUTER};

pub const CLIENTS: PortIndex = PortIndex(0);
pub const BACKENDS: PortIndex = PortIndex(1);
pub const HEADROOM: usize = 256;
pub const MTU: u16 = 1500;

/// Source addresses of `nat` in these tests.
pub const SNAT_V4: &str = "198.51.100.1";
pub const SNAT_V6: &str = "2001:db8:5::1";

/// A service to be: `Service::new("192.0.2.10:80", Protocol::Tcp, ForwardingMode::Nat, &["10.0.0.1:8080"])`.
#[derive(Clone, Debug)]
pub struct Service {
    pub vip: VipKey,
    pub mode: ForwardingMode,
    pub kind: VipKind,
    pub inputs: HashInputs,
    pub policy: Policy,
    /// Address, port, state and epoch. The epoch tells successive tenants of a place apart.
    pub backends: Vec<(Addr, u16, BackendState, u32)>,
}

impl Service {
    pub fn new(vip: &str, protocol: Protocol, mode: ForwardingMode, backends: &[&str]) -> Self {
        let (addr, port) = endpoint(vip);
        let backend = |text: &&str| {
            let (addr, port) = endpoint(text);
            (addr, port, BackendState::Active, 1)
        };
        let backends = backends.iter().map(backend).collect();
        Service {
            vip: VipKey { addr, port, protocol },
            mode,
            kind: VipKind::Address,
            inputs: HashInputs::FiveTuple,
            policy: Policy::default(),
            backends,
        }
    }
}

pub fn endpoint(text: &str) -> (Addr, u16) {
    let socket: std::net::SocketAddr = text.parse().unwrap();
    (socket.ip().into(), socket.port())
}

/// The MAC address that answers for a backend.
pub fn mac_of(addr: Addr) -> MacAddr {
    let [.., a, b, c, d] = addr.v6_bytes();
    MacAddr([2, 0xbb, a, b, c, d])
}

/// The table for these services. Backend slots follow their order; hop 0 is the router.
pub fn table(generation: u64, services: &[Service]) -> ForwardingTable {
    let mut hops = vec![NextHop {
        port: CLIENTS,
        mtu: MTU,
        source: MacAddr(PORT0),
        destination: Some(MacAddr(ROUTER)),
        neighbor: "203.0.113.254".parse().unwrap(),
    }];
    let mut groups: Vec<Box<[HopIndex]>> = vec![[HopIndex(0)].into()];
    let (mut backends, mut entries) = (vec![], vec![]);
    for (slot, service) in (0..).zip(services) {
        let mut members = vec![];
        for &(addr, port, state, epoch) in &service.backends {
            let id = BackendId {
                slot: backends.len() as u32,
                epoch,
            };
            let (source, destination) = (MacAddr(PORT1), Some(mac_of(addr)));
            groups.push([HopIndex(hops.len() as u16)].into());
            hops.push(NextHop {
                port: BACKENDS,
                mtu: MTU,
                source,
                destination,
                neighbor: addr,
            });
            backends.push(BackendEntry {
                addr,
                port,
                state,
                epoch,
                hops: HopGroupId(groups.len() as u32 - 1),
            });
            let weight = u16::from(state == BackendState::Active);
            members.push((
                Member {
                    identity: format!("{addr}:{port}").into(),
                    weight,
                },
                id,
            ));
        }
        entries.push(entry(slot, service, members));
    }
    let dnat = services.iter().filter(|s| s.mode == ForwardingMode::Dnat);
    let dnat = dnat.flat_map(|s| {
        s.backends.iter().map(|b| VipKey {
            addr: b.0,
            port: b.1,
            ..s.vip
        })
    });
    let table = ForwardingTable {
        generation: Generation(generation),
        hash_key: HashKey::default(),
        services: Arc::new(ServiceTable::new(entries).with_dnat_backends(dnat.collect())),
        backends: backends.into_iter().collect(),
        routes: Arc::new(routes(hops, groups)),
    };
    table.check().unwrap();
    table
}

fn entry(slot: u32, service: &Service, mut members: Vec<(Member, BackendId)>) -> ServiceEntry {
    members.sort();
    let (members, backends): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    let size = MaglevTable::size_for(members.len());
    ServiceEntry {
        id: ServiceId { slot, epoch: 1 },
        key: service.vip,
        kind: service.kind,
        mode: service.mode,
        hash_inputs: service.inputs,
        maglev: Arc::new(MaglevTable::build(&members, size, &HashKey::default())),
        backends: backends.into(),
        policy: service.policy.clone().shared(),
    }
}

fn routes(hops: Vec<NextHop>, groups: Vec<Box<[HopIndex]>>) -> RouteTable {
    let mut prefixes = PrefixTable::default();
    for default in ["0.0.0.0", "::"] {
        prefixes.insert(default.parse().unwrap(), 0, RouteTarget::Group(HopGroupId(0)));
    }
    prefixes.insert("203.0.114.0".parse().unwrap(), 24, RouteTarget::OnLink(CLIENTS));
    prefixes.insert("203.0.115.0".parse().unwrap(), 24, RouteTarget::Unusable);
    RouteTable {
        version: 1,
        hops: hops.into(),
        groups: groups.into(),
        neighbors: Arc::default(),
        prefixes: Arc::new(prefixes),
        port_macs: [MacAddr(PORT0), MacAddr(PORT1)].into(),
    }
}

/// The settings most tests use: NAT in both families, GUE sources, a small table.
pub fn config() -> Config {
    let mut config = Config {
        flow_table_size: 4096,
        fragment_capacity: 256,
        ..Config::default()
    };
    config.snat.v4 = vec![SNAT_V4.parse().unwrap()];
    config.snat.v6 = vec![SNAT_V6.parse().unwrap()];
    config.tunnels.gue_v4 = Some("198.51.100.2".parse().unwrap());
    config.tunnels.gue_v6 = Some("2001:db8:5::2".parse().unwrap());
    config.check().unwrap();
    config
}

/// One worker's forwarder and what it shares.
pub struct Worker {
    pub forwarder: Forwarder,
    pub counters: Arc<Counters>,
    pub facts: Arc<Facts>,
}

/// `count` workers of one node.
pub fn workers(config: &Config, count: u16) -> Vec<Worker> {
    let returns = Arc::new(NatReturns::new(config.flow_table_size * usize::from(count)));
    let affinities = Arc::new(Affinities::new(4096));
    let worker = |index| {
        let (counters, facts) = (Arc::new(Counters::new(64, 1024)), Arc::new(Facts::default()));
        let (c, f) = (Arc::clone(&counters), Arc::clone(&facts));
        let (returns, affinities) = (Arc::clone(&returns), Arc::clone(&affinities));
        let forwarder = Forwarder::new(config, index, returns, affinities, c, f);
        Worker {
            forwarder,
            counters,
            facts,
        }
    };
    (0..count).map(worker).collect()
}

impl Worker {
    /// What becomes of a frame, and its bytes then.
    pub fn process(
        &mut self,
        table: &ForwardingTable,
        port: PortIndex,
        frame: &[u8],
        now: Tick,
    ) -> (Verdict, Vec<u8>) {
        let mut chunk = [0; 4096];
        chunk[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
        let mut packet = Packet::new(&mut chunk, HEADROOM, frame.len()).unwrap();
        let verdict = self.forwarder.process(&mut packet, port, table, now);
        (verdict, packet.data().to_vec())
    }
}
