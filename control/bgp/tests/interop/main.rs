//! Our speaker against FRR, BIRD, GoBGP and OpenBGPD, each in a namespace. One line a daemon and case:
//! `cargo test -p maglane-bgp --test interop -- --nocapture --test-threads=1`. A daemon that is not
//! installed is skipped, and says so. Needs root.

mod bfd;
mod daemons;
mod rig;
#[path = "../support/side.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod side;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use daemons::{Kind, PASSWORD, Router, Variant};
use maglane_bgp::driver::{Command, Distance, LinkSettings, Password};
use maglane_bgp::fsm::{State, StopReason};
use maglane_bgp::peer::Gate;
use maglane_bgp::rib::Routes;
use maglane_bgp::settings::{ExtendedNextHop, NextHops, Opening, PeerAs, SessionSettings};
use maglane_bgp::wire::{Attributes, Community, Families, LargeCommunity};
use rig::{OURS, OURS_V6, Rig, Speaker, eventually, run};

const VIP: &str = "192.0.2.1/32";
const VIP_V6: &str = "2001:db8::1/128";

fn session(hold_seconds: u16, opening: Opening) -> SessionSettings {
    let id = Ipv4Addr::new(10, 99, 0, 1);
    let mut session = SessionSettings::new(64512, id, PeerAs::Exact(65001), Families::BOTH);
    session.hold_seconds = hold_seconds;
    session.opening = opening;
    session.next_hops = NextHops {
        v6: OURS_V6.parse().ok(),
        ..NextHops::default()
    };
    session
}

fn link(variant: Variant) -> LinkSettings {
    let peer = if variant == Variant::V6 {
        "fd99::2"
    } else {
        "10.99.0.2"
    };
    let mut link = LinkSettings::new(peer.parse().expect("an address"));
    match variant {
        Variant::Plain | Variant::V6 | Variant::Bfd(_) => {}
        Variant::Gtsm => link.distance = Distance::Gtsm { hops: 1 },
        Variant::Md5 => link.password = Some(Password::new(PASSWORD).expect("a short key")),
    }
    link
}

fn vips() -> Routes {
    let attributes = Arc::new(Attributes {
        communities: BTreeSet::from([Community::NO_LLGR, Community(65010 << 16 | 99)]),
        large_communities: BTreeSet::from([LargeCommunity(64512, 7, 8)]),
        ..Attributes::vip()
    });
    [VIP, VIP_V6]
        .map(|prefix| (prefix.parse().expect("a prefix"), attributes.clone()))
        .into_iter()
        .collect()
}

fn up(speaker: &Speaker, times: u64) {
    speaker.reach("session up", |s| {
        s.state == State::Established && s.counters.sessions_up >= times
    });
}

/// A speaker with an open gate and both VIPs to tell.
fn start(rig: &Rig, session: SessionSettings, link: LinkSettings) -> Speaker {
    let speaker = Speaker::start(rig, session, link);
    speaker.order(Command::Gate(Gate::Open));
    speaker.order(Command::Routes {
        revision: 1,
        routes: vips(),
    });
    speaker
}

/// The router holds the prefix with both communities.
fn learned(router: &Router<'_>, prefix: &str) -> String {
    eventually(&format!("{prefix} in the router"), || {
        let shown = router.show(prefix);
        let standard = shown.contains("65010:99") || shown.contains("65010,99");
        let large = shown.contains("64512:7:8") || shown.contains("64512, 7, 8");
        if standard && large { Ok(shown) } else { Err(shown) }
    })
}

fn forgotten(router: &Router<'_>, prefix: &str) {
    eventually(&format!("{prefix} out of the router"), || {
        let shown = router.show(prefix);
        if shown.contains("65010:99") || shown.contains("65010,99") {
            Err(shown)
        } else {
            Ok(())
        }
    });
}

fn no_malformed_updates(speaker: &Speaker) {
    let status = speaker.status();
    assert_eq!(status.counters.treated_as_withdraw, 0);
    assert_eq!(status.unsendable, maglane_bgp::rib::Unsendable::default());
}

struct Matrix {
    kind: Kind,
}

impl Matrix {
    fn say(&self, case: &str, outcome: &str) {
        println!("interop {:<9} {case:<32} {outcome}", self.kind.name());
    }

    fn case(&self, name: &str, run: impl FnOnce(&Rig)) {
        let began = Instant::now();
        run(&Rig::new(self.kind.name()));
        self.say(name, &format!("ok ({} ms)", began.elapsed().as_millis()));
    }

