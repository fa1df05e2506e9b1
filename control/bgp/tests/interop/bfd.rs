//! BFD with FRR's bfdd and BIRD at three speeds, over IPv4 and IPv6: up, no flap under stress, a cut noticed,
//! a forged packet ignored. `BFD_SECONDS` says for how long none may flap (default 10).

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use maglane_bgp::bfd::live::SessionHandle;
use maglane_bgp::bfd::{Diagnostic, PACKET_LEN, State};

use super::Matrix;
use super::daemons::{Router, Variant};
use super::rig::{OURS, Rig, eventually, run};
use super::side::{Side, path, reach, within};

const SPEEDS: [u32; 3] = [300, 100, 50];
/// Beyond three intervals: both ends' scheduling on a machine that is busy.
const SLACK: Duration = Duration::from_millis(50);

impl Matrix {
    pub fn bfd(&self) {
        for millis in SPEEDS {
            self.case(&format!("BFD {millis} ms x 3"), |rig| {
                let noticed = speed(self, rig, millis);
                self.say(
                    &format!("BFD {millis} ms x 3, cut noticed"),
                    &format!("{} ms", noticed.as_millis()),
                );
            });
        }
    }
}

fn speed(matrix: &Matrix, rig: &Rig, millis: u32) -> Duration {
    let router = Router::start(matrix.kind, rig, Variant::Bfd(millis));
    let side = Side::start(&rig.ours);
    let sessions = [
        side.add(&path("10.99.0.2", millis)),
        side.add(&path("fd99::2", millis)),
    ];
    for session in &sessions {
        reach(session, State::Up);
    }
    eventually("both up in the router", || {
        let (up, shown) = router.bfd_up();
        if up == 2 { Ok(()) } else { Err(shown) }
    });
    let wanted = Some(3000 * u64::from(millis));
    eventually("the agreed speed", || {
        let time = sessions[0].status().detection_time.map(|time| time.0);
        if time == wanted {
            Ok(())
        } else {
            Err(format!("{time:?}"))
        }
    });
    let before = downs(&sessions);
    under_stress(|| forge(rig, &sessions[0]));
    assert_eq!(downs(&sessions), before, "flapped: {:?}", sessions[0].status());
    let noticed = cut(rig, &sessions[0], millis);
    eventually("the router's Down", || {
        let (up, shown) = router.bfd_up();
        if up == 0 { Ok(()) } else { Err(shown) }
    });
    noticed
}

fn downs(sessions: &[SessionHandle; 2]) -> [u64; 2] {
    sessions.each_ref().map(|session| session.status().downs)
}

/// Every core busy twice over for as long as asked, `meanwhile` at the start.
fn under_stress(meanwhile: impl FnOnce()) {
    let seconds = std::env::var("BFD_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let over = AtomicBool::new(false);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..2 * cores {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::black_box((0..10_000u64).sum::<u64>());
                }
            });
        }
        meanwhile();
        std::thread::sleep(Duration::from_secs(seconds));
        over.store(true, Ordering::Relaxed);
    });
}

/// As from the router, but from one hop away, and with a discriminator that was guessed.
fn forge(rig: &Rig, session: &SessionHandle) {
    let mut payload = [0; PACKET_LEN];
    payload[..4].copy_from_slice(&[1 << 5 | 7, 1 << 6, 3, PACKET_LEN as u8]);
    payload[7] = 99;
    let send = |ttl: u32, yours: u32| {
        payload[8..12].copy_from_slice(&yours.to_be_bytes());
        within(&rig.router, || {
            let socket = UdpSocket::bind("10.99.0.2:0").expect("a socket");
            socket.set_ttl(ttl).expect("a TTL");
            socket.send_to(&payload, (OURS, 3784)).expect("sent");
        });
    };
    let mut send = send;
    send(254, session.id().get());
    send(255, session.id().get() ^ 1);
    eventually("both forgeries counted", || {
        let discards = session.status().discards;
        if (discards.ttl, discards.discriminator) == (1, 1) {
            Ok(())
        } else {
            Err(format!("{discards:?}"))
        }
    });
}

/// Nothing arrives any more, in either direction; how long until we knew.
fn cut(rig: &Rig, session: &SessionHandle, millis: u32) -> Duration {
    for namespace in [&rig.router, &rig.ours] {
        let rules = "add table inet c; add chain inet c i { type filter hook input priority 0; }; \
                     add rule inet c i udp dport 3784 drop";
        let said = run(&format!("ip netns exec {namespace} nft '{rules}'"));
        assert!(said.is_empty(), "{said}");
    }
    let begun = Instant::now();
    while session.status().state == State::Up {
        assert!(begun.elapsed() < Duration::from_secs(5), "a cut nobody noticed");
        std::thread::sleep(Duration::from_millis(1));
    }
    let noticed = begun.elapsed();
    assert_eq!(session.status().diagnostic, Diagnostic::DetectionTimeExpired);
    assert!(
        noticed < Duration::from_millis(3 * u64::from(millis)) + SLACK,
        "{noticed:?}"
    );
    noticed
}
