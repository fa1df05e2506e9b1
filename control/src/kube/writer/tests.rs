use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::{ClusterId, ObjectKind, ObjectName};

fn object(name: &str) -> ObjectRef {
    ObjectRef {
        kind: ObjectKind::Service,
        name: ObjectName::of(ClusterId::OWN, "default", name),
    }
}

fn write(name: &str, number: u64) -> StatusWrite {
    StatusWrite {
        object: object(name),
        body: json!({"status": {"number": number}}),
        ownership: Ownership::Respect,
    }
}

fn number(attempt: &Attempt) -> u64 {
    attempt.body["status"]["number"].as_u64().unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn conflict() -> Failure {
    let text =
        "409 Apply failed with 2 conflicts: conflicts with \"metallb\" using v1:\n- .status.a\n- .status.b";
    Failure::Conflict(text.to_owned())
}

fn unavailable() -> Failure {
    Failure::Unavailable {
        message: "503".to_owned(),
        after: None,
    }
}

/// Runs a queue against a server until `end`, each call answered at once.
fn run(
    queue: &mut Queue,
    from: Duration,
    end: Duration,
    mut server: impl FnMut(&Attempt) -> Result<(), Failure>,
) -> Vec<Duration> {
    let mut calls = vec![];
    let mut now = from;
    while let Some(at) = queue.ready_at().map(|at| at.max(now)).filter(|at| *at < end) {
        now = at;
        while let Some(attempt) = queue.take(now) {
            calls.push(now);
            let result = server(&attempt);
            queue.done(attempt, result, now, u32::MAX / 2);
        }
    }
    calls
}

#[test]
fn only_the_latest_wish_is_written() {
    let mut queue = Queue::new();
    queue.put(write("a", 1), ms(0));
    queue.put(write("a", 2), ms(1));
    let attempt = queue.take(ms(1)).unwrap();
    assert_eq!(number(&attempt), 2);
    assert!(queue.take(ms(1)).is_none());
    // Wished while the call is under way: written after it, not beside it.
    queue.put(write("a", 3), ms(2));
    queue.put(write("a", 4), ms(3));
    assert!(queue.take(ms(3)).is_none());
    assert_eq!(
        queue.done(attempt, Ok(()), ms(4), 0),
        Some(Outcome::Written(object("a")))
    );
    let attempt = queue.take(ms(4)).unwrap();
    assert_eq!(number(&attempt), 4);
    queue.done(attempt, Ok(()), ms(5), 0);
    assert_eq!(queue.ready_at(), None);
    assert_eq!(
        queue.counts,
        Counts {
            writes: 2,
            ..Counts::default()
        }
    );
}

#[test]
fn at_most_eight_calls_are_under_way_and_the_rate_holds() {
    let mut queue = Queue::new();
    for at in 0..1000 {
        queue.put(write(&format!("s{at}"), 1), ms(0));
    }
    let under_way: Vec<Attempt> = std::iter::from_fn(|| queue.take(ms(0))).collect();
    assert_eq!(under_way.len(), 8);
    assert_eq!(queue.ready_at(), None);
    for attempt in under_way {
        queue.done(attempt, Ok(()), ms(0), 0);
    }
    let calls = run(&mut queue, ms(0), ms(60_000), |_| Ok(()));
    assert_eq!(calls.len(), 992);
    let at_once = calls.iter().filter(|at| **at == ms(0)).count();
    assert_eq!(at_once, 192, "with the eight before, the burst");
    let last = *calls.last().unwrap();
    assert!(last >= ms(7_900) && last <= ms(8_100), "{last:?}");
}

#[test]
fn a_failing_server_is_asked_ever_less_and_the_write_is_not_lost() {
    let mut queue = Queue::new();
    queue.put(write("a", 1), ms(0));
    let mut left = 20;
    let calls = run(&mut queue, ms(0), ms(600_000), |_| {
        left -= 1;
        if left > 0 { Err(unavailable()) } else { Ok(()) }
    });
    assert_eq!(calls.len(), 20);
    let gaps: Vec<Duration> = calls.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(
        gaps.iter().all(|gap| *gap >= ms(100) && *gap <= ms(15_000)),
        "{gaps:?}"
    );
    assert!(gaps[18] >= ms(7_500), "{gaps:?}");
    assert_eq!((queue.counts.failures, queue.counts.writes), (19, 1));
}

#[test]
fn a_server_that_names_a_time_is_not_asked_before() {
    let mut queue = Queue::new();
    queue.put(write("a", 1), ms(0));
    let attempt = queue.take(ms(0)).unwrap();
    let throttled = Failure::Unavailable {
        message: "429".to_owned(),
        after: Some(ms(3_000)),
    };
    queue.done(attempt, Err(throttled), ms(10), 0);
    assert!(queue.ready_at().unwrap() >= ms(3_010));
}

#[test]
fn a_rival_who_owns_the_fields_is_named_and_left_alone_but_once_a_minute() {
    let mut queue = Queue::new();
    queue.put(write("a", 1), ms(0));
    // The plan changes its mind all the while, which is no reason to write more.
    let mut calls = vec![];
    for second in 0..600 {
        queue.put(write("a", second), ms(second * 1000));
        let end = ms((second + 1) * 1000);
        calls.extend(run(&mut queue, ms(second * 1000), end, |_| Err(conflict())));
    }
    assert!(
        (10..=13).contains(&calls.len()),
        "{} writes in ten minutes",
        calls.len()
    );
    let late: Vec<Duration> = calls.iter().skip(3).copied().collect();
    assert!(late.windows(2).all(|w| w[1] - w[0] >= ms(60_000)), "{late:?}");
    let problems: Vec<&Problem> = queue.problems().collect();
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].message.ends_with("also written by metallb"),
        "{}",
        problems[0]
    );
    // It gives way: written, and no problem any more.
    run(&mut queue, ms(600_000), ms(700_000), |_| Ok(()));
    assert_eq!(queue.problems().count(), 0);
    assert_eq!(queue.counts.writes, 1);
}

