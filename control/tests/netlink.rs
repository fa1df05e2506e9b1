//! The kernel followed live, in network namespaces of the test's own. Needs root and iproute2; says so and
//! passes when it lacks them. Nothing here waits by sleeping: each change is awaited with a deadline.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use maglane_control::compile::CompileSettings;
use maglane_control::effect::Effect;
use maglane_control::event::{Event, Source};
use maglane_control::netlink::Netlink;
use maglane_control::plan::PlanSettings;
use maglane_control::routes::NO_WAY;
use maglane_control::step::{Controller, Resume, Settings};
use maglane_shared::addr::{Addr, MacAddr};
use maglane_shared::flow::HashKey;
use maglane_shared::next_hop::{NextHop, NoHop, PortIndex, RouteTable};
use nix::sched::{CloneFlags, unshare};

const DEADLINE: Duration = Duration::from_secs(20);

/// A namespace with a host in it, held by a process; gone with it.
struct Host(Child);

impl Host {
    fn start() -> Host {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "600"])
            .spawn()
            .expect("unshare");
        let host = Host(child);
        let deadline = Instant::now() + DEADLINE;
        // Its namespace is another one once unshare has run.
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        while std::fs::read_link(format!("/proc/{}/ns/net", host.0.id())).is_ok_and(|ns| ns == own) {
            assert!(Instant::now() < deadline, "unshare takes too long");
            std::thread::yield_now();
        }
        host
    }

    fn ip(&self, args: &str) {
        run(Command::new("nsenter")
            .args(["-t", &self.0.id().to_string(), "-n", "ip"])
            .args(args.split(' ')));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// In this thread's namespace.
fn ip(args: &str) {
    run(Command::new("ip").args(args.split(' ')));
}

fn addr(text: &str) -> Addr {
    text.parse().unwrap()
}

fn mac(text: &str) -> MacAddr {
    text.parse().unwrap()
}

struct World {
    controller: Controller,
    netlink: Netlink,
    start: Instant,
    local: Vec<Addr>,
}

impl World {
    fn open(interfaces: &[&str]) -> World {
        let settings = Settings {
            interfaces: interfaces.iter().map(|name| (*name).into()).collect(),
            workers: 0,
            sources: [Source::Kernel].into(),
            plan: PlanSettings::default(),
            compile: CompileSettings {
                hash_key: HashKey::default(),
                maglev_table_size: None,
                max_services: 10,
                max_backends: 100,
            },
            nat_returns: BTreeMap::new(),
            max_removal_percent: 100,
        };
        let netlink = Netlink::open().unwrap();
        World {
            controller: Controller::new(settings, Resume::default()),
            netlink,
            start: Instant::now(),
            local: vec![],
        }
    }

    fn tell(&mut self, events: Vec<Event>) {
        let mut events = events;
        while !events.is_empty() {
            let mut caused = vec![];
            for effect in self.controller.step_all(events, self.start.elapsed()) {
                match effect {
                    Effect::Steer(plan) => {
                        caused.push(Event::Steered {
                            revision: plan.revision,
                        });
                        self.local = plan.local.into_iter().collect();
                    }
                    Effect::ResolveNeighbors(neighbors) => self.netlink.resolve(&neighbors),
                    Effect::Publish(_)
                    | Effect::Report { .. }
                    | Effect::WriteStatus(_)
                    | Effect::Tell(_)
                    | Effect::Probe(_)
                    | Effect::AnswerHealth(_)
                    | Effect::AnnounceBgp(_)
                    | Effect::WriteSessions(_) => {}
                }
            }
            events = caused;
        }
    }

    /// Follows the kernel until the table is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&World) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !wanted(self) {
            assert!(
                Instant::now() < deadline,
                "{what} does not happen; table: {:#?}",
                self.table()
            );
            let events = match tokio::time::timeout(Duration::from_millis(250), self.netlink.next()).await {
                Ok(events) => events.unwrap(),
                Err(_) => vec![Event::Tick],
            };
            self.tell(events);
        }
    }

    fn table(&self) -> std::sync::Arc<RouteTable> {
        std::sync::Arc::clone(&self.controller.table().routes)
    }

    /// The hops towards an address, by neighbour.
    fn hops(&self, to: &str) -> Result<Vec<NextHop>, NoHop> {
        let table = self.table();
        let group = table.group_for(addr(to))?;
        let mut hops: Vec<NextHop> = table.groups[group.0 as usize]
            .iter()
            .map(|at| *table.hop(*at).unwrap())
            .collect();
        hops.sort_by_key(|hop| hop.neighbor);
        Ok(hops)
    }

    /// `10.0.0.9 10.0.1.9`, or nothing without a way.
    fn way(&self, to: &str) -> String {
        let hops = self.hops(to).unwrap_or_default();
        hops.iter()
            .map(|hop| hop.neighbor.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn mac_of(&self, to: &str) -> Option<MacAddr> {
        self.hops(to).ok()?.first()?.destination
    }
}

/// `eth0` and `eth1` here, with the other ends in `peer`.
fn cable(peer: &Host) {
    ip("link set lo up");
    for n in 0..2 {
        ip(&format!(
            "link add eth{n} address 02:00:00:00:0{n}:01 type veth peer name peer{n}"
        ));
        ip(&format!("link set peer{n} netns {}", peer.0.id()));
        ip(&format!("addr add 10.0.{n}.1/24 dev eth{n}"));
        ip(&format!("addr add fd00:{n}::1/64 dev eth{n} nodad"));
        ip(&format!("link set eth{n} up"));
        peer.ip(&format!("link set peer{n} address 02:00:00:00:0{n}:02"));
        peer.ip(&format!("addr add 10.0.{n}.2/24 dev peer{n}"));
        peer.ip(&format!("addr add fd00:{n}::2/64 dev peer{n} nodad"));
        peer.ip(&format!("link set peer{n} up"));
    }
}

/// Runs the test in a namespace of its thread's own, unless the machine cannot.
fn in_namespace(test: impl AsyncFnOnce(Host) + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("skipped: a network namespace needs root ({error})");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test(Host::start()));
    });
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn wanted(port: u8, a: &str) -> Event {
    Event::NeighborWanted {
        port: PortIndex(port),
        addr: addr(a),
    }
}

