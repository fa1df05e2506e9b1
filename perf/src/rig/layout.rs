//! The rig as text: one `ip -batch` script for links and one shell script per namespace. Pure.
//!
//! What makes veth tell the truth: hosts compute their own checksums and segments (`tx off`), switch ports
//! that face an XDP interface have NAPI (`gro on`) yet never merge frames (`gro_max_size 1`), no address
//! waits for duplicate detection, no interface filters by reverse path.

use std::fmt::Write;

use super::plan::{self, Dual, Host, Shape};
use super::settings;

/// What a rig is made of; the builder fills it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub run_id: String,
    pub queues: u16,
    pub clients: u8,
    pub balancers: u8,
    pub backends: u8,
    pub shape: Shape,
}

impl Spec {
    #[must_use]
    pub fn namespace(&self, host: Host) -> String {
        format!("mgl-{}-{host}", self.run_id)
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = Host> {
        [Host::Router, Host::Switch]
            .into_iter()
            .chain((1..=self.clients).map(Host::Client))
            .chain((1..=self.balancers).map(Host::Balancer))
            .chain((1..=self.backends).map(Host::Backend))
    }

    /// The balancer's interfaces, in the order router side, backend side.
    #[must_use]
    pub fn balancer_interfaces(&self) -> &'static [&'static str] {
        match self.shape {
            Shape::TwoArmed => &["eth0", "eth1"],
            Shape::Flat => &["eth0"],
        }
    }

    /// Where the router finds balancer `n`.
    #[must_use]
    pub fn balancer_hop(&self, n: u8) -> Dual {
        match self.shape {
            Shape::TwoArmed => plan::balancer_front(n),
            Shape::Flat => plan::balancer_back(n),
        }
    }

    /// The router's address that balancers use as their gateway.
    #[must_use]
    pub fn router_hop(&self) -> Dual {
        match self.shape {
            Shape::TwoArmed => plan::router_front(),
            Shape::Flat => plan::router_back(),
        }
    }
}

/// One end of a cable.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    host: Host,
    interface: String,
}

fn end(host: Host, interface: impl Into<String>) -> End {
    End {
        host,
        interface: interface.into(),
    }
}

/// A veth pair; `queues` receive and transmit queues at both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cable {
    a: End,
    b: End,
    queues: u16,
}

fn cables(spec: &Spec) -> Vec<Cable> {
    let mut all = Vec::new();
    let mut plug = |a: End, b: End, queues: u16| all.push(Cable { a, b, queues });
    for n in 1..=spec.clients {
        plug(
            end(Host::Client(n), "eth0"),
            end(Host::Router, format!("c{n}")),
            1,
        );
    }
    plug(end(Host::Router, "back"), end(Host::Switch, "back-r"), 1);
    for n in 1..=spec.balancers {
        match spec.shape {
            Shape::TwoArmed => {
                plug(
                    end(Host::Balancer(n), "eth0"),
                    end(Host::Switch, format!("front-lb{n}")),
                    spec.queues,
                );
                plug(
                    end(Host::Balancer(n), "eth1"),
                    end(Host::Switch, format!("back-lb{n}")),
                    spec.queues,
                );
            }
            Shape::Flat => {
                plug(
                    end(Host::Balancer(n), "eth0"),
                    end(Host::Switch, format!("back-lb{n}")),
                    spec.queues,
                );
            }
        }
    }
    if spec.shape == Shape::TwoArmed {
        plug(end(Host::Router, "front"), end(Host::Switch, "front-r"), 1);
    }
    for n in 1..=spec.backends {
        plug(
            end(Host::Backend(n), "eth0"),
            end(Host::Switch, format!("back-b{n}")),
            1,
        );
    }
    all
}

/// `ip -batch` lines that make the namespaces.
pub(crate) fn namespaces(spec: &Spec) -> String {
    spec.hosts().fold(String::new(), |mut text, host| {
        let _ = writeln!(text, "netns add {}", spec.namespace(host));
        text
    })
}

