//! The four routers: how each is configured, started and asked.

use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::rig::{OURS, OURS_V6, Rig};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Frr,
    Bird,
    Gobgp,
    Openbgpd,
}

/// What a case needs of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Plain,
    Gtsm,
    Md5,
    /// An IPv6 session carrying IPv4 too (RFC 8950).
    V6,
    /// With BFD at this many milliseconds, three times.
    Bfd(u32),
}

pub const PASSWORD: &str = "s3cret";

/// A running router.
pub struct Router<'a> {
    kind: Kind,
    rig: &'a Rig,
    variant: Variant,
    processes: Vec<Child>,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Frr => "frr",
            Kind::Bird => "bird",
            Kind::Gobgp => "gobgp",
            Kind::Openbgpd => "openbgpd",
        }
    }

    pub const fn program(self) -> &'static str {
        match self {
            Kind::Frr => "/usr/lib/frr/bgpd",
            Kind::Bird => "/usr/sbin/bird",
            Kind::Gobgp => "/usr/bin/gobgpd",
            Kind::Openbgpd => "/usr/sbin/bgpd",
        }
    }
}

impl Variant {
    const fn neighbor(self) -> &'static str {
        match self {
            Variant::V6 => OURS_V6,
            Variant::Plain | Variant::Gtsm | Variant::Md5 | Variant::Bfd(_) => OURS,
        }
    }

    /// `text` where the variant is `wanted`, nothing otherwise.
    fn only(self, wanted: Variant, text: &str) -> String {
        if self == wanted {
            text.to_owned()
        } else {
            String::new()
        }
    }
}

impl<'a> Router<'a> {
    pub fn start(kind: Kind, rig: &'a Rig, variant: Variant) -> Self {
        let mut router = Router {
            kind,
            rig,
            variant,
            processes: Vec::new(),
        };
        router.launch();
        router
    }

    fn launch(&mut self) {
        let config = match self.kind {
            Kind::Frr => self.frr(),
            Kind::Bird => self.bird(),
            Kind::Gobgp => self.gobgp(),
            Kind::Openbgpd => self.openbgpd(),
        };
        let file = |name: &str| self.rig.file(name);
        std::fs::write(file("conf"), config).expect("a configuration");
        let commands = match self.kind {
            Kind::Frr => {
                std::fs::write(file("zebra.conf"), "").expect("a configuration");
                std::fs::write(file("bfdd.conf"), self.bfdd()).expect("a configuration");
                super::rig::run(&format!("chown -R frr {}", file("")));
                let common = format!("-u frr -g frr -z {} --vty_socket {}", file("zserv"), file(""));
                let mut daemons = vec![
                    format!(
                        "/usr/lib/frr/zebra {common} -f {} -i {}",
                        file("zebra.conf"),
                        file("zebra.pid")
                    ),
                    format!(
                        "{} {common} -f {} -i {}",
                        self.kind.program(),
                        file("conf"),
                        file("bgpd.pid")
                    ),
                ];
                if matches!(self.variant, Variant::Bfd(_)) {
                    daemons.push(format!(
                        "/usr/lib/frr/bfdd {common} -f {} -i {} --bfdctl {}",
                        file("bfdd.conf"),
                        file("bfdd.pid"),
                        file("bfdd.sock")
                    ));
                }
                daemons
            }
            Kind::Bird => vec![format!(
                "bird -f -c {} -s {} -P {}",
                file("conf"),
                file("socket"),
                file("pid")
            )],
            Kind::Gobgp => vec![format!(
                "gobgpd -t toml -f {} --api-hosts 127.0.0.1:50051",
                file("conf")
            )],
            Kind::Openbgpd => {
                // Its children chroot there; the package leaves making it to systemd.
                super::rig::run(&format!("mkdir -p /run/openbgpd; chmod 600 {}", file("conf")));
                vec![format!("{} -d -f {}", self.kind.program(), file("conf"))]
            }
        };
        // A router's own BFD runs apart from what keeps it busy; it is ours that the stress is for.
        let precedence = match self.variant {
            Variant::Bfd(_) => "chrt -f 10 ",
            Variant::Plain | Variant::Gtsm | Variant::Md5 | Variant::V6 => "",
        };
        let start = |command: &String| self.rig.daemon(&format!("{precedence}{command}"));
        self.processes = commands.iter().map(start).collect();
    }

    fn frr(&self) -> String {
        let (v, peer) = (self.variant, self.variant.neighbor());
        format!(
            "router bgp 65001\n bgp router-id 10.99.0.2\n no bgp ebgp-requires-policy\n \
             neighbor {peer} remote-as 64512\n neighbor {peer} timers connect 1\n{}{}{} \
             address-family ipv4 unicast\n  neighbor {peer} activate\n exit-address-family\n \
             address-family ipv6 unicast\n  neighbor {peer} activate\n exit-address-family\n",
            v.only(Variant::Gtsm, &format!(" neighbor {peer} ttl-security hops 1\n")),
            v.only(Variant::Md5, &format!(" neighbor {peer} password {PASSWORD}\n")),
            v.only(
                Variant::V6,
                &format!(" neighbor {peer} capability extended-nexthop\n")
            ),
        )
    }

