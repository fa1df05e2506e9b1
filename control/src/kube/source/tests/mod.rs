//! The folding rules case by case, then against an oracle; the streams against servers.

mod schedules;

use crate::event::Event;
use crate::kube::kinds::KINDS;
use crate::kube::source::barrier::{Barrier, Opened};
use crate::kube::source::fold::{Fold, History, News, Seen};
use crate::model::{ClusterId, ObjectName};
use crate::problem::Problem;

fn name(name: &str) -> ObjectName {
    ObjectName::of(ClusterId::OWN, "default", name)
}

/// An event that is told apart by its number; the folding does not look into it.
fn spec(number: u64) -> Seen {
    Seen::Spec(Event::Steered { revision: number })
}

fn broken() -> Seen {
    Seen::Broken(Problem::error("broken", "mend it"))
}

fn list(fold: &mut Fold, at: u64, items: Vec<(&str, u64, Seen)>) -> News {
    let mut news = News::default();
    fold.begin(Some(at), History::Same);
    for (object, version, seen) in items {
        if !fold.is_current(&name(object), Some(version)) {
            fold.put(name(object), Some(version), seen, &mut news);
        }
    }
    fold.finish(&mut news);
    news
}

fn applied(news: &News) -> Vec<&str> {
    news.applied.iter().map(|(name, _)| &*name.name).collect()
}

#[test]
fn a_list_tells_what_is_new_and_deletes_what_is_missing() {
    let mut fold = Fold::default();
    let news = list(&mut fold, 10, vec![("a", 1, spec(1)), ("b", 2, spec(1))]);
    assert_eq!(
        (applied(&news), news.deleted.len(), news.synced),
        (vec!["a", "b"], 0, true)
    );
    let news = list(&mut fold, 20, vec![("a", 1, spec(1)), ("c", 15, spec(1))]);
    assert_eq!(applied(&news), ["c"]);
    assert_eq!(news.deleted, [name("b")]);
}

#[test]
fn a_list_that_breaks_off_deletes_nothing() {
    let mut fold = Fold::default();
    list(&mut fold, 10, vec![("a", 1, spec(1)), ("b", 2, spec(1))]);
    fold.begin(Some(20), History::Same);
    assert!(fold.is_current(&name("a"), Some(1)));
    // Begun anew: b comes on the second page this time.
    let news = list(&mut fold, 20, vec![("a", 1, spec(1)), ("b", 2, spec(1))]);
    assert!(news.is_empty() || news.deleted.is_empty(), "{news:?}");
}

#[test]
fn an_object_that_breaks_keeps_its_last_good_state_and_is_one_problem() {
    let mut fold = Fold::default();
    list(&mut fold, 10, vec![("a", 1, spec(1))]);
    let mut news = News::default();
    fold.put(name("a"), Some(11), broken(), &mut news);
    assert!(news.is_empty() && news.problems);
    assert_eq!(fold.problems(10).1, 1);
    // Nor does a list in which it is still broken take it away.
    let news = list(&mut fold, 20, vec![("a", 11, broken())]);
    assert!(news.deleted.is_empty() && !news.problems, "{news:?}");
    let news = list(&mut fold, 30, vec![("a", 25, spec(2))]);
    assert_eq!((applied(&news), news.problems), (vec!["a"], true));
    assert_eq!(fold.problems(10).1, 0);
    // Deleted, its problem goes with it.
    let mut news = News::default();
    fold.put(name("a"), Some(31), broken(), &mut news);
    fold.gone(&name("a"), &mut news);
    assert_eq!(news.deleted, [name("a")]);
    assert_eq!(fold.problems(10).1, 0);
}

#[test]
fn what_is_no_longer_for_us_is_deleted_once() {
    let mut fold = Fold::default();
    list(&mut fold, 10, vec![("a", 1, spec(1))]);
    let note = || Seen::LeftAlone(Problem::note("left alone", "nothing"));
    let mut news = News::default();
    fold.put(name("a"), Some(11), note(), &mut news);
    fold.put(name("a"), Some(12), note(), &mut news);
    fold.gone(&name("a"), &mut news);
    assert_eq!(news.deleted, [name("a")]);
    assert!(!news.problems, "a note about a foreign object was kept");
}

#[test]
fn versions_of_another_history_say_nothing() {
    let mut fold = Fold::default();
    list(&mut fold, 100, vec![("a", 50, spec(1))]);
    // The list itself is older than what was seen.
    let news = list(&mut fold, 60, vec![("a", 50, spec(2))]);
    assert_eq!(applied(&news), ["a"]);
    // The probe says so.
    let mut news = News::default();
    fold.begin(Some(70), History::Another);
    assert!(!fold.is_current(&name("a"), Some(50)));
    fold.put(name("a"), Some(50), spec(3), &mut news);
    assert_eq!(applied(&news), ["a"]);
}

#[test]
fn what_the_controller_knew_before_is_deleted_when_it_is_not_there() {
    let mut fold = Fold::new([name("old"), name("kept")]);
    let news = list(&mut fold, 10, vec![("kept", 1, spec(1))]);
    assert_eq!(applied(&news), ["kept"]);
    assert_eq!(news.deleted, [name("old")]);
}

#[test]
fn deletions_wait_for_the_slowest_kind_and_are_dropped_when_the_object_is_back() {
    let mut barrier = Barrier::new(KINDS.iter().take(2).collect());
    let mut events = vec![];
    let deleted = |names: &[&str]| News {
        deleted: names.iter().map(|n| name(n)).collect(),
        synced: true,
        ..News::default()
    };
    assert_eq!(barrier.pass(0, deleted(&["a", "b"]), &mut events), Opened::No);
    assert!(events.is_empty(), "{events:?}");
    let back = News {
        applied: vec![(name("a"), Event::Tick)],
        ..News::default()
    };
    assert_eq!(barrier.pass(0, back, &mut events), Opened::No);
    let synced = News {
        synced: true,
        ..News::default()
    };
    assert_eq!(barrier.pass(1, synced, &mut events), Opened::Now);
    assert_eq!(events, [Event::Tick, Event::ServiceDeleted(name("b"))]);
    // From then on at once, and it opens only once.
    events.clear();
    assert_eq!(barrier.pass(1, deleted(&["c"]), &mut events), Opened::No);
    assert_eq!(events, [Event::SliceDeleted(name("c"))]);
}
