//! The rig itself, with the kernel as balancer: if these fail, no verdict on Maglane is worth anything.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use maglane_perf::capture::Capture;
use maglane_perf::check::check_file;
use maglane_perf::cluster::{Choice, Cluster, User};
use maglane_perf::load::{Event, Report};
use maglane_perf::rig::kernel::KernelService;
use maglane_perf::rig::{Host, plan};
use maglane_perf::{ReturnPath, Rig, Shape};
use socket2::{Domain, Protocol, Socket, Type};

const LIMIT: Duration = Duration::from_secs(30);

/// Builds a rig, or says why the test is skipped.
fn rig(shape: Shape) -> Option<Rig> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: network namespaces need root");
        return None;
    }
    Some(Rig::builder().shape(shape).build().expect("lay out the rig"))
}

fn kernel_services(rig: &Rig, n: u8) {
    let services: Vec<KernelService> = [80, 5353]
        .into_iter()
        .flat_map(|port| {
            let backends = |pick: fn(plan::Dual) -> IpAddr| (1..=4).map(|b| pick(plan::backend(b))).collect();
            [
                KernelService {
                    vip: plan::vip(1).v4.into(),
                    port,
                    backends: backends(|d| d.v4.into()),
                },
                KernelService {
                    vip: plan::vip(1).v6.into(),
                    port,
                    backends: backends(|d| d.v6.into()),
                },
            ]
        })
        .collect();
    rig.kernel_balancer(n, &services).expect("load the rules");
}

fn load(rig: &Rig, args: &[&str]) -> Report {
    let guard = rig
        .ns("c1")
        .rig_tool(args[0], &[args, &["--json"]].concat())
        .expect("start the client");
    let finished = guard.finish(LIMIT).expect("the client ends");
    Event::last_report(&finished.stdout).unwrap_or_else(|| panic!("no report: {finished:?}"))
}

#[test]
fn the_kernel_balances_through_both_shapes() {
    for shape in [Shape::TwoArmed, Shape::Flat] {
        let Some(rig) = rig(shape) else { return };
        let _servers = rig.serve_all().expect("servers");
        kernel_services(&rig, 1);
        for vip in plan::vip(1).both() {
            let http = SocketAddr::new(vip, 80).to_string();
            let report = load(&rig, &["connects", "--target", &http, "--count", "200"]);
            assert!(report.clean(), "{shape:?} {vip}: {report}");
            assert_eq!(report.backends.len(), 4, "{report}");
            let echo = SocketAddr::new(vip, 5353).to_string();
            let report = load(
                &rig,
                &[
                    "udp",
                    "--target",
                    &echo,
                    "--flows",
                    "40",
                    "--seconds",
                    "1",
                    "--rate",
                    "20",
                ],
            );
            assert!(report.clean(), "{shape:?} {vip}: {report}");
        }
    }
}

#[test]
fn flows_stay_whole_and_captures_hold_only_good_checksums() {
    let Some(rig) = rig(Shape::TwoArmed) else { return };
    let _servers = rig.serve_all().expect("servers");
    kernel_services(&rig, 1);
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let captures = [
        Capture::start(&rig.ns("c1"), "eth0", &file("client.pcap"), "").expect("capture"),
        Capture::start(&rig.ns("b1"), "eth0", &file("backend.pcap"), "").expect("capture"),
        Capture::start(&rig.ns("sw"), "back-lb1", &file("switch.pcap"), "").expect("capture"),
    ];
    let target = format!("{}:80", plan::vip(1).v4);
    let report = load(
        &rig,
        &["flows", "--target", &target, "--flows", "300", "--seconds", "2"],
    );
    assert!(report.clean(), "{report}");
    assert!(report.requests > 900, "{report}");
    let target = format!("[{}]:80", plan::vip(1).v6);
    let report = load(
        &rig,
        &[
            "connects",
            "--target",
            &target,
            "--count",
            "8",
            "--path",
            "/bytes/1000000",
        ],
    );
    assert!(report.clean() && report.bytes == 8_000_000, "{report}");
    for capture in captures {
        let captured = capture.stop();
        let summary = check_file(&captured.file).expect("a capture");
        assert!(summary.good(), "{}: {summary}", captured.file.display());
        assert!(summary.verified > 500 && summary.longest <= 1514, "{summary}");
    }
}

#[test]
fn a_direct_return_backend_answers_from_the_vip() {
    let Some(rig) = rig(Shape::TwoArmed) else { return };
    let _server = rig.serve(1).expect("server");
    let _decap = rig.decapsulate(1).expect("decapsulator");
    let (vip, real) = (plan::vip(9), plan::backend(1));
    for (vip, real) in vip.both().into_iter().zip(real.both()) {
        rig.own_vip(vip).expect("VIP on loopback");
        // The router plays balancer: the VIP's next hop is the backend, as in l2-dsr.
        let family = if vip.is_ipv4() { "-4" } else { "-6" };
        rig.ns("r")
            .run(
                "ip",
                &[
                    family,
                    "route",
                    "replace",
                    &vip.to_string(),
                    "via",
                    &real.to_string(),
                ],
            )
            .expect("route");
        let http = SocketAddr::new(vip, 80).to_string();
        let report = load(&rig, &["connects", "--target", &http, "--count", "20"]);
        assert!(report.clean(), "{report}");
        let echo = SocketAddr::new(vip, 5353).to_string();
        let report = load(
            &rig,
            &["udp", "--target", &echo, "--flows", "4", "--seconds", "0.5"],
        );
        assert!(report.clean(), "{report}");
    }
}

