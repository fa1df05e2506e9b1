//! Flags about source addresses: of translated flows and of tunnels.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::Args;
use ipnet::{Ipv4Net, Ipv6Net};

use crate::cli::values::Ports;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "NAT")]
pub struct NatArgs {
    /// Source addresses towards backends in mode nat; must belong to this node [default: the first global
    /// address of each family on the served interfaces, the last interface first]
    #[arg(
        long,
        env = "MAGLANE_SNAT_ADDRESS",
        value_name = "IP,...",
        value_delimiter = ','
    )]
    pub snat_address: Vec<IpAddr>,

    /// Source ports towards backends in mode nat, shared out between the workers. Must be free of the node's
    /// own use: net.ipv4.ip_local_port_range, node ports and listening sockets.
    #[arg(
        long,
        env = "MAGLANE_SNAT_PORTS",
        value_name = "FIRST-LAST",
        default_value = "16384-29999"
    )]
    pub snat_ports: Ports,

    /// Node ports of the cluster; --snat-ports must not overlap them.
    #[arg(
        long,
        env = "MAGLANE_NODE_PORTS",
        value_name = "FIRST-LAST",
        default_value = "30000-32767"
    )]
    pub node_ports: Ports,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Tunnels")]
pub struct TunnelArgs {
    /// Outer IPv4 sources of mode ipip: the flow's hash fills the host bits, so that backends spread flows over
    /// their queues. Backends must accept them (no strict rp_filter).
    #[arg(
        long,
        env = "MAGLANE_IPIP_SOURCE_V4",
        value_name = "PREFIX",
        default_value = "172.16.0.0/16"
    )]
    pub ipip_source_v4: Ipv4Net,

    /// Outer IPv6 sources of mode ipip.
    #[arg(
        long,
        env = "MAGLANE_IPIP_SOURCE_V6",
        value_name = "PREFIX",
        default_value = "100::/64"
    )]
    pub ipip_source_v6: Ipv6Net,

    /// Outer IPv4 source of mode gue [default: the first IPv4 --snat-address]
    #[arg(long, env = "MAGLANE_GUE_SOURCE_V4", value_name = "IPV4")]
    pub gue_source_v4: Option<Ipv4Addr>,

    /// Outer IPv6 source of mode gue [default: the first IPv6 --snat-address]
    #[arg(long, env = "MAGLANE_GUE_SOURCE_V6", value_name = "IPV6")]
    pub gue_source_v6: Option<Ipv6Addr>,
}
