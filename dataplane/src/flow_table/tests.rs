use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const TIMEOUTS: Timeouts = Timeouts {
    syn_sent: 30,
    established: 1000,
    closing: 60,
    closed: 10,
    datagram: 120,
};

fn id(client: u32) -> FlowId {
    FlowId {
        client: Addr::from_v4_bytes(client.to_be_bytes()),
        service: ServiceId { slot: 1, epoch: 7 },
        client_port: client as u16,
    }
}

fn entry(client: u32, state: FlowState, now: Tick) -> FlowEntry {
    FlowEntry {
        id: id(client),
        state,
        last_seen: now,
        ..FlowEntry::VACANT
    }
}

/// Few buckets and few tags, so that everything collides.
fn hash(client: u32) -> FlowHash {
    FlowHash(u64::from(client % 3) << 32 | u64::from(client / 3 % 8))
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, FlowState),
    Remove(u32),
    Touch(u32),
    Wait(u32),
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    const STATES: [FlowState; 5] = [
        FlowState::SynSent,
        FlowState::Established,
        FlowState::Closing,
        FlowState::Closed,
        FlowState::Datagram,
    ];
    prop_oneof![
        12 => (0..96u32, prop::sample::select(&STATES[..])).prop_map(|(c, s)| Op::Insert(c, s)),
        2 => (0..96u32).prop_map(Op::Remove),
        4 => (0..96u32).prop_map(Op::Touch),
        2 => (1..200u32).prop_map(Op::Wait),
        1 => Just(Op::Sweep),
    ]
}

fn keeps(state: FlowState) -> bool {
    matches!(state, FlowState::Established | FlowState::Closing)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The table is a bounded map: what it holds is what was put in, and only what may be evicted goes.
    #[test]
    fn it_is_a_map_that_forgets_in_order(ops in prop::collection::vec(op(), 1..300)) {
        let mut table = FlowTable::new(64, TIMEOUTS);
        let mut model: HashMap<u32, (FlowState, Tick)> = HashMap::new();
        // As somebody guessed some operations ago.
        let mut guesses: HashMap<u32, Option<FlowIndex>> = HashMap::new();
        let mut now = Tick(u32::MAX - 500);
        for op in ops {
            match op {
                Op::Insert(client, state) if !model.contains_key(&client) => {
                    match table.insert(hash(client), entry(client, state, now), now, |_| {}) {
                        Ok((_, evicted)) => {
                            model.insert(client, (state, now));
                            if let Some(old) = evicted {
                                let (was, seen) = model.remove(&u32::from(old.id.client_port)).unwrap();
                                prop_assert!(!keeps(was) || table.expired(&old, now), "{was:?} {seen:?}");
                            }
                        }
                        Err(BucketFull) => {
                            let line = client / 3 % 8 / 4;
                            let mates = model.iter().filter(|(c, _)| **c / 3 % 8 / 4 == line);
                            prop_assert_eq!(mates.count(), WAYS * NEIGHBORS);
                        }
                    }
                }
                Op::Remove(client) => {
                    if let Some(at) = table.find(hash(client), &id(client)) {
                        prop_assert_eq!(table.remove(at).id, id(client));
                        model.remove(&client);
                    }
                }
                Op::Insert(client, _) | Op::Touch(client) => {
                    if let Some(at) = table.find(hash(client), &id(client)) {
                        table.get_mut(at).last_seen = now;
                        model.get_mut(&client).unwrap().1 = now;
                    }
                }
                Op::Wait(ms) => now = now.plus(ms),
                Op::Sweep => {
                    let mut gone = vec![];
                    table.sweep(table.buckets(), now, |_| {}, |e| gone.push(u32::from(e.id.client_port)));
                    for client in gone {
                        model.remove(&client).unwrap();
                    }
                    for bucket in 0..table.buckets() {
                        prop_assert!(table.bucket_entries(bucket).all(|e| !table.expired(e, now)));
                    }
                }
            }
            prop_assert_eq!(table.len(), model.len());
            for client in (0..96).filter(|client| now.0.wrapping_add(*client) % 3 == 0) {
                guesses.insert(client, table.approach(hash(client)));
            }
            for (&client, &guess) in &guesses {
                let exact = table.find(hash(client), &id(client));
                prop_assert_eq!(table.find_near(guess, hash(client), &id(client)), exact);
                prop_assert_eq!(exact.is_some(), model.contains_key(&client));
            }
            for (client, (state, seen)) in &model {
                let at = table.find(hash(*client), &id(*client));
                prop_assert!(at.is_some(), "{} is lost", client);
                let found = table.get(at.unwrap());
                prop_assert_eq!((found.state, found.last_seen), (*state, *seen));
            }
        }
    }
}

