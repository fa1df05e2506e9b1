//! The kernel as balancer: nftables rules like kube-proxy's, for smoke tests of the rig and as a peer to
//! measure against.

use std::fmt::Write;
use std::net::IpAddr;

use super::{Host, Namespace, Rig, RigError};

/// One service for the kernel: `vip:port` of TCP and UDP spread over `backends` at the same port.
#[derive(Debug, Clone)]
pub struct KernelService {
    pub vip: IpAddr,
    pub port: u16,
    pub backends: Vec<IpAddr>,
}

impl Rig {
    /// Makes balancer `n` forward these services with full NAT in the kernel. Needs `nft` (nftables).
    ///
    /// # Errors
    /// When `nft` is missing or refuses the rules.
    pub fn kernel_balancer(&self, n: u8, services: &[KernelService]) -> Result<(), RigError> {
        load(&self.on(Host::Balancer(n)), services)
    }
}

/// Loads the rules in a namespace of your own.
///
/// # Errors
/// When `nft` is missing or refuses the rules.
pub fn load(namespace: &Namespace, services: &[KernelService]) -> Result<(), RigError> {
    namespace.run("nft", &[&ruleset(services)]).map(drop)
}

fn ruleset(services: &[KernelService]) -> String {
    let mut text =
        String::from("table inet maglane_rig {\n chain pre { type nat hook prerouting priority -100;\n");
    for service in services {
        let family = if service.vip.is_ipv4() { "ip" } else { "ip6" };
        let count = service.backends.len();
        for protocol in ["tcp", "udp"] {
            let _ = write!(
                text,
                "  {family} daddr {} {protocol} dport {} dnat {family} to numgen random mod {count} map {{ ",
                service.vip, service.port
            );
            let rows: Vec<String> = service
                .backends
                .iter()
                .enumerate()
                .map(|(i, b)| format!("{i} : {b}"))
                .collect();
            let _ = writeln!(text, "{} }}", rows.join(", "));
        }
    }
    text.push_str(
        " }\n chain post { type nat hook postrouting priority 100; ct status dnat masquerade; }\n}",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_every_backend() {
        let text = ruleset(&[KernelService {
            vip: "203.0.113.1".parse().unwrap(),
            port: 80,
            backends: vec!["10.30.0.101".parse().unwrap(), "10.30.0.102".parse().unwrap()],
        }]);
        assert!(
            text.contains("mod 2 map { 0 : 10.30.0.101, 1 : 10.30.0.102 }"),
            "{text}"
        );
    }
}
