//! A controller in a cluster of any size: the events that lead there, and a slice that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maglane_control::compile::CompileSettings;
use maglane_control::effect::Effect;
use maglane_control::event::{Event, Source};
use maglane_control::model::{
    ClusterId, EndpointSliceSpec, EndpointSpec, NodeKey, ObjectName, PortProtocol, PortSpec, Readiness,
    ServiceKind, ServiceSpec, Setting, SlicePort, Uid,
};
use maglane_control::plan::PlanSettings;
use maglane_control::routes::{Link, Route, RouteHop, Table, Way};
use maglane_control::step::{Controller, Resume, Settings};
use maglane_shared::addr::{Addr, Family, MacAddr, Protocol};
use maglane_shared::flow::HashKey;

/// So many Services, one VIP port each, with so many endpoints each, no two alike, behind one gateway.
#[derive(Clone, Copy, Debug)]
pub struct Cluster {
    pub services: u32,
    pub endpoints: u32,
}

impl Cluster {
    /// Everything it has, in the order in which a watch tells it.
    pub fn events(self) -> Vec<Event> {
        let objects = (0..self.services).flat_map(|n| {
            [
                Event::ServiceApplied(Box::new(service(n))),
                self.slice(n, self.endpoints),
            ]
        });
        kernel()
            .into_iter()
            .chain(objects)
            .chain([Event::SourceSynced(Source::Cluster(ClusterId::OWN))])
            .collect()
    }

    /// The slice of Service `n`, with its first `count` endpoints alone.
    pub fn slice(self, n: u32, count: u32) -> Event {
        let first = n * self.endpoints;
        let endpoint = |n: u32| EndpointSpec {
            addr: v4(10, n),
            readiness: Readiness::Ready,
            uid: Uid(u128::from(n) + 1),
            node: Some(NodeKey(u64::from(n % 1000))),
            zones: Box::default(),
        };
        let (name, port) = (
            name(n),
            SlicePort {
                name: "".into(),
                protocol: PortProtocol::Balanced(Protocol::Tcp),
                port: Some(8080),
            },
        );
        Event::SliceApplied(Box::new(EndpointSliceSpec {
            name: name.sibling(&format!("{}-x", name.name)),
            service: name,
            family: Family::V4,
            ports: Some(vec![port]),
            endpoints: (first..first + count).map(endpoint).collect(),
            problems: vec![],
        }))
    }

    /// With all of it served.
    pub fn controller(self) -> Controller {
        let mut controller = self.empty();
        let mut events = self.events();
        while !events.is_empty() {
            let effects = controller.step_all(events, Duration::from_secs(1));
            events = effects.into_iter().filter_map(answer).collect();
        }
        let served = controller.table().services.entries().len();
        assert_eq!(served, self.services as usize, "every Service has its VIP");
        controller
    }

    /// One that has been told nothing yet.
    pub fn empty(self) -> Controller {
        let settings = Settings {
            interfaces: vec!["eth0".into()],
            workers: 1,
            sources: BTreeSet::from([Source::Kernel, Source::Cluster(ClusterId::OWN)]),
            plan: PlanSettings {
                default_class: true,
                ..PlanSettings::default()
            },
            compile: CompileSettings {
                hash_key: HashKey::default(),
                maglev_table_size: None,
                max_services: self.services * 2,
                max_backends: self.services * self.endpoints * 2,
            },
            nat_returns: BTreeMap::new(),
            max_removal_percent: 10,
            l2: Default::default(),
        };
        Controller::new(settings, Resume::default())
    }
}

/// What the one worker and the steering program say to it.
fn answer(effect: Effect) -> Option<Event> {
    match effect {
        Effect::Publish(generation) => Some(Event::WorkerGeneration {
            worker: 0,
            generation,
        }),
        Effect::Steer(plan) => Some(Event::Steered {
            revision: plan.revision,
        }),
        Effect::ResolveNeighbors(_)
        | Effect::WriteStatus(_)
        | Effect::Tell(_)
        | Effect::Report { .. }
        | Effect::Probe(_)
        | Effect::AnswerHealth(_)
        | Effect::AnnounceBgp(_)
        | Effect::OwnL2(_)
        | Effect::AnnounceL2(_)
        | Effect::HoldNodeLease(_)
        | Effect::WriteSessions(_) => None,
    }
}

/// `first`.x.y.z; at most 16 million.
fn v4(first: u8, n: u32) -> Addr {
    let [_, b, c, d] = n.to_be_bytes();
    Addr::from_v4_bytes([first, b, c, d])
}

fn name(n: u32) -> ObjectName {
    ObjectName::of(ClusterId::OWN, "default", &format!("service-{n}"))
}

fn kernel() -> [Event; 3] {
    let link = Link {
        index: 2,
        name: "eth0".into(),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        up: true,
        mute: false,
    };
    let hop = RouteHop {
        interface: 2,
        gateway: Some(v4(192, 1)),
        weight: 1,
    };
    let route = Route {
        table: Table::Main,
        network: v4(0, 0),
        prefix_len: 0,
        priority: 0,
        mtu: None,
        way: Way::Hops(vec![hop]),
    };
    [
        Event::LinksRead(vec![link]),
        Event::RoutesRead(vec![route]),
        Event::SourceSynced(Source::Kernel),
    ]
}

fn service(n: u32) -> ServiceSpec {
    ServiceSpec {
        created: Some(1),
        kind: ServiceKind::LoadBalancer,
        ports: vec![PortSpec {
            name: "".into(),
            protocol: PortProtocol::Balanced(Protocol::Tcp),
            port: 80,
            target: None,
            node_port: None,
        }],
        vips: Setting::Valid(vec![v4(20, n)]),
        ..ServiceSpec::named(name(n))
    }
}
