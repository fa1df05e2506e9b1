//! Electors against one server in simulated time: calls are delayed, lost on either way and done late,
//! processes pause, clocks run at different rates.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Elector {
    fn may_write(&self, now: Duration) -> bool {
        self.until().is_some_and(|until| now < until)
    }
}

/// Takes requests in the order in which they arrive.
#[derive(Default)]
struct Server {
    stored: Option<Stored>,
    version: u64,
}

impl Server {
    fn serve(&mut self, call: Call) -> Answer {
        match (call, &self.stored) {
            (Call::Get, Some(stored)) => Answer::Stored(stored.clone()),
            (Call::Get | Call::Update(_), None) => Answer::Missing,
            (Call::Create(_), Some(_)) => Answer::Conflict,
            (Call::Create(record), None) => self.store(record),
            (Call::Update(update), Some(stored)) if update.version == stored.version => {
                self.store(update.record)
            }
            (Call::Update(_), Some(_)) => Answer::Conflict,
        }
    }

    fn store(&mut self, record: Record) -> Answer {
        self.version += 1;
        let stored = Stored {
            record,
            version: self.version.to_string(),
        };
        self.stored = Some(stored.clone());
        Answer::Stored(stored)
    }
}

/// What the network does to one call.
#[derive(Clone, Copy, Debug)]
struct Fate {
    there: u64,
    back: u64,
    lost: Lost,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lost {
    Never,
    Request,
    Answer,
}

#[derive(Debug)]
enum Happening {
    Arrives(usize, u64, Call, Fate),
    Answered(usize, u64, Answer),
    GivenUp(usize, u64),
}

struct Process {
    elector: Elector,
    /// Clock rate in parts per thousand, and where it started.
    rate: u64,
    offset: u64,
    /// Number of the call that is waited for.
    waiting: Option<u64>,
    paused_until: u64,
    dead: bool,
}

impl Process {
    fn new(name: &str, rate: u64, offset: u64) -> Process {
        Process {
            elector: Elector::new(LeaseSettings::new("maglane", "allocator"), name.to_owned()),
            rate,
            offset,
            waiting: None,
            paused_until: 0,
            dead: false,
        }
    }

    fn clock(&self, time: u64) -> Duration {
        ms(self.offset + time * self.rate / 1000)
    }
}

struct World {
    server: Server,
    processes: Vec<Process>,
    /// By time, then order.
    queue: BTreeMap<(u64, u64), Happening>,
    count: u64,
    time: u64,
    leader_time: u64,
}

impl World {
    fn new(processes: Vec<Process>) -> World {
        World {
            server: Server {
                stored: Some(Stored {
                    record: Record::default(),
                    version: "0".to_owned(),
                }),
                version: 0,
            },
            processes,
            queue: BTreeMap::new(),
            count: 0,
            time: 0,
            leader_time: 0,
        }
    }

    fn later(&mut self, delay: u64, happening: Happening) {
        self.count += 1;
        self.queue.insert((self.time + delay, self.count), happening);
    }

    /// Runs until `end`; `fates` decide about calls in their order.
    fn run(&mut self, end: u64, mut fate: impl FnMut() -> Fate) {
        const STEP: u64 = 50;
        while self.time < end {
            while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= self.time) {
                let happening = entry.remove();
                self.happen(happening);
            }
            for index in 0..self.processes.len() {
                self.act(index, &mut fate);
            }
            let leaders: Vec<&str> = self
                .processes
                .iter()
                .filter(|p| !p.dead && p.elector.may_write(p.clock(self.time)))
                .map(|p| p.elector.identity.as_str())
                .collect();
            assert!(leaders.len() <= 1, "at {} ms: {leaders:?} all lead", self.time);
            self.leader_time += leaders.len() as u64 * STEP;
            self.time += STEP;
        }
    }

    fn act(&mut self, index: usize, fate: &mut impl FnMut() -> Fate) {
        let process = &mut self.processes[index];
        let now = process.clock(self.time);
        if process.dead || self.time < process.paused_until {
            return;
        }
        let wall = WallTime(i64::try_from(now.as_micros()).unwrap());
        let Some(call) = process.elector.call(now, wall) else {
            return;
        };
        self.count += 1;
        let number = self.count;
        process.waiting = Some(number);
        let patience = process.elector.settings.call_timeout().as_millis() as u64;
        let fate = fate();
        self.later(patience, Happening::GivenUp(index, number));
        if fate.lost != Lost::Request {
            self.later(fate.there, Happening::Arrives(index, number, call, fate));
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives(index, number, call, fate) => {
                let answer = self.server.serve(call);
                if fate.lost == Lost::Never {
                    self.later(fate.back, Happening::Answered(index, number, answer));
                }
            }
            Happening::Answered(index, number, answer) => self.answer(index, number, answer),
            Happening::GivenUp(index, number) => self.answer(index, number, Answer::Unknown),
        }
    }

    fn answer(&mut self, index: usize, number: u64, answer: Answer) {
        let process = &mut self.processes[index];
        if process.dead || process.waiting != Some(number) {
            return;
        }
        if self.time < process.paused_until {
            // Found in the socket when the process goes on.
            let wait = process.paused_until - self.time;
            self.later(wait, Happening::Answered(index, number, answer));
            return;
        }
        process.waiting = None;
        let now = process.clock(self.time);
        process.elector.answered(answer, now, self.count as u32);
    }
}

