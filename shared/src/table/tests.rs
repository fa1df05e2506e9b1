//! The service index against a map, ids against their successors, and `check` against each way to break a table.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::addr::{MacAddr, Protocol};
use crate::maglev::Member;
use crate::next_hop::{HopIndex, NextHop, PortIndex};

fn key(addr: u32, port: u16) -> VipKey {
    let protocol = if port.is_multiple_of(2) {
        Protocol::Tcp
    } else {
        Protocol::Udp
    };
    VipKey {
        addr: Addr::from_v4_bytes(addr.to_be_bytes()),
        port,
        protocol,
    }
}

fn entry(slot: u32, key: VipKey) -> ServiceEntry {
    ServiceEntry {
        id: ServiceId {
            slot,
            epoch: slot + 1,
        },
        key,
        kind: VipKind::Address,
        mode: ForwardingMode::Ipip,
        hash_inputs: HashInputs::FiveTuple,
        maglev: Arc::new(MaglevTable::build(&[], 251, &HashKey::default())),
        backends: Arc::new([]),
        policy: None,
    }
}

/// Two services with two backends each, of whom the second drains; all in order.
fn sound() -> ForwardingTable {
    let hop = NextHop {
        port: PortIndex(0),
        mtu: 1500,
        source: MacAddr::ZERO,
        destination: Some(MacAddr([2; 6])),
        neighbor: Addr::from_v4_bytes([10, 0, 0, 1]),
    };
    let backend = |slot: u8, state| BackendEntry {
        addr: Addr::from_v4_bytes([10, 0, 1, slot]),
        port: 8080,
        state,
        epoch: 7,
        hops: HopGroupId(0),
    };
    let members = [("10.0.1.0", 1), ("10.0.1.1", 0)];
    let members = members.map(|(identity, weight)| Member {
        identity: identity.into(),
        weight,
    });
    let maglev = Arc::new(MaglevTable::build(&members, 251, &HashKey::default()));
    let backends: Arc<[BackendId]> = (0..2).map(|slot| BackendId { slot, epoch: 7 }).collect();
    let service = |slot, port| ServiceEntry {
        maglev: Arc::clone(&maglev),
        backends: Arc::clone(&backends),
        ..entry(slot, key(0xc633_6401, port))
    };
    ForwardingTable {
        services: Arc::new(ServiceTable::new(vec![service(0, 80), service(1, 443)])),
        backends: [
            backend(0, BackendState::Active),
            backend(1, BackendState::Draining),
            BackendEntry::VACANT,
        ]
        .into_iter()
        .collect(),
        routes: Arc::new(RouteTable {
            hops: [hop].into(),
            groups: [vec![HopIndex(0)].into()].into(),
            ..RouteTable::default()
        }),
        ..ForwardingTable::default()
    }
}

/// The sound table with its services changed.
fn with_services(change: impl FnOnce(&mut Vec<ServiceEntry>)) -> ForwardingTable {
    let table = sound();
    let mut entries = table.services.entries().to_vec();
    change(&mut entries);
    ForwardingTable {
        services: Arc::new(ServiceTable::new(entries)),
        ..table
    }
}

#[test]
fn ten_thousand_vips_are_found_and_no_others() {
    let keys: Vec<VipKey> = (0..10_000)
        .map(|i| key(0x0a00_0000 + i / 4, 80 + (i % 4) as u16))
        .collect();
    let table = ServiceTable::new(
        keys.iter()
            .zip(0..)
            .map(|(&key, slot)| entry(slot, key))
            .collect(),
    );
    let model: HashMap<VipKey, u32> = keys.iter().copied().zip(0..).collect();
    for addr in 0x0a00_0000..0x0a00_0000 + 3000 {
        for port in 78..86 {
            let key = key(addr, port);
            assert_eq!(
                table.lookup(&key).map(|e| e.id.slot),
                model.get(&key).copied(),
                "{key}"
            );
        }
        let vip = Addr::from_v4_bytes(addr.to_be_bytes());
        assert_eq!(table.is_vip(vip), addr < 0x0a00_0000 + 2500, "{vip}");
    }
    assert_eq!(table.addrs().len(), 2500);
}

