//! A large cluster: how long the first picture takes, how long a change, how much memory. Figures are printed and
//! not judged: this is no quiet machine. `SCALE=10000x100` makes it that large (Services x endpoints).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use maglane_perf::cluster::Client;
use maglane_perf::wait::wait_until;
use serde_json::{Value, json};

use super::World;
use crate::stage::{may_run, say};

const WRITERS: usize = 4;
const CHANGES: usize = 100;
const LONG: Duration = Duration::from_secs(600);

fn scale() -> (usize, usize) {
    let text = std::env::var("SCALE").unwrap_or_else(|_| "300x20".to_owned());
    let parts = text
        .split_once('x')
        .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parts.unwrap_or_else(|| panic!("SCALE={text}: write Services x endpoints, as 1000x20"))
}

fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": format!("s{number}") },
        "spec": { "ports": [{ "port": 80, "protocol": "TCP" }] },
    })
}

fn slice(number: usize, endpoints: usize, ready: usize) -> Value {
    let endpoint = |k: usize| {
        let n = number * endpoints + k;
        json!({
            "addresses": [format!("10.{}.{}.{}", 64 + n / 62_500, n / 250 % 250, n % 250 + 1)],
            "conditions": { "ready": k < ready, "serving": true, "terminating": false },
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("s{number}-1"),
            "labels": {
                "kubernetes.io/service-name": format!("s{number}"),
                "endpointslice.kubernetes.io/managed-by": "maglane-test",
            },
        },
        "addressType": "IPv4",
        "ports": [{ "port": 80, "protocol": "TCP" }],
        "endpoints": (0..endpoints).map(endpoint).collect::<Vec<_>>(),
    })
}

fn fill(world: &World, services: usize, endpoints: usize) {
    let next = AtomicUsize::new(0);
    let write = |client: Client| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= services {
                return;
            }
            for object in [service(number), slice(number, endpoints, endpoints)] {
                world.stage.check(client.apply_object("default", &object));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            let client = world.client().clone();
            scope.spawn(|| write(client));
        }
    });
}

/// Of `maglane status`: upper bound in microseconds -> count.
fn update_times(world: &World) -> BTreeMap<u64, u64> {
    let status = world.stage.status();
    let rows = status["table_updates"].as_array().cloned().unwrap_or_default();
    let row = |row: &Value| Some((row["within_us"].as_u64()?, row["count"].as_u64()?));
    rows.iter().filter_map(row).collect()
}

fn total(times: &BTreeMap<u64, u64>) -> u64 {
    times.values().sum()
}

/// The bound under which this share of what came between lies.
fn quantile(before: &BTreeMap<u64, u64>, after: &BTreeMap<u64, u64>, share: f64) -> f64 {
    let wanted = (total(after) - total(before)) as f64 * share;
    let mut sum = 0;
    let bound = after.iter().find(|(us, count)| {
        sum += *count - before.get(us).copied().unwrap_or(0);
        sum as f64 >= wanted
    });
    bound.map_or(0.0, |(us, _)| *us as f64 / 1e3)
}

/// Kilobytes, of `/proc/<pid>/status`.
fn memory(world: &World, field: &str) -> u64 {
    let path = format!("/proc/{}/status", world.stage.balancer().guard.pid());
    let text = world.stage.check(std::fs::read_to_string(path));
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn kubernetes_a_large_cluster_is_read_and_followed() {
    if !may_run("a large cluster") {
        return;
    }
    let (services, endpoints) = scale();
    let world = World::start();
    fill(&world, services, endpoints);
    let begin = Instant::now();
    let world = world.launch_with(&[
        "--serve=cluster-ip".to_owned(),
        format!("--max-services={}", services + 100),
        format!("--max-backends={}", services * endpoints * 2),
    ]);
    let base = memory(&world, "VmRSS");
    let served = || {
        let status = world.stage.balancer().ask("status").unwrap_or_default();
        status["steered_vips"].as_u64().unwrap_or(0) as usize
    };
    // The API server's own Service counts too, where it has one.
    world
        .stage
        .check(wait_until("every Service", LONG, || served() >= services));
    let cold = begin.elapsed();
    let before = update_times(&world);
    for change in 0..CHANGES {
        let seen = total(&update_times(&world));
        let object = slice(change * 7 % services, endpoints, endpoints - 1 - change % 2);
        world.stage.check(world.client().apply_object("default", &object));
        world.until("the change in every worker's table", || {
            total(&update_times(&world)) > seen
        });
    }
    let after = update_times(&world);
    let (p50, p99) = (quantile(&before, &after, 0.5), quantile(&before, &after, 0.99));
    say(&format!(
        "ok kubernetes: {services} Services x {endpoints} endpoints: first picture steered {:.2} s after the start, news \
         to the last worker's table: p50 <= {:.1} ms, p99 <= {:.1} ms; memory {} MiB (peak {}), of it before \
         the first object {}",
        cold.as_secs_f64(),
        p50,
        p99,
        memory(&world, "VmRSS") / 1024,
        memory(&world, "VmHWM") / 1024,
        base / 1024
    ));
}
