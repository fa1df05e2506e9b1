//! One figure each: nanoseconds a packet of a job at a number of flows. Criterion and the report share them.

use std::sync::Arc;
use std::time::Duration;

use maglane_dataplane::{Forwarder, config::MAX_BATCH};
use maglane_shared::flow::HashKey;
use maglane_shared::maglev::MaglevTable;
use maglane_shared::service::ForwardingMode;
use maglane_shared::tick::Tick;

use crate::lane::{self, Lane, START};
use crate::limit::Limit;
use crate::scene::{Plan, Scene, members};
use crate::traffic::{Kind, Order, Template, Tuple, client, tuple_of};

/// A scene with its flows already known to the forwarder.
#[derive(Debug)]
pub struct Known {
    scene: Arc<Scene>,
    forwarder: Forwarder,
    lane: Lane,
    /// Numbers of this worker's flows: from here on.
    first: u32,
    flows: u32,
    order: Order,
    /// What backends answer with, by flow; empty where replies don't come through here.
    replies: Vec<Tuple>,
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToBackend,
    ToClient,
}

impl Known {
    /// Opens `flows` (a power of two) flows.
    pub fn new(plan: Plan, flows: u32) -> Self {
        Self::worker(Arc::new(Scene::new(plan)), 0, flows)
    }

    /// `count` workers of one scene, each with flows of its own.
    pub fn workers(plan: Plan, flows: u32, count: u16) -> Vec<Self> {
        let scene = Arc::new(Scene::new(plan));
        (0..count)
            .map(|index| Self::worker(Arc::clone(&scene), index, flows))
            .collect()
    }

    fn worker(scene: Arc<Scene>, index: u16, flows: u32) -> Self {
        let forwarder = scene.forwarder(index);
        let first = u32::from(index) * flows;
        let (lane, order, replies) = (Lane::default(), Order::new(flows), Vec::new());
        let mut known = Known {
            scene,
            forwarder,
            lane,
            first,
            flows,
            order,
            replies,
        };
        known.open();
        known
    }

    fn open(&mut self) {
        let (syn, data) = (Template::new(Kind::Syn), Template::new(Kind::Data));
        let services = self.scene.plan.services;
        let translated = self.scene.plan.mode == ForwardingMode::Nat;
        for start in (0..self.flows.max(MAX_BATCH as u32)).step_by(MAX_BATCH) {
            for template in [&syn, &data] {
                let tuples = (start..).map(|flow| client(self.first + flow % self.flows, services));
                self.lane.fill(template, tuples);
                let forwarded = self
                    .lane
                    .forward(&mut self.forwarder, &self.scene.table, MAX_BATCH, Tick(1));
                assert!(
                    forwarded as usize >= MAX_BATCH - 2,
                    "flow {start} and on: {forwarded} forwarded"
                );
            }
            if translated {
                let reverse = |t: Tuple| Tuple {
                    src: t.dst,
                    dst: t.src,
                    src_port: t.dst_port,
                    dst_port: t.src_port,
                };
                self.replies.extend(
                    self.lane
                        .chunks()
                        .iter()
                        .map(|chunk| reverse(tuple_of(&chunk[START..]))),
                );
            }
        }
    }

    /// Time that `packets` packets of the known flows take, `batch` at a time.
    pub fn carry(&mut self, direction: Direction, packets: u32, batch: usize) -> Duration {
        let Known {
            scene,
            forwarder,
            lane,
            order,
            replies,
            first,
            ..
        } = self;
        let services = scene.plan.services;
        let mut tuples = order.map(|flow| match direction {
            Direction::ToBackend => client(*first + flow, services),
            Direction::ToClient => replies[flow as usize],
        });
        let table = &scene.table;
        let data = Template::new(Kind::Data);
        lane::time(lane, &data, &mut tuples, packets, |lane| {
            lane.forward(forwarder, table, batch, Tick(2))
        })
    }

    pub fn ns(&mut self, direction: Direction, packets: u32) -> f64 {
        per_packet(self.carry(direction, packets, MAX_BATCH), packets)
    }
}

/// New flows: every packet a SYN of a flow that nobody knows, into a table at most half full.
#[derive(Debug)]
pub struct Newcomers {
    scene: Scene,
    forwarder: Forwarder,
    lane: Lane,
    order: Order,
    room: usize,
}

impl Newcomers {
    pub fn new(plan: Plan) -> Self {
        let scene = Scene::new(plan);
        let forwarder = scene.forwarder(0);
        let (lane, order) = (Lane::default(), Order::new(1 << 30));
        Newcomers {
            room: plan.capacity / 2,
            scene,
            forwarder,
            lane,
            order,
        }
    }

    /// At most half of the plan's capacity at a time. A new table, when one is due, is off the clock.
    pub fn carry(&mut self, packets: u32) -> Duration {
        let batches = (packets as usize).next_multiple_of(MAX_BATCH);
        if self.room < batches {
            *self = Self::new(self.scene.plan);
        }
        self.room = self.room.saturating_sub(batches);
        let Newcomers {
            scene,
            forwarder,
            lane,
            order,
            ..
        } = self;
        let mut tuples = order.map(|flow| client(flow, scene.plan.services));
        lane::time(lane, &Template::new(Kind::Syn), &mut tuples, packets, |lane| {
            lane.forward(forwarder, &scene.table, MAX_BATCH, Tick(1))
        })
    }
}

/// The limit loop with the flows already in its table.
#[derive(Debug)]
pub struct LimitRun {
    limit: Limit,
    lane: Lane,
    services: u32,
    order: Order,
}

impl LimitRun {
    pub fn new(plan: Plan, flows: u32) -> Self {
        let size = MaglevTable::size_for(plan.backends as usize);
        let maglev = MaglevTable::build(&members(plan.backends), size, &HashKey::default());
        let limit = Limit::new(plan.services, plan.backends, maglev, plan.capacity);
        let mut run = LimitRun {
            limit,
            lane: Lane::default(),
            services: plan.services,
            order: Order::new(flows),
        };
        run.carry(Kind::Data, flows);
        run
    }

    pub fn carry(&mut self, kind: Kind, packets: u32) -> Duration {
        let LimitRun {
            limit,
            lane,
            services,
            order,
        } = self;
        let mut tuples = order.map(|flow| client(flow, *services));
        lane::time(lane, &Template::new(kind), &mut tuples, packets, |lane| {
            limit.forward(lane.chunks(), 2)
        })
    }

    pub fn ns(&mut self, packets: u32) -> f64 {
        per_packet(self.carry(Kind::Data, packets), packets)
    }
}

pub fn per_packet(time: Duration, packets: u32) -> f64 {
    time.as_secs_f64() * 1e9 / f64::from(packets)
}
