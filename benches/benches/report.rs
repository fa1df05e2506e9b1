//! The project's goals (P1 to P4, P6 to P8, P11) against this machine, in one run: medians of five, a table.
//!
//! Run it alone: a busy neighbour moves absolute figures by half, ratios by a tenth.

use std::alloc::System;
use std::sync::Arc;
use std::time::Instant;

use maglane_benches::runs::{Direction, Known, LimitRun, Newcomers, per_packet};
use maglane_benches::scene::{Plan, members};
use maglane_benches::timing::{median_us, medians, ns_each};
use maglane_benches::traffic::Kind;
use maglane_shared::flow::HashKey;
use maglane_shared::maglev::MaglevTable;
use maglane_shared::publish;
use maglane_shared::service::ForwardingMode;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PACKETS: u32 = 1 << 19;
const NAT: Plan = Plan {
    mode: ForwardingMode::Nat,
    services: 512,
    backends: 100,
    capacity: 1 << 21,
};

/// Katran's XDP program (`perf/`, PERFORMANCE.md §1), ns a packet at 1, 64k, 1M flows and SYN; measured on an
/// AMD EPYC at 2.45 GHz: no verdict on P4 comes of it unless this is that machine.
const KATRAN: [f64; 4] = [163.0, 422.0, 492.0, 1000.0];

fn main() {
    let ipip = [1, 1 << 16, 1 << 20].map(known_flows);
    let new = new_flows();
    for (figure, katran) in ipip.into_iter().chain([new]).zip(KATRAN) {
        let what = "Katran's program, on another machine / ipip (goal: 8)";
        line("P4", what, &[katran, figure], katran / figure, Goal::Known);
    }
    growth();
    maglev();
    publication();
    scaling(Plan::default());
    scaling(NAT);
}

enum Goal {
    AtMost(f64),
    AtLeast(f64),
    Known,
}
use Goal::{AtLeast, AtMost};

/// `figures` are ns a packet unless `what` says otherwise.
fn line(goal: &str, what: &str, figures: &[f64], value: f64, bound: Goal) {
    let figures: Vec<String> = figures.iter().map(|f| format!("{f:9.1}")).collect();
    let verdict = match bound {
        AtMost(most) => format!("<= {most:<5} {}", if value <= most { "met" } else { "MISSED" }),
        AtLeast(least) => format!(">= {least:<5} {}", if value >= least { "met" } else { "MISSED" }),
        Goal::Known => String::new(),
    };
    println!(
        "{goal:4} {what:58} {:30} {value:8.2}  {verdict}",
        figures.join(" ")
    );
}

/// P1 and P2; gives the `ipip` figure.
fn known_flows(flows: u32) -> f64 {
    let mut limit = LimitRun::new(Plan::default(), flows);
    let mut ipip = Known::new(Plan::default(), flows);
    let [limit, out] = medians([&mut || limit.ns(PACKETS), &mut || {
        ipip.ns(Direction::ToBackend, PACKETS)
    }]);
    line(
        "P1",
        &format!("{flows} flows: ipip / limit loop"),
        &[limit, out],
        out / limit,
        AtMost(1.5),
    );
    let mut nat = Known::new(NAT, flows);
    let [again, to] = medians([&mut || ipip.ns(Direction::ToBackend, PACKETS), &mut || {
        nat.ns(Direction::ToBackend, PACKETS)
    }]);
    let [back] = medians([&mut || nat.ns(Direction::ToClient, PACKETS)]);
    let mean = (to + back) / 2.0;
    line(
        "P2",
        &format!("{flows} flows: nat to and from / ipip"),
        &[to, back, again],
        mean / again,
        AtMost(1.3),
    );
    out
}

fn new_flows() -> f64 {
    let mut limit = LimitRun::new(Plan::default(), 1 << 20);
    let mut ipip = Newcomers::new(Plan::default());
    let mut nat = Newcomers::new(NAT);
    let [limit, ipip, nat] = medians([
        &mut || per_packet(limit.carry(Kind::Syn, PACKETS), PACKETS),
        &mut || per_packet(ipip.carry(PACKETS), PACKETS),
        &mut || per_packet(nat.carry(PACKETS), PACKETS),
    ]);
    line("P3", "new flows: ipip, ns", &[ipip], ipip, AtMost(60.0));
    line(
        "P3",
        "new flows: ipip / limit loop",
        &[limit, ipip],
        ipip / limit,
        Goal::Known,
    );
    line(
        "P3",
        "new flows: nat / ipip",
        &[ipip, nat],
        nat / ipip,
        Goal::Known,
    );
    ipip
}

