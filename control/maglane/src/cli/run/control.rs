//! Flags about the control side: admin socket, metrics, locks, logs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::DEFAULT_SOCKET;
use crate::cli::values::{self, LogFormat};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Control")]
pub struct ControlArgs {
    /// Unix socket for `maglane status` and its like; only its owner may use it (mode 0600).
    #[arg(long, env = "MAGLANE_ADMIN_SOCKET", value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub admin_socket: PathBuf,

    /// Address of /metrics, /livez and /readyz over HTTP.
    #[arg(
        long,
        env = "MAGLANE_METRICS_ADDRESS",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:9770"
    )]
    pub metrics_address: SocketAddr,

    /// Directory of the lock files, one an interface, that keep a second instance out.
    #[arg(
        long,
        env = "MAGLANE_LOCK_DIR",
        value_name = "DIR",
        default_value = "/run/maglane"
    )]
    pub lock_dir: PathBuf,

    /// At SIGTERM, withdraw every route and go on forwarding until traffic is gone, for this long at most; off = stop
    /// at once. A second signal ends the wait.
    #[arg(
        long,
        env = "MAGLANE_DRAIN_TIMEOUT",
        value_name = "TIME|off",
        default_value = "5s",
        value_parser = values::patience
    )]
    pub drain_timeout: Duration,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// How log lines look, on standard error.
    #[arg(long, env = "MAGLANE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Least severe level to log: error, warn, info, debug, trace, or a filter as maglane=debug,hyper=warn.
    #[arg(long, env = "MAGLANE_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}
