//! Events over real connections; the rules themselves are tested beside the series.

use maglane_control::kube::events::{Note, Reason, Recorder};
use maglane_control::model::{ClusterId, ObjectKind, ObjectName, ObjectRef};
use serde_json::json;

use crate::server::{Request, Server, status};
use crate::{access, within};

fn note(text: &str) -> Note {
    Note {
        object: ObjectRef {
            kind: ObjectKind::Service,
            name: ObjectName::of(ClusterId::OWN, "default", "web"),
        },
        uid: "u1".to_owned(),
        reason: Reason::IPAllocated,
        text: text.to_owned(),
    }
}

fn posts(request: &Request) -> bool {
    request.method == "POST"
}

#[tokio::test]
async fn notes_become_events_and_a_failure_stops_nothing() {
    let server = Server::start().await;
    let mut first = true;
    server.handle(move |request| match std::mem::take(&mut first) {
        true => (500, status(500)),
        false => (201, request.body.clone()),
    });
    let (access, _dir) = access(&server).await;
    let recorder = Recorder::start(access, "node-1");
    recorder.tell(note("192.0.2.1 from pool a"));
    within("the first", server.asked(1, posts)).await;
    // The first was not taken, so that it is told anew; the same words thrice are one Event.
    for text in [
        "192.0.2.2 from pool a",
        "192.0.2.1 from pool a",
        "192.0.2.2 from pool a",
        "192.0.2.3 from pool a",
    ] {
        recorder.tell(note(text));
    }
    within("four calls", server.asked(4, posts)).await;
    let told = server.requests(posts);
    let notes: Vec<_> = told.iter().map(|request| request.body["note"].clone()).collect();
    let end = |last: &str| json!(format!("192.0.2.{last} from pool a"));
    assert_eq!(notes, [end("1"), end("2"), end("1"), end("3")]);
    assert!(
        told.iter()
            .all(|request| request.path == "/apis/events.k8s.io/v1/namespaces/default/events")
    );
    assert_eq!(
        (&told[1].body["reason"], &told[1].body["type"]),
        (&json!("IPAllocated"), &json!("Normal"))
    );
    let counts = recorder.counts();
    assert_eq!((counts.failed, counts.dropped), (1, 0));
}