/// `ip -batch` lines that make the cables, both ends already in their namespaces.
pub(crate) fn links(spec: &Spec) -> String {
    cables(spec)
        .iter()
        .fold(String::new(), |mut text, Cable { a, b, queues }| {
            let half = |e: &End| {
                let namespace = spec.namespace(e.host);
                format!(
                    "name {} netns {namespace} numtxqueues {queues} numrxqueues {queues}",
                    e.interface
                )
            };
            let _ = writeln!(text, "link add {} type veth peer {}", half(a), half(b));
            text
        })
}

/// The shell script that configures one host once its cables are plugged.
pub(crate) fn configure(spec: &Spec, host: Host) -> String {
    let mut text = String::from("ip link set lo up\n");
    if host == Host::Switch {
        text.push_str(&bridges(spec));
    }
    for cable in cables(spec) {
        for (own, far) in [(&cable.a, &cable.b), (&cable.b, &cable.a)] {
            if own.host == host {
                text.push_str(&interface(spec, own, far.host));
            }
        }
    }
    text.push_str(&settings::routes(spec, host));
    text
}

fn bridges(spec: &Spec) -> String {
    let names: &[&str] = match spec.shape {
        Shape::TwoArmed => &["front", "back"],
        Shape::Flat => &["back"],
    };
    names.iter().fold(String::new(), |mut text, name| {
        let _ = writeln!(
            text,
            "ip link add br-{name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        );
        let _ = writeln!(text, "ip link set br-{name} up");
        text
    })
}

fn interface(spec: &Spec, own: &End, far: Host) -> String {
    let name = &own.interface;
    let mut text = format!("ethtool -K {name} tx off tso off gso off > /dev/null\n");
    if own.host == Host::Switch {
        let bridge = name.split('-').next().unwrap_or_default();
        let _ = writeln!(text, "ip link set {name} master br-{bridge}");
        if matches!(far, Host::Balancer(_)) {
            let _ = writeln!(
                text,
                "ip link set {name} gro_max_size 1\nethtool -K {name} gro on > /dev/null"
            );
        }
    } else {
        for address in addresses(spec, own) {
            let _ = writeln!(text, "{address}");
        }
    }
    let _ = writeln!(text, "ip link set {name} up");
    text
}

fn addresses(spec: &Spec, own: &End) -> Vec<String> {
    let Dual { v4, v6 } = match (own.host, own.interface.as_str()) {
        (Host::Client(n), _) => plan::client(n, 0),
        (Host::Router, "front") => plan::router_front(),
        (Host::Router, "back") => plan::router_back(),
        (Host::Router, client) => {
            plan::router_towards_client(client.trim_start_matches('c').parse().unwrap_or(1))
        }
        (Host::Balancer(n), "eth1") => plan::balancer_back(n),
        (Host::Balancer(n), _) => spec.balancer_hop(n),
        (Host::Backend(n), _) => plan::backend(n),
        (Host::Switch, _) => return Vec::new(),
    };
    let name = &own.interface;
    vec![
        format!("ip addr add {v4}/24 dev {name}"),
        format!("ip -6 addr add {v6}/64 dev {name} nodad"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(shape: Shape) -> Spec {
        Spec {
            run_id: "t".into(),
            queues: 2,
            clients: 2,
            balancers: 2,
            backends: 4,
            shape,
        }
    }

    #[test]
    fn every_interface_name_fits_the_kernel() {
        let mut big = spec(Shape::TwoArmed);
        (big.balancers, big.backends) = (99, 140);
        for cable in cables(&big) {
            assert!(cable.a.interface.len() < 16 && cable.b.interface.len() < 16);
        }
    }

    #[test]
    fn only_ports_that_face_a_balancer_have_napi() {
        let text = configure(&spec(Shape::TwoArmed), Host::Switch);
        assert_eq!(text.matches("gro on").count(), 4);
        assert!(!configure(&spec(Shape::TwoArmed), Host::Balancer(1)).contains("gro on"));
    }

    #[test]
    fn flat_balancers_have_one_interface_and_no_front_net() {
        let flat = spec(Shape::Flat);
        assert!(!links(&flat).contains("front"));
        assert!(
            settings::vip_routes(&flat, &[1, 2]).contains("nexthop via 10.30.0.11 nexthop via 10.30.0.12")
        );
        assert!(configure(&flat, Host::Balancer(1)).contains("10.30.0.11/24"));
    }
}
