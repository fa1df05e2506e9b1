//! What can be done to a cluster, and what its clients then see.

use std::time::{Duration, Instant};

use maglane_perf::cluster::{Client, Fault, Heard, User};
use serde_json::json;

use crate::stage::{Case, SOON, Stage, code, expect, expect_expired, good, text, version};

pub const CASES: &[Case] = &[
    ("a_busy_server_says_so", a_busy_server_says_so),
    (
        "slow_lists_are_late_and_all_else_is_not",
        slow_lists_are_late_and_all_else_is_not,
    ),
    (
        "silent_watches_stay_open_and_hear_nothing",
        silent_watches_stay_open_and_hear_nothing,
    ),
    (
        "a_frozen_server_answers_nothing_and_goes_on",
        a_frozen_server_answers_nothing_and_goes_on,
    ),
    (
        "closed_connections_are_closed_at_once",
        closed_connections_are_closed_at_once,
    ),
    (
        "a_restarted_server_has_its_data_and_no_past",
        a_restarted_server_has_its_data_and_no_past,
    ),
    ("a_wiped_cluster_begins_anew", a_wiped_cluster_begins_anew),
];

/// Shorter than any answer of a frozen server, longer than any of a healthy one.
const BRIEF: Duration = Duration::from_secs(2);

fn outsider(stage: &Stage<'_>) -> Client {
    stage
        .cluster
        .client_as(&User::admin())
        .unwrap_or_else(|error| panic!("{error}"))
}

fn fault(stage: &Stage<'_>, fault: Fault) {
    stage
        .cluster
        .fault(fault)
        .unwrap_or_else(|error| panic!("{error}"));
}

fn heal(stage: &Stage<'_>) {
    stage.cluster.heal().unwrap_or_else(|error| panic!("{error}"));
}

fn a_busy_server_says_so(stage: &Stage<'_>) {
    let client = outsider(stage);
    let from = version(&stage.config_map("a", "1"));
    let watch = client
        .watch(&format!(
            "{}?watch=1&resourceVersion={from}",
            stage.core("configmaps")
        ))
        .unwrap();
    for (inflicted, expected, reason) in [
        (Fault::Unavailable, 503, "ServiceUnavailable"),
        (Fault::Throttled(Duration::from_secs(3)), 429, "TooManyRequests"),
        (Fault::Forbidden, 403, "Forbidden"),
    ] {
        fault(stage, inflicted);
        let reply = client.request("GET", &stage.core("configmaps"), None).unwrap();
        assert_eq!((reply.code, text(&reply.json()["reason"])), (expected, reason));
        let wait = reply
            .headers
            .get("retry-after")
            .map(|value| value.to_str().unwrap_or_default().to_owned());
        assert_eq!(wait.as_deref(), (expected == 429).then_some("3"));
    }
    stage.config_map("b", "1");
    expect(&watch, "ADDED", "b");
    heal(stage);
    good(client.get(&stage.core("configmaps")));
}

fn slow_lists_are_late_and_all_else_is_not(stage: &Stage<'_>) {
    let client = outsider(stage);
    let delay = Duration::from_millis(900);
    fault(
        stage,
        Fault::SlowList {
            resource: "configmaps".to_owned(),
            delay,
        },
    );
    let start = Instant::now();
    good(client.get(&stage.core("services")));
    assert!(start.elapsed() < delay, "{:?}", start.elapsed());
    let start = Instant::now();
    good(client.get(&stage.core("configmaps")));
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
}

fn silent_watches_stay_open_and_hear_nothing(stage: &Stage<'_>) {
    let client = outsider(stage);
    let from = version(&stage.config_map("a", "1"));
    let path = format!(
        "{}?watch=1&resourceVersion={from}&timeoutSeconds=1",
        stage.core("configmaps")
    );
    let deaf = client.watch(&path).unwrap();
    fault(stage, Fault::SilentWatches);
    stage.config_map("b", "1");
    let hears = client.watch(&path).unwrap();
    expect(&hears, "ADDED", "b");
    assert_eq!(hears.next(SOON), Heard::End, "its time is over");
    assert_eq!(deaf.next(BRIEF), Heard::Silence, "not even its end is heard");
    good(client.get(&stage.core("configmaps")));
}

