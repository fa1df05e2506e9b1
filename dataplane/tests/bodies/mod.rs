//! What the fuzz targets do with any bytes. `dataplane/fuzz` drives them with libFuzzer, `tests/replay.rs`
//! with the named seeds on every run of the tests.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use maglane_dataplane::config::Timeouts;
use maglane_dataplane::flow_table::{BucketFull, FlowEntry, FlowId, FlowTable, Translation};
use maglane_dataplane::forward::encap::{Tunnel, TunnelKind, encapsulate, overhead};
use maglane_dataplane::forward::neighbor::{Heard, reply};
use maglane_dataplane::forward::parse::parse;
use maglane_dataplane::packet::Packet;
use maglane_dataplane::{Affinities, Forwarder, NatReturns, Verdict};
use maglane_shared::addr::{Addr, MacAddr, Protocol};
use maglane_shared::counters::{Counters, DropReason, FlowState};
use maglane_shared::facts::Facts;
use maglane_shared::flow::FlowHash;
use maglane_shared::next_hop::{HopIndex, PortIndex};
use maglane_shared::policy::{AffinityTimeout, IdleTimeout, Policy, Removal, SourceRanges};
use maglane_shared::service::{BackendId, ForwardingMode, ServiceId};
use maglane_shared::tick::Tick;

use crate::common::{self, HEADROOM, Service};

/// A frame is refused, or its parts lie inside it in order.
pub fn any_frame_parses_or_is_refused(data: &[u8]) {
    if let Ok(parsed) = parse(data) {
        assert!(14 <= parsed.l3 && parsed.l3 < parsed.l4 && parsed.l4 <= parsed.end);
        assert!(usize::from(parsed.end) <= data.len());
        assert_eq!(parsed.src.family(), parsed.dst.family());
    }
}

/// Frames in a row, each after a byte (port, which of two tables, time that passes) and its length (two): one
/// fresh worker, a service in every mode and family, and every verdict must be sane.
pub fn any_frames_get_a_sane_verdict(data: &[u8]) {
    let tables = [services(1), services(2)].map(|services| common::table(1, &services));
    let mut config = common::config();
    config.flow_table_size = 64;
    let counters = Arc::new(Counters::new(64, 64));
    let (c, f) = (Arc::clone(&counters), Arc::new(Facts::default()));
    let (returns, affinities) = (Arc::new(NatReturns::new(64)), Arc::new(Affinities::new(4)));
    let (owned, fence) = common::owning(&services(1));
    let mut forwarder = Forwarder::new(&config, 0, returns, affinities, c, f).answering(owned, fence);
    let mut now = Tick(0);
    let (mut rest, mut dropped) = (data, 0);
    while let Some(([port, a, b], tail)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([*a, *b]))
            .min(tail.len())
            .min(1700);
        let frame;
        (frame, rest) = tail.split_at(len);
        now = now.plus(u32::from(port >> 4) * 1000);
        let mut chunk = [0xa5; 2048];
        chunk[HEADROOM..HEADROOM + len].copy_from_slice(frame);
        let mut packet = Packet::new(&mut chunk, HEADROOM, len).unwrap();
        let table = &tables[usize::from(port >> 2 & 1)];
        let verdict = forwarder.process(&mut packet, PortIndex(port & 3), table, now);
        assert!(packet.start() + packet.len() <= 2048);
        match verdict {
            Verdict::Forward(PortIndex(out)) => {
                assert!(out < 2);
                leaves_well_formed(packet.data());
            }
            Verdict::Reply if tells_whose_it_is(packet.data()) => {}
            Verdict::Reply => leaves_well_formed(packet.data()),
            Verdict::Pass => {}
            Verdict::Drop(_) => dropped += 1,
        }
        forwarder.sweep(now);
    }
    assert_eq!(counters.dropped(), dropped);
}

/// An answer of ARP or NDP: another owner of the address would take it for a claim.
fn tells_whose_it_is(frame: &[u8]) -> bool {
    matches!(reply(frame, MacAddr::ZERO, |_| true), Heard::Claimed { .. })
}

/// Tunnels carry what no service takes; all else must pass our own parser.
fn leaves_well_formed(frame: &[u8]) {
    let parsed = parse(frame);
    assert!(
        matches!(parsed, Ok(_) | Err(DropReason::ProtocolUnsupported)),
        "{parsed:?}"
    );
}

/// Every second one asks for all there is; the first backends are of this epoch.
fn services(epoch: u32) -> Vec<Service> {
    let v4 = ["10.0.0.1:80", "10.0.0.2:80"];
    let v6 = ["[2001:db8:a::1]:80"];
    let modes = (10..).zip(ForwardingMode::ALL);
    let pair = |(n, mode)| {
        let protocol = if n % 2 == 0 { Protocol::Tcp } else { Protocol::Udp };
        [
            Service::new(&format!("192.0.2.{n}:80"), protocol, mode, &v4),
            Service::new(&format!("[2001:db8::{n}]:80"), protocol, mode, &v6),
        ]
    };
    let mut services: Vec<Service> = modes.flat_map(pair).collect();
    for (n, service) in services.iter_mut().enumerate() {
        service.backends[0].3 = epoch;
        if n % 3 == 0 {
            service.policy = everything();
        }
    }
    services
}