#[test]
fn routes_of_every_kind_are_followed() {
    in_namespace(async |peer| {
        cable(&peer);
        let mut world = World::open(&["eth0", "eth1"]);
        world
            .until("the first table", |w| {
                w.hops("10.0.0.77") == Err(NoHop::Unresolved(PortIndex(0)))
            })
            .await;
        assert_eq!(world.hops("10.0.0.1"), Err(NoHop::NoRoute), "this node itself");
        assert_eq!(world.hops("198.51.100.1"), Err(NoHop::NoRoute));
        assert_eq!(
            &*world.table().port_macs,
            [mac("02:00:00:00:00:01"), mac("02:00:00:00:01:01")]
        );

        ip("route add 198.51.100.0/24 via 10.0.0.2");
        world
            .until("a route", |w| w.way("198.51.100.1") == "10.0.0.2")
            .await;
        ip(
            "route replace 198.51.100.0/24 mtu 1400 nexthop via 10.0.0.2 weight 1 nexthop via 10.0.1.2 weight 3",
        );
        let four = "10.0.0.2 10.0.1.2 10.0.1.2 10.0.1.2";
        world
            .until("two gateways", |w| w.way("198.51.100.1") == four)
            .await;
        assert_eq!(world.hops("198.51.100.1").unwrap()[0].mtu, 1400);
        ip("route replace 198.51.100.0/24 via 10.0.1.2 dev eth1");
        world
            .until("one gateway", |w| w.way("198.51.100.1") == "10.0.1.2")
            .await;
        ip("route add 198.51.100.0/24 via 10.0.0.2 metric 50");
        ip("route del 198.51.100.0/24 via 10.0.1.2 dev eth1");
        world
            .until("the next best", |w| w.way("198.51.100.1") == "10.0.0.2")
            .await;
        ip("route add blackhole 198.51.100.128/25");
        world
            .until("a blackhole", |w| w.way("198.51.100.200").is_empty())
            .await;
        ip("-4 route add default via inet6 fd00:1::2 dev eth1");
        world
            .until("a gateway of the other family", |w| {
                w.way("203.0.113.1") == "fd00:1::2"
            })
            .await;
        ip("route del default");
        world
            .until("no route", |w| w.hops("203.0.113.1") == Err(NoHop::NoRoute))
            .await;
        ip("route add 203.0.113.7/32 via 192.0.2.99 dev eth0 onlink");
        world
            .until("onlink", |w| w.way("203.0.113.7") == "192.0.2.99")
            .await;

        ip("-6 route add 2001:db8::/32 nexthop via fd00:0::2 nexthop via fd00:1::2");
        world
            .until("IPv6 ECMP", |w| w.way("2001:db8::1") == "fd00::2 fd00:1::2")
            .await;
        ip("-6 route del 2001:db8::/32 via fd00:0::2");
        world
            .until("one of them", |w| w.way("2001:db8::1") == "fd00:1::2")
            .await;

        ip("nexthop add id 1 via 10.0.0.2 dev eth0");
        ip("nexthop add id 2 via 10.0.1.2 dev eth1");
        ip("nexthop add id 3 group 1");
        ip("route add 192.0.2.0/24 nhid 3");
        world
            .until("a next-hop object", |w| w.way("192.0.2.1") == "10.0.0.2")
            .await;
        ip("nexthop replace id 3 group 1/2");
        world
            .until("a changed object", |w| w.way("192.0.2.1") == "10.0.0.2 10.0.1.2")
            .await;

        // The kernel drops these without a word.
        ip("link set eth1 down");
        world
            .until("a link down", |w| {
                w.way("192.0.2.1") == "10.0.0.2" && w.way("10.0.1.77").is_empty()
            })
            .await;
        let told: Vec<String> = world
            .controller
            .catalog()
            .problems
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(told[0].starts_with("interface eth1 is down"), "{told:?}");
        ip("link set eth1 up");
        world
            .until("a link up", |w| {
                w.hops("10.0.1.77") == Err(NoHop::Unresolved(PortIndex(1)))
            })
            .await;
        ip("link set eth0 mtu 1300");
        world
            .until("an MTU", |w| {
                w.hops("198.51.100.1").is_ok_and(|h| h[0].mtu == 1300)
            })
            .await;
    });
}

