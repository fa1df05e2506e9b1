//! Layer 2: hosts on the balancer's link find a virtual address by ARP and NDP, and find it again when it moves.
//!
//! The router is the host on the link: the addresses are in the front net, and nobody has a route to them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use maglane_dataplane::forward::neighbor::announcements;
use maglane_perf::Balancer;
use maglane_perf::Rig;
use maglane_perf::capture::Capture;
use maglane_perf::cluster::Fault;
use maglane_perf::manifests::Service;
use maglane_perf::rig::plan;
use maglane_perf::wait::wait_until;
use maglane_shared::addr::MacAddr;
use maglane_xsk::PacketSocket;

use crate::clients::{connects, curl};
use crate::kubernetes::world::World;
use crate::stage::{SOON, Stage, family, may_run, say, web};

const V4: &str = "10.20.0.200";
const V6: &str = "fd20::c8";
/// The router's interface on the link.
const LINK: &str = "front";
const FLAG: &[&str] = &["--l2=all"];

fn addresses() -> [IpAddr; 2] {
    [V4, V6].map(|text| text.parse().unwrap())
}

/// On both addresses in the front net.
fn service() -> Service {
    Service {
        vips: addresses().to_vec(),
        ..web("nat", 10)
    }
}

/// Of a balancer's interface on the link.
fn mac(stage: &Stage, host: &str) -> String {
    let text = stage.check(stage.rig.ns(host).run("cat", &["/sys/class/net/eth0/address"]));
    text.trim().to_owned()
}

/// What the router knows of the address.
fn known(stage: &Stage, address: IpAddr) -> String {
    let args = ["neigh", "show", &address.to_string(), "dev", LINK];
    stage.check(stage.rig.ns("r").run("ip", &args)).trim().to_owned()
}

fn forget(stage: &Stage) {
    stage.check(stage.rig.ns("r").run("ip", &["neigh", "flush", "dev", LINK]));
    stage.check(
        stage
            .rig
            .ns("r")
            .run("ip", &["-6", "neigh", "flush", "dev", LINK]),
    );
}

#[test]
fn a_host_on_the_link_needs_no_route() {
    if !may_run("layer 2") {
        return;
    }
    let stage = Stage::start(Rig::builder(), &[service()], FLAG);
    let own = mac(&stage, "lb");
    for vip in addresses() {
        forget(&stage);
        let page = curl(&stage, "r", vip);
        stage.assert(page.contains("\"backend\":\"b"), || format!("{vip}: {page:?}"));
        stage.assert(known(&stage, vip).contains(&own), || known(&stage, vip));
        connects(&stage, "c1", (vip, 80).into(), 50);
        say(&format!(
            "ok layer 2 {} found on the link, and from behind the router",
            family(vip)
        ));
    }
    let asked = stage.check(stage.rig.ns("r").run("arping", &["-c", "2", "-I", LINK, V4]));
    stage.assert(asked.to_lowercase().contains(&own), || asked.clone());
    let asked = stage.check(stage.rig.ns("r").run("ndisc6", &["-1", "-w", "2000", V6, LINK]));
    stage.assert(asked.to_lowercase().contains(&own), || asked.clone());
    say("ok layer 2 arping and ndisc6 are told the balancer's MAC address");
    stage.assert(silent(&stage, "10.20.0.201"), || {
        "an address of nobody was answered for".to_owned()
    });
    let rows = stage.check(stage.balancer().ask("l2"));
    let owned = rows.as_array().into_iter().flatten();
    let owned: Vec<String> = owned
        .map(|row| format!("{} {}", row["vip"], row["interfaces"]))
        .collect();
    let want = [V4, V6].map(|vip| format!("\"{vip}\" [\"eth0\"]"));
    stage.assert(owned == want, || rows.to_string());
}

fn silent(stage: &Stage, address: &str) -> bool {
    stage
        .rig
        .ns("r")
        .run("arping", &["-c", "1", "-w", "1", "-I", LINK, address])
        .is_err()
}

