//! Random clusters and random streams: whatever is lost, repeated, cut off or rolled back, the controller ends
//! with what is there, and no object is deleted that was there all the time (FAILURES K3, K4).

use std::collections::BTreeMap;

use fastrand::Rng;

use super::{broken, name, spec};
use crate::event::Event;
use crate::kube::kinds::KINDS;
use crate::kube::source::barrier::{Barrier, Opened};
use crate::kube::source::fold::{Fold, History, News, Seen};
use crate::model::ObjectName;
use crate::problem::Problem;

const SCHEDULES: u64 = 100_000;
const ACTIONS: usize = 60;
const KIND_COUNT: usize = 2;
const OBJECTS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Good(u64),
    NotOurs,
    Broken,
}

impl State {
    fn seen(self) -> Seen {
        match self {
            State::Good(number) => spec(number),
            State::NotOurs => Seen::LeftAlone(Problem::note("not ours", "nothing")),
            State::Broken => broken(),
        }
    }
}

type Objects = BTreeMap<&'static str, (u64, State)>;

/// One kind at the server.
#[derive(Clone, Default)]
struct Truth {
    objects: Objects,
    /// Versions with what became of an object: `None` is its deletion.
    log: Vec<(u64, &'static str, Option<State>)>,
}

enum Stream {
    Idle,
    Listing {
        at: u64,
        rest: Vec<(&'static str, u64, State)>,
    },
    Watching {
        from: u64,
    },
}

/// What the controller was told of one kind.
#[derive(Default)]
struct Told {
    values: BTreeMap<ObjectName, u64>,
    /// When objects were last seen not to be there, by the count of values made until then.
    gone: BTreeMap<&'static str, u64>,
}

struct World {
    random: Rng,
    revision: u64,
    /// Every value is another one.
    value: u64,
    truth: [Truth; KIND_COUNT],
    backup: Option<(u64, [Truth; KIND_COUNT])>,
    streams: [Stream; KIND_COUNT],
    folds: [Fold; KIND_COUNT],
    /// Streams that must be told that the history is another.
    rolled_back: [bool; KIND_COUNT],
    barrier: Barrier,
    open: bool,
    told: [Told; KIND_COUNT],
}

impl World {
    fn new(seed: u64) -> World {
        World {
            random: Rng::with_seed(seed),
            revision: 100,
            value: 0,
            truth: Default::default(),
            backup: None,
            streams: [Stream::Idle, Stream::Idle],
            folds: Default::default(),
            rolled_back: [false; KIND_COUNT],
            barrier: Barrier::new(KINDS.iter().take(KIND_COUNT).collect()),
            open: false,
            told: Default::default(),
        }
    }

    fn act(&mut self) {
        let kind = self.random.usize(..KIND_COUNT);
        match self.random.u32(..100) {
            0..35 => self.change(kind),
            35..85 => {
                self.step(kind);
            }
            // The connection breaks: a list begins anew, a watch goes on where it was.
            85..90 => {
                if let Stream::Listing { .. } = self.streams[kind] {
                    self.streams[kind] = Stream::Idle;
                }
            }
            90..94 => self.streams[kind] = Stream::Idle,
            94..96 => self.backup = Some((self.revision, self.truth.clone())),
            96 => self.restore(),
            97 => {
                self.backup = Some((1, Default::default()));
                self.restore();
            }
            _ => self.probe(),
        }
    }

    fn change(&mut self, kind: usize) {
        let object = OBJECTS[self.random.usize(..OBJECTS.len())];
        self.value += 1;
        let state = match self.random.u32(..10) {
            0..6 => Some(State::Good(self.value)),
            6 => Some(State::NotOurs),
            7 => Some(State::Broken),
            _ => None,
        };
        self.set(kind, object, state);
    }

    fn set(&mut self, kind: usize, object: &'static str, state: Option<State>) {
        self.revision += 1;
        let truth = &mut self.truth[kind];
        match state {
            Some(state) => drop(truth.objects.insert(object, (self.revision, state))),
            None => drop(truth.objects.remove(object)),
        }
        truth.log.push((self.revision, object, state));
        self.mark_gone(kind);
    }

    fn mark_gone(&mut self, kind: usize) {
        for object in OBJECTS {
            let gone = matches!(
                self.truth[kind].objects.get(object),
                None | Some((_, State::NotOurs))
            );
            if gone {
                self.told[kind].gone.insert(object, self.value);
            }
        }
    }

