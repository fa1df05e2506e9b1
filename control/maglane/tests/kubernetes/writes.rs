//! The lease, status writes and Events, as a server with field managers and validation takes them.

use std::sync::Arc;

use maglane_control::kube::SessionWriter;
use maglane_control::kube::events::{Note, Reason, Recorder};
use maglane_control::kube::lease::{Election, LeaseSettings, Role, identity};
use maglane_control::kube::writer::{Outcome, Ownership, StatusWrite, Writer};
use maglane_control::model::{ClusterId, ObjectKind, ObjectName, ObjectRef};
use maglane_control::status::SessionWrite;
use maglane_perf::cluster::{APPLY_PATCH, Client, Cluster};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::world::{NAMESPACE, access, user, within};

const WEB: &str = "/api/v1/namespaces/default/services/web";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn web() -> ObjectRef {
    ObjectRef {
        kind: ObjectKind::Service,
        name: ObjectName::of(ClusterId::OWN, "default", "web"),
    }
}

fn condition(status: &str) -> Value {
    json!({"status": {"conditions": [{
        "type": "maglane.io/AddressAllocated",
        "status": status,
        "reason": "Tested",
        "message": "of a test",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]}})
}

fn write(status: &str) -> StatusWrite {
    StatusWrite {
        object: web(),
        body: condition(status),
        ownership: Ownership::Respect,
    }
}

fn get(client: &Client, path: &str) -> Value {
    block_in_place(|| client.get(path)).unwrap_or_else(|error| panic!("{error}"))
}

pub async fn one_process_writes_status_and_yields_to_a_rival(cluster: &Cluster) {
    let client = cluster.client();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "maglane", "namespace": NAMESPACE}, "spec": {},
    });
    block_in_place(|| client.apply_object(NAMESPACE, &lease)).unwrap();
    let access = access(cluster).await;
    let settings = || LeaseSettings::new(NAMESPACE, "maglane");
    let mut election = Election::start(Arc::clone(&access), settings(), identity("lb1")).unwrap();
    within("the lease", async {
        while election.next().await != Role::Holder {}
    })
    .await;
    let mut other = Election::start(Arc::clone(&access), settings(), identity("lb2")).unwrap();
    let role = within("who holds it", async {
        loop {
            if let Role::Other(holder) = other.next().await
                && !holder.is_empty()
            {
                return holder;
            }
        }
    })
    .await;
    assert!(role.starts_with("lb1_"), "{role}");
    let mut writer = Writer::new(access, election.holder());
    let mark = cluster.log().mark();
    writer.put(write("True"));
    assert_eq!(
        within("the write", writer.next()).await,
        [Outcome::Written(web())]
    );
    let stored = get(client, WEB);
    assert_eq!(stored["status"]["conditions"][0]["status"], "True");
    let ours = |entry: &&Value| entry["manager"] == "maglane" && entry["subresource"] == "status";
    let managers = stored["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managers.iter().filter(ours).count(), 1, "{managers:?}");
    yield_to_a_rival(client, &mut writer).await;
    let patches = cluster.log().writes(&user().name, mark);
    let patches = patches
        .iter()
        .filter(|entry| entry.path.contains("/status"))
        .count();
    assert_eq!(patches, 1 + 3, "one write, three conflicts");
    writer.finish().await;
    election.stop().await;
    within("the lease that was given back", async {
        while other.next().await != Role::Holder {}
    })
    .await;
    other.stop().await;
}

/// Who owns the field now is named after three tries.
async fn yield_to_a_rival(client: &Client, writer: &mut Writer) {
    let mut rival = condition("False");
    rival["apiVersion"] = json!("v1");
    rival["kind"] = json!("Service");
    rival["metadata"] = json!({"name": "web"});
    let path = format!("{WEB}/status?fieldManager=rival&force=true");
    let content = Some((APPLY_PATCH, rival.to_string()));
    let reply = block_in_place(|| client.request("PATCH", &path, content)).unwrap();
    assert_eq!(reply.code, 200, "{}", reply.json());
    writer.put(write("True"));
    let outcomes = within("the quarrel", writer.next()).await;
    assert_eq!(outcomes, [Outcome::Contested(web())]);
    assert_eq!(writer.counts().conflicts, 3);
    let problems = writer.problems();
    assert!(
        problems[0].message.ends_with("also written by rival"),
        "{problems:?}"
    );
    assert_eq!(get(client, WEB)["status"]["conditions"][0]["status"], "False");
}

