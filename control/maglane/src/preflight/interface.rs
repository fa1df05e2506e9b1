//! What the kernel says about one interface: from `/sys/class/net` and the address list.

use std::fs;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;

/// One served interface as it is at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceFacts {
    pub name: String,
    pub index: u32,
    /// Largest layer-3 packet, in bytes.
    pub mtu: u32,
    /// Receive queues in use now (not the most the hardware has).
    pub rx_queues: u16,
    /// Unicast addresses that other hosts can reach, in the kernel's order.
    pub addresses: Vec<IpAddr>,
}

/// Reads the facts of the interface called `name`.
pub fn facts(name: &str) -> Result<InterfaceFacts> {
    let index = if_nametoindex(name)
        .with_context(|| format!("--interface {name}: no such interface here; `ip -br link` lists them"))?;
    // /sys shows the network namespace it was mounted in, which need not be ours.
    if read_number(name, "ifindex").ok() != Some(index) {
        bail!(
            "--interface {name}: /sys/class/net shows another network namespace; \
             enter this one with `ip netns exec`, or mount sysfs anew"
        );
    }
    Ok(InterfaceFacts {
        name: name.to_owned(),
        index,
        mtu: read_number(name, "mtu")?,
        rx_queues: count_queues(name)?,
        addresses: addresses_of(name)?,
    })
}

fn read_number(name: &str, file: &str) -> Result<u32> {
    let path = format!("/sys/class/net/{name}/{file}");
    let text = fs::read_to_string(&path).with_context(|| format!("{path}: cannot be read"))?;
    text.trim()
        .parse()
        .with_context(|| format!("{path}: {text:?} is not a number"))
}

fn count_queues(name: &str) -> Result<u16> {
    let path = format!("/sys/class/net/{name}/queues");
    let entries = fs::read_dir(&path).with_context(|| format!("{path}: cannot be read"))?;
    let rx = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-"));
    Ok(u16::try_from(rx.count()).unwrap_or(u16::MAX))
}

fn addresses_of(name: &str) -> Result<Vec<IpAddr>> {
    let all = getifaddrs().context("the node's addresses cannot be read")?;
    let ours = all
        .filter(|entry| entry.interface_name == name)
        .filter_map(|entry| entry.address);
    Ok(ours
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .filter(|ip| is_global(*ip))
        .collect())
}

/// Every address of this node, whatever interface holds it.
pub fn node_addresses() -> Result<Vec<IpAddr>> {
    let all = getifaddrs().context("the node's addresses cannot be read")?;
    Ok(all
        .filter_map(|entry| entry.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .collect())
}

/// Of use beyond its link.
fn is_global(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(link_local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_facts_but_no_global_address() {
        let facts = facts("lo").unwrap();
        assert!(facts.index > 0 && facts.rx_queues >= 1 && facts.mtu > 1500);
        assert!(facts.addresses.is_empty());
    }

    #[test]
    fn a_missing_interface_is_named_with_a_remedy() {
        let text = format!("{:#}", facts("mglbin-none").unwrap_err());
        assert!(
            text.contains("--interface mglbin-none") && text.contains("ip -br link"),
            "{text}"
        );
    }
}
