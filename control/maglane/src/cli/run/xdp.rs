//! Flags about interfaces, workers and AF_XDP sockets.

use clap::Args;

use crate::cli::values::{AutoOr, Choice, Cores, OffOr, Wait, XdpMode, ring_size};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Interfaces")]
pub struct InterfaceArgs {
    /// Interfaces to serve, joined by commas; a packet may enter on one and leave on another. Required, no default.
    #[arg(
        long,
        short,
        env = "MAGLANE_INTERFACE",
        value_name = "NAME,...",
        value_delimiter = ',',
        required = true
    )]
    pub interface: Vec<String>,

    /// Where the steering program runs.
    #[arg(long, env = "MAGLANE_XDP_MODE", value_enum, default_value_t = XdpMode::Auto)]
    pub xdp_mode: XdpMode,

    /// Replace an XDP program that somebody else attached to the interface.
    #[arg(long, env = "MAGLANE_FORCE_ATTACH", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub force_attach: bool,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Workers")]
pub struct WorkerArgs {
    /// Worker threads: one a receive queue, so each interface must have as many queues (auto: take that number).
    #[arg(long, env = "MAGLANE_WORKERS", value_name = "N", default_value = "auto")]
    pub workers: AutoOr<u16>,

    /// CPU cores to pin the workers to, as 2,4-7 (auto: the last cores this process may use).
    #[arg(long, env = "MAGLANE_CORES", value_name = "LIST", default_value = "auto")]
    pub cores: Cores,

    /// Packets a worker takes at once.
    #[arg(long, env = "MAGLANE_BATCH_SIZE", value_name = "PACKETS", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub batch_size: u16,

    /// What a worker does when no packet is there.
    #[arg(long, env = "MAGLANE_WAIT", value_enum, default_value_t = Wait::Adaptive)]
    pub wait: Wait,

    /// How long `--wait adaptive` spins before it sleeps, in microseconds.
    #[arg(long, env = "MAGLANE_SPIN_US", value_name = "MICROSECONDS", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub spin_us: u32,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "AF_XDP sockets")]
pub struct XdpArgs {
    /// Zero-copy sockets: auto uses them where the driver can, on refuses to start without.
    #[arg(long, env = "MAGLANE_ZERO_COPY", value_enum, default_value_t = Choice::Auto)]
    pub zero_copy: Choice,

    /// Packet memory and flow tables on huge pages.
    #[arg(long, env = "MAGLANE_HUGE_PAGES", value_enum, default_value_t = Choice::Auto)]
    pub huge_pages: Choice,

    /// Let the worker drive the NIC (SO_PREFER_BUSY_POLL) for this many microseconds a call.
    #[arg(
        long,
        env = "MAGLANE_BUSY_POLL",
        value_name = "off|MICROSECONDS",
        default_value = "off"
    )]
    pub busy_poll: OffOr,

    /// Packets one busy poll may take.
    #[arg(long, env = "MAGLANE_BUSY_POLL_BUDGET", value_name = "PACKETS", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub busy_poll_budget: u32,

    /// Packet buffers a worker, for all its interfaces (auto: 8192 an interface).
    #[arg(long, env = "MAGLANE_FRAMES", value_name = "N", default_value = "auto")]
    pub frames: AutoOr<u32>,

    /// Bytes of one packet buffer: 2048, or 4096 for an MTU above 1500 (auto: by the largest MTU).
    #[arg(
        long,
        env = "MAGLANE_CHUNK_SIZE",
        value_name = "BYTES",
        default_value = "auto"
    )]
    pub chunk_size: AutoOr<u32>,

    /// Slots of the receive ring of a queue, a power of two; its fill ring has twice as many.
    #[arg(long, env = "MAGLANE_RX_RING", value_name = "PACKETS", default_value = "2048", value_parser = ring_size)]
    pub rx_ring: u32,

    /// Slots of the transmit ring of a queue, a power of two; its completion ring has twice as many.
    #[arg(long, env = "MAGLANE_TX_RING", value_name = "PACKETS", default_value = "2048", value_parser = ring_size)]
    pub tx_ring: u32,
}
