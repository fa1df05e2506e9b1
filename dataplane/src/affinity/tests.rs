use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const MINUTE: u32 = 60_000;

fn key(client: u32) -> ClientKey {
    ClientKey {
        client: Addr::from_v4_bytes(client.to_be_bytes()),
        service: ServiceId { slot: 3, epoch: 9 },
    }
}

fn timeout(seconds: u32) -> AffinityTimeout {
    AffinityTimeout::from_secs(seconds).unwrap()
}

fn backend(slot: u32) -> BackendId {
    BackendId { slot, epoch: 1 }
}

/// All clients share one home.
const HOME: FlowHash = FlowHash(5);

fn pin(table: &Affinities, client: u32, wanted: u32, now: u32) -> Result<BackendId, Unpinned> {
    table.pin(
        HOME,
        &key(client),
        backend(wanted),
        timeout(60),
        Tick(now),
        |_| true,
    )
}

fn find(table: &Affinities, client: u32, now: u32) -> Option<u32> {
    let pin = table.find(HOME, &key(client), timeout(60), Tick(now))?;
    Some(pin.backend.slot)
}

fn refresh(table: &Affinities, client: u32, now: u32) {
    let pin = table.find(HOME, &key(client), timeout(60), Tick(now)).unwrap();
    table.refresh(&pin, timeout(60), Tick(now));
}

#[test]
fn a_client_keeps_its_backend_until_it_has_been_away_too_long() {
    let table = Affinities::new(16);
    assert_eq!(find(&table, 1, 0), None);
    assert_eq!(pin(&table, 1, 7, 0), Ok(backend(7)));
    assert_eq!(find(&table, 1, MINUTE - 1), Some(7));
    assert_eq!(find(&table, 1, MINUTE), None);
    refresh(&table, 1, MINUTE - 1);
    assert_eq!(find(&table, 1, 2 * MINUTE - 2), Some(7));
    let other_service = ClientKey {
        service: ServiceId { slot: 3, epoch: 10 },
        ..key(1)
    };
    assert_eq!(table.find(HOME, &other_service, timeout(60), Tick(MINUTE)), None);
}

#[test]
fn whoever_comes_second_takes_what_the_first_has_noted_if_it_can_be_used() {
    let table = Affinities::new(16);
    pin(&table, 1, 7, 0).unwrap();
    assert_eq!(pin(&table, 1, 8, 10), Ok(backend(7)));
    let dead = |id| id != backend(7);
    let again = table.pin(HOME, &key(1), backend(8), timeout(60), Tick(20), dead);
    assert_eq!(again, Ok(backend(8)));
    assert_eq!(find(&table, 1, 20), Some(8));
    assert_eq!(pin(&table, 1, 9, MINUTE + 20), Ok(backend(9)), "too long ago");
}

#[test]
fn a_timeout_that_changes_holds_at_once_and_for_the_sweep_from_the_next_flow_on() {
    let table = Affinities::new(16);
    pin(&table, 1, 7, 0).unwrap();
    let longer = |now| table.find(HOME, &key(1), timeout(600), Tick(now));
    let pin = longer(5 * MINUTE).unwrap();
    table.refresh(&pin, timeout(600), Tick(5 * MINUTE));
    table.sweep(table.places(), Tick(9 * MINUTE));
    assert_eq!(longer(9 * MINUTE), Some(pin));
}

#[test]
fn newcomers_replace_each_other_and_not_the_clients_that_return() {
    let table = Affinities::new(16);
    for client in 0..PROBES as u32 {
        pin(&table, client, client, client).unwrap();
    }
    refresh(&table, 0, 50);
    refresh(&table, 2, 50);
    // The places are taken; the oldest of those that came once gives way.
    pin(&table, 100, 1, 60).unwrap();
    assert_eq!((find(&table, 1, 60), find(&table, 100, 60)), (None, Some(1)));
    for flood in 1000..5000 {
        pin(&table, flood, 2, 70 + flood).unwrap();
    }
    assert_eq!((find(&table, 0, 5100), find(&table, 2, 5100)), (Some(0), Some(2)));
    for client in 4996..5000 {
        refresh(&table, client, 5100);
    }
    let settled = (0..5000).filter(|&client| find(&table, client, 5100).is_some());
    let settled: Vec<u32> = settled.collect();
    assert_eq!(settled.len(), PROBES);
    settled
        .into_iter()
        .for_each(|client| refresh(&table, client, 5100));
    assert_eq!(pin(&table, 6000, 3, 5200), Err(Unpinned::Full));
    assert_eq!(
        pin(&table, 6000, 3, 5100 + MINUTE),
        Ok(backend(3)),
        "their time is over"
    );
}

