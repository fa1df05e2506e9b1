//! Two liveness threads joined by a veth pair: they meet, notice a cut, and believe no forged packet. Needs root.

#[path = "interop/rig.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod rig;
#[path = "support/side.rs"]
mod side;

use std::net::UdpSocket;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use maglane_bgp::bfd::live::{Path, SessionHandle};
use maglane_bgp::bfd::{Diagnostic, Packet, State};
use maglane_bgp::error::BfdError;
use rig::{Rig, eventually, run};
use side::{Side, far, path, reach, within};

const OURS: &str = "10.99.0.1";
const THEIRS: &str = "10.99.0.2";

struct Pair {
    // Dropped first: threads end with their sessions.
    ours: Side,
    theirs: Side,
    rig: Rig,
}

impl Pair {
    fn new(name: &str) -> Option<Pair> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: needs root for namespaces");
            return None;
        }
        let rig = Rig::new(name);
        Some(Pair {
            ours: Side::start(&rig.ours),
            theirs: Side::start(&rig.router),
            rig,
        })
    }

    fn sessions(&self, ours: &Path, theirs: &Path) -> [SessionHandle; 2] {
        [self.ours.add(ours), self.theirs.add(theirs)]
    }

    /// A v4 session at this interval, up.
    fn up(&self, millis: u32) -> [SessionHandle; 2] {
        let sessions = self.sessions(&path(THEIRS, millis), &path(OURS, millis));
        both_up(&sessions);
        let wanted = u64::from(millis) * 3000;
        eventually("both at speed", || {
            let times = sessions
                .each_ref()
                .map(|s| s.status().detection_time.map(|t| t.0));
            if times == [Some(wanted); 2] {
                Ok(())
            } else {
                Err(format!("{times:?}"))
            }
        });
        sessions
    }

    /// Nothing of BFD comes in on either side.
    fn cut(&self) {
        for namespace in [&self.rig.ours, &self.rig.router] {
            let rules = "add table inet c; add chain inet c i { type filter hook input priority 0; }; \
                         add rule inet c i udp dport { 3784, 4784 } drop";
            let said = run(&format!("ip netns exec {namespace} nft '{rules}'"));
            assert!(said.is_empty(), "{said}");
        }
    }

    fn mend(&self) {
        for namespace in [&self.rig.ours, &self.rig.router] {
            run(&format!("ip netns exec {namespace} nft delete table inet c"));
        }
    }
}

fn both_up(sessions: &[SessionHandle; 2]) {
    for session in sessions {
        reach(session, State::Up);
    }
}

fn link_local(namespace: &str) -> String {
    eventually("a link-local address", || {
        let shown = run(&format!(
            "ip -n {namespace} -6 -o addr show dev mgl0 scope link -tentative"
        ));
        let address = shown.split_whitespace().find_map(|word| word.strip_suffix("/64"));
        address.map(str::to_owned).ok_or(shown.clone())
    })
}

#[test]
fn sessions_of_every_kind_come_up_and_stay() {
    let Some(pair) = Pair::new("bfd-kinds") else {
        return;
    };
    let device = |path: Path| Path {
        device: Some("mgl0".to_owned()),
        ..path
    };
    let (near, remote) = (link_local(&pair.rig.ours), link_local(&pair.rig.router));
    let both = |peer: &str, back: &str, shape: &dyn Fn(Path) -> Path| {
        pair.sessions(&shape(path(peer, 100)), &shape(path(back, 100)))
    };
    let kinds = [
        both(THEIRS, OURS, &|path| path),
        both("fd99::2", "fd99::1", &|path| path),
        both(&remote, &near, &device),
        both(THEIRS, OURS, &far),
        both("fd99::2", "fd99::1", &far),
    ];
    for (place, kind) in kinds.iter().enumerate() {
        for session in kind {
            let status = reach(session, State::Up);
            assert_eq!(
                (status.failures, status.diagnostic),
                (0, Diagnostic::None),
                "kind {place}"
            );
        }
    }
    let flown = kinds.each_ref().map(|kind| kind[0].status().received);
    eventually("ten more packets each", || {
        let gained = |(kind, before): (&[SessionHandle; 2], &u64)| kind[0].status().received >= before + 10;
        if kinds.iter().zip(&flown).all(gained) {
            Ok(())
        } else {
            Err("too few".to_owned())
        }
    });
    for kind in &kinds {
        let status = kind[0].status();
        assert_eq!(
            (status.state, status.downs, status.send_errors),
            (State::Up, 0, 0)
        );
        assert_eq!(status.discards, Default::default());
    }
}

#[test]
fn a_cut_is_noticed_in_three_intervals_and_mends() {
    let Some(pair) = Pair::new("bfd-cut") else { return };
    let sessions = pair.up(100);
    let news = pair.ours.liveness.news().expect("a running thread");
    news.set_nonblocking(false).expect("a socket");
    news.recv(&mut [0]).expect("the first news comes at once");
    pair.cut();
    let cut = Instant::now();
    news.set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a socket");
    news.recv(&mut [0]).expect("news of the failure");
    let noticed = cut.elapsed();
    let status = sessions[0].status();
    assert_eq!((status.state, status.failures), (State::Down, 1));
    assert_eq!(status.diagnostic, Diagnostic::DetectionTimeExpired);
    println!("bfd 100 ms x 3: cut noticed after {noticed:?}");
    assert!(noticed < Duration::from_millis(350), "{noticed:?}");
    reach(&sessions[1], State::Down);
    pair.mend();
    both_up(&sessions);
}