/// metallb#2920: a router's check of a neighbour that it knows carries no source address option.
#[test]
fn a_router_that_checks_a_neighbour_is_answered() {
    if !may_run("unicast solicitations") {
        return;
    }
    let stage = Stage::start(Rig::builder(), &[service()], FLAG);
    let (router, own) = (router_mac(&stage), mac(&stage, "lb").parse().unwrap());
    let file = stage.folder.path().join("answers.pcap");
    let capture = stage.check(Capture::start(
        &stage.rig.ns("r"),
        LINK,
        &file,
        "icmp6 and ip6[40] == 136",
    ));
    let index = link_index(&stage);
    let frame = solicitation(router, own);
    stage.check(stage.rig.ns("r").inside(|| {
        let socket = PacketSocket::open().unwrap();
        socket.send(index, &frame).unwrap();
    }));
    let read = |file: &std::path::Path| {
        let args = ["-nn", "-e", "-vv", "-r", &file.display().to_string()];
        stage.rig.ns("r").run("tcpdump", &args).unwrap_or_default()
    };
    stage.check(wait_until("an answer", SOON, || {
        read(&file).contains("tgt is fd20::c8")
    }));
    let captured = capture.stop();
    let text = read(&captured.file);
    for part in [
        "solicited, override",
        "hlim 255",
        "[icmp6 sum ok]",
        &format!("> {router}"),
    ] {
        stage.assert(text.contains(part), || format!("{part} is not in\n{text}"));
    }
    say("ok layer 2 a unicast solicitation without source address option is answered");
}

/// A host that wants the address for itself gives up: it is told that the address is taken.
#[test]
fn a_duplicate_address_is_defended() {
    if !may_run("duplicate address detection") {
        return;
    }
    let stage = Stage::start(Rig::builder(), &[service()], FLAG);
    let router = stage.rig.ns("r");
    let script = format!(
        "echo 1 > /proc/sys/net/ipv6/conf/{LINK}/accept_dad\necho 3 > /proc/sys/net/ipv6/conf/{LINK}/dad_transmits\n\
         ip -6 addr add {V6}/64 dev {LINK}\n"
    );
    stage.check(router.script(&script));
    let state = || {
        router
            .run("ip", &["-6", "addr", "show", "dev", LINK])
            .unwrap_or_default()
    };
    stage.check(wait_until("the end of the probes", SOON, || {
        state()
            .lines()
            .any(|line| line.contains(V6) && line.contains("dadfailed"))
    }));
    say("ok layer 2 a host that probes for the address learns that it is taken");
}

#[test]
fn another_host_with_the_address_is_a_problem() {
    if !may_run("address conflicts") {
        return;
    }
    let stage = Stage::start(Rig::builder(), &[service()], FLAG);
    let index = link_index(&stage);
    let rival: MacAddr = "02:99:99:99:99:99".parse().unwrap();
    let claim = || {
        let send = || {
            let socket = PacketSocket::open().unwrap();
            for vip in addresses() {
                for message in announcements(vip.into(), rival) {
                    socket.send(index, message.bytes()).unwrap();
                }
            }
        };
        stage.check(stage.rig.ns("r").inside(send));
        let problems = stage.status()["problems"].to_string();
        addresses()
            .iter()
            .all(|vip| problems.contains(&format!("{vip} is claimed by {rival}")))
    };
    stage.check(wait_until("the problem", SOON, claim));
    say("ok layer 2 a host that claims the addresses is named");
}

/// From one balancer to the other and back under 100 pings a second.
#[test]
fn an_address_moves() {
    if !may_run("moves of an address") {
        return;
    }
    let stage = Stage::start(Rig::builder().balancers(2), &[service()], FLAG);
    let second = tempfile::tempdir().unwrap();
    let other = stage.check(Balancer::start(&stage.rig, 2, second.path(), FLAG));
    let folders = [stage.manifests(), second.path().join("manifests")];
    let balancers = [stage.balancer(), &other];
    for vip in addresses() {
        let pings = ping(&stage, vip);
        for (from, to) in [(0, 1), (1, 0)].repeat(3) {
            let before = moved(&stage, vip);
            stage.check(service().write(&folders[to]));
            stage.check(wait_until("the new owner", SOON, || owns(balancers[to])));
            std::fs::remove_file(folders[from].join("web-nat.yaml")).unwrap();
            stage.check(wait_until("the old owner's silence", SOON, || {
                !owns(balancers[from])
            }));
            stage.check(wait_until("the router's knowledge", SOON, || {
                moved(&stage, vip) != before && known(&stage, vip).contains(&mac(&stage, ["lb1", "lb2"][to]))
            }));
        }
        // What the last move broke would show now.
        let after = pings.stdout().len() + 100;
        stage.check(wait_until("100 more answers", SOON, || {
            pings.stdout().len() >= after
        }));
        pings.signal(maglane_perf::process::Signal::SIGINT);
        let end = stage.check(pings.finish(SOON));
        let text = end.stdout.join("\n");
        let (sent, received) = counts(&text);
        stage.assert(sent > 100 && sent <= received + 1, || text.clone());
        say(&format!(
            "ok layer 2 {} moved six times under ping: {received} of {sent}",
            family(vip)
        ));
    }
}