/// VIPs in order must not pile up in one stretch of the index: probes stay few.
#[test]
fn orderly_vips_do_not_cluster() {
    for stride in [1, 4, 256, 65_536] {
        let keys = (0..8192u32).map(|i| key(i.wrapping_mul(stride), 443));
        let table = ServiceTable::new(keys.zip(0..).map(|(key, slot)| entry(slot, key)).collect());
        let mask = table.index.len() - 1;
        let probes = |(at, &(tag, i)): (usize, &(u32, u32))| {
            (i != VACANT).then(|| at.wrapping_sub(tag as usize) & mask)
        };
        let all: Vec<usize> = table.index.iter().enumerate().filter_map(probes).collect();
        let mean = all.iter().sum::<usize>() as f64 / all.len() as f64;
        assert!(mean < 1.0, "stride {stride}: {mean:.2} extra probes");
    }
}

proptest! {
    #[test]
    fn lookup_is_a_map(
        keys in prop::collection::hash_map((0u32..64, 0u16..8), Just(()), 0..200),
        wanted in prop::collection::vec((0u32..64, 0u16..8), 50),
    ) {
        let model: HashMap<VipKey, u32> = keys.keys().map(|&(a, p)| key(a, p)).zip(0..).collect();
        let table = ServiceTable::new(model.iter().map(|(&key, &slot)| entry(slot, key)).collect());
        for (a, p) in wanted {
            let key = key(a, p);
            let found = table.lookup(&key).map(|e| (e.key, e.id.slot));
            prop_assert_eq!(found, model.get(&key).map(|&slot| (key, slot)));
            prop_assert!(!table.is_vip(key.addr) || model.keys().any(|k| k.addr == key.addr));
        }
    }
}

/// A node port does not make the node's address ours, unless it is a VIP as well.
#[test]
fn an_endpoint_leaves_its_address_to_the_node() {
    let (node, both) = (0x0a00_0001, 0x0a00_0002);
    let endpoint = |slot, key| ServiceEntry {
        kind: VipKind::Endpoint,
        ..entry(slot, key)
    };
    let table = ServiceTable::new(vec![
        endpoint(0, key(node, 30_080)),
        endpoint(1, key(both, 30_080)),
        entry(2, key(both, 443)),
    ]);
    assert_eq!(table.lookup(&key(node, 30_080)).map(|e| e.id.slot), Some(0));
    assert!(!table.is_vip(key(node, 0).addr) && table.is_vip(key(both, 0).addr));
    assert_eq!(table.addrs(), [key(both, 0).addr]);
    assert_eq!(table.endpoints().collect::<Vec<_>>(), [key(node, 30_080)]);
}

#[test]
fn an_id_never_finds_its_successor() {
    let table = sound();
    let id = ServiceId { slot: 1, epoch: 2 };
    assert_eq!(table.services.get(id).map(|e| e.key.port), Some(443));
    assert!(table.services.get(ServiceId { epoch: 1, ..id }).is_none());
    assert!(table.services.get(ServiceId { slot: 9, ..id }).is_none());
    let id = BackendId { slot: 1, epoch: 7 };
    assert!(table.backend(id).is_some());
    assert!(table.backend(BackendId { epoch: 6, ..id }).is_none());
    assert!(
        table.backend(BackendId { slot: 2, epoch: 0 }).is_none(),
        "a vacant slot is nobody's"
    );
    assert!(table.backend(BackendId { slot: 3, epoch: 7 }).is_none());
}