#[test]
fn narrow_paths_are_told_by_icmp_and_return_paths_change() {
    let Some(rig) = rig(Shape::TwoArmed) else { return };
    let _server = rig.serve(1).expect("server");
    rig.narrow_client_path(1, 1280).expect("narrow");
    let icmp = |rig: &Rig| {
        rig.ns("b1")
            .run("ip", &["route", "get", &plan::client(1, 0).v4.to_string()])
            .expect("route")
    };
    for address in plan::backend(1).both() {
        let http = SocketAddr::new(address, 80).to_string();
        let report = load(
            &rig,
            &[
                "connects",
                "--target",
                &http,
                "--count",
                "1",
                "--path",
                "/bytes/300000",
            ],
        );
        assert!(report.clean(), "{report}");
    }
    assert!(icmp(&rig).contains("mtu 1280"), "{}", icmp(&rig));
    rig.return_path(ReturnPath::Balancer(1)).expect("route");
    assert!(
        icmp(&rig).contains(&plan::balancer_back(1).v4.to_string()),
        "{}",
        icmp(&rig)
    );
}

#[test]
fn two_balancers_share_the_vips_and_nothing_is_left_behind() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let rig = Rig::builder()
        .balancers(2)
        .backends(4)
        .build()
        .expect("lay out the rig");
    let _servers = rig.serve_all().expect("servers");
    kernel_services(&rig, 1);
    kernel_services(&rig, 2);
    let route = rig
        .ns("r")
        .run("ip", &["route", "show", plan::VIP_NET_V4])
        .expect("route");
    assert_eq!(route.matches("nexthop").count(), 2, "{route}");
    let target = format!("{}:80", plan::vip(1).v4);
    assert!(load(&rig, &["connects", "--target", &target, "--count", "100"]).clean());
    rig.vip_next_hops(&[2]).expect("route");
    assert!(load(&rig, &["connects", "--target", &target, "--count", "50"]).clean());
    let (run_id, namespace) = (rig.spec().run_id.clone(), rig.on(Host::Router).name().to_owned());
    drop(_servers);
    drop(rig);
    assert!(
        !maglane_perf::rig::run_ids().expect("list").contains(&run_id),
        "{namespace} is left"
    );
}

/// A UDP datagram as an IP packet, from the client to the VIP's echo port.
fn inner(source: SocketAddr, vip: IpAddr) -> Vec<u8> {
    let builder = match (source.ip(), vip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => etherparse::PacketBuilder::ipv4(a.octets(), b.octets(), 64),
        (IpAddr::V6(a), IpAddr::V6(b)) => etherparse::PacketBuilder::ipv6(a.octets(), b.octets(), 64),
        (a, b) => panic!("{a} and {b} are of two families"),
    };
    let mut packet = Vec::new();
    builder
        .udp(source.port(), 5353)
        .write(&mut packet, b"hello")
        .expect("a packet");
    packet
}

/// Sends `packet` to the backend in an outer header and gives what the VIP answers.
fn through_tunnel(tunnel: &str, source: IpAddr, vip: IpAddr, backend: IpAddr) -> std::io::Result<String> {
    let socket = UdpSocket::bind((source, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    let packet = inner(socket.local_addr()?, vip);
    let outer = SocketAddr::new(backend, 0);
    match tunnel {
        "ipip" => {
            let protocol = if vip.is_ipv4() { 4 } else { 41 };
            let raw = Socket::new(
                Domain::for_address(outer),
                Type::RAW,
                Some(Protocol::from(protocol)),
            )?;
            raw.send_to(&packet, &outer.into())?;
        }
        variant => {
            let header: &[u8] = match (variant, vip.is_ipv4()) {
                ("gue0", true) => &[0, 4, 0, 0],
                ("gue0", false) => &[0, 41, 0, 0],
                (_, _) => &[],
            };
            let any: IpAddr = if backend.is_ipv4() {
                [0; 4].into()
            } else {
                [0_u16; 8].into()
            };
            UdpSocket::bind((any, 0))?.send_to(&[header, &packet].concat(), (backend, 6080))?;
        }
    }
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer)?;
    assert_eq!(from, SocketAddr::new(vip, 5353));
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[test]
fn tunnels_of_every_kind_end_in_the_backend() {
    let Some(rig) = rig(Shape::TwoArmed) else { return };
    let _server = rig.serve(1).expect("server");
    let _decap = rig.decapsulate(1).expect("decapsulator");
    for (vip, client) in plan::vip(9).both().into_iter().zip(plan::client(1, 0).both()) {
        rig.own_vip(vip).expect("VIP on loopback");
        for backend in plan::backend(1).both() {
            for tunnel in ["ipip", "gue0", "gue1"] {
                let answer = rig
                    .ns("c1")
                    .inside(|| through_tunnel(tunnel, client, vip, backend))
                    .expect("inside");
                assert_eq!(
                    answer.ok().as_deref(),
                    Some("b1 hello"),
                    "{tunnel} {vip} in {backend}"
                );
            }
        }
    }
}

#[test]
fn a_cluster_in_a_namespace_is_reached_from_the_balancer_and_not_from_here() {
    let Some(rig) = rig(Shape::TwoArmed) else { return };
    let address = plan::router_front().v4.into();
    let cluster = Cluster::builder()
        .choice(Choice::Double)
        .namespace(&rig.on(Host::Router))
        .address(address)
        .start()
        .expect("the double");
    cluster
        .client()
        .get("/api/v1/services")
        .expect("the test's own client");
    let server = cluster.access(&User::admin()).expect("a certificate").server;
    let connect = move || std::net::TcpStream::connect_timeout(&server, Duration::from_secs(3)).is_ok();
    assert!(
        rig.ns("lb1").inside(connect).expect("inside"),
        "from the balancer"
    );
    assert!(!connect(), "{server} is no address of the machine");
}