fn owns(balancer: &Balancer) -> bool {
    let rows = balancer.ask("l2").unwrap_or_default();
    let rows = rows.as_array().cloned().unwrap_or_default();
    rows.len() == 2
        && rows
            .iter()
            .all(|row| row["interfaces"] == serde_json::json!(["eth0"]))
}

/// Where the router sends to.
fn moved(stage: &Stage, vip: IpAddr) -> String {
    let text = known(stage, vip);
    text.split("lladdr ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default()
        .to_owned()
}

fn ping(stage: &Stage, vip: IpAddr) -> maglane_perf::Guard {
    let mut pings = stage.check(
        stage
            .rig
            .ns("r")
            .spawn("ping", "ping", ["-i", "0.01", &vip.to_string()]),
    );
    stage.check(pings.wait_for("icmp_seq=20 ", SOON));
    pings
}

/// `412 packets transmitted, 412 received, ...`
fn counts(text: &str) -> (u64, u64) {
    let line = text
        .lines()
        .find(|line| line.contains("packets transmitted"))
        .unwrap_or_default();
    let mut numbers = line
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok());
    (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    )
}

fn link_index(stage: &Stage) -> u32 {
    let path = format!("/sys/class/net/{LINK}/ifindex");
    stage
        .check(stage.rig.ns("r").run("cat", &[&path]))
        .trim()
        .parse()
        .unwrap()
}

fn router_mac(stage: &Stage) -> MacAddr {
    let path = format!("/sys/class/net/{LINK}/address");
    stage
        .check(stage.rig.ns("r").run("cat", &[&path]))
        .trim()
        .parse()
        .unwrap()
}

/// To the address itself, from the router's, with no option.
fn solicitation(from: MacAddr, to: MacAddr) -> Vec<u8> {
    let [source, target] = ["fd20::1", V6].map(|text| text.parse::<std::net::Ipv6Addr>().unwrap().octets());
    let mut message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target].concat();
    let pseudo = [&source[..], &target, &[0, 0, 0, 24, 0, 0, 0, 58], &message].concat();
    let sum: u32 = pseudo
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !(((folded & 0xffff) + (folded >> 16)) as u16);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let header = [&[0x60, 0, 0, 0, 0, 24, 58, 255][..], &source, &target].concat();
    [&to.0[..], &from.0, &[0x86, 0xdd], &header, &message].concat()
}

#[test]
fn the_crafted_solicitation_is_what_the_builder_takes() {
    use maglane_dataplane::forward::neighbor::{Heard, reply};
    let (from, to) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    let vip = V6.parse().unwrap();
    let heard = reply(&solicitation(from, to), to, |addr| addr == vip);
    assert!(matches!(heard, Heard::Asked { .. }), "{heard:?}");
}

/// `fence` falls silent with the lease and answers again with it; `keep` never stops.
#[test]
fn an_api_server_lost_fences_or_not() {
    if !may_run("layer 2 without an API server") {
        return;
    }
    for (setting, goes_on) in [("fence", false), ("keep", true)] {
        let world = World::start();
        put_pool_on_link(&world.stage);
        let flags = ["--l2=all".to_owned(), format!("--l2-on-api-loss={setting}")];
        let world = world.launch_with(&flags);
        world.serve(&[1, 2]);
        let vip = world.wait_served()[0].to_string();
        let answered = || !silent(&world.stage, &vip);
        world.until("an answer", answered);
        world.stage.check(world.cluster.fault(Fault::Down));
        if goes_on {
            let begin = Instant::now();
            while begin.elapsed() < LEASE_GONE {
                world
                    .stage
                    .assert(answered(), || "no answer while the API server is away".to_owned());
            }
        } else {
            world.until("silence", || !answered());
        }
        world.stage.check(world.cluster.heal());
        world.until("an answer again", answered);
        say(&format!("ok layer 2 an API server lost: {setting}"));
    }
}

/// The pool's net is on the link between router and balancer.
fn put_pool_on_link(stage: &Stage) {
    stage.check(stage.rig.vip_next_hops(&[]));
    for (host, device) in [("r", LINK), ("lb", "eth0")] {
        let (v4, v6) = (plan::VIP_NET_V4, plan::VIP_NET_V6);
        let script = format!("ip route replace {v4} dev {device}\nip -6 route replace {v6} dev {device}\n");
        stage.check(stage.rig.ns(host).script(&script));
    }
}

/// Time in which a lease of 5 s has surely run out.
const LEASE_GONE: Duration = Duration::from_secs(10);
