//! A publisher at full speed against a busy reader on another core (loom proves the protocol; this, the scale).

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, ThreadId};

use super::*;

struct Value {
    number: u64,
    /// The same as `number`: were a value seen half-made, they would differ.
    copy: u64,
    home: ThreadId,
    dropped: Arc<AtomicU64>,
}

impl Drop for Value {
    fn drop(&mut self) {
        assert_eq!(
            thread::current().id(),
            self.home,
            "a reader dropped value {}",
            self.number
        );
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

fn value(number: u64, dropped: &Arc<AtomicU64>) -> Arc<Value> {
    Arc::new(Value {
        number,
        copy: number,
        home: thread::current().id(),
        dropped: Arc::clone(dropped),
    })
}

/// Reads until stopped, then once more; gives the reader back with the number of changes it saw.
fn busy_reader(mut reader: Reader<Value>, stop: &AtomicBool) -> (Reader<Value>, u64) {
    let (mut last, mut changes) = (0, 0);
    loop {
        let stopped = stop.load(Ordering::Acquire);
        let refresh = reader.refresh();
        let seen = reader.get().expect("a reader always has a value");
        assert_eq!(seen.number, seen.copy);
        assert!(seen.number >= last, "{} after {last}", seen.number);
        assert_eq!(refresh == Refresh::Changed, seen.number > last);
        changes += u64::from(seen.number > last);
        last = seen.number;
        if stopped {
            return (reader, changes);
        }
    }
}

#[test]
fn a_million_publications_to_a_busy_reader() {
    const PUBLICATIONS: u64 = 1_000_000;
    let dropped = Arc::new(AtomicU64::new(0));
    let (mut publisher, mut readers) = channel(&value(0, &dropped), 2);
    let mut sleeper = readers.pop().unwrap();
    let busy = readers.pop().unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let worker = scope.spawn(|| busy_reader(busy, &stop));
        for number in 1..=PUBLICATIONS {
            publisher.publish(&value(number, &dropped));
        }
        stop.store(true, Ordering::Release);
        let (reader, changes) = worker.join().unwrap();
        assert_eq!(reader.get().unwrap().number, PUBLICATIONS, "the newest was lost");
        assert!(changes > 0);
        // Memory is bounded whatever the readers do: a few values a reader are alive, no more.
        let alive = PUBLICATIONS + 1 - dropped.load(Ordering::Relaxed);
        assert!(alive <= 6, "{alive} values alive");
    });
    assert_eq!(sleeper.get().unwrap().number, 0, "a sleeper keeps what it has");
    assert_eq!(sleeper.refresh(), Refresh::Changed);
    assert_eq!(sleeper.get().unwrap().number, PUBLICATIONS);
    assert_eq!(sleeper.refresh(), Refresh::Unchanged);
    drop((publisher, sleeper));
    assert_eq!(dropped.load(Ordering::Relaxed), PUBLICATIONS + 1, "values leaked");
}

#[test]
fn nobody_listens() {
    let (mut publisher, readers) = channel(&Arc::new(1), 0);
    assert!(readers.is_empty());
    publisher.publish(&Arc::new(2));
}
