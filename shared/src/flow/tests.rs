//! The flow hash: does every input bit reach every output bit, do orderly and hostile flows spread, is it
//! independent of what routers hash, is it still the one other nodes run.

use super::*;
use crate::maglev::{MaglevTable, Member};

const BACKENDS: usize = 64;

fn v4(client: u32, client_port: u16) -> FlowKey {
    FlowKey {
        client: Addr::from_v4_bytes(client.to_be_bytes()),
        vip: Addr::from_v4_bytes([198, 51, 100, 1]),
        client_port,
        vip_port: 443,
        protocol: Protocol::Tcp,
    }
}

fn v6(interface: u64, client_port: u16) -> FlowKey {
    let prefix = 0x2001_0db8_0000_0000u128 << 64;
    FlowKey {
        client: Addr::from_bits(prefix | u128::from(interface)),
        vip: Addr::from_bits(prefix | 0x1_0000_0000_0000_0001),
        ..v4(0, client_port)
    }
}

fn members(count: usize) -> Vec<Member> {
    let named = |i| Member {
        identity: format!("10.1.0.{i:03}").into(),
        weight: 1,
    };
    (0..count).map(named).collect()
}

/// Largest share of any of `backends` over the mean share.
fn skew(flows: impl Iterator<Item = FlowKey>, key: &HashKey, backends: usize) -> f64 {
    let table = MaglevTable::build(&members(backends), 65_537, key);
    let mut counts = vec![0u32; backends];
    for flow in flows {
        counts[usize::from(table.lookup(flow.hash(key)).unwrap())] += 1;
    }
    let mean = f64::from(counts.iter().sum::<u32>()) / backends as f64;
    f64::from(*counts.iter().max().unwrap()) / mean
}

/// The flow with one bit of its fields changed, for each bit.
fn neighbours(flow: FlowKey) -> impl Iterator<Item = FlowKey> {
    let addr = |addr: Addr, bit: u32| Addr::from_bits(addr.bits() ^ 1 << bit);
    let clients = (0..128).map(move |bit| FlowKey {
        client: addr(flow.client, bit),
        ..flow
    });
    let vips = (0..128).map(move |bit| FlowKey {
        vip: addr(flow.vip, bit),
        ..flow
    });
    let ports = (0..16).flat_map(move |bit| {
        let (client_port, vip_port) = (flow.client_port ^ 1 << bit, flow.vip_port ^ 1 << bit);
        [FlowKey { client_port, ..flow }, FlowKey { vip_port, ..flow }]
    });
    clients.chain(vips).chain(ports)
}

#[test]
fn every_input_bit_flips_every_output_bit_half_the_time() {
    let flows = 2000;
    for make in [
        |i: u32| v4(0x0a00_0000 + i, 40_000),
        |i: u32| v6(u64::from(i), i as u16),
    ] {
        let mut flips = vec![[0u32; 64]; 288];
        for flow in (0..flows).map(make) {
            let hash = flow.hash(&HashKey::default()).0;
            for (counts, near) in flips.iter_mut().zip(neighbours(flow)) {
                let changed = hash ^ near.hash(&HashKey::default()).0;
                counts
                    .iter_mut()
                    .enumerate()
                    .for_each(|(bit, n)| *n += (changed >> bit) as u32 & 1);
            }
        }
        for (input, counts) in flips.iter().enumerate() {
            for (output, &n) in counts.iter().enumerate() {
                let share = f64::from(n) / f64::from(flows);
                // Six standard deviations of 2,000 coin tosses.
                assert!(
                    (share - 0.5).abs() < 0.067,
                    "input bit {input} flips output bit {output}: {share:.3}"
                );
            }
        }
    }
}

#[test]
fn orderly_flows_spread() {
    let million = 0..1_000_000u32;
    let key = HashKey::default();
    let sets: [(&str, Box<dyn Iterator<Item = FlowKey>>); 5] = [
        (
            "ports of 16 clients",
            Box::new(million.clone().map(|i| v4(0x0a00_0000 + (i >> 16), i as u16))),
        ),
        (
            "clients in order",
            Box::new(million.clone().map(|i| v4(0x0a00_0000 + i, 40_000))),
        ),
        (
            "clients in strides of 4096",
            Box::new(million.clone().map(|i| v4(i.rotate_left(12), 40_000))),
        ),
        (
            "address and port in step",
            Box::new(million.clone().map(|i| v4(0x0a00_0000 + i, i as u16))),
        ),
        (
            "IPv6 interface ids",
            Box::new(million.map(|i| v6(u64::from(i) << 40, 40_000))),
        ),
    ];
    for (name, flows) in sets {
        let skew = skew(flows, &key, BACKENDS);
        assert!(skew <= 1.05, "{name}: {skew:.3}");
    }
}

