use clap::Args;

use super::ClientArgs;

#[derive(Clone, Debug, Args)]
pub struct BackendsArgs {
    #[command(flatten)]
    pub client: ClientArgs,
}