    fn restore(&mut self) {
        let Some((revision, truth)) = self.backup.clone() else {
            return;
        };
        self.revision = revision;
        self.truth = truth;
        self.rolled_back = [true; KIND_COUNT];
        for kind in 0..KIND_COUNT {
            self.mark_gone(kind);
        }
    }

    /// All streams learn that the history is another.
    fn probe(&mut self) {
        for kind in 0..KIND_COUNT {
            if self.rolled_back[kind] {
                self.streams[kind] = Stream::Idle;
            }
        }
    }

    /// Delivers the next thing of a stream, if there is one.
    fn step(&mut self, kind: usize) -> bool {
        let mut news = News::default();
        let fold = &mut self.folds[kind];
        let truth = &self.truth[kind];
        let delivered = match &mut self.streams[kind] {
            Stream::Idle => {
                let history = match std::mem::take(&mut self.rolled_back[kind]) {
                    true => History::Another,
                    false => History::Same,
                };
                fold.begin(Some(self.revision), history);
                let items = truth
                    .objects
                    .iter()
                    .map(|(object, (at, state))| (*object, *at, *state));
                self.streams[kind] = Stream::Listing {
                    at: self.revision,
                    rest: items.collect(),
                };
                true
            }
            Stream::Listing { at, rest } => {
                match rest.pop() {
                    Some((object, version, state)) => take(fold, object, version, state, &mut news),
                    None => {
                        fold.finish(&mut news);
                        self.streams[kind] = Stream::Watching { from: *at };
                    }
                }
                true
            }
            Stream::Watching { from } => match truth.log.iter().find(|(at, _, _)| at > from) {
                Some((at, object, state)) => {
                    match state {
                        Some(state) => take(fold, object, *at, *state, &mut news),
                        None => fold.gone(&name(object), &mut news),
                    }
                    fold.advance(Some(*at));
                    *from = *at;
                    true
                }
                None => false,
            },
        };
        self.tell(kind, news);
        delivered
    }

    fn tell(&mut self, kind: usize, news: News) {
        let told: Vec<ObjectName> = news.applied.iter().map(|(name, _)| name.clone()).collect();
        let mut events = vec![];
        self.open |= self.barrier.pass(kind, news, &mut events) == Opened::Now;
        let mut told = told.into_iter();
        for event in events {
            if let Event::Steered { revision } = event {
                let object = told.next().unwrap();
                self.told[kind].values.insert(object, revision);
            } else if let Event::ServiceDeleted(object) = event {
                self.deleted(0, &object);
            } else if let Event::SliceDeleted(object) = event {
                self.deleted(1, &object);
            } else {
                panic!("{event:?}");
            }
        }
    }

    fn deleted(&mut self, kind: usize, object: &ObjectName) {
        assert!(self.open, "{object} was deleted before every kind was read");
        let told = &mut self.told[kind];
        let value = told.values.remove(object);
        assert!(value.is_some(), "{object} was deleted twice");
        let gone = told.gone.get(&*object.name).copied();
        assert!(gone >= value, "{object} was there all the time and was deleted");
    }

    /// Everything is delivered; then the controller must have what is there.
    fn settle_and_compare(mut self) {
        self.probe();
        for kind in 0..KIND_COUNT {
            // What is broken is mended: only then does it say what it should be.
            for object in OBJECTS {
                if let Some((_, State::Broken)) = self.truth[kind].objects.get(object) {
                    self.value += 1;
                    let mended = State::Good(self.value);
                    self.set(kind, object, Some(mended));
                }
            }
            while self.step(kind) {}
        }
        assert!(self.open);
        for kind in 0..KIND_COUNT {
            let good = self.truth[kind]
                .objects
                .iter()
                .filter_map(|(object, (_, state))| match state {
                    State::Good(value) => Some((name(object), *value)),
                    State::NotOurs | State::Broken => None,
                });
            assert_eq!(self.told[kind].values, good.collect());
            assert_eq!(self.folds[kind].problems(1).1, 0);
        }
    }
}

fn take(fold: &mut Fold, object: &str, version: u64, state: State, news: &mut News) {
    let object = name(object);
    if !fold.is_current(&object, Some(version)) {
        fold.put(object, Some(version), state.seen(), news);
    }
}

#[test]
fn after_any_schedule_the_controller_has_what_is_there() {
    for seed in 0..SCHEDULES {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..ACTIONS {
                world.act();
            }
            world.settle_and_compare();
        });
        assert!(run.is_ok(), "schedule {seed} fails; see above");
    }
}
