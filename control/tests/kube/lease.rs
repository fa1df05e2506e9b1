//! Elections over real connections; the rules themselves are tested in simulated time beside the elector.

use std::sync::Arc;
use std::time::Duration;

use maglane_control::kube::lease::{Election, LeaseSettings, Role, identity};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::server::{Fault, Request, Server, status};
use crate::{access, within};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/balancer/leases";

fn settings() -> LeaseSettings {
    LeaseSettings {
        duration: Duration::from_secs(3),
        renew_deadline: Duration::from_secs(2),
        retry: Duration::from_millis(300),
        ..LeaseSettings::new("balancer", "allocator")
    }
}

/// One lease with optimistic locking.
fn serve(mut stored: Option<Value>) -> impl FnMut(&Request) -> (u16, Value) + Send {
    let mut version = 0;
    let mut store = move |mut lease: Value| {
        version += 1;
        lease["metadata"]["resourceVersion"] = json!(version.to_string());
        lease
    };
    if let Some(lease) = stored.take() {
        stored = Some(store(lease));
    }
    move |request| {
        let of = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
        match (request.method.as_str(), &stored) {
            ("GET", Some(lease)) => (200, lease.clone()),
            ("POST", Some(_)) => (409, status(409)),
            ("PUT", Some(lease)) if of(lease) != of(&request.body) => (409, status(409)),
            ("POST", None) | ("PUT", Some(_)) => {
                let lease = store(request.body.clone());
                stored = Some(lease.clone());
                (200, lease)
            }
            _ => (404, status(404)),
        }
    }
}

/// As `deploy/` makes it: there, and nobody's.
fn free() -> Option<Value> {
    Some(json!({"metadata": {"namespace": "balancer", "name": "allocator"}, "spec": {}}))
}

async fn until(election: &mut Election, role: &Role) {
    within(&format!("{role:?}"), async {
        while election.next().await != *role {}
    })
    .await;
}

async fn until_lost(election: &mut Election) {
    within("the end of the right", async {
        while election.next().await == Role::Holder {}
    })
    .await;
}

#[tokio::test]
async fn one_of_two_holds_the_lease_and_hands_it_over_when_it_stops() {
    let server = Server::start().await;
    server.handle(serve(free()));
    let (access, _dir) = access(&server).await;
    let start = |name: &str| Election::start(Arc::clone(&access), settings(), name.to_owned()).unwrap();
    let mut first = start("first");
    until(&mut first, &Role::Holder).await;
    let mut second = start("second");
    until(&mut second, &Role::Other("first".to_owned())).await;
    let (one, two) = (first.holder(), second.holder());
    let now = Instant::now();
    assert!(one.may_write(now) && !two.may_write(now));
    // Renewed well before it ends.
    let until_when = one.until().unwrap();
    within("a renewal", async {
        let mut renewals = server.requests(|request| request.method == "PUT").len();
        while one.until().unwrap() == until_when {
            renewals += 1;
            server.asked(renewals, |request| request.method == "PUT").await;
        }
    })
    .await;
    let stopped = Instant::now();
    first.stop().await;
    assert!(!one.may_write(Instant::now()));
    until(&mut second, &Role::Holder).await;
    assert!(stopped.elapsed() < settings().duration, "{:?}", stopped.elapsed());
}

#[tokio::test]
async fn a_holder_cut_off_stops_before_another_begins() {
    let server = Server::start().await;
    server.handle(serve(free()));
    let (access, _dir) = access(&server).await;
    let mut first = Election::start(Arc::clone(&access), settings(), "first".to_owned()).unwrap();
    until(&mut first, &Role::Holder).await;
    let cut = Instant::now();
    server.fault("/", Fault::Hang);
    // Calls hang, and the right to write ends all the same.
    until_lost(&mut first).await;
    assert!(
        cut.elapsed() <= settings().renew_deadline + Duration::from_millis(200),
        "{:?}",
        cut.elapsed()
    );
    assert!(!first.holder().may_write(Instant::now()));
    server.heal();
    until(&mut first, &Role::Holder).await;
}

#[tokio::test]
async fn a_lease_that_is_not_there_is_made_once_no_holder_can_be_left() {
    let server = Server::start().await;
    server.handle(serve(None));
    let (access, _dir) = access(&server).await;
    let begun = Instant::now();
    let mut only = Election::start(access, settings(), identity("node-1")).unwrap();
    until(&mut only, &Role::Holder).await;
    assert!(begun.elapsed() >= settings().duration, "{:?}", begun.elapsed());
    let made = server.requests(|request| request.method == "POST");
    assert_eq!((made.len(), made[0].path.as_str()), (1, LEASES));
    let spec = &made[0].body["spec"];
    assert_eq!(spec["leaseDurationSeconds"], 3);
    let holder = spec["holderIdentity"].as_str().unwrap();
    assert!(holder.starts_with("node-1_"), "{holder}");
    assert!(spec["renewTime"].as_str().unwrap().contains('T'), "{spec}");
}

#[test]
fn two_processes_of_a_node_have_two_names() {
    assert_ne!(identity("node-1"), identity("node-1"));
}
