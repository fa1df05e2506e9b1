//! The one publication point: the newest table, from one publisher to one reader a worker.
//!
//! A triple buffer of three slots and one exchange word. Publisher and reader each own one slot, the third
//! lies in the exchange; either side swaps its own with it. So nobody waits, a reader that sleeps sees only
//! the newest table when it wakes, and memory is bounded whatever a reader does. The slots' mutexes are
//! never contended (the exchange hands out ownership; loom proves it): they stand in for unsafe code.
//! A reader gives up its table *before* it gives back the slot that also holds it, so the last reference
//! always dies on the publisher's side.

use crate::sync::{Arc, AtomicU8, Mutex, Ordering};

const FRESH: u8 = 0b100;
const INDEX: u8 = 0b011;

#[derive(Debug)]
struct Exchange<T> {
    slots: [Mutex<Option<Arc<T>>>; 3],
    /// Index of the slot nobody owns, with [`FRESH`] when the publisher put it there last.
    middle: AtomicU8,
}

/// The control side of one reader's exchange.
#[derive(Debug)]
struct Writer<T> {
    exchange: Arc<Exchange<T>>,
    own: u8,
}

impl<T> Writer<T> {
    fn write(&mut self, value: &Arc<T>) {
        put(&self.exchange.slots[usize::from(self.own)], Arc::clone(value));
        let middle = self.exchange.middle.swap(self.own | FRESH, Ordering::AcqRel);
        self.own = middle & INDEX;
        // The slot just received holds an older table: drop it now, on this side.
        drop(take(&self.exchange.slots[usize::from(self.own)]));
    }
}

/// The publisher: lives on the control side.
#[derive(Debug)]
pub struct Publisher<T> {
    writers: Vec<Writer<T>>,
}

/// A worker's end. Not shared between threads.
#[derive(Debug)]
pub struct Reader<T> {
    exchange: Arc<Exchange<T>>,
    own: u8,
    current: Option<Arc<T>>,
}

/// A publisher and `readers` readers, all of which start with `initial`.
pub fn channel<T>(initial: &Arc<T>, readers: usize) -> (Publisher<T>, Vec<Reader<T>>) {
    (0..readers).map(|_| pair(initial)).fold(
        (Publisher { writers: vec![] }, vec![]),
        |(mut p, mut r), (w, reader)| {
            p.writers.push(w);
            r.push(reader);
            (p, r)
        },
    )
}

fn pair<T>(initial: &Arc<T>) -> (Writer<T>, Reader<T>) {
    let exchange = Arc::new(Exchange {
        slots: [
            Mutex::new(Some(Arc::clone(initial))),
            Mutex::new(None),
            Mutex::new(None),
        ],
        middle: AtomicU8::new(1),
    });
    let reader = Reader {
        exchange: Arc::clone(&exchange),
        own: 0,
        current: Some(Arc::clone(initial)),
    };
    (Writer { exchange, own: 2 }, reader)
}

impl<T> Publisher<T> {
    /// Makes `value` what every reader takes at its next turn. Never waits.
    pub fn publish(&mut self, value: &Arc<T>) {
        for writer in &mut self.writers {
            writer.write(value);
        }
    }
}

impl<T> Reader<T> {
    /// Takes the newest value if there is one. One relaxed load when there is none.
    #[inline]
    pub fn refresh(&mut self) -> Refresh {
        if self.exchange.middle.load(Ordering::Relaxed) & FRESH == 0 {
            return Refresh::Unchanged;
        }
        self.exchange_slots();
        Refresh::Changed
    }

    #[cold]
    fn exchange_slots(&mut self) {
        self.current = None;
        let middle = self.exchange.middle.swap(self.own, Ordering::AcqRel);
        self.own = middle & INDEX;
        self.current = peek(&self.exchange.slots[usize::from(self.own)]);
    }

    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.current.as_deref()
    }
}

/// What [`Reader::refresh`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    Unchanged,
    Changed,
}

/// The exchange word gives each slot one owner at a time, so `try_lock` cannot fail; were the protocol
/// broken, loom would see the `None` and the caller would keep no table rather than wait.
fn put<T>(slot: &Mutex<Option<Arc<T>>>, value: Arc<T>) {
    if let Ok(mut held) = slot.try_lock() {
        *held = Some(value);
    }
}

fn take<T>(slot: &Mutex<Option<Arc<T>>>) -> Option<Arc<T>> {
    slot.try_lock().ok().and_then(|mut held| held.take())
}

fn peek<T>(slot: &Mutex<Option<Arc<T>>>) -> Option<Arc<T>> {
    slot.try_lock().ok().and_then(|held| held.clone())
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;
