//! What one packet's bytes cost: parsing, the flow hash, checksums.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use maglane_benches::timing::criterion;
use maglane_benches::traffic::{Kind, LEN, Template, client};
use maglane_dataplane::forward::parse;
use maglane_dataplane::wire::checksum::Sum;
use maglane_shared::addr::{Addr, Family, Protocol};
use maglane_shared::flow::{FlowKey, HashKey};

fn frames() -> Vec<[u8; LEN]> {
    let template = Template::new(Kind::Data);
    let frame = |flow| {
        let mut frame = [0; LEN];
        template.stamp(client(flow, 512), &mut frame);
        frame
    };
    (0..64).map(frame).collect()
}

/// 64 packets an iteration: divide by 64.
fn parsing(c: &mut Criterion) {
    let frames = frames();
    let mut group = c.benchmark_group("wire/64 packets");
    group.bench_function("parse", |b| {
        b.iter(|| {
            frames
                .iter()
                .filter(|frame| parse::parse(black_box(&frame[..])).is_ok())
                .count()
        })
    });
    let key = HashKey::default();
    let flow = |parsed: parse::Parsed| FlowKey {
        client: parsed.src,
        vip: parsed.dst,
        client_port: parsed.l4,
        vip_port: 443,
        protocol: Protocol::Tcp,
    };
    group.bench_function("parse and hash", |b| {
        b.iter(|| {
            let parsed = frames
                .iter()
                .filter_map(|frame| parse::parse(black_box(&frame[..])).ok());
            parsed.fold(0, |all, parsed| all ^ flow(parsed).hash(&key).0)
        })
    });
    let flows: Vec<FlowKey> = frames
        .iter()
        .filter_map(|f| parse::parse(f).ok())
        .map(flow)
        .collect();
    group.bench_function("hash", |b| {
        b.iter(|| {
            black_box(&flows)
                .iter()
                .fold(0, |all, flow| all ^ flow.hash(&key).0)
        })
    });
}

fn checksums(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire/checksum");
    let data = vec![0x5a; 1480];
    for len in [20, 60, 1480] {
        group.bench_function(format!("whole, {len} bytes"), |b| {
            b.iter(|| Sum::default().bytes(black_box(&data[..len])).checksum())
        });
    }
    let (old, new) = (
        Addr::from_v4_bytes([192, 0, 2, 1]),
        Addr::from_v4_bytes([198, 51, 100, 7]),
    );
    group.bench_function("by the difference, address and port", |b| {
        b.iter(|| {
            let changed = Sum::default()
                .replace_addr(Family::V4, black_box(old), black_box(new))
                .replace_u16(443, 8443);
            changed.update(black_box(0x1234))
        })
    });
}

criterion_group! { name = benches; config = criterion(); targets = parsing, checksums }
criterion_main!(benches);
