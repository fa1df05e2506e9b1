//! A packet's way from bytes to [`Verdict`]. Pure: the table, the time and the packet are arguments.
//!
//! ```text
//!   prepare: l2 destination ─► parse ─► fragments ─► lookup ─► prefetch     Prepared { role }
//!   finish:  Client ─► select ─► nat | dnat | l2-dsr | ipip | gue ──┐
//!            Reply  ─► returns ─► back to VIP and client ───────────┼─► TTL, MTU ─► l2 ─► Verdict
//!            Icmp   ─► echo | error about a flow, either way ───────┤
//!            Neighbor ─► ARP or NDP answer for an owned address ────┘
//! ```
//! One forwarder a worker. It never allocates after [`Forwarder::new`], blocks, reads a clock or logs. Every
//! `Drop` is counted here under its reason; frames are counted by the worker.

mod account;
mod answer;
mod deliver;
mod depart;
pub mod encap;
pub mod fragment;
pub mod icmp;
pub mod l2;
mod lookup;
mod nat;
pub mod neighbor;
pub mod parse;
pub mod quoted;
mod related;
mod reply;
pub mod reset;
pub mod rewrite;
mod select;
mod sticky;

use std::sync::Arc;

use maglane_shared::counters::{Counters, DropReason};
use maglane_shared::facts::Facts;
use maglane_shared::next_hop::{NoHop, PortIndex};
use maglane_shared::owned::{Fence, Owned};
use maglane_shared::publish::Reader;
use maglane_shared::table::ForwardingTable;
use maglane_shared::tick::Tick;

use crate::affinity::Affinities;
use crate::config::{Config, Snat, TunnelSources, UnknownPort};
use crate::flow_table::FlowTable;
use crate::packet::Packet;
use crate::returns::NatReturns;
use crate::verdict::Verdict;
use answer::Limits;
use fragment::FragmentTable;
pub use lookup::Prepared;
use lookup::Role;
use neighbor::Answering;
pub use rewrite::Endpoint;

/// A sweep visits every flow this often, in milliseconds.
const SWEEP: u64 = 8000;
/// Buckets swept in one turn at most, to bound the pause (about 20 us when all are full).
const SWEEP_BUCKETS: u64 = 256;
/// A sweep visits every client with a backend of its own at least this often, in milliseconds.
const AFFINITY_SWEEP: u64 = 600_000;

/// Everything one worker knows besides the table.
#[derive(Debug)]
pub struct Forwarder {
    index: u16,
    flows: FlowTable,
    fragments: FragmentTable,
    limits: Limits,
    resets: Limits,
    returns: Arc<NatReturns>,
    affinities: Arc<Affinities>,
    snat: Snat,
    tunnels: TunnelSources,
    unknown_port: UnknownPort,
    counters: Arc<Counters>,
    facts: Arc<Facts>,
    answering: Answering,
    swept: Tick,
}

impl Forwarder {
    /// `index` is the worker's; `returns` and `affinities` are shared by all workers of the node.
    pub fn new(
        config: &Config,
        index: u16,
        returns: Arc<NatReturns>,
        affinities: Arc<Affinities>,
        counters: Arc<Counters>,
        facts: Arc<Facts>,
    ) -> Self {
        Forwarder {
            index,
            flows: FlowTable::new(config.flow_table_size, config.timeouts),
            fragments: FragmentTable::new(config.fragment_capacity),
            limits: Limits::new(config.icmp),
            resets: Limits::new(config.icmp),
            returns,
            affinities,
            snat: config.snat.clone(),
            tunnels: config.tunnels,
            unknown_port: config.unknown_port,
            counters,
            facts,
            answering: Answering::default(),
            swept: Tick(0),
        }
    }

    /// Answers ARP and neighbour discovery for the addresses that are published there, while the fence is open.
    pub fn answering(self, owned: Reader<Owned>, fence: Arc<Fence>) -> Self {
        let answering = Answering { owned, fence };
        Forwarder { answering, ..self }
    }