#[test]
fn forged_packets_are_counted_and_change_nothing() {
    let Some(pair) = Pair::new("bfd-forged") else {
        return;
    };
    let sessions = pair.up(100);
    run(&format!(
        "ip -n {} addr add 10.99.0.3/24 dev mgl0",
        pair.rig.router
    ));
    let down = |yours: u32| Packet {
        diagnostic: Diagnostic::AdministrativelyDown,
        state: State::Down,
        poll: false,
        final_: false,
        control_plane_independent: false,
        authentication_present: false,
        demand: false,
        detect_mult: 3,
        my_discriminator: 99,
        your_discriminator: yours,
        desired_min_tx: 1_000_000,
        required_min_rx: 1_000_000,
        required_min_echo_rx: 0,
    };
    let ours = sessions[0].id().get();
    let send = |source: &str, ttl: u32, payload: &[u8]| {
        within(&pair.rig.router, || {
            let socket = UdpSocket::bind((source, 0)).expect("a socket");
            socket.set_ttl(ttl).expect("a TTL");
            socket.send_to(payload, (OURS, 3784)).expect("sent");
        });
    };
    send(THEIRS, 64, &down(ours).encode());
    send(THEIRS, 255, &down(ours ^ 1).encode());
    send("10.99.0.3", 255, &down(ours).encode());
    send(THEIRS, 255, &[0x20; 23]);
    send("10.99.0.3", 255, &down(0).encode());
    let discards = eventually("all five counted", || {
        let (named, strays) = (sessions[0].status().discards, pair.ours.liveness.strays());
        let count = named.ttl + named.discriminator + named.source + named.malformed + strays.source;
        if count + strays.malformed >= 5 {
            Ok((named, strays))
        } else {
            Err(format!("{named:?} {strays:?}"))
        }
    });
    let (named, strays) = discards;
    assert_eq!(
        (named.ttl, named.discriminator, named.source, named.malformed),
        (1, 1, 1, 1)
    );
    assert_eq!(strays.source, 1);
    for session in &sessions {
        assert_eq!((session.status().state, session.status().downs), (State::Up, 0));
    }
}

/// A wedged worker: the peer hears it at once and then nothing; a worker that turns again is believed.
#[test]
fn nothing_is_sent_while_forwarding_is_stuck() {
    let Some(pair) = Pair::new("bfd-stuck") else {
        return;
    };
    let [ours, theirs] = pair.up(300);
    pair.ours.works.store(false, Ordering::Relaxed);
    let stuck = Instant::now();
    let status = eventually("the peer's Down", || {
        let status = theirs.status();
        if status.state == State::Down {
            Ok(status)
        } else {
            Err(format!("{status:?}"))
        }
    });
    assert!(
        stuck.elapsed() < Duration::from_millis(300),
        "{:?}",
        stuck.elapsed()
    );
    assert_eq!(
        (status.diagnostic, status.failures),
        (Diagnostic::NeighborSignaledDown, 1)
    );
    assert_eq!(ours.status().diagnostic, Diagnostic::ForwardingPlaneReset);
    assert_eq!(pair.ours.liveness.losses(), 1);
    let sent = ours.status().sent;
    let heard = theirs.status().sent;
    eventually("packets of the peer", || {
        let now = theirs.status().sent;
        if now >= heard + 2 {
            Ok(())
        } else {
            Err(now.to_string())
        }
    });
    assert_eq!((ours.status().sent, ours.status().state), (sent, State::Down));
    pair.ours.works.store(true, Ordering::Relaxed);
    reach(&ours, State::Up);
    reach(&theirs, State::Up);
}

#[test]
fn a_session_that_ends_says_so_and_is_no_failure() {
    let Some(pair) = Pair::new("bfd-admin") else {
        return;
    };
    let [ours, theirs] = pair.up(100);
    ours.admin_down().expect("a running thread");
    let status = reach(&theirs, State::Down);
    assert!(status.remote_admin_down && status.failures == 0, "{status:?}");
    assert_eq!(ours.status().state, State::AdminDown);
    ours.admin_up().expect("a running thread");
    reach(&theirs, State::Up);
    let refused = within(&pair.rig.ours, || pair.ours.liveness.add(&path(THEIRS, 100)));
    assert!(matches!(refused, Err(BfdError::Twice(_))));
    drop(ours);
    let status = reach(&theirs, State::Down);
    assert!(status.remote_admin_down && status.failures == 0, "{status:?}");
    let again = pair.ours.add(&path(THEIRS, 100));
    reach(&again, State::Up);
    let slower = path(THEIRS, 200).timers;
    again.set_timers(slower).expect("sound timers");
    eventually("the new detection time at the peer", || {
        let time = theirs.status().detection_time.map(|t| t.0);
        if time == Some(600_000) {
            Ok(())
        } else {
            Err(format!("{time:?}"))
        }
    });
    assert_eq!(theirs.status().failures, 0);
}

#[test]
fn what_cannot_be_is_refused_with_the_remedy() {
    let Some(pair) = Pair::new("bfd-refused") else {
        return;
    };
    let refuse = |path: &Path| {
        within(&pair.rig.ours, || {
            pair.ours.liveness.add(path).err().map(|e| e.to_string())
        })
    };
    let said = refuse(&path("fe80::1", 100)).expect("an error");
    assert!(said.contains("name the device"), "{said}");
    let nowhere = Path {
        device: Some("nowhere0".to_owned()),
        ..path(THEIRS, 100)
    };
    let said = refuse(&nowhere).expect("an error");
    assert!(said.contains("nowhere0") && said.contains("interface"), "{said}");
    let _taken = within(&pair.rig.ours, || {
        UdpSocket::bind("0.0.0.0:3784").expect("a free port")
    });
    let said = refuse(&path(THEIRS, 100)).expect("an error");
    assert!(
        said.contains("3784") && said.contains("other BFD daemon"),
        "{said}"
    );
}