#[test]
fn a_rival_who_undoes_each_write_gets_one_a_minute() {
    let mut queue = Queue::new();
    let mut calls = vec![];
    // Ten times a second the status is not what it should be.
    for tenth in 0..6000 {
        let now = ms(tenth * 100);
        queue.put(write("a", 7), now);
        calls.extend(run(&mut queue, now, now + ms(100), |_| Ok(())));
    }
    assert!(
        (10..=14).contains(&calls.len()),
        "{} writes in ten minutes",
        calls.len()
    );
    assert_eq!(queue.problems().count(), 1);
    // Another status is no quarrel.
    queue.put(write("a", 8), ms(600_000));
    run(&mut queue, ms(600_000), ms(700_000), |_| Ok(()));
    assert_eq!(queue.problems().count(), 0);
}

#[test]
fn what_is_refused_is_a_problem_and_not_tried_again() {
    let mut queue = Queue::new();
    queue.put(write("a", 1), ms(0));
    let mut calls = 0;
    run(&mut queue, ms(0), ms(600_000), |_| {
        calls += 1;
        Err(Failure::Invalid("422 status.number: too small".to_owned()))
    });
    assert_eq!((calls, queue.counts.refused), (1, 1));
    let text = queue.problems().next().unwrap().to_string();
    assert!(
        text.contains("Service default/a") && text.contains("too small"),
        "{text}"
    );
    queue.put(write("a", 2), ms(600_000));
    run(&mut queue, ms(600_000), ms(700_000), |_| Ok(()));
    assert_eq!(queue.problems().count(), 0);
}

#[test]
fn a_missing_right_is_one_problem_with_the_rule_to_add() {
    let mut queue = Queue::new();
    for at in 0..100 {
        queue.put(write(&format!("s{at}"), 1), ms(0));
    }
    run(&mut queue, ms(0), ms(1_000), |_| {
        Err(Failure::Forbidden("403 no".to_owned()))
    });
    let problems: Vec<&Problem> = queue.problems().collect();
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].remedy.contains("patch services/status"),
        "{}",
        problems[0]
    );
    run(&mut queue, ms(1_000), ms(100_000), |_| Ok(()));
    assert_eq!((queue.problems().count(), queue.counts.writes), (0, 100));
}

#[test]
fn what_was_wanted_is_void_when_another_writes() {
    let mut queue = Queue::new();
    queue.put(write("a", 1), ms(0));
    queue.put(write("b", 1), ms(0));
    let attempt = queue.take(ms(0)).unwrap();
    queue.clear();
    assert_eq!(queue.ready_at(), None);
    // Nor is the call that was under way repeated.
    queue.done(attempt, Err(unavailable()), ms(1), 0);
    assert_eq!(queue.ready_at(), None);
    // Put anew, it is a wish like any other.
    queue.put(write("a", 2), ms(2));
    let attempt = queue.take(ms(1_000)).unwrap();
    queue.done(attempt, Err(unavailable()), ms(1_001), 0);
    assert!(queue.ready_at().is_some());
}

