//! A balancer ready to run: services with backends, one interface, one resolved gateway.

use std::sync::Arc;

use maglane_dataplane::config::{Config, Snat};
use maglane_dataplane::{Affinities, Forwarder, NatReturns};
use maglane_shared::addr::{Addr, MacAddr, Protocol, VipKey};
use maglane_shared::counters::Counters;
use maglane_shared::facts::Facts;
use maglane_shared::flow::{HashInputs, HashKey};
use maglane_shared::maglev::{MaglevTable, Member};
use maglane_shared::next_hop::{HopGroupId, HopIndex, NextHop, PortIndex, RouteTable};
use maglane_shared::service::{BackendId, BackendState, ForwardingMode, ServiceId, VipKind};
use maglane_shared::table::{BackendEntry, ForwardingTable, Generation, ServiceEntry, ServiceTable};

pub const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub const PORT: PortIndex = PortIndex(0);
/// First address of the services, one each: 198.18.0.0/15.
pub const FIRST_VIP: u32 = 0xc612_0000;
pub const VIP_PORT: u16 = 443;
const FIRST_BACKEND: u32 = 0x0a80_0001;
const FIRST_SNAT: u32 = 0xc0a8_0001;

/// What to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub mode: ForwardingMode,
    pub services: u32,
    /// Of each service; the same ones.
    pub backends: u32,
    /// Room in the flow table.
    pub capacity: usize,
}

impl Default for Plan {
    /// As the limit loop: 512 services, tunnelled.
    fn default() -> Self {
        Plan {
            mode: ForwardingMode::Ipip,
            services: 512,
            backends: 100,
            capacity: 1 << 21,
        }
    }
}

/// A table and what workers of it share.
#[derive(Debug)]
pub struct Scene {
    pub plan: Plan,
    pub table: ForwardingTable,
    pub config: Config,
    pub returns: Arc<NatReturns>,
}

pub fn v4(bits: u32) -> Addr {
    Addr::from_v4_bytes(bits.to_be_bytes())
}

pub fn members(count: u32) -> Vec<Member> {
    let identity = |i: u32| v4(FIRST_BACKEND + i).to_string().into();
    let mut members: Vec<_> = (0..count)
        .map(|i| Member {
            identity: identity(i),
            weight: 1,
        })
        .collect();
    members.sort();
    members
}

impl Scene {
    pub fn new(plan: Plan) -> Self {
        let returns = match plan.mode {
            ForwardingMode::Nat | ForwardingMode::Dnat => plan.capacity,
            ForwardingMode::L2Dsr | ForwardingMode::Ipip | ForwardingMode::Gue => 1,
        };
        let config = Config {
            snat: Snat {
                v4: (0..16).map(|i| v4(FIRST_SNAT + i)).collect(),
                v6: vec![],
                ports: 15_000..=29_999,
            },
            flow_table_size: plan.capacity,
            ..Config::default()
        };
        let config = with_gue(config);
        config.check().expect("the benches' settings are sound");
        Scene {
            plan,
            table: table(plan),
            config,
            returns: Arc::new(NatReturns::new(returns)),
        }
    }

    /// A worker's forwarder with an empty flow table.
    pub fn forwarder(&self, worker: u16) -> Forwarder {
        let counters = Counters::new(self.plan.services as usize, self.plan.backends as usize);
        let facts = Arc::new(Facts::default());
        Forwarder::new(
            &self.config,
            worker,
            Arc::clone(&self.returns),
            Arc::new(Affinities::new(1)),
            Arc::new(counters),
            facts,
        )
    }
}

fn with_gue(mut config: Config) -> Config {
    config.tunnels.gue_v4 = Some(v4(FIRST_SNAT));
    config
}

fn table(plan: Plan) -> ForwardingTable {
    let size = MaglevTable::size_for(plan.backends as usize);
    let maglev = Arc::new(MaglevTable::build(
        &members(plan.backends),
        size,
        &HashKey::default(),
    ));
    let ids: Arc<[BackendId]> = (0..plan.backends)
        .map(|slot| BackendId { slot, epoch: 1 })
        .collect();
    let service = |slot| ServiceEntry {
        id: ServiceId { slot, epoch: 1 },
        key: VipKey {
            addr: v4(FIRST_VIP + slot),
            port: VIP_PORT,
            protocol: Protocol::Tcp,
        },
        kind: VipKind::Address,
        mode: plan.mode,
        hash_inputs: HashInputs::FiveTuple,
        maglev: Arc::clone(&maglev),
        backends: Arc::clone(&ids),
        policy: None,
    };
    let backend = |slot| BackendEntry {
        addr: v4(FIRST_BACKEND + slot),
        port: 8443,
        state: BackendState::Active,
        epoch: 1,
        hops: HopGroupId(0),
    };
    let table = ForwardingTable {
        generation: Generation(1),
        hash_key: HashKey::default(),
        services: Arc::new(ServiceTable::new((0..plan.services).map(service).collect())),
        backends: (0..plan.backends).map(backend).collect(),
        routes: Arc::new(routes()),
    };
    table.check().expect("the benches' table is sound");
    table
}

/// Everything goes to one gateway.
fn routes() -> RouteTable {
    let hop = NextHop {
        port: PORT,
        mtu: 1500,
        source: OUR_MAC,
        destination: Some(GATEWAY_MAC),
        neighbor: v4(0xc0a8_00fe),
    };
    let mut prefixes = maglane_shared::next_hop::PrefixTable::default();
    let default = maglane_shared::next_hop::RouteTarget::Group(HopGroupId(0));
    prefixes.insert(v4(0), 0, default);
    RouteTable {
        version: 1,
        hops: [hop].into(),
        groups: [vec![HopIndex(0)].into()].into(),
        prefixes: Arc::new(prefixes),
        port_macs: [OUR_MAC].into(),
        ..RouteTable::default()
    }
}
