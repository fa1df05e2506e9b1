use std::collections::BTreeSet;

use maglane_shared::counters::DropReason;
use maglane_shared::flow::HashKey;
use maglane_shared::next_hop::RouteTable;
use maglane_shared::table::Generation;

use super::*;
use crate::compile::{CompileSettings, Compiler};
use crate::effect::SteerPlan;
use crate::plan::{PlanSettings, plan};
use crate::problem::Problem;
use crate::store::Store;
use crate::testing::{addr, endpoint, service, slice};

pub(crate) fn compiler() -> Compiler {
    Compiler::new(CompileSettings {
        hash_key: HashKey::default(),
        maglev_table_size: None,
        max_services: 2,
        max_backends: 3,
    })
}

/// `web` on 192.0.2.1 with these endpoints, compiled as this generation.
pub(crate) fn catalog(compiler: &mut Compiler, generation: u64, ends: &[&str]) -> Arc<Catalog> {
    let mut store = Store::default();
    let _ = store.apply_service(service("web", "192.0.2.1").build());
    let _ = store.apply_slice(slice("web-1", "web", ends.iter().map(|a| endpoint(a)).collect()));
    let routes = Arc::new(RouteTable {
        groups: [Box::default()].into(),
        ..RouteTable::default()
    });
    let wanted = plan(&store, &PlanSettings::default(), &BTreeSet::new());
    compiler.compile(&wanted.ports, &routes, Generation(generation));
    Arc::new(Catalog {
        generation: Generation(generation),
        ports: Arc::clone(compiler.ports()),
        steered: Arc::new(SteerPlan {
            vips: [addr("192.0.2.1")].into(),
            ..SteerPlan::default()
        }),
        problems: vec![Problem::warning("odd", "even it")],
        ..Catalog::default()
    })
}

fn scrape(catalog: Arc<Catalog>, meter: Meter, workers: &[Arc<Counters>]) -> Scrape {
    let figures = |counters: &Arc<Counters>| WorkerFigures {
        counters: Arc::clone(counters),
        vitals: Arc::new(Vitals::default()),
        sockets: vec![SocketFigures {
            interface: "eth0".to_owned(),
            rx_dropped: 4,
            ..SocketFigures::default()
        }],
    };
    let interface = InterfaceFigures {
        interface: "eth0".to_owned(),
        mode: "native".to_owned(),
        redirected: 7,
        ..InterfaceFigures::default()
    };
    Scrape {
        catalog,
        meter: Arc::new(meter),
        updates: Arc::default(),
        peers: vec![],
        workers: workers.iter().map(figures).collect(),
        interfaces: vec![interface],
        version: "1.2.3",
        uptime: Duration::from_millis(1500),
    }
}

fn counters() -> Vec<Arc<Counters>> {
    (0..2).map(|_| Arc::new(Counters::new(2, 3))).collect()
}

#[test]
fn the_page_shows_what_was_counted() {
    let mut compiler = compiler();
    let catalog = catalog(&mut compiler, 1, &["10.0.0.1", "10.0.0.2"]);
    let workers = counters();
    let port = &catalog.ports[0];
    for (n, worker) in (1u64..).zip(&workers) {
        worker.service(port.entry.id).unwrap().packets.add(10 * n);
        worker
            .backend(port.entry.backends[0])
            .unwrap()
            .active_flows
            .add(n);
        worker.drops[DropReason::NoBackend as usize].add(1);
        worker.batch_sizes[7].add(n);
        worker.longest_gap_us.set(250);
    }
    let mut meter = Meter::default();
    meter.adopt(&catalog, &counters());
    let page = render(scrape(catalog, meter, &workers));
    let labels = r#"namespace="default",service="web",vip="192.0.2.1",port="80",protocol="TCP""#;
    for line in [
        "# HELP maglane_service_packets_total Packets from clients".to_owned(),
        "# TYPE maglane_service_packets_total counter".to_owned(),
        format!("maglane_service_packets_total{{{labels}}} 30.0"),
        format!("maglane_service_backends{{{labels},state=\"active\"}} 2.0"),
        format!("maglane_backend_active_flows{{{labels},backend=\"10.0.0.1:80\"}} 3.0"),
        r#"maglane_drops_total{worker="1",reason="no_backend"} 1.0"#.to_owned(),
        r#"maglane_worker_batches_total{worker="1",packets="128+"} 2.0"#.to_owned(),
        r#"maglane_worker_longest_gap_seconds{worker="0"} 0.00025"#.to_owned(),
        r#"maglane_socket_rx_dropped_total{worker="0",interface="eth0"} 4.0"#.to_owned(),
        r#"maglane_steering_packets_total{interface="eth0",verdict="redirected"} 7.0"#.to_owned(),
        r#"maglane_build_info{version="1.2.3"} 1.0"#.to_owned(),
        "maglane_uptime_seconds 1.5".to_owned(),
        "maglane_steered_vips 1.0".to_owned(),
        r#"maglane_problems{severity="warning"} 1.0"#.to_owned(),
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\nis not in\n{page}");
    }
}