#[test]
fn select_gives_rows_to_the_active() {
    let table = sound();
    let service = &table.services.entries()[0];
    for hash in (0..64).map(|i| FlowHash(i << 58)) {
        assert_eq!(table.select(service, hash).map(|(id, _)| id.slot), Some(0));
    }
    let empty = entry(0, service.key);
    assert!(table.select(&empty, FlowHash(0)).is_none());
}

#[test]
fn check_accepts_a_sound_table() {
    assert_eq!(sound().check(), Ok(()));
    assert_eq!(ForwardingTable::default().check(), Ok(()));
}

#[test]
fn check_finds_what_cannot_be_found() {
    let mut services = ServiceTable::new(sound().services.entries().to_vec());
    services.index.fill((0, VACANT));
    let table = ForwardingTable {
        services: Arc::new(services),
        ..sound()
    };
    assert_eq!(table.check(), Err(TableError::Unreachable(key(0xc633_6401, 80))));
}

#[test]
fn check_finds_a_key_held_twice() {
    let table = with_services(|entries| entries[1].key = entries[0].key);
    assert_eq!(table.check(), Err(TableError::DuplicateKey(key(0xc633_6401, 80))));
}

#[test]
fn check_finds_a_slot_held_twice() {
    for epoch in [1, 9] {
        let table = with_services(|entries| entries[1].id = ServiceId { slot: 0, epoch });
        assert_eq!(
            table.check(),
            Err(TableError::SharedSlot(key(0xc633_6401, 80))),
            "epoch {epoch}"
        );
    }
}

#[test]
fn check_finds_a_dangling_backend() {
    let id = BackendId { slot: 1, epoch: 6 };
    let table = with_services(|entries| entries[0].backends = [entries[0].backends[0], id].into());
    let vip = key(0xc633_6401, 80);
    assert_eq!(table.check(), Err(TableError::DanglingBackend { vip, id }));
}

#[test]
fn check_finds_dangling_hops() {
    let mut table = sound();
    table.routes = Arc::default();
    let (vip, id) = (key(0xc633_6401, 80), BackendId { slot: 0, epoch: 7 });
    assert_eq!(table.check(), Err(TableError::DanglingHops { vip, id }));
}

#[test]
fn check_finds_a_row_past_the_backends() {
    let table = with_services(|entries| entries[1].backends = Arc::new([]));
    let vip = key(0xc633_6401, 443);
    assert_eq!(table.check(), Err(TableError::DanglingRow { vip, row: 0 }));
}

#[test]
fn check_finds_a_draining_backend_with_rows() {
    let table = with_services(|entries| {
        entries[0].backends = entries[0].backends.iter().rev().copied().collect();
    });
    let (vip, id) = (key(0xc633_6401, 80), BackendId { slot: 1, epoch: 7 });
    assert_eq!(table.check(), Err(TableError::DrainingRow { vip, id }));
}

#[test]
fn snapshots_share_the_backends_that_stay() {
    let entry = |epoch| BackendEntry {
        epoch,
        ..BackendEntry::VACANT
    };
    let before: BackendTable = (1..=10_000).map(entry).collect();
    let mut after = before.clone();
    after.set(9_999, entry(7));
    after.set(9_998, entry(8));
    assert_eq!((before.len(), after.len()), (10_000, 10_000));
    assert_eq!(
        (before.unshared(&after), before.unshared(&before.clone())),
        (1, 0)
    );
    let epochs = |table: &BackendTable| [9_997, 9_998, 9_999].map(|slot| table.get(slot).unwrap().epoch);
    assert_eq!(
        (epochs(&before), epochs(&after)),
        ([9998, 9999, 10_000], [9998, 8, 7])
    );
    assert!(before.iter().map(|entry| entry.epoch).eq(1..=10_000));
    // Past the last one nobody is, in its chunk or beyond.
    assert!(before.get(10_000).is_none_or(|entry| entry.epoch == 0));
    assert!(before.get(u32::MAX).is_none());
    after.set(20_000, entry(9));
    assert_eq!((after.len(), after.get(20_000).unwrap().epoch), (20_001, 9));
}
