//! Flags about services, the choice of a backend and remembered flows.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use maglane_shared::service::ForwardingMode;

use crate::cli::values::{AutoOr, HashKeySource, UnknownPort, duration};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Services and balancing")]
pub struct BalanceArgs {
    /// Directory of manifests (YAML or JSON), followed live. No default; required where there
    /// is no --kubeconfig.
    #[arg(long, env = "MAGLANE_MANIFESTS", value_name = "DIR")]
    pub manifests: Option<PathBuf>,

    /// Forwarding mode of services that name none: nat, dnat, l2-dsr, ipip or gue.
    #[arg(long, env = "MAGLANE_MODE", value_name = "MODE", default_value_t = ForwardingMode::Nat)]
    pub mode: ForwardingMode,

    /// Rows of each service's Maglev table, a prime (auto: at least 100 a backend, 251 to 131071).
    #[arg(
        long,
        env = "MAGLANE_MAGLEV_TABLE_SIZE",
        value_name = "ROWS",
        default_value = "auto"
    )]
    pub maglev_table_size: AutoOr<u32>,

    /// Secret of the flow hash, the same on every node: 32 hexadecimal digits, or @FILE that holds them.
    #[arg(
        long,
        env = "MAGLANE_HASH_KEY",
        value_name = "HEX|@FILE",
        default_value = "well-known",
        hide_env_values = true
    )]
    pub hash_key: HashKeySource,

    /// Most VIP ports at a time; counters for all are allocated at start.
    #[arg(long, env = "MAGLANE_MAX_SERVICES", value_name = "N", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_services: u32,

    /// Most backends of all VIP ports at a time; counters for all are allocated at start.
    #[arg(long, env = "MAGLANE_MAX_BACKENDS", value_name = "N", default_value_t = 65_536,
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub max_backends: u32,

    /// What happens to packets for a VIP on a port without a service.
    #[arg(long, env = "MAGLANE_UNKNOWN_PORT", value_enum, default_value_t = UnknownPort::Drop)]
    pub unknown_port: UnknownPort,

    /// ICMP answers (echo replies and errors) a worker may send a second.
    #[arg(long, env = "MAGLANE_ICMP_RATE", value_name = "PER SECOND", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub icmp_rate: u32,

    /// Of these, how many may go to one source a second.
    #[arg(long, env = "MAGLANE_ICMP_SOURCE_RATE", value_name = "PER SECOND", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub icmp_source_rate: u32,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Flows")]
pub struct FlowArgs {
    /// Flows a worker remembers (64 bytes each, allocated at start; rounded up to a power of two).
    #[arg(long, env = "MAGLANE_FLOW_TABLE_SIZE", value_name = "FLOWS", default_value_t = 262_144,
          value_parser = clap::value_parser!(u32).range(1024..=268_435_456))]
    pub flow_table_size: u32,

    /// Fragmented packets a worker can follow at a time.
    #[arg(long, env = "MAGLANE_FRAGMENT_TABLE_SIZE", value_name = "PACKETS", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    pub fragment_table_size: u32,

    /// Forget a TCP flow of which only the SYN was seen after this time.
    #[arg(long, env = "MAGLANE_TCP_SYN_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub tcp_syn_timeout: Duration,

    /// Forget an established TCP flow this long after its last packet.
    #[arg(long, env = "MAGLANE_TCP_ESTABLISHED_TIMEOUT", value_name = "TIME", default_value = "2h 4m", value_parser = duration)]
    pub tcp_established_timeout: Duration,

    /// Forget a TCP flow this long after its last packet once a FIN was seen.
    #[arg(long, env = "MAGLANE_TCP_CLOSING_TIMEOUT", value_name = "TIME", default_value = "1m", value_parser = duration)]
    pub tcp_closing_timeout: Duration,

    /// Forget a closed or reset TCP flow after this time.
    #[arg(long, env = "MAGLANE_TCP_CLOSED_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub tcp_closed_timeout: Duration,

    /// Forget a UDP flow this long after its last packet.
    #[arg(long, env = "MAGLANE_UDP_TIMEOUT", value_name = "TIME", default_value = "2m", value_parser = duration)]
    pub udp_timeout: Duration,
}
