//! The fuzz targets over their named seeds, so that no run of the tests is without them.
//!
//! `UPDATE=1 cargo test -p maglane-dataplane --test replay` writes the seeds below anew; an input that once
//! broke something is a file more in `fuzz/seeds/<target>/`.

#[allow(dead_code, reason = "each test binary uses its own part")]
mod bodies;
#[allow(dead_code, reason = "each test binary uses its own part")]
mod common;
#[allow(dead_code, reason = "each test binary uses its own part")]
mod support {
    pub mod frame;
}

use std::path::Path;

use support::frame::{Says, icmp_error, ping, tcp, udp};

/// A fuzz target's body.
type Body = fn(&[u8]);

const TARGETS: [(&str, Body); 4] = [
    ("parse", bodies::any_frame_parses_or_is_refused),
    ("forward", bodies::any_frames_get_a_sane_verdict),
    ("encap_round_trip", bodies::what_goes_into_a_tunnel_is_in_it),
    ("flow_table_ops", bodies::any_operations_keep_the_flow_table_a_map),
];

/// Frames worth starting from.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let (client, vip) = ("203.0.113.7:40000", "192.0.2.10:80");
    let (client6, vip6) = ("[2001:db8:9::7]:40000", "[2001:db8::11]:80");
    let mut frames = vec![
        ("tcp_syn", tcp(client, vip, "S").bytes()),
        ("tcp_data_vlan", tcp(client, vip, "PA").vlan(7).data(100).bytes()),
        ("udp_v6", udp(client6, vip6).data(20).bytes()),
        (
            "udp_v6_extension",
            udp(client6, vip6).extension(60, &[0; 7]).bytes(),
        ),
        ("ipv4_options", tcp(client, vip, "A").options(&[1; 8]).bytes()),
        ("ttl_one", tcp(client, "192.0.2.13:80", "A").ttl(1).bytes()),
        ("too_big", udp(client, "192.0.2.13:80").data(1470).bytes()),
        ("gue", tcp(client, "192.0.2.14:80", "S").bytes()),
        ("ping", ping("203.0.113.7", "192.0.2.10").bytes()),
        ("ping_v6", ping("2001:db8:9::7", "2001:db8::10").bytes()),
    ];
    let error = icmp_error("203.0.113.254", Says::TooBig(1400), &tcp(vip, client, "A"), 28);
    frames.push(("icmp_too_big", error.bytes()));
    let pieces = udp(client, "192.0.2.11:80")
        .fragmentable()
        .data(64)
        .fragments(&[24]);
    frames.extend(["fragment_first", "fragment_last"].into_iter().zip(pieces));
    frames
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let with_port = |bytes: &[u8]| [&[0][..], &(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let frames = frames();
    match target {
        "parse" => frames
            .into_iter()
            .map(|(name, bytes)| (name.into(), bytes))
            .collect(),
        "forward" => {
            let all: Vec<u8> = frames.iter().flat_map(|(_, bytes)| with_port(bytes)).collect();
            // A flow of a service that wants resets, established under one table and met by the other.
            let goes_on = tcp("203.0.113.7:40000", "192.0.2.10:80", "PA").data(9).bytes();
            let mut reset = [with_port(&goes_on), with_port(&goes_on), with_port(&goes_on)];
            reset[2][0] = 4;
            let single = frames
                .iter()
                .map(|(name, bytes)| (name.to_string(), with_port(bytes)));
            let rows = [("everything_in_a_row", all), ("reset", reset.concat())];
            single
                .chain(rows.map(|(name, bytes)| (name.into(), bytes)))
                .collect()
        }
        "encap_round_trip" => {
            let kinds = (0..4u8).zip(["ipip_v4", "gue_v4", "ipip_v6", "gue_v6"]);
            let wrap = |(choice, kind): (u8, &str)| {
                let one = |(name, bytes): &(&str, Vec<u8>)| {
                    (format!("{kind}_{name}"), [&[choice][..], bytes].concat())
                };
                frames.iter().map(one).collect::<Vec<_>>()
            };
            kinds.flat_map(wrap).collect()
        }
        _ => {
            let fill = |op: u8| (0..=255u8).flat_map(|client| [op, client]).collect::<Vec<u8>>();
            let syns_then_established = [fill(3), fill(3 + 8)].concat();
            let remove_all = [fill(3 + 8), fill(0)].concat();
            let expire = [fill(3), vec![1, 255, 2, 8], fill(3 + 32)].concat();
            vec![
                ("syns_then_established".into(), syns_then_established),
                ("remove_all".into(), remove_all),
                ("expire".into(), expire),
            ]
        }
    }
}

#[test]
fn every_seed_runs_clean() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (target, body) in TARGETS {
        let dir = root.join(target);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(&dir).unwrap();
            for (name, bytes) in seeds(target) {
                std::fs::write(dir.join(name), bytes).unwrap();
            }
        }
        let mut count = 0;
        for file in std::fs::read_dir(&dir).unwrap() {
            let path = file.unwrap().path();
            println!("{}", path.display());
            body(&std::fs::read(path).unwrap());
            count += 1;
        }
        assert!(
            count >= seeds(target).len(),
            "{target}: {count} seeds; run with UPDATE=1"
        );
    }
}

/// The seeds with bits flipped and ends cut: a small fuzzer for machines without nightly.
#[test]
fn damaged_seeds_run_clean() {
    let rounds = if cfg!(debug_assertions) { 100 } else { 5_000 };
    let mut state = 1u64;
    let mut next = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for (target, body) in TARGETS {
        for (_, seed) in seeds(target) {
            for _ in 0..rounds {
                let mut bytes = seed.clone();
                for _ in 0..=next(4) {
                    let at = next(bytes.len());
                    bytes[at] ^= 1 << next(8);
                }
                if next(4) == 0 {
                    bytes.truncate(next(bytes.len()));
                }
                body(&bytes);
            }
        }
    }
}
