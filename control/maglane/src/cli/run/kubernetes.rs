//! Flags about clusters: which API servers are followed, which Services are ours, what may be removed.

use std::path::PathBuf;

use clap::Args;

use crate::cli::values::{ClusterSource, Kubeconfig, Served};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubernetesArgs {
    /// The cluster this node belongs to: a kubeconfig file, or in-cluster for a pod's service account.
    /// No default: without it manifests alone count.
    #[arg(long, env = "MAGLANE_KUBECONFIG", value_name = "FILE|in-cluster")]
    pub kubeconfig: Option<Kubeconfig>,

    /// Its name among several clusters.
    #[arg(
        long,
        env = "MAGLANE_CLUSTER_NAME",
        value_name = "NAME",
        default_value = "local"
    )]
    pub cluster_name: String,

    /// Another cluster, whose endpoints of global Services count as well; may be given several times, none by
    /// default.
    #[arg(
        long,
        env = "MAGLANE_CLUSTER",
        value_name = "NAME=KUBECONFIG",
        value_delimiter = ','
    )]
    pub cluster: Vec<ClusterSource>,

    /// Name of this node's Node object (default: the host name).
    #[arg(long, env = "MAGLANE_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// Namespace of the Lease that says who allocates addresses.
    #[arg(
        long,
        env = "MAGLANE_NAMESPACE",
        value_name = "NAME",
        default_value = "maglane-system"
    )]
    pub namespace: String,

    /// How long that Lease outlives a process that died, in seconds: as long nobody allocates.
    #[arg(long, env = "MAGLANE_LEASE_DURATION", value_name = "SECONDS", default_value_t = 15,
          value_parser = clap::value_parser!(u16).range(3..=3600))]
    pub lease_duration: u16,

    #[command(flatten)]
    pub class: ClassArgs,

    /// What to serve besides load balancer addresses, joined by commas (default: nothing).
    #[arg(
        long,
        env = "MAGLANE_SERVE",
        value_name = "LIST",
        value_enum,
        value_delimiter = ','
    )]
    pub serve: Vec<Served>,

    /// Most Services, in percent of those served, that deletions may take away within a minute, at least ten;
    /// the rest waits its turn. 100 = no limit.
    #[arg(long, env = "MAGLANE_MAX_REMOVAL_PERCENT", value_name = "PERCENT", default_value_t = 10,
          value_parser = clap::value_parser!(u8).range(1..=100))]
    pub max_removal_percent: u8,

    /// Directory for the last good state, so that a node forwards again after a restart with the API server
    /// down (default: none is kept).
    #[arg(long, env = "MAGLANE_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Write every event and what followed from it to this file, as JSON lines (default: nowhere).
    #[arg(long, env = "MAGLANE_RECORD", value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// Which Services of type LoadBalancer are ours.
#[derive(Clone, Debug, Args)]
pub struct ClassArgs {
    /// Services of type LoadBalancer with this loadBalancerClass are ours.
    #[arg(
        long,
        env = "MAGLANE_LOAD_BALANCER_CLASS",
        value_name = "CLASS",
        default_value = "maglane.io/maglane"
    )]
    pub load_balancer_class: String,

    /// Services of type LoadBalancer that name no class are ours too (default: they are not).
    #[arg(long, env = "MAGLANE_DEFAULT_CLASS")]
    pub default_class: bool,
}
