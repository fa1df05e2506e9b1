//! The generator in the kernel: `BPF_PROG_RUN` with live frames, paced there as well.

use std::time::Instant;

use anyhow::Context;
use aya::maps::{Array, MapData};
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp};

use super::frame::{MAX_FLOWS, Packet};
use super::{Limit, OBJECT, Sent, interface_index};

/// `struct blast` in bpf/traffic.c: 80 bytes of header, four 32-bit words, seven 64-bit words.
const SETTINGS: usize = 80 + 16 + 56;
const SENT_AT: usize = 80 + 16 + 32;
const OVER_AT: usize = SENT_AT + 8;
/// Frames the kernel takes from its page pool at once.
const BATCH: u32 = 64;
/// Frames a system call, those that pacing leaves unsent included: a call costs about 20 ms to begin.
const REPEAT: u32 = 1 << 20;

type Settings = Array<MapData, [u8; SETTINGS]>;

/// Sends flows of `packet` out of `interface` until a limit is met or `stop` says so. Packets count as sent
/// when handed to the driver: what its ring had no room for is lost, as on a wire.
///
/// # Errors
/// Without root, without the interface, or on a driver that can't send XDP frames.
pub fn run(
    packet: &Packet,
    flows: u32,
    interface: &str,
    limit: Limit,
    stop: impl Fn() -> bool,
) -> anyhow::Result<Sent> {
    anyhow::ensure!(
        (1..=MAX_FLOWS).contains(&flows),
        "flows {flows} is outside 1..={MAX_FLOWS}"
    );
    let mut bpf = aya::Ebpf::load(OBJECT).context("load the generator: root (CAP_BPF) is needed")?;
    let mut map: Settings = Array::try_from(bpf.take_map("blasts").context("map blasts")?)?;
    map.set(0, settings(packet, flows, interface_index(interface)?, limit), 0)?;
    let program: &mut Xdp = bpf.program_mut("blast").context("program blast")?.try_into()?;
    program
        .load()
        .context("load the generator: root (CAP_BPF) is needed")?;
    let start = Instant::now();
    while word(&map, OVER_AT)? == 0 && !stop() {
        let options = TestRunOptions {
            data_in: Some(&packet.bytes),
            repeat: REPEAT,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        };
        let outcome = program.test_run(options);
        if !stop() {
            outcome.with_context(|| format!("send through {interface}"))?;
        }
    }
    let seconds = start.elapsed().min(limit.time).as_secs_f64();
    Ok(Sent {
        packets: word(&map, SENT_AT)?,
        seconds,
    })
}

fn word(map: &Settings, at: usize) -> anyhow::Result<u64> {
    let bytes = map.get(&0, 0)?;
    Ok(bytes[at..]
        .first_chunk()
        .map_or(0, |word| u64::from_ne_bytes(*word)))
}

fn settings(packet: &Packet, flows: u32, interface: u32, limit: Limit) -> [u8; SETTINGS] {
    let mut bytes = [0; SETTINGS];
    bytes[..packet.header].copy_from_slice(&packet.bytes[..packet.header]);
    for (slot, word) in bytes[80..96]
        .chunks_exact_mut(4)
        .zip([packet.header as u32, flows, interface, 0])
    {
        slot.copy_from_slice(&word.to_ne_bytes());
    }
    let duration = u64::try_from(limit.time.as_nanos()).unwrap_or(u64::MAX);
    for (slot, word) in bytes[96..]
        .chunks_exact_mut(8)
        .zip([duration, limit.rate, limit.packets])
    {
        slot.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}