pub async fn notes_are_shown_with_their_object(cluster: &Cluster) {
    let client = cluster.client();
    let uid = get(client, WEB)["metadata"]["uid"].as_str().unwrap().to_owned();
    let recorder = Recorder::start(access(cluster).await, "lb1");
    let long = "x".repeat(5000);
    let texts = [
        "192.0.2.1 from pool main",
        "192.0.2.1 from pool main",
        "192.0.2.2 from pool main",
        &long,
    ];
    for text in texts {
        recorder.tell(Note {
            object: web(),
            uid: uid.clone(),
            reason: Reason::IPAllocated,
            text: text.to_owned(),
        });
    }
    let told = within("three Events", async {
        loop {
            let list = get(client, EVENTS);
            let all = list["items"].as_array().unwrap();
            let ours: Vec<Value> = all
                .iter()
                .filter(|e| e["reason"] == "IPAllocated")
                .cloned()
                .collect();
            assert_eq!(recorder.counts().failed, 0, "the server refuses our Events");
            if ours.len() == 3 {
                return ours;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(
        told.iter().all(|event| event["regarding"]["uid"] == *uid),
        "{told:?}"
    );
    let mut notes: Vec<&str> = told.iter().map(|event| event["note"].as_str().unwrap()).collect();
    notes.sort_unstable();
    assert_eq!(
        &notes[..2],
        ["192.0.2.1 from pool main", "192.0.2.2 from pool main"]
    );
    assert_eq!(notes[2].len(), 1024);
}

/// Made, changed and deleted by a process that holds no lease.
pub async fn a_session_s_state_is_written_by_its_node(cluster: &Cluster) {
    const PATH: &str = "/apis/maglane.io/v1alpha1/bgpsessionstates/lb1-tor";
    let client = cluster.client();
    let writer = SessionWriter::start(access(cluster).await);
    let put = |body: Option<Value>| {
        let object = ObjectRef {
            kind: ObjectKind::BgpSessionState,
            name: ObjectName::of(ClusterId::OWN, "", "lb1-tor"),
        };
        writer.put(SessionWrite { object, body });
    };
    let body = |state: &str, established: &str, prefixes: i64| {
        json!({
            "spec": { "node": "lb1", "peer": "tor" },
            "status": { "state": state, "prefixes": prefixes, "conditions": [{
                "type": "Established", "status": established, "reason": "Tested", "message": "of a test",
            }] },
        })
    };
    let read = || block_in_place(|| client.get(PATH));
    let until = async |what: &str, holds: &dyn Fn(&Value) -> bool| {
        within(what, async {
            loop {
                if let Ok(object) = read()
                    && holds(&object)
                {
                    return object;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    };
    put(Some(body("Idle", "False", 0)));
    let first = until("the state", &|object| object["status"]["state"] == "Idle").await;
    assert_eq!(first["spec"], json!({ "node": "lb1", "peer": "tor" }));
    put(Some(body("Connect", "False", 0)));
    let second = until("the change", &|object| object["status"]["state"] == "Connect").await;
    let time = |object: &Value| object["status"]["conditions"][0]["lastTransitionTime"].clone();
    assert!(
        time(&first).is_string() && time(&first) == time(&second),
        "{second}"
    );
    put(Some(body("Established", "True", 7)));
    let third = until("the session", &|object| object["status"]["prefixes"] == 7).await;
    assert_eq!(third["status"]["conditions"][0]["status"], "True");
    put(None);
    within("the end", async {
        while read().is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