    /// Session, both families, communities, withdraw, drain, shutdown.
    fn routes(&self, rig: &Rig) {
        let router = Router::start(self.kind, rig, Variant::Plain);
        let speaker = start(rig, session(90, Opening::Active), link(Variant::Plain));
        up(&speaker, 1);
        learned(&router, VIP);
        learned(&router, VIP_V6);
        speaker.reach("all taken", |s| s.synced == Some(1) && s.told == 2);
        speaker.order(Command::Routes {
            revision: 2,
            routes: vips().into_iter().take(1).collect(),
        });
        forgotten(&router, VIP_V6);
        speaker.order(Command::Routes {
            revision: 3,
            routes: vips(),
        });
        learned(&router, VIP_V6);
        speaker.order(Command::Gate(Gate::Closed));
        forgotten(&router, VIP);
        forgotten(&router, VIP_V6);
        no_malformed_updates(&speaker);
        assert_eq!(
            speaker.status().counters.sessions_up,
            1,
            "no change cost the session"
        );
        speaker.order(Command::Stop(StopReason::Shutdown("bye".into())));
        speaker.stop();
    }

    fn established(&self, rig: &Rig, variant: Variant) {
        let router = Router::start(self.kind, rig, variant);
        let speaker = start(rig, session(90, Opening::Active), link(variant));
        up(&speaker, 1);
        learned(&router, VIP);
        speaker.stop();
    }

    /// Everything either side says, as tshark reads it: nothing malformed.
    fn decoded(&self, rig: &Rig) {
        let capture = rig.file("capture.pcapng");
        let watching = rig.capture(&capture);
        let router = Router::start(self.kind, rig, Variant::Plain);
        let speaker = start(rig, session(90, Opening::Active), link(Variant::Plain));
        up(&speaker, 1);
        learned(&router, VIP_V6);
        speaker.order(Command::Routes {
            revision: 2,
            routes: Routes::new(),
        });
        forgotten(&router, VIP);
        speaker.order(Command::Stop(StopReason::Shutdown("bye".into())));
        speaker.stop();
        let updates =
            format!("tshark -r {capture} -Y 'bgp.type == 2 && ip.src == {OURS}' 2>/dev/null | wc -l");
        eventually("our last word in the capture", || {
            let ends = run(&format!(
                "tshark -r {capture} -Y 'bgp.type == 3 && ip.src == {OURS}' 2>/dev/null"
            ));
            if ends.contains("NOTIFICATION") {
                Ok(())
            } else {
                Err(ends)
            }
        });
        drop(watching);
        assert_ne!(run(&updates).trim(), "0");
        let bad = run(&format!(
            "tshark -r {capture} -Y 'bgp && (_ws.malformed || _ws.expert.severity == error)' 2>/dev/null"
        ));
        assert!(bad.is_empty(), "{bad}");
    }

    fn wrong_key(&self, rig: &Rig) {
        let _router = Router::start(self.kind, rig, Variant::Md5);
        for password in [None, Password::new("guess").ok()] {
            let keyed = LinkSettings {
                password,
                ..link(Variant::Md5)
            };
            let speaker = start(rig, session(90, Opening::Active), keyed);
            let status = speaker.reach("two dials in vain", |s| s.counters.dial_failures >= 2);
            assert_eq!(status.counters.sessions_up, 0);
            speaker.stop();
        }
    }

    /// RFC 8950: IPv4 over an IPv6 session, next hop our IPv6 address.
    fn extended_next_hop(&self, rig: &Rig) {
        let router = Router::start(self.kind, rig, Variant::V6);
        let offering = SessionSettings {
            extended_next_hop: ExtendedNextHop::Offer,
            next_hops: NextHops::default(),
            ..session(90, Opening::Active)
        };
        let speaker = start(rig, offering, link(Variant::V6));
        up(&speaker, 1);
        let shown = learned(&router, VIP);
        assert!(shown.contains(OURS_V6), "{shown}");
        no_malformed_updates(&speaker);
        speaker.stop();
    }

    /// The router stops talking; we notice by our hold timer, and it comes back.
    fn hold_expiry(&self, rig: &Rig) {
        let router = Router::start(self.kind, rig, Variant::Plain);
        let speaker = start(rig, session(3, Opening::Active), link(Variant::Plain));
        up(&speaker, 1);
        router.freeze();
        let status = speaker.reach("session down", |s| {
            s.counters.sessions_down == 1 && s.last_error.is_some()
        });
        router.thaw();
        let error = status.last_error.unwrap_or_default();
        assert!(
            error.contains("Hold Timer Expired") || error.contains("no answer"),
            "{error}"
        );
        up(&speaker, 2);
        learned(&router, VIP);
        speaker.stop();
    }

    /// Both dial, again and again; one session each time.
    fn collision(&self, rig: &Rig) {
        let router = Router::start(self.kind, rig, Variant::Plain);
        let both = LinkSettings {
            source: OURS.parse().ok(),
            ..link(Variant::Plain)
        };
        let speaker = start(rig, session(90, Opening::Both), both);
        // OpenBGPD refuses us longer after each reset: half a minute, then a whole one.
        let rounds = if self.kind == Kind::Openbgpd { 2 } else { 3 };
        for round in 1..=rounds {
            up(&speaker, round);
            learned(&router, VIP);
            if round < rounds {
                speaker.order(Command::Restart(StopReason::Reset("again".into())));
            }
        }
        let connections = eventually("one connection", || {
            let list = run(&format!("ip netns exec {} ss -Htn state established", rig.ours));
            let count = list.lines().filter(|line| line.contains(":179")).count();
            if count == 1 { Ok(count) } else { Err(list) }
        });
        assert_eq!(connections, 1);
        speaker.stop();
    }