#[test]
fn neighbours_are_resolved_through_the_kernel_and_followed() {
    in_namespace(async |peer| {
        cable(&peer);
        ip("route add 198.51.100.0/24 via 10.0.1.2");
        ip("route add 192.0.2.0/24 via 10.0.0.2");
        let mut world = World::open(&["eth0", "eth1"]);
        // Gateways by themselves; on-link addresses when a worker wants them; both families.
        world
            .until("the gateway", |w| {
                w.mac_of("198.51.100.1") == Some(mac("02:00:00:00:01:02"))
            })
            .await;
        world.tell(vec![
            wanted(0, "10.0.0.2"),
            wanted(0, "fd00::2"),
            wanted(0, "10.0.0.200"),
        ]);
        world
            .until("IPv4", |w| w.mac_of("10.0.0.2") == Some(mac("02:00:00:00:00:02")))
            .await;
        world
            .until("IPv6", |w| w.mac_of("fd00::2") == Some(mac("02:00:00:00:00:02")))
            .await;
        assert_eq!(world.mac_of("10.0.0.200"), None);

        let version = world.table().version;
        ip("neigh replace 10.0.0.2 lladdr 02:00:00:00:00:09 dev eth0 nud reachable");
        world
            .until("another MAC", |w| {
                w.mac_of("10.0.0.2") == Some(mac("02:00:00:00:00:09"))
            })
            .await;
        assert!(world.table().version > version);
        // Deleted by hand, which the kernel tells as failed: asked for again at once.
        ip("neigh del 10.0.0.2 dev eth0");
        world
            .until("the real MAC", |w| {
                w.mac_of("10.0.0.2") == Some(mac("02:00:00:00:00:02"))
            })
            .await;
        ip("neigh replace 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0 nud failed");
        world
            .until("failed, then asked again and found", |w| {
                w.mac_of("10.0.0.2").is_some()
            })
            .await;

        // A gratuitous ARP of a peer that changed its address.
        peer.ip("link set peer0 address 02:00:00:00:00:77");
        peer.ip("neigh flush all");
        run(Command::new("nsenter").args([
            "-t",
            &peer.0.id().to_string(),
            "-n",
            "sysctl",
            "-qw",
            "net.ipv4.conf.peer0.arp_notify=1",
        ]));
        peer.ip("link set peer0 down");
        peer.ip("link set peer0 up");
        world
            .until("a moved neighbour", |w| {
                w.mac_of("10.0.0.2") == Some(mac("02:00:00:00:00:77"))
            })
            .await;

        ip("link set eth0 address 02:00:00:00:00:55");
        world
            .until("our own MAC", |w| {
                w.hops("10.0.0.2")
                    .is_ok_and(|hops| hops[0].source == mac("02:00:00:00:00:55"))
            })
            .await;
    });
}

#[test]
fn own_addresses_are_kept_from_the_workers() {
    in_namespace(async |peer| {
        cable(&peer);
        let mut world = World::open(&["eth0", "eth1"]);
        world
            .until("the addresses", |w| w.local.contains(&addr("10.0.1.1")))
            .await;
        assert!(world.local.contains(&addr("fd00:1::1")) && world.local.contains(&addr("127.0.0.1")));
        ip("addr add 10.0.0.50/24 dev eth0");
        world
            .until("another address", |w| w.local.contains(&addr("10.0.0.50")))
            .await;
        ip("addr del 10.0.0.50/24 dev eth0");
        world
            .until("it gone", |w| !w.local.contains(&addr("10.0.0.50")))
            .await;
        assert!(world.controller.catalog().sources[&Source::Kernel]);
        assert_eq!(NO_WAY.0, 0);
    });
}

#[test]
fn a_flood_of_changes_ends_in_the_right_table() {
    in_namespace(async |peer| {
        cable(&peer);
        let mut world = World::open(&["eth0", "eth1"]);
        world
            .until("the first table", |w| {
                w.hops("10.0.0.77").is_err_and(|e| e != NoHop::NoRoute)
            })
            .await;
        let batch = |verb: &str, last: u32| -> String {
            (0..last)
                .map(|n| format!("route {verb} 100.64.{}.{}/32 via 10.0.0.2\n", n >> 8, n & 255))
                .collect()
        };
        for lines in [batch("add", 20_000), batch("del", 19_999)] {
            let file = std::env::temp_dir().join(format!("maglane-netlink-{}", std::process::id()));
            std::fs::write(&file, lines).unwrap();
            run(Command::new("ip").arg("-batch").arg(&file));
            std::fs::remove_file(&file).unwrap();
        }
        world
            .until("the last of them", |w| {
                w.way("100.64.78.31") == "10.0.0.2" && w.way("100.64.0.1").is_empty()
            })
            .await;
        world
            .until("all others gone", |w| w.way("100.64.78.30").is_empty())
            .await;
    });
}