    /// One packet from start to end. The worker does the same in two passes over a batch.
    pub fn process(
        &mut self,
        packet: &mut Packet<'_>,
        port: PortIndex,
        table: &ForwardingTable,
        now: Tick,
    ) -> Verdict {
        let mut prepared = Prepared::EMPTY;
        self.prepare(packet.data(), port, table, now, &mut prepared);
        self.finish(packet, &prepared, table, now)
    }

    /// First pass: what is this packet, and which lines of memory will it need?
    #[inline]
    pub fn prepare<'t>(
        &mut self,
        data: &[u8],
        port: PortIndex,
        table: &'t ForwardingTable,
        now: Tick,
        prepared: &mut Prepared<'t>,
    ) {
        if let Err(reason) = self.look_up(data, port, table, now, prepared) {
            prepared.role = neighbor::role(data, port, reason);
        }
    }

    /// Between the passes, some packets ahead: the flow's own line, now that its bucket's tags are here.
    #[inline]
    pub fn approach(&self, prepared: &mut Prepared<'_>) {
        match prepared.role {
            Role::Client(_) => prepared.guess = self.flows.approach(prepared.hash),
            Role::Reply(_) | Role::UnknownPort | Role::Icmp(_) | Role::Neighbor(_) | Role::Refused(_) => {}
        }
    }

    /// Second pass: decide, rewrite, address. `table` and `now` as in [`Self::prepare`].
    #[inline]
    pub fn finish(
        &mut self,
        packet: &mut Packet<'_>,
        prepared: &Prepared<'_>,
        table: &ForwardingTable,
        now: Tick,
    ) -> Verdict {
        let outcome = match &prepared.role {
            Role::Client(service) => self.forward(packet, prepared, service, table, now),
            Role::Reply(via) => self.reply(packet, prepared, *via, table, now),
            Role::UnknownPort => self.unknown_port(packet, &prepared.parsed, table, now),
            Role::Icmp(message) => self.message(packet, &prepared.parsed, *message, table, now),
            Role::Neighbor(port) => self.neighbor(packet, *port, table, now),
            Role::Refused(reason) => Err(*reason),
        };
        outcome.unwrap_or_else(|reason| {
            self.count(reason);
            Verdict::Drop(reason)
        })
    }

    /// Forgets what has expired, a share of the tables in proportion to the time since the last call.
    #[inline]
    pub fn sweep(&mut self, now: Tick) {
        let elapsed = u64::from(now.since(self.swept));
        if elapsed > 0 {
            self.sweep_for(elapsed, now);
        }
    }

    fn sweep_for(&mut self, elapsed: u64, now: Tick) {
        self.swept = now;
        self.answering.fence.latch(now);
        let Forwarder {
            flows,
            returns,
            counters,
            ..
        } = self;
        let due = (flows.buckets() as u64 * elapsed)
            .div_ceil(SWEEP)
            .min(SWEEP_BUCKETS);
        let gone = |entry: &_| {
            counters.flow_expirations.add(1);
            account::end(counters, returns, entry);
        };
        flows.sweep(due as usize, now, |entry| account::refresh(returns, entry), gone);
        let due = (self.affinities.places() as u64 * elapsed)
            .div_ceil(AFFINITY_SWEEP)
            .min(SWEEP_BUCKETS);
        self.affinities.sweep(due as usize, now);
    }

    fn count(&self, reason: DropReason) {
        Counters::drop(&self.counters, reason);
    }

    pub fn index(&self) -> u16 {
        self.index
    }

    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }
}

/// Why a packet without a next hop is dropped.
fn no_hop(reason: NoHop) -> DropReason {
    match reason {
        NoHop::NoRoute => DropReason::NoRoute,
        NoHop::Unresolved(_) => DropReason::NextHopUnresolved,
    }
}
