//! Events (events.k8s.io/v1): whole from the first, short, and but for their series never changed.

use serde_json::Value;

use crate::cluster::refusal::Cause;

const NOTE_LIMIT: usize = 1024;
const WORD_LIMIT: usize = 128;

/// What the real server takes no change of; a changed note is refused, too.
const FIXED: &[&str] = &[
    "regarding",
    "related",
    "reason",
    "note",
    "type",
    "eventTime",
    "action",
    "reportingController",
    "reportingInstance",
];

pub(super) fn causes(old: Option<&Value>, event: &Value) -> Vec<Cause> {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    let mut causes = Vec::new();
    for field in [
        "eventTime",
        "reportingController",
        "reportingInstance",
        "action",
        "reason",
    ] {
        if text(field).is_empty() {
            causes.push(Cause::required(field));
        }
    }
    let limits = [
        ("reportingInstance", WORD_LIMIT),
        ("action", WORD_LIMIT),
        ("reason", WORD_LIMIT),
        ("note", NOTE_LIMIT),
    ];
    for (field, limit) in limits {
        if text(field).len() > limit {
            let why = format!("can have at most {limit} characters");
            causes.push(Cause::invalid(field, &Value::Null, &why));
        }
    }
    if !["Normal", "Warning"].contains(&text("type")) {
        causes.push(Cause::invalid("type", &event["type"], "has invalid value"));
    }
    causes.extend(place_cause(event));
    causes.extend(series_causes(&event["series"]));
    for field in FIXED {
        if old.is_some_and(|old| old[*field] != event[*field]) {
            causes.push(Cause::invalid(*field, &event[*field], "field is immutable"));
        }
    }
    causes
}

/// Events about cluster-scoped objects have their own place.
fn place_cause(event: &Value) -> Option<Cause> {
    let own = event["metadata"]["namespace"].as_str().unwrap_or_default();
    let regarding = &event["regarding"]["namespace"];
    let wide = regarding.as_str().unwrap_or_default().is_empty();
    let bad = wide && !["default", "kube-system"].contains(&own);
    bad.then(|| {
        let why = "does not match event.namespace";
        Cause::invalid("involvedObject.namespace", regarding, why)
    })
}

fn series_causes(series: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if series.is_object() {
        if series["count"].as_u64().is_none_or(|count| count < 2) {
            causes.push(Cause::invalid(
                "series.count",
                &series["count"],
                "should be at least 2",
            ));
        }
        if series["lastObservedTime"].as_str().is_none_or(str::is_empty) {
            causes.push(Cause::required("series.lastObservedTime"));
        }
    }
    causes
}
