//! Kernel settings and routes of each host, as shell scripts. Pure.

use std::fmt::Write;

use super::layout::Spec;
use super::plan::{self, Dual, Host};

/// Settings that must exist before the interfaces do.
pub(crate) fn sysctls(host: Host) -> String {
    let mut text = String::new();
    let mut set = |key: &str, value: &str| {
        let _ = writeln!(text, "echo {value} > /proc/sys/net/{key}");
    };
    for scope in ["all", "default"] {
        set(&format!("ipv4/conf/{scope}/rp_filter"), "0");
        set(&format!("ipv4/conf/{scope}/send_redirects"), "0");
        set(&format!("ipv4/conf/{scope}/accept_redirects"), "0");
        set(&format!("ipv6/conf/{scope}/accept_dad"), "0");
        set(&format!("ipv6/conf/{scope}/accept_ra"), "0");
        set(&format!("ipv6/conf/{scope}/accept_redirects"), "0");
    }
    match host {
        Host::Router | Host::Balancer(_) => {
            set("ipv4/ip_forward", "1");
            set("ipv6/conf/all/forwarding", "1");
            set("ipv4/fib_multipath_hash_policy", "1");
            set("ipv6/fib_multipath_hash_policy", "1");
        }
        Host::Client(_) => {
            set("ipv4/ip_local_port_range", "'1024 65535'");
            set("ipv4/tcp_tw_reuse", "1");
            // veth picks the queue by the socket's hash, which a retransmission changes; a NIC hashes headers.
            set("core/txrehash", "0");
        }
        Host::Backend(_) => {
            // A backend may own a VIP on loopback without ever answering ARP for it.
            set("ipv4/conf/all/arp_ignore", "1");
            set("ipv4/conf/all/arp_announce", "2");
            set("core/somaxconn", "16384");
        }
        Host::Switch => {}
    }
    text
}

/// Default routes of the hosts that have one.
pub(crate) fn routes(spec: &Spec, host: Host) -> String {
    let gateway = match host {
        Host::Client(n) => plan::router_towards_client(n),
        Host::Balancer(_) => spec.router_hop(),
        Host::Backend(_) => plan::router_back(),
        Host::Router | Host::Switch => return String::new(),
    };
    default_route(gateway)
}

pub(crate) fn default_route(gateway: Dual) -> String {
    format!(
        "ip route replace default via {}\nip -6 route replace default via {}\n",
        gateway.v4, gateway.v6
    )
}

/// How the router reaches the VIPs: one next hop, several (ECMP), or none at all.
pub(crate) fn vip_routes(spec: &Spec, balancers: &[u8]) -> String {
    let hops = |pick: fn(Dual) -> String| {
        balancers.iter().fold(String::new(), |mut text, n| {
            let _ = write!(text, " nexthop via {}", pick(spec.balancer_hop(*n)));
            text
        })
    };
    if balancers.is_empty() {
        return format!(
            "ip route del {} || true\nip -6 route del {} || true\n",
            plan::VIP_NET_V4,
            plan::VIP_NET_V6
        );
    }
    format!(
        "ip route replace {}{}\nip -6 route replace {}{}\n",
        plan::VIP_NET_V4,
        hops(|d| d.v4.to_string()),
        plan::VIP_NET_V6,
        hops(|d| d.v6.to_string())
    )
}