/// D24: tuples picked with a key that isn't ours, so that all meet in one backend there, spread here.
#[test]
fn flows_aimed_under_another_key_spread() {
    let theirs = HashKey::default();
    let table = MaglevTable::build(&members(BACKENDS), 65_537, &theirs);
    let aimed = (0..).map(|i: u32| v4(i.wrapping_mul(0x9e37_79b1), (i >> 7) as u16));
    let aimed = aimed
        .filter(|flow| table.lookup(flow.hash(&theirs)) == Some(7))
        .take(200_000);
    let skew = skew(aimed, &HashKey::new(*b"a secret of ours"), BACKENDS);
    assert!(skew <= 1.1, "{skew:.3}");
}

/// D23: behind 2, 4 or 8 ways of a fabric that hashes the same fields, each way's share still spreads.
#[test]
fn no_polarisation_behind_ecmp() {
    let crc = |flow: &FlowKey| {
        let (c, v) = (flow.client.v4_bytes(), flow.vip.v4_bytes());
        let ports = [flow.client_port.to_be_bytes(), flow.vip_port.to_be_bytes()].concat();
        c.iter().chain(&v).chain(&ports).fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                crc >> 1 ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
            })
        })
    };
    let exclusive_or = |flow: &FlowKey| {
        let word = u32::from_be_bytes(flow.client.v4_bytes()) ^ u32::from(flow.client_port);
        word ^ word >> 16 ^ word >> 8
    };
    let flow = |i: u32| v4(0x0a00_0000 + i / 16, (i * 4093) as u16);
    for ways in [2, 4, 8] {
        for (name, fabric) in [
            ("CRC-32C", &crc as &dyn Fn(&FlowKey) -> u32),
            ("XOR", &exclusive_or),
        ] {
            let arrive = (0..1_000_000).map(flow).filter(|flow| fabric(flow) % ways == 0);
            let skew = skew(arrive, &HashKey::default(), 8);
            assert!(skew <= 1.05, "{name}, {ways} ways: {skew:.3}");
        }
    }
}

/// The two halves pick row and bucket: within one row's flows the buckets must still spread.
#[test]
fn halves_are_independent() {
    let key = HashKey::default();
    let mut buckets = [0u32; 16];
    let hashes = (0..2_000_000u32).map(|i| v4(0x0a00_0000 + i, 40_000).hash(&key));
    hashes
        .filter(|hash| hash.scale(64) == 5)
        .for_each(|hash| buckets[hash.low() as usize % 16] += 1);
    let mean = buckets.iter().sum::<u32>() / 16;
    assert!(buckets.iter().all(|n| n.abs_diff(mean) < mean / 8), "{buckets:?}");
}

#[test]
fn every_field_and_the_key_count() {
    let (flow, key) = (v4(0x0a00_0001, 40_000), HashKey::default());
    let hash = flow.hash(&key);
    assert_ne!(
        hash,
        FlowKey {
            protocol: Protocol::Udp,
            ..flow
        }
        .hash(&key)
    );
    assert_ne!(hash, flow.hash(&HashKey::new([0; 16])));
    assert!(neighbours(flow).all(|near| near.hash(&key) != hash));
    assert_eq!(flow.selection_hash(&key, HashInputs::FiveTuple, hash), hash);
    let affine = |flow: FlowKey| flow.selection_hash(&key, HashInputs::ClientAddress, flow.hash(&key));
    assert_eq!(
        affine(flow),
        affine(FlowKey {
            client_port: 1,
            vip_port: 2,
            protocol: Protocol::Udp,
            ..flow
        })
    );
    assert_ne!(affine(flow), affine(v4(0x0a00_0002, 40_000)));
}

#[test]
fn scale_stays_below_its_bound() {
    for bound in [0, 1, 2, 251, 65_537, u32::MAX] {
        assert_eq!(FlowHash(0).scale(bound), 0);
        assert_eq!(FlowHash(u64::MAX).scale(bound), bound.saturating_sub(1));
    }
}

/// A fleet half upgraded must send a flow to the same backend: these change only with [`ALGORITHM`].
#[test]
fn frozen_hashes() {
    assert_eq!(ALGORITHM, 1);
    let ours = HashKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    let default = HashKey::default();
    let udp = FlowKey {
        protocol: Protocol::Udp,
        vip_port: 53,
        ..v4(0xcb00_7109, 5353)
    };
    for (what, hash, frozen) in [
        (
            "IPv4 TCP",
            v4(0x0a00_0001, 40_000).hash(&default).0,
            0x7c7b_b130_af62_5eeb,
        ),
        ("IPv4 UDP", udp.hash(&default).0, 0x5bf8_2299_e17c_d5fb),
        (
            "IPv6 TCP",
            v6(0x1234, 443).hash(&default).0,
            0x5e0d_d46a_f598_d560,
        ),
        (
            "another key",
            v4(0x0a00_0001, 40_000).hash(&ours).0,
            0xbd63_e36b_9c3c_058f,
        ),
        ("no bytes", default.hash_bytes(b""), 0xcb79_f683_430f_5ed4),
        (
            "an identity",
            default.hash_bytes(b"10.0.0.1"),
            0xcbf5_d576_74c9_8dd2,
        ),
        (
            "a longer identity",
            ours.hash_bytes(b"2001:db8::1234:5678"),
            0xa914_59cb_9092_157c,
        ),
    ] {
        assert!(hash == frozen, "{what}: {hash:#018x}");
    }
}
