//! Every interleaving of a publisher with its readers, by loom:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p maglane-shared --lib loom`.
//!
//! Were a slot ever contended, `try_lock` would fail, a value be lost, and a reader stand without one or
//! miss the newest: that is what the assertions look for.

use loom::thread::{self, ThreadId};

use super::*;

/// A published value that insists on dying where it was born: with the publisher.
struct Value {
    number: u32,
    home: ThreadId,
}

impl Drop for Value {
    fn drop(&mut self) {
        assert_eq!(
            thread::current().id(),
            self.home,
            "value {} died on a reader's side",
            self.number
        );
    }
}

fn value(number: u32) -> Arc<Value> {
    Arc::new(Value {
        number,
        home: thread::current().id(),
    })
}

/// What a worker does, `turns` times: take the newest, find it whole and not older than the last.
fn read(reader: &mut Reader<Value>, turns: usize) {
    let mut last = reader.get().expect("a reader starts with a value").number;
    for _ in 0..turns {
        let refresh = reader.refresh();
        let now = reader.get().expect("a reader always has a value").number;
        assert!(now >= last, "{now} after {last}");
        assert!(refresh == Refresh::Changed || now == last);
        last = now;
    }
}

fn explore(readers: usize, newest: u32, turns: usize, preemptions: Option<usize>) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(move || {
        let (mut publisher, ends) = channel(&value(0), readers);
        let workers: Vec<_> = ends
            .into_iter()
            .map(|mut reader| {
                thread::spawn(move || {
                    read(&mut reader, turns);
                    reader
                })
            })
            .collect();
        for number in 1..=newest {
            publisher.publish(&value(number));
        }
        for worker in workers {
            let mut reader = worker.join().unwrap();
            read(&mut reader, 1);
            assert_eq!(reader.get().map(|v| v.number), Some(newest));
            assert_eq!(reader.refresh(), Refresh::Unchanged);
        }
    });
}

#[test]
fn loom_one_reader_three_publications() {
    explore(1, 3, 3, None);
}

#[test]
fn loom_two_readers_two_publications() {
    explore(2, 2, 2, Some(3));
}

/// A worker that ends while the publisher goes on leaves nothing to die on its side.
#[test]
fn loom_a_reader_leaves() {
    loom::model(|| {
        let (mut publisher, mut ends) = channel(&value(0), 1);
        let mut reader = ends.pop().expect("one reader");
        let worker = thread::spawn(move || read(&mut reader, 1));
        publisher.publish(&value(1));
        publisher.publish(&value(2));
        worker.join().unwrap();
        drop(publisher);
    });
}
