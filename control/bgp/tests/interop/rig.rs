//! Two namespaces joined by a veth pair, processes in them, and our speaker on a thread of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use maglane_bgp::driver::{self, Command as Order, LinkSettings, Listener};
use maglane_bgp::peer::Status;
use maglane_bgp::settings::{Opening, SessionSettings};
use nix::sched::{CloneFlags, setns};
use tokio::sync::watch;

/// No case may take longer to reach any one condition.
const PATIENCE: Duration = Duration::from_secs(60);

pub const OURS: &str = "10.99.0.1";
pub const OURS_V6: &str = "fd99::1";

/// Runs a command to its end; the output, whatever the exit code.
pub fn run(command: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", command])
        .output()
        .expect("a shell");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn must(command: &str) {
    let output = Command::new("sh")
        .args(["-c", command])
        .output()
        .expect("a shell");
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Tries until `probe` gives something; panics with what it said last.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match probe() {
            Ok(found) => return found,
            Err(last) if Instant::now() > end => panic!("{what}: not within {PATIENCE:?}; last: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Our namespace and the router's, and a folder for the router's files. Gone when dropped.
pub struct Rig {
    pub ours: String,
    pub router: String,
    pub folder: PathBuf,
}

impl Rig {
    pub fn new(name: &str) -> Self {
        let id = format!("mglbgp-{}-{name}", std::process::id());
        let rig = Rig {
            ours: format!("{id}-a"),
            router: format!("{id}-b"),
            folder: std::env::temp_dir().join(&id),
        };
        let (ours, router) = (&rig.ours, &rig.router);
        must(&format!("ip netns add {ours} && ip netns add {router}"));
        must(&format!(
            "ip link add mgl0 netns {ours} type veth peer name mgl0 netns {router}"
        ));
        for (namespace, host) in [(ours, 1), (router, 2)] {
            must(&format!(
                "ip -n {namespace} link set lo up && ip -n {namespace} link set mgl0 up && \
                 ip -n {namespace} addr add 10.99.0.{host}/24 dev mgl0 && \
                 ip -n {namespace} addr add fd99::{host}/64 dev mgl0 nodad"
            ));
        }
        std::fs::create_dir_all(&rig.folder).expect("a folder for the router's files");
        rig
    }

    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Captures what crosses our end of the link, from when this returns until the result is dropped.
    pub fn capture(&self, file: &str) -> Capture {
        let log = self.file("tshark.log");
        let errors = File::create(&log).expect("a log file");
        let process = Command::new("ip")
            .args([
                "netns",
                "exec",
                &self.ours,
                "tshark",
                "-q",
                "-i",
                "mgl0",
                "-f",
                "tcp port 179",
                "-w",
                file,
            ])
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("tshark");
        let capture = Capture(process);
        eventually("tshark capturing", || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let begun = std::fs::metadata(file).is_ok_and(|found| found.len() > 0);
            if said.contains("Capture started") || begun {
                Ok(())
            } else {
                Err(said)
            }
        });
        capture
    }

    pub fn in_router(&self, command: &str) -> String {
        run(&format!("timeout 10 ip netns exec {} {command}", self.router))
    }

    /// A daemon in the router's namespace, its output in the folder.
    pub fn daemon(&self, command: &str) -> Child {
        let log = File::create(self.folder.join("log")).expect("a log file");
        let errors = log.try_clone().expect("a second handle");
        Command::new("sh")
            .args(["-c", &format!("exec ip netns exec {} {command}", self.router)])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("a daemon")
    }
}

/// A running tshark.
pub struct Capture(Child);

impl Drop for Capture {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "router's log:\n{}",
                run(&format!("tail -n 40 {}", self.file("log")))
            );
        }
        run(&format!(
            "ip netns del {}; ip netns del {}",
            self.ours, self.router
        ));
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Our speaker: a thread inside our namespace with a runtime of its own.
pub struct Speaker {
    pub orders: tokio::sync::mpsc::Sender<Order>,
    status: watch::Receiver<Status>,
    thread: JoinHandle<()>,
}

impl Speaker {
    pub fn start(rig: &Rig, session: SessionSettings, link: LinkSettings) -> Self {
        let namespace = File::open(format!("/run/netns/{}", rig.ours)).expect("our namespace");
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("to enter our namespace");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = match session.opening {
                    Opening::Active => None,
                    Opening::Both | Opening::Passive => {
                        let address = (link.source.expect("an address to listen at"), 179).into();
                        Some(Listener::bind(address, None).expect("to listen"))
                    }
                };
                let incoming = listener
                    .as_ref()
                    .map(|l| l.expect(&link).expect("to expect the peer"));
                let handle = driver::spawn(session, link, incoming).expect("sound settings");
                sender
                    .send((handle.commands, handle.status))
                    .expect("somebody to report to");
                handle.task.await.expect("the driver not to panic");
            });
        });
        let (orders, status) = receiver.recv().expect("a running speaker");
        Speaker {
            orders,
            status,
            thread,
        }
    }

    pub fn order(&self, order: Order) {
        self.orders.blocking_send(order).expect("a running speaker");
    }

    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub fn reach(&self, what: &str, condition: impl Fn(&Status) -> bool) -> Status {
        eventually(what, || {
            let status = self.status();
            if condition(&status) {
                Ok(status)
            } else {
                Err(format!("{status:?}"))
            }
        })
    }

    /// Drops the handle, which ends the session, and waits for the thread.
    pub fn stop(self) {
        drop(self.orders);
        self.thread.join().expect("the speaker not to panic");
    }
}
