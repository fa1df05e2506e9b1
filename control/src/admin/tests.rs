use std::sync::Arc;
use std::time::Duration;

use maglane_shared::counters::{Counters, DropReason, FlowRecord, FlowState, Vitals};
use maglane_shared::service::{BackendId, ServiceId};

use super::*;
use crate::catalog::Catalog;
use crate::metrics::tests::{catalog, compiler};
use crate::metrics::{Meter, WorkerFigures};
use crate::testing::addr;

fn two_backends() -> Arc<Catalog> {
    catalog(&mut compiler(), 1, &["10.0.0.1", "10.0.0.2"])
}

fn flow(catalog: &Catalog, backend: usize, client: &str, client_port: u16) -> FlowRecord {
    let entry = &catalog.ports[0].entry;
    FlowRecord {
        worker: 1,
        service: entry.id,
        backend: entry.backends[backend],
        client: addr(client),
        client_port,
        nat: Some((0, 20_000)),
        state: FlowState::Established,
        idle_ms: 12,
    }
}

#[test]
fn services_and_backends_add_the_workers_up() {
    let catalog = two_backends();
    let workers: Vec<_> = (0..2).map(|_| Arc::new(Counters::new(2, 3))).collect();
    for worker in &workers {
        worker.service(catalog.ports[0].entry.id).unwrap().bytes.add(50);
        worker
            .backend(catalog.ports[0].entry.backends[1])
            .unwrap()
            .new_flows
            .add(2);
    }
    let rows = services(&catalog, &Meter::default(), &workers);
    assert_eq!(
        (
            rows[0].bytes,
            rows[0].steered,
            rows[0].active_backends,
            rows[0].table_rows
        ),
        (100, true, 2, 251)
    );
    let rows = backends(&catalog, &Meter::default(), &workers);
    assert_eq!((rows[0].new_flows, rows[1].new_flows), (0, 4));
    assert!((rows[0].share + rows[1].share - 1.0).abs() < 1e-9 && (rows[0].share - 0.5).abs() < 0.01);
}

#[test]
fn flows_are_named_filtered_and_limited() {
    let catalog = two_backends();
    let mut records: Vec<FlowRecord> = (0..10)
        .map(|n| flow(&catalog, n % 2, "198.51.100.1", 1000 + n as u16))
        .collect();
    records.push(flow(&catalog, 0, "198.51.100.2", 1));
    // Of a service, or a backend, that is gone.
    records.push(FlowRecord {
        service: ServiceId { slot: 0, epoch: 99 },
        ..records[0]
    });
    records.push(FlowRecord {
        backend: BackendId { slot: 0, epoch: 99 },
        ..records[0]
    });
    let ask = |filter: FlowFilter| {
        let report = flows(&catalog, records.iter().copied(), &filter);
        (report.matching, report.flows.len())
    };
    let any = FlowFilter::default;
    assert_eq!(ask(any()), (11, 11));
    assert_eq!(ask(FlowFilter { limit: 4, ..any() }), (11, 4));
    assert_eq!(
        ask(FlowFilter {
            client: Some(addr("198.51.100.2")),
            ..any()
        }),
        (1, 1)
    );
    assert_eq!(
        ask(FlowFilter {
            backend: Some(addr("10.0.0.2")),
            ..any()
        }),
        (5, 5)
    );
    assert_eq!(
        ask(FlowFilter {
            vip: Some(addr("192.0.2.1")),
            port: Some(80),
            ..any()
        }),
        (11, 11)
    );
    assert_eq!(
        ask(FlowFilter {
            port: Some(81),
            ..any()
        }),
        (0, 0)
    );
    assert_eq!(
        ask(FlowFilter {
            protocol: Some(Protocol::Udp),
            ..any()
        }),
        (0, 0)
    );
    let row = &flows(&catalog, records.iter().copied(), &any()).flows[0];
    assert_eq!(
        (row.backend, row.backend_port, row.nat_port, row.state.as_str()),
        (addr("10.0.0.1"), 80, Some(20_000), "established")
    );
}

#[test]
fn status_sums_drops_with_the_most_frequent_first() {
    let catalog = two_backends();
    let worker = || WorkerFigures {
        counters: Arc::new(Counters::new(2, 3)),
        vitals: Arc::new(Vitals::default()),
        sockets: vec![],
    };
    let workers = [worker(), worker()];
    workers[0].counters.drops[DropReason::NoRoute as usize].add(1);
    workers[0].counters.drops[DropReason::TooBig as usize].add(1);
    workers[1].counters.drops[DropReason::TooBig as usize].add(1);
    workers[1].counters.busy_turns.add(1);
    workers[1].counters.idle_turns.add(3);
    let of = Status {
        catalog: &catalog,
        workers: &workers,
        interfaces: &[],
        updates: &Default::default(),
        version: "1.2.3",
        uptime: Duration::from_secs(2),
    };
    let report = status(of);
    let drops: Vec<_> = report
        .drops
        .iter()
        .map(|row| (row.reason.as_str(), row.packets))
        .collect();
    assert_eq!(drops, [("too_big", 2), ("no_route", 1)]);
    assert_eq!(
        (
            report.services,
            report.backends,
            report.generation,
            report.running_generation
        ),
        (1, 2, 1, 0)
    );
    assert_eq!((report.workers[0].idle, report.workers[1].idle), (0.0, 0.75));
    assert_eq!(errors(&catalog).len(), 1);
}

#[test]
fn requests_and_responses_are_lines_of_json() {
    let filter = FlowFilter {
        vip: Some(addr("192.0.2.1")),
        protocol: Some(Protocol::Tcp),
        limit: 5,
        ..FlowFilter::default()
    };
    for request in [
        Request::Status,
        Request::Services,
        Request::Backends,
        Request::Flows(filter.clone()),
        Request::Errors,
    ] {
        let line = serde_json::to_string(&request).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
    }
    // An older client names fewer fields.
    let short: Request = serde_json::from_str(r#"{"flows": {"limit": 5}}"#).unwrap();
    assert_eq!(
        short,
        Request::Flows(FlowFilter {
            limit: 5,
            ..FlowFilter::default()
        })
    );
    let catalog = two_backends();
    let rows = services(&catalog, &Meter::default(), &[]);
    let response = Response::Services(rows);
    let line = serde_json::to_string(&response).unwrap();
    assert!(
        line.contains(r#""vip":{"addr":"192.0.2.1","port":80,"protocol":"TCP"}"#),
        "{line}"
    );
    assert_eq!(serde_json::from_str::<Response>(&line).unwrap(), response);
}