    fn bfdd(&self) -> String {
        let Variant::Bfd(millis) = self.variant else {
            return String::new();
        };
        let timers = format!(
            "  detect-multiplier 3\n  receive-interval {millis}\n  transmit-interval {millis}\n  no shutdown\n"
        );
        format!(
            "bfd\n peer {OURS} interface mgl0\n{timers} exit\n peer {OURS_V6} local-address fd99::2 interface mgl0\n{timers} exit\nexit\n"
        )
    }

    fn bird_bfd(&self) -> String {
        let Variant::Bfd(millis) = self.variant else {
            return String::new();
        };
        format!(
            "protocol bfd {{\n interface \"mgl0\" {{ interval {millis} ms; multiplier 3; }};\n \
             neighbor {OURS} dev \"mgl0\" local 10.99.0.2;\n neighbor {OURS_V6} dev \"mgl0\" local fd99::2;\n}}\n"
        )
    }

    /// How many BFD sessions the router holds up.
    pub fn bfd_up(&self) -> (usize, String) {
        let file = |name: &str| self.rig.file(name);
        let shown = self.rig.in_router(&match self.kind {
            Kind::Bird => format!("birdc -r -s {} show bfd sessions", file("socket")),
            Kind::Frr | Kind::Gobgp | Kind::Openbgpd => {
                format!("vtysh --vty_socket {} -c 'show bfd peers'", file(""))
            }
        });
        let up = shown
            .lines()
            .filter(|line| line.contains("Status: up") || line.contains(" Up "))
            .count();
        (up, shown)
    }

    fn bird(&self) -> String {
        let v = self.variant;
        let local = if v == Variant::V6 { "fd99::2" } else { "10.99.0.2" };
        format!(
            "router id 10.99.0.2;\nprotocol device {{}}\nprotocol direct {{ ipv4; ipv6; }}\n\
             {}protocol bgp maglane {{\n local {local} as 65001;\n neighbor {} as 64512;\n\
             connect delay time 1;\n connect retry time 2;\n error wait time 1, 2;\n{}{}\
             ipv4 {{ import all; export none;{} }};\n ipv6 {{ import all; export none; }};\n}}\n",
            self.bird_bfd(),
            v.neighbor(),
            v.only(Variant::Gtsm, " ttl security on;\n"),
            v.only(Variant::Md5, &format!(" password \"{PASSWORD}\";\n")),
            v.only(Variant::V6, " extended next hop on;"),
        )
    }

    fn gobgp(&self) -> String {
        let v = self.variant;
        let family = |name: &str| {
            format!("[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{name}\"\n")
        };
        format!(
            "[global.config]\nas = 65001\nrouter-id = \"10.99.0.2\"\n[[neighbors]]\n[neighbors.config]\n\
             neighbor-address = \"{}\"\npeer-as = 64512\n{}[neighbors.timers.config]\nconnect-retry = 1\n\
             idle-hold-time-after-reset = 1\n{}{}{}",
            v.neighbor(),
            v.only(Variant::Md5, &format!("auth-password = \"{PASSWORD}\"\n")),
            v.only(
                Variant::Gtsm,
                "[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255\n"
            ),
            family("ipv4-unicast"),
            family("ipv6-unicast"),
        )
    }

    fn openbgpd(&self) -> String {
        let v = self.variant;
        format!(
            "AS 65001\nrouter-id 10.99.0.2\nfib-update no\nsocket \"{}\"\nneighbor {} {{\n remote-as 64512\n\
             announce IPv4 unicast\n announce IPv6 unicast\n{}{}}}\nallow from any\nallow to any\n",
            self.rig.file("socket"),
            v.neighbor(),
            v.only(Variant::Gtsm, " ttl-security yes\n"),
            v.only(Variant::Md5, &format!(" tcp md5sig password {PASSWORD}\n")),
        )
    }

    /// What the router says about a prefix: empty or an error where it has none.
    pub fn show(&self, prefix: &str) -> String {
        let (word, short) = if prefix.contains(':') {
            ("ipv6", "ipv6")
        } else {
            ("ipv4", "ipv4")
        };
        let file = |name: &str| self.rig.file(name);
        self.rig.in_router(&match self.kind {
            Kind::Frr => format!(
                "vtysh --vty_socket {} -c 'show bgp {word} unicast {prefix}'",
                file("")
            ),
            Kind::Bird => format!("birdc -r -s {} show route {prefix} all", file("socket")),
            Kind::Gobgp => format!("gobgp global rib -a {short} {prefix}"),
            Kind::Openbgpd => format!("bgpctl -s {} show rib detail {prefix}", file("socket")),
        })
    }

    /// To every process in the router's namespace: OpenBGPD is three, FRR two. Says which they were.
    fn signal(&self, signal: Signal) -> String {
        let processes = super::rig::run(&format!("ip netns pids {}", self.rig.router));
        for id in processes.split_whitespace().filter_map(|id| id.parse().ok()) {
            // One that ended meanwhile is what we want anyway.
            let _ended = kill(Pid::from_raw(id), signal);
        }
        processes
    }

    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn end(&mut self) {
        for process in &mut self.processes {
            drop(process.kill());
            drop(process.wait());
        }
        // OpenBGPD's children outlive a killed parent for a moment, and hold port 179.
        super::rig::eventually("the router's processes gone", || {
            let left = self.signal(Signal::SIGKILL);
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
    }

    /// Kills the router without warning and starts it again.
    pub fn restart(&mut self) {
        self.end();
        self.launch();
    }
}

impl Drop for Router<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