#[test]
fn a_flood_of_newcomers_never_evicts_an_established_flow() {
    let now = Tick(0);
    let mut table = FlowTable::new(1024, Timeouts::default());
    let mixed = |client: u32| FlowHash(u64::from(client).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let established: Vec<u32> = (0..300)
        .filter(|&c| {
            table
                .insert(mixed(c), entry(c, FlowState::Established, now), now, |_| {})
                .is_ok()
        })
        .collect();
    for client in 1000..60_000u32 {
        let state = if client % 2 == 0 {
            FlowState::SynSent
        } else {
            FlowState::Datagram
        };
        let _ = table.insert(mixed(client), entry(client, state, now), now, |_| {});
    }
    assert!(
        established
            .iter()
            .all(|&c| table.find(mixed(c), &id(c)).is_some())
    );
    assert!(table.len() <= 1024);
}

/// A table takes nearly all of its capacity before any flow finds no room.
#[test]
fn established_flows_fit_up_to_three_quarters() {
    let mut table = FlowTable::new(1 << 14, TIMEOUTS);
    let mixed = |client: u32| {
        FlowHash(
            u64::from(client)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(20),
        )
    };
    let put = |c: u32| {
        table
            .insert(
                mixed(c),
                entry(c, FlowState::Established, Tick(0)),
                Tick(0),
                |_| {},
            )
            .is_err()
    };
    let refused = (0..3 << 12).map(put).filter(|&refused| refused).count();
    assert!(refused < 100, "{refused} of {}", 3 << 12);
}

/// The three other buckets in reach of hash 0 hold flows that stay.
fn full_but_for_one_bucket() -> FlowTable {
    let mut table = FlowTable::new(WAYS * NEIGHBORS, TIMEOUTS);
    for n in 0..(WAYS * (NEIGHBORS - 1)) as u32 {
        let home = FlowHash(u64::from(n / WAYS as u32 + 1));
        table
            .insert(
                home,
                entry(500 + n, FlowState::Established, Tick(9)),
                Tick(9),
                |_| {},
            )
            .unwrap();
    }
    table
}

#[test]
fn the_victim_is_expired_then_closed_then_the_oldest_syn() {
    let mut table = full_but_for_one_bucket();
    let states = [
        (FlowState::SynSent, 5),
        (FlowState::SynSent, 3),
        (FlowState::Closed, 9),
        (FlowState::Datagram, 0),
        (FlowState::Closing, 0),
        (FlowState::Established, 0),
        (FlowState::Established, 0),
        (FlowState::Established, 0),
    ];
    for (client, (state, seen)) in (0..).zip(states) {
        table
            .insert(FlowHash(0), entry(client, state, Tick(seen)), Tick(9), |_| {})
            .unwrap();
    }
    let mut put = |client: u32, now: u32| {
        let new = entry(client, FlowState::SynSent, Tick(now));
        table
            .insert(FlowHash(0), new, Tick(now), |_| {})
            .map(|(_, old)| old.unwrap().id.client_port)
    };
    assert_eq!(put(100, 9), Ok(2), "closed");
    assert_eq!(put(101, 10), Ok(1), "the oldest SYN");
    assert_eq!(put(102, 11), Ok(0), "the next oldest");
    assert_eq!(put(103, 65), Ok(4), "expired while closing, longest idle");
    let full = table.insert(
        FlowHash(0),
        entry(104, FlowState::Datagram, Tick(66)),
        Tick(66),
        |_| {},
    );
    assert_eq!(
        full.map(|(_, old)| old.unwrap().id.client_port),
        Ok(100),
        "expired before live datagrams"
    );
}

#[test]
fn what_replies_show_keeps_a_flow_from_being_judged_idle() {
    let mut table = FlowTable::new(WAYS, TIMEOUTS);
    table
        .insert(
            FlowHash(0),
            entry(1, FlowState::Established, Tick(0)),
            Tick(0),
            |_| {},
        )
        .unwrap();
    table.sweep(
        1,
        Tick(1500),
        |e| e.last_seen = Tick(900),
        |_| panic!("still talking"),
    );
    table.sweep(4, Tick(1900), |_| {}, |e| assert_eq!(e.id, id(1)));
    assert!(table.is_empty());
}

#[test]
fn a_service_has_its_own_patience() {
    let own = IdleTimeout::from_secs(5);
    let mut table = FlowTable::new(64, TIMEOUTS);
    let states = [
        (FlowState::Established, own),
        (FlowState::Datagram, own),
        (FlowState::Closing, own),
        (FlowState::Established, None),
        (FlowState::Datagram, None),
    ];
    for (client, (state, idle)) in (0..).zip(states) {
        let new = entry(client, state, Tick(0));
        table
            .insert(hash(client), FlowEntry { idle, ..new }, Tick(0), |_| {})
            .unwrap();
    }
    let mut gone_by = |now| {
        let mut gone = vec![];
        table.sweep(8, Tick(now), |_| {}, |e| gone.push(e.id.client_port));
        gone.sort_unstable();
        gone
    };
    assert_eq!(gone_by(60), [2], "closing as ever");
    assert_eq!(gone_by(4999), [3, 4], "the worker's patience");
    assert_eq!(gone_by(5000), [0, 1], "their own");
}