#[test]
fn nothing_is_kept_of_objects_that_are_gone_or_quiet() {
    let mut queue = Queue::new();
    for at in 0..100_000_u64 {
        let now = ms(at * 10);
        queue.put(write(&format!("s{at}"), 1), now);
        let attempt = queue.take(now).unwrap();
        let result = match at % 3 {
            0 => Err(Failure::NotFound("404".to_owned())),
            1 => Err(Failure::Invalid("422".to_owned())),
            _ => Ok(()),
        };
        queue.done(attempt, result, now, 0);
        // Five minutes and the minute between two looks, at a hundred a second.
        assert!(queue.len() <= 36_001, "{} entries", queue.len());
    }
    queue.forget(ms(10_000_000));
    assert_eq!((queue.len(), queue.problems().count()), (0, 0));
}

#[test]
fn the_body_names_its_object_and_keeps_a_version_it_is_bound_to() {
    let body = json!({"status": {"a": 1}, "metadata": {"resourceVersion": "5"}});
    let whole = addressed(&object("a"), &body);
    let wanted = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a", "resourceVersion": "5"},
        "status": {"a": 1},
    });
    assert_eq!(whole, wanted);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Take,
    /// Ends one of the calls under way.
    End(usize, Result<(), Failure>),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let failure = prop_oneof![
        3 => Just(Ok(())),
        1 => Just(Err(unavailable())),
        1 => Just(Err(conflict())),
        1 => Just(Err(Failure::TimedOut(ms(5_000)))),
    ];
    let step = prop_oneof![
        4 => (0..4u8).prop_map(Step::Put),
        4 => Just(Step::Take),
        4 => (any::<usize>(), failure).prop_map(|(which, result)| Step::End(which, result)),
        1 => (0..5_000u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn in_any_order_of_events_the_last_wish_is_what_is_written_last(steps in steps()) {
        let mut queue = Queue::new();
        let (mut now, mut count) = (0, 0);
        let mut wanted: BTreeMap<ObjectRef, u64> = BTreeMap::new();
        let mut written: BTreeMap<ObjectRef, u64> = BTreeMap::new();
        let mut under_way: Vec<Attempt> = vec![];
        for step in steps {
            match step {
                Step::Put(which) => {
                    count += 1;
                    let write = write(&format!("s{which}"), count);
                    wanted.insert(write.object.clone(), count);
                    queue.put(write, ms(now));
                }
                Step::Take => under_way.extend(queue.take(ms(now))),
                Step::End(which, result) if !under_way.is_empty() => {
                    let attempt = under_way.swap_remove(which % under_way.len());
                    if result.is_ok() {
                        written.insert(attempt.object.clone(), number(&attempt));
                    }
                    queue.done(attempt, result, ms(now), 7);
                }
                Step::End(..) => {}
                Step::Wait(span) => now += span,
            }
            let objects: BTreeSet<&ObjectRef> = under_way.iter().map(|attempt| &attempt.object).collect();
            prop_assert_eq!(objects.len(), under_way.len(), "two calls for one object");
        }
        for attempt in under_way {
            written.insert(attempt.object.clone(), number(&attempt));
            queue.done(attempt, Ok(()), ms(now), 7);
        }
        run(&mut queue, ms(now), ms(now + 3_600_000), |attempt| {
            written.insert(attempt.object.clone(), number(attempt));
            Ok(())
        });
        prop_assert_eq!(wanted, written);
    }
}

#[test]
fn an_address_goes_before_what_only_explains() {
    let mut queue = Queue::new();
    for number in 0..300 {
        queue.put(write(&format!("s{number}"), number), ms(0));
    }
    let mut given = write("late", 1);
    given.body = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    queue.put(given.clone(), ms(1));
    let first = queue.take(ms(1)).unwrap();
    assert_eq!(first.object, object("late"));
    // One that the server does not take now has no right to be tried without a pause.
    queue.done(first, Err(unavailable()), ms(2), 0);
    assert_ne!(queue.take(ms(2)).unwrap().object, object("late"));
}
