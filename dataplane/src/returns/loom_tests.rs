//! Every interleaving of two workers at one place of the table:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p maglane-dataplane --lib loom`.

use loom::thread;
use maglane_shared::sync::Arc;

use super::*;

fn mapping(client_port: u16) -> Mapping {
    let endpoint = |n, port| Endpoint {
        addr: maglane_shared::addr::Addr::from_bits(n),
        port,
    };
    Mapping {
        backend: endpoint(1, 80),
        via: Via::Snat(0),
        port: 20_000,
        protocol: Protocol::Tcp,
        client: endpoint(
            u128::from(client_port) << 64 | u128::from(client_port),
            client_port,
        ),
        service: ServiceId {
            slot: u32::from(client_port),
            epoch: u32::from(client_port),
        },
    }
}

fn key() -> ReplyKey {
    let Mapping {
        backend,
        via,
        protocol,
        ..
    } = mapping(0);
    ReplyKey {
        backend,
        to: Endpoint {
            addr: backend.addr,
            port: 20_000,
        },
        via,
        protocol,
    }
}

/// A table of two places, so that two inserts meet.
fn table() -> Arc<NatReturns> {
    Arc::new(NatReturns {
        slots: [Slot::default(), Slot::default()].into(),
        mask: 1,
    })
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

/// A reader sees a mapping whole, or none, while its place changes tenants.
#[test]
fn loom_a_reader_never_sees_half_a_mapping() {
    check(|| {
        let returns = table();
        let reader = {
            let returns = Arc::clone(&returns);
            thread::spawn(move || {
                if let Some(found) = returns.find(FlowHash(0), &key()) {
                    let port = found.client.port;
                    assert_eq!(found.client, mapping(port).client);
                    assert_eq!(found.service, mapping(port).service);
                    assert!(port == 1 || port == 2);
                }
            })
        };
        let slot = returns.insert(FlowHash(0), &mapping(1), Tick(0)).unwrap();
        returns.remove(slot);
        returns.insert(FlowHash(0), &mapping(2), Tick(0)).unwrap();
        reader.join().unwrap();
    });
}

/// Two workers that want one source port never both get it.
#[test]
fn loom_one_source_port_goes_to_one_flow() {
    check(|| {
        let returns = table();
        let rival = {
            let returns = Arc::clone(&returns);
            thread::spawn(move || returns.insert(FlowHash(0), &mapping(2), Tick(0)).is_ok())
        };
        let mine = returns.insert(FlowHash(0), &mapping(1), Tick(0)).is_ok();
        let theirs = rival.join().unwrap();
        assert!(!(mine && theirs), "two flows on one port");
        let found = returns.find(FlowHash(0), &key()).map(|f| f.client.port);
        assert_eq!(
            found,
            if mine {
                Some(1)
            } else if theirs {
                Some(2)
            } else {
                None
            }
        );
    });
}

/// A note taken on one tenant never lands on the next.
#[test]
fn loom_a_late_note_is_lost() {
    check(|| {
        let returns = table();
        let first = returns.insert(FlowHash(0), &mapping(1), Tick(0)).unwrap();
        let found = returns.find(FlowHash(0), &key()).unwrap();
        let noter = {
            let returns = Arc::clone(&returns);
            thread::spawn(move || returns.note_close(&found, Close::Rst))
        };
        returns.remove(first);
        let second = returns.insert(FlowHash(0), &mapping(2), Tick(0)).unwrap();
        noter.join().unwrap();
        assert!(!returns.replies(second).rst);
    });
}
