use clap::Args;

use super::ClientArgs;

#[derive(Clone, Debug, Args)]
pub struct FlowsArgs {
    #[command(flatten)]
    pub client: ClientArgs,
}
