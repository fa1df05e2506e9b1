//! WATCH: order, versions that have expired, bookmarks, time limits, selectors.

use std::time::{Duration, Instant};

use maglane_perf::cluster::Heard;
use serde_json::json;

use crate::stage::{Case, SOON, Stage, expect, good, version};

pub const CASES: &[Case] = &[
    (
        "a_watch_goes_on_where_the_list_ended",
        a_watch_goes_on_where_the_list_ended,
    ),
    (
        "a_watch_without_a_version_tells_everything_first",
        a_watch_without_a_version_tells_everything_first,
    ),
    (
        "a_watch_ends_with_a_bookmark_when_its_time_is_over",
        a_watch_ends_with_a_bookmark,
    ),
    (
        "a_selector_makes_objects_come_and_go",
        a_selector_makes_objects_come_and_go,
    ),
    (
        "watches_of_all_namespaces_hear_of_each",
        watches_of_all_namespaces_hear_of_each,
    ),
];

fn a_watch_goes_on_where_the_list_ended(stage: &Stage<'_>) {
    stage.config_map("old", "x");
    let path = stage.core("configmaps");
    let list = good(stage.client().get(&path));
    let from = version(&list);
    let made = stage.config_map("new", "1");
    let watch = stage
        .client()
        .watch(&format!("{path}?watch=1&resourceVersion={from}"))
        .unwrap();
    assert_eq!(expect(&watch, "ADDED", "new"), made);
    let changed = good(stage.client().merge(
        &stage.core("configmaps/new"),
        &json!({ "data": { "value": "2" } }),
    ));
    assert_eq!(expect(&watch, "MODIFIED", "new"), changed);
    assert!(version(&changed) > version(&made));
    good(stage.client().delete(&stage.core("configmaps/new")));
    let gone = expect(&watch, "DELETED", "new");
    assert!(
        version(&gone) > version(&changed),
        "last words have the version of the deletion"
    );
    assert_eq!(gone["data"]["value"], "2");
    assert_eq!(watch.next(Duration::from_millis(300)), Heard::Silence);
}

fn a_watch_without_a_version_tells_everything_first(stage: &Stage<'_>) {
    for name in ["a", "b"] {
        stage.config_map(name, "x");
    }
    for query in ["watch=true", "watch=true&resourceVersion=0"] {
        let watch = stage
            .client()
            .watch(&format!("{}?{query}", stage.core("configmaps")))
            .unwrap();
        for name in ["a", "b"] {
            expect(&watch, "ADDED", name);
        }
        assert_eq!(watch.next(Duration::from_millis(200)), Heard::Silence, "{query}");
    }
}

fn a_watch_ends_with_a_bookmark(stage: &Stage<'_>) {
    let made = stage.config_map("a", "x");
    let path = format!(
        "{}?watch=1&resourceVersion={}&allowWatchBookmarks=true&timeoutSeconds=4&fieldSelector=metadata.name%3Da",
        stage.core("configmaps"),
        version(&made)
    );
    let start = Instant::now();
    let watch = stage.client().watch(&path).unwrap();
    // No bookmark tells what the client came with: something has to happen that is not told.
    let later = stage.config_map("not-selected", "x");
    let heard = watch.next(SOON);
    assert_eq!(heard.kind(), "BOOKMARK", "{heard:?}");
    assert_eq!(heard.object()["kind"], "ConfigMap");
    assert!(version(heard.object()) >= version(&later), "{heard:?}");
    let mut last = heard;
    while last != Heard::End {
        assert_eq!(last.kind(), "BOOKMARK", "{last:?}");
        last = watch.next(SOON);
    }
    assert!(start.elapsed() > Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

fn a_selector_makes_objects_come_and_go(stage: &Stage<'_>) {
    let made = stage.config_map("a", "x");
    let path = stage.core("configmaps/a");
    let watch = stage
        .client()
        .watch(&format!(
            "{}?watch=1&resourceVersion={}&labelSelector=on%3Dyes",
            stage.core("configmaps"),
            version(&made)
        ))
        .unwrap();
    let label = |value: &str| json!({ "metadata": { "labels": { "on": value } } });
    good(stage.client().merge(&path, &label("yes")));
    expect(&watch, "ADDED", "a");
    let off = good(stage.client().merge(&path, &label("no")));
    let gone = expect(&watch, "DELETED", "a");
    assert_eq!(version(&gone), version(&off));
    assert_eq!(
        gone["metadata"]["labels"]["on"], "yes",
        "the last state that matched"
    );
    good(stage.client().delete(&path));
    assert_eq!(watch.next(Duration::from_millis(300)), Heard::Silence);
}

fn watches_of_all_namespaces_hear_of_each(stage: &Stage<'_>) {
    let list = good(stage.client().get("/api/v1/configmaps"));
    let from = version(&list);
    let watch = stage
        .client()
        .watch(&format!("/api/v1/configmaps?watch=1&resourceVersion={from}"))
        .unwrap();
    stage.config_map("mine", "x");
    let mut heard = watch.next(SOON);
    while heard.object()["metadata"]["name"] != "mine" {
        assert!(matches!(heard, Heard::Event(_)), "{heard:?}");
        heard = watch.next(SOON);
    }
    assert_eq!(heard.object()["metadata"]["namespace"], json!(stage.namespace));
}
