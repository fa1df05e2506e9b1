//! What a changed slice costs beside the rest of a cluster, in counts: they are the same on any machine.
//! One test alone, for the allocator counts what every thread does.

use std::alloc::System;
use std::time::Duration;

use maglane_benches::cluster::Cluster;
use maglane_control::compile::Work;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Debug)]
struct Cost {
    allocations: usize,
    bytes: usize,
    /// Of backends, copied.
    chunks: usize,
}

fn cost(cluster: Cluster) -> Cost {
    let mut controller = cluster.controller();
    let mut change = |count| controller.step(cluster.slice(7, count), Duration::from_secs(2));
    // The first change may make room for those that follow.
    for count in [cluster.endpoints - 1, cluster.endpoints] {
        change(count);
    }
    let event = cluster.slice(7, cluster.endpoints - 1);
    let before = controller.table();
    let region = Region::new(ALLOCATOR);
    controller.step(event, Duration::from_secs(2));
    let spent = region.change();
    let once = Work {
        entries: 1,
        maglev_tables: 1,
    };
    assert_eq!(controller.work(), once, "what was compiled");
    Cost {
        allocations: spent.allocations,
        bytes: spent.bytes_allocated,
        chunks: before.backends.unshared(&controller.table().backends),
    }
}

#[test]
fn a_changed_slice_costs_the_same_beside_ten_times_the_services() {
    let [few, many] = [100, 1000].map(|services| {
        cost(Cluster {
            services,
            endpoints: 20,
        })
    });
    println!("beside 100 Services {few:?}, beside 1,000 {many:?}");
    assert!(
        many.allocations <= few.allocations + few.allocations / 10,
        "{few:?}, {many:?}"
    );
    assert_eq!(
        (few.chunks, many.chunks),
        (1, 1),
        "chunks with the backend that goes"
    );
    // Snapshots list their entries: that much for each Service, whatever it holds.
    let for_each = many.bytes.saturating_sub(few.bytes) / 900;
    assert!(for_each <= 300, "{for_each} bytes for each other Service");
}
