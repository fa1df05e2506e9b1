//! Clusters in trouble, and what of it the controller is told.

use std::time::Duration;

use maglane_perf::cluster::{Cluster, Fault, Verb};
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::world::{World, apply, delete, deploy, service, slice, user};

const MAIL: &str = "/api/v1/namespaces/default/services/mail";

fn fault(cluster: &Cluster, fault: Fault) {
    block_in_place(|| cluster.fault(fault)).unwrap_or_else(|error| panic!("{error}"));
}

fn heal(cluster: &Cluster) {
    block_in_place(|| cluster.heal()).unwrap_or_else(|error| panic!("{error}"));
}

pub async fn a_slow_kind_holds_deletions_back(cluster: &Cluster) {
    let delay = Duration::from_secs(5);
    let resource = "endpointslices".to_owned();
    fault(cluster, Fault::SlowList { resource, delay });
    let begun = Instant::now();
    let mut world = World::follow(cluster).await;
    world.until("the Services", |w| w.services.len() >= 3).await;
    delete(cluster, MAIL);
    apply(cluster, &service("late"));
    world
        .until("the news after the deletion", |w| w.services.contains("late"))
        .await;
    assert_eq!((world.deletions, world.synced), (0, false));
    world.until("the slow kind", |w| w.synced).await;
    assert!(begun.elapsed() >= delay);
    assert_eq!((world.deletions, world.services.contains("mail")), (1, false));
    heal(cluster);
    apply(cluster, &service("mail"));
}

/// K5: detected within 30 s, news at the latest 35 s after the connection died.
pub async fn a_silent_connection_is_noticed_in_time(cluster: &Cluster, world: &mut World) {
    world
        .until("the other case's Service", |w| w.services.contains("late"))
        .await;
    let before = world.deletions;
    fault(cluster, Fault::SilentWatches);
    apply(cluster, &slice("web-1", 7));
    let took = world
        .until("what the silent watches did not say", |w| {
            w.endpoints("web-1") == 7
        })
        .await;
    eprintln!("a silent connection was replaced after {took:?}");
    assert!(took < Duration::from_secs(35), "{took:?}");
    assert_eq!(world.deletions, before);
    heal(cluster);
}

pub async fn outages_change_nothing_and_leave_no_churn(cluster: &Cluster, world: &mut World) {
    let faults = [Fault::Frozen, Fault::Down, Fault::Closed];
    for (round, trouble) in faults.into_iter().enumerate() {
        let (told, deletions) = (world.told, world.deletions);
        let mark = cluster.log().mark();
        fault(cluster, trouble.clone());
        world.until("the problem", |w| !w.problems.is_empty()).await;
        assert_eq!(world.problems.len(), 1, "{:?}", world.problems);
        assert_eq!(world.told, told, "{trouble:?}: something was told");
        heal(cluster);
        let back = Instant::now();
        let endpoints = 10 + round;
        apply(cluster, &slice("web-1", endpoints));
        let recovered = |w: &World| w.problems.is_empty() && w.endpoints("web-1") == endpoints;
        world.until("what came after it", recovered).await;
        eprintln!(
            "{trouble:?}: in step again {:?} after the server was ready",
            back.elapsed()
        );
        // Node-less clusters have no other news than the change; what is unchanged is not told again.
        assert!(
            world.told <= told + 2,
            "{trouble:?}: {} objects were told",
            world.told - told
        );
        assert_eq!(world.deletions, deletions);
        assert!(
            cluster.log().writes(&user().name, mark).is_empty(),
            "something was written"
        );
    }
}

pub async fn a_wiped_cluster_is_followed_from_its_new_beginning(cluster: &Cluster, world: &mut World) {
    let deletions = world.deletions;
    let had = world.services.len();
    let mark = cluster.log().mark();
    block_in_place(|| cluster.wipe()).unwrap_or_else(|error| panic!("{error}"));
    // Nobody has rights in the new cluster: that is no reason to believe that nothing is there.
    world
        .until("the refusals", |w| {
            w.problems.iter().any(|p| p.message.contains("403"))
        })
        .await;
    assert_eq!(world.deletions, deletions);
    block_in_place(|| deploy(cluster.client()));
    apply(cluster, &service("web"));
    world
        .until("the new beginning", |w| {
            w.deletions >= deletions + had - 1 && w.problems.is_empty()
        })
        .await;
    apply(cluster, &service("reborn"));
    world
        .until("what came after it", |w| w.services.contains("reborn"))
        .await;
    assert!(!world.services.contains("api") && world.services.contains("web"));
    let entries = cluster.log().since(mark);
    let asked = entries.iter().filter(|entry| entry.user == user().name);
    let writes = asked.filter(|entry| entry.verb.is_some_and(Verb::writes));
    assert_eq!(writes.count(), 0);
}
