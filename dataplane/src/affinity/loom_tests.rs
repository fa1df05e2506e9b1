//! Every interleaving of two workers at one place of the table:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p maglane-dataplane --lib loom`.

use loom::thread;
use maglane_shared::sync::Arc;

use super::*;

const HOME: FlowHash = FlowHash(0);

fn key(client: u64) -> ClientKey {
    ClientKey {
        client: Addr::from_bits(u128::from(client) << 64 | u128::from(client)),
        service: ServiceId {
            slot: client as u32,
            epoch: client as u32,
        },
    }
}

fn backend(n: u32) -> BackendId {
    BackendId { slot: n, epoch: n }
}

fn timeout() -> AffinityTimeout {
    AffinityTimeout::from_secs(60).unwrap()
}

fn pin(table: &Affinities, client: u64, wanted: u32) -> Result<BackendId, Unpinned> {
    table.pin(HOME, &key(client), backend(wanted), timeout(), Tick(0), |_| true)
}

fn find(table: &Affinities, client: u64) -> Option<BackendId> {
    let pin = table.find(HOME, &key(client), timeout(), Tick(0))?;
    Some(pin.backend)
}

fn table() -> Arc<Affinities> {
    Arc::new(Affinities::new(1))
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

/// Two workers that meet a client at once send it to one backend, or one of them knows that it goes without.
#[test]
fn loom_two_workers_agree_on_a_client() {
    check(|| {
        let table = table();
        let rival = {
            let table = Arc::clone(&table);
            thread::spawn(move || pin(&table, 1, 2))
        };
        let mine = pin(&table, 1, 1);
        let theirs = rival.join().unwrap();
        match (mine, theirs) {
            (Ok(a), Ok(b)) => assert_eq!(a, b),
            (Err(why), Ok(_)) | (Ok(_), Err(why)) => assert_eq!(why, Unpinned::Busy),
            (Err(a), Err(b)) => panic!("nobody noted the client: {a:?}, {b:?}"),
        }
        assert_eq!(find(&table, 1), mine.or(theirs).ok());
    });
}

/// A reader who looks for one client never gets the backend of the next in its place.
#[test]
fn loom_a_reader_never_sees_the_next_client() {
    check(|| {
        let table = table();
        pin(&table, 1, 1).unwrap();
        let reader = {
            let table = Arc::clone(&table);
            thread::spawn(move || assert!(find(&table, 1).is_none_or(|id| id == backend(1))))
        };
        let late = Tick(timeout().millis());
        table
            .pin(HOME, &key(2), backend(2), timeout(), late, |_| true)
            .unwrap();
        reader.join().unwrap();
    });
}

/// Newcomers of two homes want the one place that is left: one has it in the end, and who returned keeps his.
#[test]
fn loom_newcomers_do_not_take_the_place_of_who_returned() {
    check(|| {
        let table = table();
        pin(&table, 9, 9).unwrap();
        let returned = table.find(HOME, &key(9), timeout(), Tick(0)).unwrap();
        table.refresh(&returned, timeout(), Tick(0));
        let neighbor = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                let hash = FlowHash(1);
                table.pin(hash, &key(2), backend(2), timeout(), Tick(0), |_| true)
            })
        };
        let mine = pin(&table, 1, 1);
        let theirs = neighbor.join().unwrap();
        assert!(mine.is_ok() || theirs.is_ok());
        let held = [1, 2].map(|client| find(&table, client));
        assert_eq!(held.iter().flatten().count(), 1, "{held:?}");
        assert_eq!(find(&table, 9), Some(backend(9)));
    });
}

/// A sweep that judged a client away does not take the place from whoever has come since.
#[test]
fn loom_a_sweep_takes_only_what_it_judged() {
    check(|| {
        let table = table();
        pin(&table, 1, 1).unwrap();
        let late = Tick(timeout().millis());
        let sweeper = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.sweep(2, late))
        };
        let noted = table.pin(HOME, &key(1), backend(2), timeout(), late, |_| true);
        sweeper.join().unwrap();
        assert_eq!(noted, Ok(backend(2)));
        let found = table.find(HOME, &key(1), timeout(), late);
        assert_eq!(found.map(|pin| pin.backend), Some(backend(2)));
    });
}
