//! The golden cases, as a table and the frames that meet it.

mod drops;
mod fragments;
mod icmp;
mod limits;
mod link;
mod malformed;
mod modes;
mod neighbor;
mod policy;

use super::frame::{Frame, PORT0, PORT1, ROUTER, tcp, udp};
use super::run::Timed;

/// One folder of `golden/`.
pub struct Case {
    pub name: &'static str,
    pub table: String,
    pub packets: Vec<Timed>,
}

pub fn all() -> Vec<Case> {
    let mut cases = modes::cases();
    cases.extend(link::cases());
    cases.extend(icmp::cases());
    cases.extend(limits::cases());
    cases.extend(fragments::cases());
    cases.extend(drops::cases());
    cases.extend(malformed::cases());
    cases.extend(policy::cases());
    cases.extend(neighbor::cases());
    let mut names: Vec<_> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    assert!(names.is_sorted_by(|a, b| a < b), "two cases of one name");
    cases
}

/// Frames one after the other, a millisecond apart.
fn case(name: &'static str, table: &Table, frames: impl IntoIterator<Item = Vec<u8>>) -> Case {
    let packets = frames
        .into_iter()
        .zip(1..)
        .map(|(frame, at)| Timed { at, frame })
        .collect();
    Case {
        name,
        table: table.yaml(),
        packets,
    }
}

/// Everybody's addresses in one family.
#[derive(Clone, Copy)]
struct Who {
    client: &'static str,
    vip: &'static str,
    backend: &'static str,
    /// This node, towards the backends.
    node: &'static str,
    /// A router between this node and either.
    hop: &'static str,
    backend_mac: [u8; 6],
    neighbor: &'static str,
}

const V4: Who = Who {
    client: "203.0.113.7",
    vip: "192.0.2.10",
    backend: "10.0.0.11",
    node: "10.0.0.2",
    hop: "198.51.100.1",
    backend_mac: [2, 0, 0, 0, 0xbb, 4],
    neighbor: "backend4",
};

const V6: Who = Who {
    client: "2001:db8:c::7",
    vip: "2001:db8:f::10",
    backend: "fd00::11",
    node: "fd00::2",
    hop: "2001:db8:9::1",
    backend_mac: [2, 0, 0, 0, 0xbb, 6],
    neighbor: "backend6",
};

/// The client's port, the backend's where it differs from the VIP's, and the only source port of this node.
const CLIENT_PORT: u16 = 40_000;
const BACKEND_PORT: u16 = 8080;
const SNAT_PORT: u16 = 20_000;

fn at(addr: &str, port: u16) -> String {
    if addr.contains(':') {
        format!("[{addr}]:{port}")
    } else {
        format!("{addr}:{port}")
    }
}

impl Who {
    fn segment(&self, port: u16, flags: &str) -> Frame {
        tcp(&at(self.client, CLIENT_PORT), &at(self.vip, port), flags)
    }

    fn datagram(&self, port: u16) -> Frame {
        udp(&at(self.client, CLIENT_PORT), &at(self.vip, port))
    }

    /// What the backend sends, as it reaches our second interface.
    fn backend_sends(&self, frame: Frame) -> Frame {
        frame.macs(PORT1, self.backend_mac).ttl(64)
    }
}

/// A `table.yaml` in the making.
#[derive(Clone)]
struct Table {
    about: &'static str,
    services: String,
    settings: String,
    mtu: u16,
    backend_resolved: bool,
    default_routes: bool,
}

fn table(about: &'static str) -> Table {
    Table {
        about,
        services: String::new(),
        settings: String::new(),
        mtu: 1500,
        backend_resolved: true,
        default_routes: true,
    }
}

impl Table {
    /// `mode` towards one backend, with a port of its own where the mode allows.
    fn service(self, vip: &str, port: u16, protocol: &str, mode: &str, to: Who) -> Table {
        let backend_port = if matches!(mode, "nat" | "dnat") {
            BACKEND_PORT
        } else {
            port
        };
        let backend = format!(
            "{{addr: '{}', port: {backend_port}, via: {}}}",
            to.backend, to.neighbor
        );
        self.backends(vip, port, protocol, mode, &[backend])
    }

    fn backends(mut self, vip: &str, port: u16, protocol: &str, mode: &str, backends: &[String]) -> Table {
        self.services += &format!(
            "  - vip: {{addr: '{vip}', port: {port}, protocol: {protocol}}}\n    mode: {mode}\n    backends: [{}]\n",
            backends.join(", ")
        );
        self
    }

    /// Of the service named last.
    fn policy(mut self, wishes: &str) -> Table {
        self.services += &format!("    policy: {{{wishes}}}\n");
        self
    }

    /// The service named last is a port on an address of the node.
    fn endpoint(mut self) -> Table {
        self.services += "    kind: endpoint\n";
        self
    }

    /// TCP and UDP 80 in `mode`, both sides of one family.
    fn web(self, mode: &str, who: Who) -> Table {
        self.service(who.vip, 80, "TCP", mode, who)
            .service(who.vip, 80, "UDP", mode, who)
    }

    fn setting(mut self, line: &str) -> Table {
        self.settings += &format!("  {line}\n");
        self
    }

    fn yaml(&self) -> String {
        let Table {
            about,
            services,
            settings,
            mtu,
            backend_resolved,
            default_routes,
        } = self;
        let mac = |bytes: [u8; 6]| bytes.map(|byte| format!("{byte:02x}")).join(":");
        let neighbor = |who: Who| {
            let mac = if *backend_resolved {
                format!(", mac: '{}'", mac(who.backend_mac))
            } else {
                String::new()
            };
            format!(
                "  {}: {{port: 1, addr: '{}', mtu: {mtu}{mac}}}\n",
                who.neighbor, who.backend
            )
        };
        let defaults = if *default_routes {
            "  0.0.0.0/0: router\n  ::/0: router\n"
        } else {
            ""
        };
        format!(
            "about: {about:?}\nports: ['{}', '{}']\nneighbors:\n{}{}  \
             router: {{port: 0, addr: '203.0.113.1', mac: '{}'}}\nroutes:\n{defaults}  \
             10.0.0.0/24: on-link 1\n  fd00::/64: on-link 1\nservices:\n{services}settings:\n  \
             snat: ['{}', '{}']\n  gue: ['{}', '{}']\n{}{settings}",
            mac(PORT0),
            mac(PORT1),
            neighbor(V4),
            neighbor(V6),
            mac(ROUTER),
            V4.node,
            V6.node,
            V4.node,
            V6.node,
            if settings.contains("snat-ports") {
                ""
            } else {
                "  snat-ports: [20000, 20000]\n"
            },
        )
    }
}
