//! A liveness thread whose sessions live in one namespace, and whose workers stop at a word.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use maglane_bgp::bfd::live::{Forwarding, Liveness, Path, SessionHandle, Status, prepare};
use maglane_bgp::bfd::{Hops, State, Timers};
use nix::sched::{CloneFlags, setns};

use super::rig::{eventually, run};

pub struct Side {
    pub liveness: Liveness,
    pub works: Arc<AtomicBool>,
    namespace: String,
}

impl Side {
    pub fn start(namespace: &str) -> Side {
        let (liveness, thread) = prepare().expect("a socket pair");
        let works = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&works);
        thread::spawn(move || {
            take_precedence();
            thread.run(|| {
                if seen.load(Ordering::Relaxed) {
                    Forwarding::Works
                } else {
                    Forwarding::Stuck
                }
            });
        });
        Side {
            liveness,
            works,
            namespace: namespace.to_owned(),
        }
    }

    /// Sockets belong to the namespace of the thread that opens them.
    pub fn add(&self, path: &Path) -> SessionHandle {
        within(&self.namespace, || self.liveness.add(path).expect("a session"))
    }
}

/// What the binary does by a system call this crate may not make: SCHED_FIFO, where allowed.
fn take_precedence() {
    run(&format!("chrt -f -p 10 {}", nix::unistd::gettid()));
}

pub fn within<T: Send>(namespace: &str, act: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).expect("a namespace");
    let inside = move || {
        setns(file, CloneFlags::CLONE_NEWNET).expect("to enter a namespace");
        act()
    };
    thread::scope(|scope| scope.spawn(inside).join().expect("no panic"))
}

pub fn path(peer: &str, millis: u32) -> Path {
    Path {
        timers: Timers {
            desired_min_tx: millis * 1000,
            required_min_rx: millis * 1000,
            detect_mult: 3,
        },
        ..Path::new(peer.parse().expect("an address"))
    }
}

pub fn far(path: Path) -> Path {
    Path {
        hops: Hops::Multi { min_ttl: 254 },
        ..path
    }
}

pub fn reach(session: &SessionHandle, state: State) -> Status {
    eventually(&format!("{state:?}"), || {
        let status = session.status();
        if status.state == state {
            Ok(status)
        } else {
            Err(format!("{status:?}"))
        }
    })
}