fn prompt() -> Fate {
    Fate {
        there: 1,
        back: 1,
        lost: Lost::Never,
    }
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let lost = prop_oneof![6 => Just(Lost::Never), 1 => Just(Lost::Request), 1 => Just(Lost::Answer)];
    let slow = || prop_oneof![4 => 0..100u64, 1 => 0..40 * SECOND];
    let fate = (slow(), slow(), lost).prop_map(|(there, back, lost)| Fate { there, back, lost });
    proptest::collection::vec(fate, 1..60)
}

/// Pauses as (process, from, for), in milliseconds.
fn pauses() -> impl Strategy<Value = Vec<(usize, u64, u64)>> {
    proptest::collection::vec((0..3usize, 0..100 * SECOND, 0..30 * SECOND), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Two clocks may differ by 10 %: the deadline is two thirds of the duration.
    #[test]
    fn never_two_may_write_whatever_is_lost_late_or_paused(
        fates in fates(),
        pauses in pauses(),
        rates in proptest::array::uniform3(950..1050u64),
        deleted in proptest::option::of(0..100 * SECOND),
    ) {
        let names = ["a", "b", "c"];
        let start = |(index, rate): (usize, u64)| Process::new(names[index], rate, index as u64 * 7777);
        let mut world = World::new(rates.into_iter().enumerate().map(start).collect());
        let mut moments: Vec<u64> = pauses.iter().map(|(_, from, _)| *from).chain(deleted).collect();
        moments.sort_unstable();
        let mut next = fates.iter().copied().cycle();
        for moment in moments {
            world.run(moment, || next.next().unwrap());
            for (process, from, span) in &pauses {
                if *from == moment {
                    world.processes[*process].paused_until = moment + span;
                }
            }
            if deleted == Some(moment) {
                world.server.stored = None;
            }
        }
        world.run(world.time + 60 * SECOND, || next.next().unwrap());
        // When the network is well again, somebody leads soon and goes on to.
        world.run(world.time + 60 * SECOND, prompt);
        let before = world.leader_time;
        world.run(world.time + 60 * SECOND, prompt);
        prop_assert_eq!(world.leader_time - before, 60 * SECOND);
    }
}

#[test]
fn a_free_lease_is_taken_at_once_and_kept() {
    let mut world = World::new(vec![Process::new("a", 1000, 0), Process::new("b", 1000, 5)]);
    world.run(60 * SECOND, prompt);
    assert!(world.leader_time >= 59 * SECOND, "{} ms", world.leader_time);
    assert_eq!(world.server.stored.unwrap().record.transitions, 1);
}

#[test]
fn a_dead_holder_is_followed_within_the_duration_and_two_tries() {
    let mut world = World::new(vec![Process::new("a", 1000, 0), Process::new("b", 1000, 5)]);
    world.run(20 * SECOND, prompt);
    let holder = world.server.stored.as_ref().unwrap().record.holder.clone();
    let dead = world
        .processes
        .iter_mut()
        .find(|p| p.elector.identity == holder)
        .unwrap();
    dead.dead = true;
    world.leader_time = 0;
    world.run(20 * SECOND + 19 * SECOND + 200, prompt);
    assert!(world.leader_time > 0, "nobody took over");
    assert_ne!(world.server.stored.unwrap().record.holder, holder);
}

#[test]
fn a_released_lease_is_taken_with_the_next_look() {
    let mut world = World::new(vec![Process::new("a", 1000, 0), Process::new("b", 1000, 5)]);
    world.run(20 * SECOND, prompt);
    let holder = world.server.stored.as_ref().unwrap().record.holder.clone();
    let stopped = world
        .processes
        .iter_mut()
        .find(|p| p.elector.identity == holder)
        .unwrap();
    stopped.dead = true;
    assert!(stopped.elector.may_write(stopped.clock(world.time)));
    let release = stopped.elector.release(WallTime(1)).unwrap();
    assert!(!stopped.elector.may_write(stopped.clock(world.time)));
    // Its last call may be under way: what it does then is a conflict.
    world.queue.clear();
    assert!(matches!(world.server.serve(release), Answer::Stored(_)));
    world.leader_time = 0;
    world.run(world.time + 3 * SECOND, prompt);
    assert!(world.leader_time > 0, "nobody took over");
}

#[test]
fn a_holder_without_answers_stops_at_the_deadline() {
    let mut world = World::new(vec![Process::new("a", 1000, 0)]);
    world.run(10 * SECOND, prompt);
    let process = &world.processes[0];
    let until = process.elector.until().unwrap();
    assert!(process.elector.may_write(process.clock(world.time)));
    world.run(30 * SECOND, || Fate {
        lost: Lost::Request,
        ..prompt()
    });
    let process = &world.processes[0];
    assert_eq!(process.elector.until(), Some(until));
    assert!(!process.elector.may_write(until));
}

#[test]
fn times_that_cannot_work_are_refused_with_the_rule() {
    let settings = LeaseSettings::new("maglane", "allocator");
    assert!(settings.check().is_ok());
    let bad = [
        LeaseSettings {
            renew_deadline: settings.duration,
            ..settings.clone()
        },
        LeaseSettings {
            retry: Duration::from_secs(5),
            ..settings.clone()
        },
        LeaseSettings {
            retry: Duration::ZERO,
            ..settings.clone()
        },
        LeaseSettings {
            duration: ms(15_500),
            ..settings.clone()
        },
        LeaseSettings {
            duration: Duration::MAX,
            ..settings.clone()
        },
    ];
    for settings in bad {
        let error = settings.check().unwrap_err().to_string();
        assert!(error.contains("; "), "no remedy: {error}");
    }
}
