//! The liveness thread allocates nothing once its sessions are set up. Needs root.

#[path = "interop/rig.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod rig;
#[path = "support/side.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod side;

use std::alloc::System;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use maglane_bgp::bfd::State;
use maglane_bgp::bfd::live::SessionHandle;
use rig::Rig;
use side::{Side, path, reach};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Waits without allocating; this thread counts too.
fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "not within 30 s");
        std::thread::yield_now();
    }
}

#[test]
fn up_down_silent_and_up_again_allocate_nothing() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root for namespaces");
        return;
    }
    let rig = Rig::new("bfd-alloc");
    let (ours, theirs) = (Side::start(&rig.ours), Side::start(&rig.router));
    let paths = [("10.99.0.2", "10.99.0.1"), ("fd99::2", "fd99::1")];
    let sessions: Vec<[SessionHandle; 2]> = paths
        .iter()
        .map(|(peer, back)| [ours.add(&path(peer, 100)), theirs.add(&path(back, 100))])
        .collect();
    for session in sessions.iter().flatten() {
        reach(session, State::Up);
    }
    let _news = ours.liveness.news().expect("a running thread");
    let all = |state: State| {
        sessions
            .iter()
            .flatten()
            .all(|session| session.status().state == state)
    };
    until(|| all(State::Up));
    let region = Region::new(GLOBAL);
    let before = sessions[0][0].status().received;
    until(|| sessions[0][0].status().received >= before + 20);
    ours.works.store(false, Ordering::Relaxed);
    until(|| all(State::Down));
    ours.works.store(true, Ordering::Relaxed);
    until(|| all(State::Up));
    sessions[0][0].admin_down().expect("a running thread");
    until(|| sessions[0][1].status().remote_admin_down);
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
    assert_eq!(
        sessions[0][1].status().failures,
        1,
        "forwarding lost; AdminDown is none"
    );
}