    fn router_restart(&self, rig: &Rig) {
        let mut router = Router::start(self.kind, rig, Variant::Plain);
        let speaker = start(rig, session(90, Opening::Active), link(Variant::Plain));
        up(&speaker, 1);
        learned(&router, VIP);
        router.restart();
        up(&speaker, 2);
        learned(&router, VIP);
        speaker.stop();
    }

    /// We lose power and return at once: the router never heard that the old connection is dead, and
    /// learns it by the reset that answers its next keepalive, or by its hold timer.
    fn half_open(&self, rig: &Rig) {
        let router = Router::start(self.kind, rig, Variant::Plain);
        let speaker = start(rig, session(9, Opening::Active), link(Variant::Plain));
        up(&speaker, 1);
        learned(&router, VIP);
        let list = run(&format!(
            "ip netns exec {} ss -Htn state established '( dport = 179 )'",
            rig.ours
        ));
        let port = list
            .split_whitespace()
            .find_map(|word| word.strip_prefix("10.99.0.1:"))
            .unwrap_or_else(|| panic!("no port in {list}"));
        let rules = format!(
            "add table inet t; add chain inet t o {{ type filter hook output priority 0; }}; \
             add rule inet t o tcp sport {port} drop; \
             add chain inet t i {{ type filter hook input priority 0; }}; add rule inet t i tcp dport {port} drop"
        );
        let said = run(&format!("ip netns exec {} nft '{rules}'", rig.ours));
        assert!(said.is_empty(), "{said}");
        speaker.stop();
        // What the kernel would go on sending for the dead socket goes with it; then the path is whole.
        run(&format!("ip netns exec {} ss -K '( sport = {port} )'", rig.ours));
        eventually("the old socket gone", || {
            let left = run(&format!(
                "ip netns exec {} ss -Htna '( sport = {port} )'",
                rig.ours
            ));
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        run(&format!("ip netns exec {} nft delete table inet t", rig.ours));
        let again = start(rig, session(9, Opening::Active), link(Variant::Plain));
        up(&again, 1);
        learned(&router, VIP);
        again.stop();
    }
}

fn matrix(kind: Kind) {
    let matrix = Matrix { kind };
    if !nix::unistd::geteuid().is_root() {
        return matrix.say("all", "skipped: needs root for namespaces");
    }
    if !Path::new(kind.program()).exists() {
        return matrix.say("all", &format!("skipped: {} is not installed", kind.program()));
    }
    matrix.case("session, routes, withdraw, drain", |rig| matrix.routes(rig));
    if Path::new("/usr/bin/tshark").exists() {
        matrix.case("decoded by tshark", |rig| matrix.decoded(rig));
    } else {
        matrix.say("decoded by tshark", "skipped: tshark is not installed");
    }
    matrix.case("GTSM", |rig| matrix.established(rig, Variant::Gtsm));
    matrix.case("TCP MD5, right key", |rig| matrix.established(rig, Variant::Md5));
    matrix.case("TCP MD5, no key and a wrong one", |rig| matrix.wrong_key(rig));
    match kind {
        Kind::Openbgpd => matrix.say("IPv4 via IPv6 (RFC 8950)", "skipped: OpenBGPD 7.7 lacks it"),
        Kind::Frr | Kind::Bird | Kind::Gobgp => {
            matrix.case("IPv4 via IPv6 (RFC 8950)", |rig| matrix.extended_next_hop(rig));
        }
    }
    matrix.case("hold expiry", |rig| matrix.hold_expiry(rig));
    matrix.case("collision", |rig| matrix.collision(rig));
    matrix.case("router restart", |rig| matrix.router_restart(rig));
    matrix.case("half-open", |rig| matrix.half_open(rig));
}

/// Kept apart from the matrices: they measure, and bring their own stress.
#[test]
fn bfd() {
    for kind in [Kind::Frr, Kind::Bird] {
        let matrix = Matrix { kind };
        if !nix::unistd::geteuid().is_root() {
            matrix.say("BFD", "skipped: needs root for namespaces");
        } else if !Path::new(kind.program()).exists() {
            matrix.say("BFD", &format!("skipped: {} is not installed", kind.program()));
        } else {
            matrix.bfd();
        }
    }
}

#[test]
fn frr() {
    matrix(Kind::Frr);
}

#[test]
fn bird() {
    matrix(Kind::Bird);
}

#[test]
fn gobgp() {
    matrix(Kind::Gobgp);
}

#[test]
fn openbgpd() {
    matrix(Kind::Openbgpd);
}
