//! Status writes over real connections; the rules themselves are tested beside the queue.

use std::sync::Arc;
use std::time::Duration;

use maglane_control::kube::Access;
use maglane_control::kube::lease::{Election, LeaseSettings, Role};
use maglane_control::kube::writer::{Counts, Outcome, Ownership, StatusWrite, Writer};
use maglane_control::model::{ClusterId, ObjectKind, ObjectName, ObjectRef};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::server::{Fault, Request, Server, status};
use crate::{access, within};

fn object(name: &str) -> ObjectRef {
    ObjectRef {
        kind: ObjectKind::Service,
        name: ObjectName::of(ClusterId::OWN, "default", name),
    }
}

fn write(name: &str, ip: &str) -> StatusWrite {
    StatusWrite {
        object: object(name),
        body: json!({"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}),
        ownership: Ownership::Respect,
    }
}

/// A lease that is always given, and `answer` for the rest.
fn serve(
    mut answer: impl FnMut(&Request) -> (u16, Value) + Send,
) -> impl FnMut(&Request) -> (u16, Value) + Send {
    move |request| {
        if !request.path.contains("/leases/") {
            return answer(request);
        }
        let mut lease = request.body.clone();
        lease["metadata"]["resourceVersion"] = json!("1");
        (200, lease)
    }
}

async fn holder(access: &Arc<Access>) -> Election {
    let settings = LeaseSettings {
        duration: Duration::from_secs(3),
        renew_deadline: Duration::from_secs(2),
        retry: Duration::from_millis(300),
        ..LeaseSettings::new("balancer", "allocator")
    };
    let mut election = Election::start(Arc::clone(access), settings, "us".to_owned()).unwrap();
    within("the lease", async {
        while election.next().await != Role::Holder {}
    })
    .await;
    election
}

fn patches(request: &Request) -> bool {
    request.method == "PATCH"
}

#[tokio::test]
async fn a_status_is_applied_under_our_name_and_nothing_else_is_sent() {
    let server = Server::start().await;
    server.handle(serve(|_| (200, json!({}))));
    let (access, _dir) = access(&server).await;
    let election = holder(&access).await;
    let mut writer = Writer::new(access, election.holder());
    writer.put(write("web", "192.0.2.1"));
    let outcomes = within("the write", writer.next()).await;
    assert_eq!(outcomes, [Outcome::Written(object("web"))]);
    let sent = server.requests(patches);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].path, "/api/v1/namespaces/default/services/web/status");
    assert_eq!(
        sent[0].query.get("fieldManager").map(String::as_str),
        Some("maglane")
    );
    assert_eq!(sent[0].query.get("force"), None);
    let body = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    });
    assert_eq!(sent[0].body, body);
    writer.put(StatusWrite {
        ownership: Ownership::Take,
        ..write("web", "192.0.2.2")
    });
    within("the write", writer.next()).await;
    let sent = server.requests(patches);
    assert_eq!(sent[1].query.get("force").map(String::as_str), Some("true"));
}

#[tokio::test]
async fn what_the_server_says_becomes_an_outcome() {
    let server = Server::start().await;
    server.handle(serve(|request| match request.path.rsplit('/').nth(1) {
        Some("gone") => (404, status(404)),
        Some("bad") => (422, status(422)),
        _ => (200, json!({})),
    }));
    let (access, _dir) = access(&server).await;
    let election = holder(&access).await;
    let mut writer = Writer::new(access, election.holder());
    for name in ["gone", "bad", "good"] {
        writer.put(write(name, "192.0.2.1"));
    }
    let mut outcomes = vec![];
    within("three outcomes", async {
        while outcomes.len() < 3 {
            outcomes.extend(writer.next().await);
        }
    })
    .await;
    for outcome in [
        Outcome::Gone(object("gone")),
        Outcome::Refused(object("bad")),
        Outcome::Written(object("good")),
    ] {
        assert!(outcomes.contains(&outcome), "{outcome:?} of {outcomes:?}");
    }
    let counts = Counts {
        writes: 1,
        refused: 1,
        gone: 1,
        ..Counts::default()
    };
    assert_eq!(writer.counts(), counts);
    assert_eq!(writer.problems().len(), 1);
}

#[tokio::test]
async fn without_the_lease_nothing_is_written_and_old_wishes_are_void() {
    let server = Server::start().await;
    server.handle(serve(|_| (200, json!({}))));
    let (access, _dir) = access(&server).await;
    let mut election = holder(&access).await;
    let mut writer = Writer::new(Arc::clone(&access), election.holder());
    // The server takes neither renewals nor writes any more.
    server.fault("/", Fault::Hang);
    writer.put(write("web", "192.0.2.1"));
    let lost = async {
        loop {
            tokio::select! {
                outcomes = writer.next() => panic!("{outcomes:?}"),
                role = election.next() => if role != Role::Holder { break },
            }
        }
    };
    within("the end of the lease", lost).await;
    writer.put(write("web", "192.0.2.2"));
    server.heal();
    // Held again, it writes what is wished now and nothing from before; the first call ended with the lease.
    let held = async {
        loop {
            tokio::select! {
                outcomes = writer.next() => panic!("{outcomes:?}"),
                role = election.next() => if role == Role::Holder { break },
            }
        }
    };
    within("the lease", held).await;
    writer.put(write("web", "192.0.2.3"));
    let outcomes = within("the write", writer.next()).await;
    assert_eq!(outcomes, [Outcome::Written(object("web"))]);
    let ips: Vec<Value> = server
        .requests(patches)
        .iter()
        .map(|request| request.body["status"]["loadBalancer"]["ingress"][0]["ip"].clone())
        .collect();
    assert_eq!(ips, ["192.0.2.1", "192.0.2.3"]);
}

#[tokio::test]
async fn a_thousand_writes_go_at_most_eight_at_a_time_and_finish_waits_for_those_begun() {
    let server = Server::start().await;
    server.handle(serve(|_| (200, json!({}))));
    let (access, _dir) = access(&server).await;
    let election = holder(&access).await;
    let mut writer = Writer::new(access, election.holder());
    server.fault("/api/v1/namespaces", Fault::Hang);
    for at in 0..1000 {
        writer.put(write(&format!("s{at}"), "192.0.2.1"));
    }
    let eight = async {
        tokio::select! {
            outcomes = writer.next() => panic!("{outcomes:?}"),
            () = server.asked(8, patches) => {}
        }
    };
    within("eight calls", eight).await;
    assert_eq!(server.requests(patches).len(), 8);
    server.heal();
    let begun = Instant::now();
    within("their end", writer.finish()).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!((writer.counts().writes, server.requests(patches).len()), (8, 8));
}
