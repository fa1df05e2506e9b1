//! The product's side of Kubernetes, without packets, against clusters: the API double, and a real kube-apiserver where one is found, with the
//! rights that `deploy/` gives and no more. The same story for both, so that the double is proven.
//!
//! Nothing here waits by sleeping: each change is awaited with a deadline.

mod crds;
mod deploy;
mod trouble;
mod world;
mod writes;

use maglane_perf::cluster::{Choice, Cluster, ClusterError};
use world::World;

async fn story(cluster: Cluster) {
    eprintln!("cluster: {}", cluster.name());
    let mut world = World::start(&cluster).await;
    world.changes_arrive_at_once(&cluster).await;
    writes::one_process_writes_status_and_yields_to_a_rival(&cluster).await;
    writes::notes_are_shown_with_their_object(&cluster).await;
    writes::a_session_s_state_is_written_by_its_node(&cluster).await;
    trouble::a_slow_kind_holds_deletions_back(&cluster).await;
    trouble::a_silent_connection_is_noticed_in_time(&cluster, &mut world).await;
    trouble::outages_change_nothing_and_leave_no_churn(&cluster, &mut world).await;
    // The last: nothing is left of the cluster after it.
    trouble::a_wiped_cluster_is_followed_from_its_new_beginning(&cluster, &mut world).await;
}

/// `None` where no real server is found.
fn found(started: Result<Cluster, ClusterError>) -> Option<Cluster> {
    match started {
        Ok(cluster) => Some(cluster),
        Err(ClusterError::NoProgram(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_holds_for_the_double() {
    let cluster = Cluster::builder().choice(Choice::Double).start();
    story(cluster.unwrap_or_else(|error| panic!("{error}"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_holds_for_a_real_server() {
    match found(Cluster::builder().choice(Choice::Real).start()) {
        Some(cluster) => story(cluster).await,
        None => eprintln!("skipped: no kube-apiserver is found; set KUBEBUILDER_ASSETS"),
    }
}