fn everything() -> Policy {
    let ranges = ["203.0.113.0/25", "2001:db8:9::/48"].map(|net| net.parse().unwrap());
    Policy {
        sources: Some(SourceRanges::new(ranges)),
        affinity: AffinityTimeout::from_secs(2),
        idle: IdleTimeout::from_secs(3),
        removal: Removal::Reset,
        mss: NonZeroU16::new(1000),
        mtu: NonZeroU16::new(1400),
    }
}

/// One byte picks the tunnel, the rest is a frame: what is wrapped is the packet, unchanged.
pub fn what_goes_into_a_tunnel_is_in_it(data: &[u8]) {
    let Some((choice, frame)) = data.split_first() else {
        return;
    };
    let frame = &frame[..frame.len().min(1700)];
    let Ok(parsed) = parse(frame) else { return };
    let kind = if choice & 1 == 0 {
        TunnelKind::Ipip
    } else {
        TunnelKind::Gue
    };
    let (src, dst) = if choice & 2 == 0 {
        ("172.16.0.1", "10.0.0.1")
    } else {
        ("100::1", "2001:db8::1")
    };
    let (src, dst): (Addr, Addr) = (src.parse().unwrap(), dst.parse().unwrap());
    let mut chunk = [0; 2048];
    chunk[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
    let mut packet = Packet::new(&mut chunk, HEADROOM, frame.len()).unwrap();
    let hash = FlowHash(u64::from(*choice) << 7);
    encapsulate(&mut packet, &parsed, &Tunnel { kind, src, dst, hash }).unwrap();
    let (l3, end) = (usize::from(parsed.l3), usize::from(parsed.end));
    let inner = l3 + usize::from(overhead(kind, dst.family()));
    assert_eq!(packet.data()[..12], frame[..12], "Ethernet addresses");
    assert_eq!(packet.data()[inner..], frame[l3..end], "the inner packet");
}

/// Pairs of bytes, an operation and a client, on a table of 64 flows and on a map.
pub fn any_operations_keep_the_flow_table_a_map(data: &[u8]) {
    let timeouts = Timeouts {
        syn_sent: 30,
        established: 1000,
        closing: 60,
        closed: 10,
        datagram: 120,
    };
    let mut table = FlowTable::new(64, timeouts);
    let mut model: HashMap<u8, FlowState> = HashMap::new();
    let mut now = Tick(0);
    for pair in data.chunks_exact(2) {
        let (op, client) = (pair[0], pair[1]);
        let (id, hash) = (
            id(client),
            FlowHash(u64::from(client % 5) << 32 | u64::from(client / 5 % 8)),
        );
        let states = [
            FlowState::SynSent,
            FlowState::Established,
            FlowState::Closing,
            FlowState::Closed,
            FlowState::Datagram,
        ];
        match (op % 8, table.find(hash, &id)) {
            (0, Some(at)) => {
                table.remove(at);
                model.remove(&client);
            }
            (1, _) => now = now.plus(u32::from(client)),
            (2, _) => table.sweep(
                usize::from(client),
                now,
                |_| {},
                |e| assert!(model.remove(&(e.id.client_port as u8)).is_some()),
            ),
            (_, Some(at)) => table.get_mut(at).last_seen = now,
            (_, None) => {
                let state = states[usize::from(op / 8) % 5];
                match table.insert(hash, entry(id, state, now), now, |_| {}) {
                    Ok((_, evicted)) => {
                        if let Some(old) = evicted {
                            assert!(model.remove(&(old.id.client_port as u8)).is_some());
                        }
                        model.insert(client, state);
                    }
                    Err(BucketFull) => assert!(model.len() >= 32),
                }
            }
        }
        assert_eq!(table.len(), model.len());
    }
    let held = (0..table.buckets()).flat_map(|b| table.bucket_entries(b));
    for entry in held {
        assert_eq!(model.remove(&(entry.id.client_port as u8)), Some(entry.state));
    }
    assert!(model.is_empty());
}

fn id(client: u8) -> FlowId {
    FlowId {
        client: Addr::from_v4_bytes([10, 0, 0, client]),
        service: ServiceId { slot: 0, epoch: 1 },
        client_port: u16::from(client),
    }
}

fn entry(id: FlowId, state: FlowState, now: Tick) -> FlowEntry {
    FlowEntry {
        id,
        backend: BackendId { slot: 0, epoch: 1 },
        last_seen: now,
        routes: 0,
        translation: Translation::None,
        hop: HopIndex(0),
        idle: None,
        nat_port: 0,
        nat_address: 0,
        state,
    }
}