fn a_frozen_server_answers_nothing_and_goes_on(stage: &Stage<'_>) {
    let client = outsider(stage);
    let from = version(&stage.config_map("a", "1"));
    let path = format!("{}?watch=1&resourceVersion={from}", stage.core("configmaps"));
    let watch = client.watch(&path).unwrap();
    good(client.get(&stage.core("configmaps")));
    fault(stage, Fault::Frozen);
    let pooled = client.patience(BRIEF);
    for client in [&pooled, &pooled.clone()] {
        let outcome = client.get(&stage.core("configmaps"));
        assert!(outcome.is_err() && code(&outcome) == 0, "{outcome:?}");
    }
    assert_eq!(watch.next(Duration::from_millis(100)), Heard::Silence);
    heal(stage);
    stage.config_map("b", "1");
    expect(&watch, "ADDED", "b");
}

fn closed_connections_are_closed_at_once(stage: &Stage<'_>) {
    let client = outsider(stage);
    let from = version(&stage.config_map("a", "1"));
    let watch = client
        .watch(&format!(
            "{}?watch=1&resourceVersion={from}",
            stage.core("configmaps")
        ))
        .unwrap();
    fault(stage, Fault::Closed);
    assert_eq!(watch.next(SOON), Heard::End);
    let start = Instant::now();
    let outcome = client.get(&stage.core("configmaps"));
    assert!(outcome.is_err() && code(&outcome) == 0, "{outcome:?}");
    assert!(start.elapsed() < BRIEF, "{:?}", start.elapsed());
    heal(stage);
    good(client.get(&stage.core("configmaps")));
}

fn a_restarted_server_has_its_data_and_no_past(stage: &Stage<'_>) {
    let client = outsider(stage);
    let made = stage.config_map("a", "1");
    let path = format!(
        "{}?watch=1&resourceVersion={}",
        stage.core("configmaps"),
        version(&made)
    );
    let watch = client.watch(&path).unwrap();
    stage.config_map("b", "1");
    expect(&watch, "ADDED", "b");
    fault(stage, Fault::Down);
    assert_eq!(watch.next(SOON), Heard::End);
    let start = Instant::now();
    let outcome = client.get(&stage.core("configmaps"));
    assert!(outcome.is_err() && code(&outcome) == 0, "{outcome:?}");
    assert!(start.elapsed() < BRIEF, "a refused connection is refused at once");
    heal(stage);
    let kept = good(client.get(&stage.core("configmaps/a")));
    assert_eq!(kept, made);
    expect_expired(client.watch(&path));
    expect_expired(client.watch(&format!("{}?watch=1&resourceVersion=1", stage.core("configmaps"))));
}

fn a_wiped_cluster_begins_anew(stage: &Stage<'_>) {
    let client = outsider(stage);
    let path = stage.core("configmaps");
    let mut last = stage.config_map("a", "1");
    // More writes than a new cluster makes by itself.
    for n in 0..100 {
        last = good(stage.client().merge(
            &format!("{path}/a"),
            &json!({ "data": { "value": n.to_string() } }),
        ));
    }
    let before = good(client.get("/api/v1/namespaces/kube-system"));
    stage.cluster.wipe().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(code(&client.get(&format!("{path}/a"))), 404);
    let after = good(client.get("/api/v1/namespaces/kube-system"));
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
    stage.make_namespace();
    let now = version(&good(client.get(&path)));
    assert!(now < version(&last), "{now} is not before {}", version(&last));
    // The trap: a watch from the lost past is not refused, it hears nothing.
    let blind = client
        .watch(&format!("{path}?watch=1&resourceVersion={}", version(&last)))
        .unwrap();
    stage.config_map("b", "1");
    assert_eq!(blind.next(BRIEF), Heard::Silence);
}