fn growth() {
    let plan = |services, backends| Plan {
        services,
        backends,
        ..Plan::default()
    };
    let [mut one, mut services, mut backends] =
        [(1, 10), (10_000, 10), (1, 10_000)].map(|(s, b)| Known::new(plan(s, b), 1 << 16));
    let [one, services, backends] = medians([
        &mut || one.ns(Direction::ToBackend, PACKETS),
        &mut || services.ns(Direction::ToBackend, PACKETS),
        &mut || backends.ns(Direction::ToBackend, PACKETS),
    ]);
    line(
        "P6",
        "10,000 services / 1",
        &[one, services],
        services / one,
        AtMost(1.1),
    );
    line(
        "P6",
        "10,000 backends / 10",
        &[one, backends],
        backends / one,
        AtMost(1.1),
    );
}

fn maglev() {
    let members = members(1000);
    let names: Vec<String> = members.iter().map(|m| m.identity.to_string()).collect();
    let key = HashKey::default();
    let [ours, theirs] = medians([
        &mut || median_us(|| MaglevTable::build(&members, 65_537, &key)),
        &mut || median_us(|| maglev_hash::MaglevTable::with_capacity(names.clone(), 65_537)),
    ]);
    line(
        "P7",
        "65,537 rows, 1,000 backends: ms",
        &[ours / 1000.0],
        ours / 1000.0,
        AtMost(1.0),
    );
    line(
        "P7",
        "maglev-hash / ours, us",
        &[theirs, ours],
        theirs / ours,
        Goal::Known,
    );
}

fn publication() {
    let values: Vec<Arc<u64>> = (0..1000).map(Arc::new).collect();
    let (mut publisher, mut readers) = publish::channel(&values[0], 1);
    let mut pauses = Vec::with_capacity(values.len());
    let mut allocations = 0;
    for value in &values {
        publisher.publish(value);
        let region = Region::new(ALLOCATOR);
        let start = Instant::now();
        std::hint::black_box(readers[0].refresh());
        pauses.push(start.elapsed().as_nanos() as f64);
        allocations += region.change().allocations;
    }
    pauses.sort_by(f64::total_cmp);
    let [median, high] = [500, 990].map(|rank| pauses[rank]);
    line(
        "P8",
        "worker's pause for a new table, ns: median, 99th centile",
        &[median, high],
        high,
        AtMost(1000.0),
    );
    line(
        "P8",
        "allocations of a worker that takes 1,000 tables",
        &[],
        allocations as f64,
        AtMost(0.0),
    );
    let idle = ns_each(1_000_000, || readers[0].refresh());
    line(
        "P8",
        "looking for a new table when there is none, ns",
        &[idle],
        idle,
        Goal::Known,
    );
}

/// Two workers on two cores against one: each its own frames and flows, the table and the returns shared.
fn scaling(plan: Plan) {
    let mut workers = Known::workers(plan, 1 << 16, 2);
    let mut together = || {
        std::thread::scope(|scope| {
            let run = |worker| scope.spawn(|| Known::ns(worker, Direction::ToBackend, PACKETS));
            let runs: Vec<_> = workers.iter_mut().map(run).collect();
            runs.into_iter()
                .map(|run| 1.0 / run.join().expect("a worker"))
                .sum::<f64>()
        })
    };
    let [two] = medians([&mut together]);
    let [one] = medians([&mut || 1.0 / workers[0].ns(Direction::ToBackend, PACKETS)]);
    let per_worker = [1.0 / one, 2.0 / two];
    line(
        "P11",
        &format!("{}: 2 workers / (2 x 1 worker)", plan.mode),
        &per_worker,
        two / one / 2.0,
        AtLeast(0.9),
    );
}