#[test]
fn every_reason_and_every_worker_has_its_line_and_no_line_is_there_twice() {
    let catalog = catalog(&mut compiler(), 1, &["10.0.0.1"]);
    let page = render(scrape(catalog, Meter::default(), &counters()));
    for reason in DropReason::ALL {
        for worker in 0..2 {
            let line = format!(
                "maglane_drops_total{{worker=\"{worker}\",reason=\"{}\"}} 0.0",
                reason.label()
            );
            assert!(page.contains(&line), "{line}");
        }
        assert!(
            page.contains(&format!("help=\"{}\"", reason.help())),
            "{reason:?}"
        );
    }
    let mut seen = BTreeSet::new();
    for line in page.lines() {
        let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        assert!(
            name.starts_with("maglane_") || name.starts_with("metallb_"),
            "{line}"
        );
        let sample = line.rsplit_once(' ').unwrap().0;
        assert!(line.starts_with('#') || seen.insert(sample.to_owned()), "{line}");
    }
}

#[test]
fn a_slot_that_is_given_out_again_starts_at_zero() {
    let mut compiler = compiler();
    let workers = counters();
    let mut meter = Meter::default();
    let all = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let first = catalog(&mut compiler, 1, &all);
    meter.adopt(&first, &workers);
    let old = first.ports[0].entry.backends[0];
    let stats = workers[0].backend(old).unwrap();
    stats.packets.add(100);
    stats.active_flows.add(5);
    let second = catalog(&mut compiler, 2, &["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    meter.adopt(&second, &workers);
    let (_, new, _) = second
        .backends()
        .find(|(_, _, b)| b.addr == addr("10.0.0.4"))
        .unwrap();
    assert_eq!((new.slot, new.epoch), (old.slot, 2), "all slots are in use");
    assert_eq!(meter.backend(new, &workers), Totals::default());
    stats.packets.add(3);
    stats.active_flows.sub(5);
    let totals = meter.backend(new, &workers);
    assert_eq!((totals.packets, totals.active_flows), (3, 0));
    // Adopting again changes nothing.
    meter.adopt(&second, &workers);
    assert_eq!(meter.backend(new, &workers).packets, 3);
}

#[test]
fn pools_stand_under_the_names_that_metallbs_users_know() {
    use crate::event::Source;
    use crate::ipam::Counts;
    use crate::model::{ObjectKind, ObjectName, ObjectRef};

    let counts = |total, assigned| Counts {
        total,
        assigned,
        ..Counts::default()
    };
    let mut catalog = Catalog {
        sources: [(Source::Kernel, true), (Source::Manifests, true)].into(),
        pools: vec![crate::catalog::PoolFigures {
            pool: "main".into(),
            v4: counts(256, 3),
            v6: counts(u64::MAX, 1),
            services: 3,
        }],
        ..Catalog::default()
    };
    let page = |catalog: &Catalog| render(scrape(Arc::new(catalog.clone()), Meter::default(), &counters()));
    let good = page(&catalog);
    for line in [
        r#"metallb_allocator_addresses_in_use_total{pool="main"} 4.0"#,
        r#"metallb_allocator_ipv4_addresses_total{pool="main"} 256.0"#,
        r#"metallb_allocator_services_allocated_total{pool="main"} 3.0"#,
        "# TYPE metallb_allocator_addresses_total gauge",
        "metallb_k8s_client_config_loaded_bool 1.0",
        "metallb_k8s_client_config_stale_bool 0.0",
        r#"maglane_worker_affinity_full_total{worker="1"} 0.0"#,
        r#"maglane_worker_resets_total{worker="0"} 0.0"#,
    ] {
        assert!(good.lines().any(|l| l == line), "{line}\nis not in\n{good}");
    }
    catalog.problems = vec![Problem::error("is no range", "write one").about(ObjectRef {
        kind: ObjectKind::AddressPool,
        name: ObjectName::new("", "main"),
    })];
    assert!(page(&catalog).contains("metallb_k8s_client_config_stale_bool 1.0"));
}