#[test]
fn a_sweep_forgets_who_has_been_away_before_time_comes_round() {
    let table = Affinities::new(16);
    pin(&table, 1, 7, 0).unwrap();
    pin(&table, 2, 8, 30_000).unwrap();
    for part in 0..4 {
        table.sweep(table.places() / 4, Tick(MINUTE + part));
    }
    // Half the range of a tick later nothing of the past can be told from the future.
    let late = Tick(u32::MAX / 2 + 10 * MINUTE);
    let seen = |client| table.find(HOME, &key(client), timeout(60), late).is_some();
    assert!(!seen(1) && seen(2), "the first was swept, the second not yet due");
}

#[test]
fn a_latch_that_is_held_is_not_waited_for() {
    let table = Affinities::new(16);
    let held = Latch::take(&table.slots[5], 1).unwrap();
    assert_eq!(pin(&table, 1, 7, 0), Err(Unpinned::Busy));
    assert_eq!(find(&table, 1, 0), None);
    drop(held);
    assert_eq!(pin(&table, 1, 7, 0), Ok(backend(7)));
}

proptest! {
    /// With room enough the table is a map from clients to what was noted last, less what is too old.
    #[test]
    fn it_is_a_map_that_forgets(ops in prop::collection::vec((0..60u32, 0..5u32, 0..20_000u32, 0..10u8), 1..300)) {
        let table = Affinities::new(4096);
        let mut model: HashMap<u32, (u32, u32)> = HashMap::new();
        let (mut now, start) = (0, Tick(u32::MAX - 100_000));
        for (client, wanted, wait, what) in ops {
            now += wait;
            let (key, tick) = (key(client), start.plus(now));
            let vip = VipKey { addr: key.client, port: 80, protocol: maglane_shared::addr::Protocol::Tcp };
            let hash = key.hash(vip, &HashKey::default());
            let live = model.get(&client).filter(|(_, seen)| now - seen < MINUTE).map(|(held, _)| *held);
            let found = table.find(hash, &key, timeout(60), tick);
            prop_assert_eq!(found.map(|pin| pin.backend.slot), live);
            match (what, found) {
                (0, _) => table.sweep(64, tick),
                (1..=5, Some(pin)) => {
                    table.refresh(&pin, timeout(60), tick);
                    model.insert(client, (pin.backend.slot, now));
                }
                (_, _) => {
                    let usable = |id: BackendId| id.slot.is_multiple_of(2);
                    let held = live.filter(|&slot| usable(backend(slot))).unwrap_or(wanted);
                    let noted = table.pin(hash, &key, backend(wanted), timeout(60), tick, usable);
                    prop_assert_eq!(noted, Ok(backend(held)));
                    model.insert(client, (held, now));
                }
            }
        }
    }
}

/// Four threads open the first flows of the same clients at once, each with a wish of its own.
#[test]
fn racing_workers_agree_on_every_client() {
    for round in 0..20 {
        let table = Affinities::new(1 << 12);
        let work = |worker: u32| -> Vec<Option<BackendId>> {
            let open = |client: u32| {
                let hash = FlowHash(u64::from(client / 4).wrapping_mul(0x9e37_79b9));
                let noted = table.pin(hash, &key(client), backend(worker), timeout(60), Tick(1), |_| {
                    true
                });
                noted.ok()
            };
            (0..1000).map(|i| open((i + worker * round) % 1000)).collect()
        };
        let by_client = |worker: u32, mut given: Vec<Option<BackendId>>| {
            given.rotate_right((worker * round) as usize % 1000);
            given
        };
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|worker| scope.spawn(move || work(worker))).collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            (0..)
                .zip(joined)
                .map(|(worker, given)| by_client(worker, given))
                .collect()
        });
        let mut noted = 0;
        for client in 0..1000 {
            let mut given = all.iter().filter_map(|given| given[client]);
            let Some(first) = given.next() else { continue };
            assert!(
                given.all(|other| other == first),
                "client {client} in round {round}"
            );
            noted += 1;
        }
        assert!(noted > 990, "{noted} of 1000");
    }
}
