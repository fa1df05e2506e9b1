//! `maglane run`: its flags, in groups. Every flag has an environment fallback `MAGLANE_<FLAG>`; where the
//! default is not a constant, the help says what it is.

mod balance;
mod control;
mod kubernetes;
mod l2;
mod nat;
mod xdp;

use clap::Args;

pub use balance::{BalanceArgs, FlowArgs};
pub use control::{ControlArgs, LogArgs};
pub use kubernetes::{ClassArgs, KubernetesArgs};
pub use l2::L2Args;
pub use nat::{NatArgs, TunnelArgs};
pub use xdp::{InterfaceArgs, WorkerArgs, XdpArgs};

/// A flag given twice means what it says last, so that a script can add to another's flags.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub struct RunArgs {
    #[command(flatten)]
    pub interfaces: InterfaceArgs,
    #[command(flatten)]
    pub workers: WorkerArgs,
    #[command(flatten)]
    pub xdp: XdpArgs,
    #[command(flatten)]
    pub balance: BalanceArgs,
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
    #[command(flatten)]
    pub l2: L2Args,
    #[command(flatten)]
    pub nat: NatArgs,
    #[command(flatten)]
    pub tunnels: TunnelArgs,
    #[command(flatten)]
    pub flows: FlowArgs,
    #[command(flatten)]
    pub control: ControlArgs,
    #[command(flatten)]
    pub log: LogArgs,
}
