//! Flags about layer-2 mode: ARP and NDP answered for virtual addresses.

use std::time::Duration;

use clap::{Args, ValueEnum};
use maglane_control::l2::{Coverage, OnApiLoss};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Layer 2")]
pub struct L2Args {
    /// Which load balancers' addresses to answer ARP and NDP for, on interfaces in their network.
    #[arg(long, env = "MAGLANE_L2", value_enum, default_value_t = L2Coverage::Advertised)]
    pub l2: L2Coverage,

    /// What an owner does that cannot renew its node lease because the API server is lost.
    #[arg(long, env = "MAGLANE_L2_ON_API_LOSS", value_enum, default_value_t = ApiLoss::Fence)]
    pub l2_on_api_loss: ApiLoss,

    /// Time between unasked announcements of an address that has not moved; 0s for none.
    #[arg(long, env = "MAGLANE_L2_REFRESH", value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    pub l2_refresh: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum L2Coverage {
    /// Those that an L2Advertisement covers.
    Advertised,
    /// All of them.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ApiLoss {
    /// Fall silent when the lease has run out, as another node takes over then: never two answers.
    Fence,
    /// Go on answering: no outage darkens an address; cut off alone, two nodes answer, and either serves.
    Keep,
}

impl From<L2Coverage> for Coverage {
    fn from(coverage: L2Coverage) -> Coverage {
        match coverage {
            L2Coverage::Advertised => Coverage::Advertised,
            L2Coverage::All => Coverage::All,
        }
    }
}

impl From<ApiLoss> for OnApiLoss {
    fn from(loss: ApiLoss) -> OnApiLoss {
        match loss {
            ApiLoss::Fence => OnApiLoss::Fence,
            ApiLoss::Keep => OnApiLoss::Keep,
        }
    }
}
