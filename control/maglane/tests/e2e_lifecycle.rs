//! `maglane run` as a process on a node: what it refuses, what it leaves behind, what it says about itself.
//! Needs root; every test lays out its own namespaces.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use maglane_perf::manifests::Service;
use maglane_perf::process::maglane_binary;
use maglane_perf::rig::plan;
use maglane_perf::wait::wait_until;
use maglane_perf::{Balancer, Namespace, Rig};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(10);

/// A rig of one backend, and a folder with one service for it.
fn node() -> (Rig, TempDir) {
    let rig = Rig::builder().clients(1).backends(1).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    fs::create_dir_all(&manifests).unwrap();
    Service::standard("web", 10, "nat", 1).write(&manifests).unwrap();
    (rig, folder)
}

fn start(rig: &Rig, folder: &TempDir) -> Balancer {
    let balancer = Balancer::start(rig, 1, folder.path(), &[]).unwrap();
    wait_until("readiness", SOON, || get(&rig.ns("lb"), "/readyz").0 == 200).unwrap();
    balancer
}

/// One more `maglane run` in the balancer's namespace, to its end: success and standard error.
fn run_to_end(rig: &Rig, folder: &TempDir, more: &[&str]) -> (bool, String) {
    let mut command = rig.ns("lb").command("timeout");
    command.arg("5").arg(maglane_binary().unwrap()).arg("run");
    command.arg(format!(
        "--manifests={}",
        folder.path().join("manifests").display()
    ));
    command.arg(format!(
        "--admin-socket={}",
        folder.path().join("other.sock").display()
    ));
    command.arg(format!("--lock-dir={}", folder.path().join("lb1").display()));
    let output = command
        .args(["--metrics-address=127.0.0.1:9771"])
        .args(more)
        .output()
        .unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn refusal(rig: &Rig, folder: &TempDir, more: &[&str]) -> String {
    let (success, stderr) = run_to_end(rig, folder, more);
    assert!(!success, "{more:?} was accepted: {stderr}");
    stderr.lines().last().unwrap_or_default().to_owned()
}

/// Status and body of an HTTP question to the metrics address.
fn get(namespace: &Namespace, path: &str) -> (u16, String) {
    let ask = || {
        let mut stream = TcpStream::connect("127.0.0.1:9770")?;
        stream.set_read_timeout(Some(SOON))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n\r\n"
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let text = namespace.inside(ask).unwrap().unwrap_or_default();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    (
        status,
        text.split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default(),
    )
}

fn programs(rig: &Rig) -> usize {
    rig.ns("lb")
        .run("ip", &["-d", "link"])
        .unwrap()
        .matches("prog/xdp")
        .count()
}

fn sockets_of_xdp(rig: &Rig) -> usize {
    rig.ns("lb").run("ss", &["--xdp", "-H"]).unwrap().lines().count()
}

#[test]
fn a_clean_stop_leaves_nothing() {
    let (rig, folder) = node();
    let balancer = start(&rig, &folder);
    assert_eq!(programs(&rig), 2, "a program on each interface");
    let socket = folder.path().join("lb1.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let end = balancer.guard.stop(SOON).expect("it ends on SIGTERM");
    assert!(end.status.success(), "{end:?}");
    assert!(
        end.stderr.iter().any(|line| line.contains("stopped after")),
        "{end:?}"
    );
    assert_eq!((programs(&rig), sockets_of_xdp(&rig)), (0, 0));
    assert!(!socket.exists());
    assert_eq!(
        fs::read_dir(folder.path().join("lb1")).unwrap().count(),
        0,
        "no lock file is left"
    );
}

#[test]
fn sigkill_leaves_no_program_and_the_node_s_own_traffic_flows() {
    let (rig, folder) = node();
    let balancer = start(&rig, &folder);
    let address = plan::balancer_back(1).v4;
    let own = rig
        .ns("b1")
        .spawn(
            "ping",
            "ping",
            ["-i", "0.02", "-c", "100", "-q", &address.to_string()],
        )
        .unwrap();
    balancer.guard.kill();
    wait_until("the programs are gone", Duration::from_secs(1), || {
        programs(&rig) == 0
    })
    .unwrap();
    let ping = own.finish(SOON).unwrap();
    assert!(
        ping.stdout.iter().any(|line| line.contains(" 0% packet loss")),
        "{ping:?}"
    );
    // The stale socket and the lock are no obstacle.
    let again = start(&rig, &folder);
    assert_eq!(programs(&rig), 2);
    drop(again);
}

#[test]
fn a_second_instance_is_refused_at_once_with_the_first_s_pid() {
    let (rig, folder) = node();
    let balancer = start(&rig, &folder);
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let begin = Instant::now();
        let line = refusal(&rig, &folder, &["--interface=eth1"]);
        fastest = fastest.min(begin.elapsed());
        assert!(
            line.contains("--interface eth1") && line.contains(&format!("pid {}", balancer.guard.pid())),
            "{line}"
        );
    }
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
    // With another lock directory, the program on the interface still gives it away.
    let lock = folder.path().join("elsewhere");
    let line = refusal(
        &rig,
        &folder,
        &["--interface=eth1", &format!("--lock-dir={}", lock.display())],
    );
    assert!(
        line.contains("eth1") && line.contains(&balancer.guard.pid().to_string()),
        "{line}"
    );
}

#[test]
fn a_foreign_program_is_replaced_only_on_request() {
    let (rig, folder) = node();
    let object = compile_pass(folder.path());
    let lb = rig.ns("lb");
    lb.run(
        "ip",
        &["link", "set", "eth0", "xdp", "obj", &object, "sec", "xdp"],
    )
    .unwrap();
    let line = refusal(&rig, &folder, &["--interface=eth0"]);
    assert!(
        line.contains("eth0: foreign XDP program") && line.contains("force"),
        "{line}"
    );
    assert_eq!(programs(&rig), 1, "it is still there");
    let balancer = Balancer::start(&rig, 1, folder.path(), &["--force-attach"]).unwrap();
    drop(balancer);
    assert_eq!(programs(&rig), 0);
}

/// The smallest XDP program, compiled.
fn compile_pass(folder: &Path) -> String {
    let (source, object) = (folder.join("pass.c"), folder.join("pass.o"));
    let text = "__attribute__((section(\"xdp\"), used)) int pass(void *ctx) { return 2; }\n\
                char _license[] __attribute__((section(\"license\"), used)) = \"GPL\";\n";
    fs::write(&source, text).unwrap();
    let args = [
        "-target",
        "bpf",
        "-O2",
        "-c",
        source.to_str().unwrap(),
        "-o",
        object.to_str().unwrap(),
    ];
    assert!(Command::new("clang").args(args).status().unwrap().success());
    object.to_str().unwrap().to_owned()
}

#[test]
fn source_ports_of_the_node_s_own_sockets_are_refused_and_named() {
    let (rig, folder) = node();
    let lb = rig.ns("lb");
    let address = plan::balancer_back(1).v4;
    let tcp = lb
        .inside(|| TcpListener::bind((address, 20_000)).unwrap())
        .unwrap();
    let line = refusal(&rig, &folder, &["--interface=eth0,eth1"]);
    assert!(
        line.contains("--snat-ports 16384-29999") && line.contains(&format!("TCP {address}:20000")),
        "{line}"
    );
    drop(tcp);
    let udp = lb.inside(|| UdpSocket::bind("[::]:21000").unwrap()).unwrap();
    let line = refusal(&rig, &folder, &["--interface=eth0,eth1"]);
    assert!(line.contains("UDP [::]:21000"), "{line}");
    drop(udp);
    let line = refusal(
        &rig,
        &folder,
        &["--interface=eth0,eth1", "--snat-ports=40000-41000"],
    );
    assert!(line.contains("ip_local_port_range"), "{line}");
}

#[test]
fn workers_and_queues_must_agree() {
    let (rig, folder) = node();
    let line = refusal(&rig, &folder, &["--interface=eth0,eth1", "--workers=3"]);
    assert!(
        line.contains("eth0 has 2 receive queues") && line.contains("ethtool -L eth0 combined 3"),
        "{line}"
    );
}

#[test]
fn generic_mode_starts_where_asked_for() {
    let (rig, folder) = node();
    let balancer = Balancer::start(&rig, 1, folder.path(), &["--xdp-mode=generic"]).unwrap();
    let links = rig.ns("lb").run("ip", &["link", "show", "eth0"]).unwrap();
    assert!(links.contains("xdpgeneric"), "{links}");
    drop(balancer);
}

#[test]
fn metrics_parse_and_every_family_has_help_and_type() {
    let (rig, folder) = node();
    let _balancer = start(&rig, &folder);
    let (status, page) = get(&rig.ns("lb"), "/metrics");
    assert_eq!(status, 200);
    let (mut described, mut samples) = (std::collections::HashSet::new(), 0);
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            described.insert(rest.split(' ').next().unwrap().to_owned());
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            let name = series.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            let known = described.contains(name) || family.is_some_and(|family| described.contains(family));
            assert!(known, "{name} has no TYPE");
            let ours = ["maglane_", "metallb_"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
            assert!(ours, "{name}");
            samples += 1;
        }
    }
    assert!(samples > 100, "{samples}");
    for reason in ["no_backend", "vip_unknown_port", "tx_ring_full"] {
        assert!(
            page.contains(&format!("reason=\"{reason}\"")),
            "{reason} is missing"
        );
    }
    assert_eq!(get(&rig.ns("lb"), "/livez").0, 200);
}

#[test]
fn a_flow_is_shown_by_its_ends_and_state() {
    let (rig, folder) = node();
    let balancer = start(&rig, &folder);
    let _server = rig.serve(1).unwrap();
    let curl = [
        "--max-time",
        "5",
        "--retry",
        "5",
        "--retry-all-errors",
        "-sf",
        "http://203.0.113.10/",
    ];
    rig.ns("c1").run("curl", &curl).unwrap();
    let begin = Instant::now();
    let report = balancer.ask("flows").unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let flow = &report["flows"][0];
    assert_eq!(flow["vip"]["addr"], "203.0.113.10", "{report}");
    assert_eq!(flow["client"], plan::client(1, 0).v4.to_string(), "{report}");
    assert_eq!(flow["backend"], plan::backend(1).v4.to_string(), "{report}");
    assert!(
        flow["nat_port"]
            .as_u64()
            .is_some_and(|port| (16_384..30_000).contains(&port)),
        "{report}"
    );
    let table = balancer.table("flows").unwrap();
    assert!(table.contains("203.0.113.10:80/TCP"), "{table}");
}

#[test]
fn a_broken_manifest_keeps_the_last_good_state_and_is_shown() {
    let (rig, folder) = node();
    let balancer = start(&rig, &folder);
    let services = balancer.table("services").unwrap();
    assert!(services.contains("203.0.113.10:80"), "{services}");
    fs::write(
        folder.path().join("manifests/web.yaml"),
        "kind: Service\napiVersion: v1\nmetadata: [",
    )
    .unwrap();
    let shown = || {
        balancer
            .table("status")
            .is_ok_and(|status| status.contains("web.yaml"))
    };
    wait_until("the error in `maglane status`", SOON, shown).unwrap();
    assert_eq!(balancer.table("services").unwrap(), services);
    Service::standard("web", 10, "nat", 1)
        .write(&folder.path().join("manifests"))
        .unwrap();
    wait_until("the error is gone", SOON, || !shown()).unwrap();
}
