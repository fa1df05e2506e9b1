use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::scribe::{LONGEST_NOTE, cut, event};
use super::series::{Series, Telling, TooFast};
use super::*;
use crate::model::{ClusterId, ObjectKind, ObjectName};

fn note(name: &str, text: &str) -> Note {
    Note {
        object: ObjectRef {
            kind: ObjectKind::Service,
            name: ObjectName::of(ClusterId::OWN, "default", name),
        },
        uid: "7f9c".to_owned(),
        reason: Reason::AllocationFailed,
        text: text.to_owned(),
    }
}

fn secs(seconds: u64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds)
}

fn name(telling: &Telling) -> &str {
    match telling {
        Telling::First { name, .. } | Telling::Again { name, .. } => name,
    }
}

#[test]
fn the_same_note_is_counted_and_another_one_is_another_event() {
    let mut series = Series::default();
    let first = series.note(note("a", "no pool"), secs(0)).unwrap().unwrap();
    for second in 1..10 {
        assert_eq!(series.note(note("a", "no pool"), secs(second)), Ok(None));
    }
    let other = series
        .note(note("a", "pool is empty"), secs(10))
        .unwrap()
        .unwrap();
    assert_ne!(name(&first), name(&other));
    assert_eq!(series.due(), Some(secs(30)));
    assert_eq!(series.next(secs(29)), None);
    let again = series.next(secs(30)).unwrap();
    assert!(matches!(&again, Telling::Again { count: 10, .. }), "{again:?}");
    assert_eq!(name(&again), name(&first));
    // Told; nothing to say until it comes again.
    assert_eq!((series.due(), series.next(secs(90))), (None, None));
}

#[test]
fn after_six_quiet_minutes_it_is_a_new_event() {
    let mut series = Series::default();
    let first = series.note(note("a", "no pool"), secs(0)).unwrap().unwrap();
    assert_eq!(series.note(note("a", "no pool"), secs(359)), Ok(None));
    let second = series
        .note(note("a", "no pool"), secs(359 + 360))
        .unwrap()
        .unwrap();
    assert_ne!(name(&first), name(&second));
}

#[test]
fn an_event_that_is_gone_is_made_anew() {
    let mut series = Series::default();
    let first = series.note(note("a", "no pool"), secs(0)).unwrap().unwrap();
    series.lost(&note("a", "no pool"));
    let second = series.note(note("a", "no pool"), secs(1)).unwrap().unwrap();
    assert_ne!(name(&first), name(&second));
}

#[test]
fn one_object_that_says_ever_new_things_is_cut_off_and_the_others_are_not() {
    let mut series = Series::default();
    let told = |result: &Result<Option<Telling>, TooFast>| matches!(result, Ok(Some(_)));
    let noisy: Vec<_> = (0..1000)
        .map(|at| series.note(note("noisy", &at.to_string()), secs(at)))
        .collect();
    assert_eq!(noisy.iter().filter(|result| told(result)).count(), 25 + 3);
    assert!(told(&series.note(note("quiet", "hello"), secs(1000))));
}

#[test]
fn no_flood_fills_the_memory() {
    let mut series = Series::default();
    for at in 0..100_000_u64 {
        let now = std::time::Duration::from_millis(at * 60);
        let result = series.note(note(&format!("s{at}"), "hello"), now);
        assert!(matches!(result, Ok(Some(_))), "{at}: {result:?}");
        let (runs, objects) = series.sizes();
        assert!(runs <= 2000 && objects <= 6100, "{runs} runs, {objects} objects");
    }
}

#[test]
fn an_event_has_all_that_the_server_asks_for() {
    let long = "ä".repeat(1000);
    let event = event("a.1", &note("a", &long), "node-1", Timestamp::UNIX_EPOCH);
    let json = serde_json::to_value(&event).unwrap();
    for field in [
        "action",
        "reason",
        "reportingController",
        "reportingInstance",
        "type",
        "eventTime",
    ] {
        assert!(
            json[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}: {json}"
        );
    }
    assert_eq!(json["regarding"]["uid"], "7f9c");
    assert_eq!(json["metadata"]["namespace"], "default");
    assert!(event.note.unwrap().len() <= LONGEST_NOTE);
}

#[test]
fn events_about_cluster_scoped_objects_live_in_default() {
    let mut note = note("pool", "x");
    note.object.name.namespace = "".into();
    let event = event("pool.1", &note, "node-1", Timestamp::UNIX_EPOCH);
    assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
    assert_eq!(event.regarding.unwrap().namespace, None);
}

#[test]
fn reasons_are_words_for_machines() {
    let mut seen = std::collections::BTreeSet::new();
    for reason in Reason::ALL {
        assert!(
            reason.name().chars().all(|c| c.is_ascii_alphanumeric()),
            "{reason:?}"
        );
        assert!(seen.insert(reason.name()), "{reason:?} is there twice");
        assert!(!reason.action().is_empty());
    }
}

proptest! {
    #[test]
    fn names_are_valid_and_differ_however_long_the_objects_is(object in "[a-z]([a-z0-9.-]{0,251}[a-z0-9])?") {
        let mut series = Series::default();
        let mut names: Vec<String> = vec![];
        for text in ["one", "two"] {
            let telling = series.note(note(&object, text), secs(0)).unwrap().unwrap();
            names.push(name(&telling).to_owned());
        }
        prop_assert_ne!(&names[0], &names[1]);
        prop_assert!(names.iter().all(|name| name.len() <= 253));
    }

    #[test]
    fn a_cut_text_fits_and_is_not_cut_within_a_character(text in "\\PC{0,600}", longest in 3..300usize) {
        let cut = cut(&text, longest);
        prop_assert!(cut.len() <= longest);
        prop_assert!(cut == text || (cut.ends_with("...") && text.starts_with(&cut[..cut.len() - 3])));
    }
}
