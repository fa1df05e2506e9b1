//! The generator over an AF_XDP socket: works on any driver, in zero-copy mode where there is one.

use std::time::{Duration, Instant};

use maglane_xsk::{InterfaceConfig, PortId, QueueSet, QueueSetConfig};

use super::frame::{MAX_FLOWS, Packet};
use super::pace::Pace;
use super::{Limit, Sent};

const BATCH: u64 = 64;

/// Sends flows of `packet` out of a queue of `interface` until a limit is met or `stop` says so.
///
/// # Errors
/// When the socket can't be opened.
pub fn run(
    packet: &Packet,
    flows: u32,
    interface: &str,
    queue: u32,
    limit: Limit,
    stop: impl Fn() -> bool,
) -> anyhow::Result<Sent> {
    anyhow::ensure!(
        (1..=MAX_FLOWS).contains(&flows),
        "flows {flows} is outside 1..={MAX_FLOWS}"
    );
    let port = InterfaceConfig {
        name: interface.to_owned(),
        queue,
    };
    let mut set = QueueSet::open(&QueueSetConfig::new(vec![port]))?;
    let (mut pace, mut total, mut flow) = (Pace::new(limit.rate, BATCH), 0, 0_u32);
    let start = Instant::now();
    while start.elapsed() < limit.time && !stop() {
        let left = if limit.packets == 0 {
            u64::MAX
        } else {
            limit.packets - total
        };
        if left == 0 {
            break;
        }
        let mut sent = 0;
        for _ in 0..pace.due(start.elapsed()).min(left) {
            flow = if flow + 1 < flows { flow + 1 } else { 0 };
            if !put(&mut set, packet, flow)? {
                break;
            }
            sent += 1;
        }
        set.flush();
        pace.sent(sent);
        total += sent;
        if sent == 0 && limit.rate != 0 {
            std::thread::sleep(Duration::from_micros(20));
        }
    }
    drain(&mut set);
    Ok(Sent {
        packets: total,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// One packet into the ring; false when there is no chunk or no room.
fn put(set: &mut QueueSet, packet: &Packet, flow: u32) -> anyhow::Result<bool> {
    let Some(mut frame) = set.allocate() else {
        return Ok(false);
    };
    let start = frame.start();
    frame.set_range(start, packet.bytes.len()).map_err(|range| {
        anyhow::anyhow!(
            "a frame of {} bytes does not fit a chunk of {}",
            range.len,
            range.chunk_size
        )
    })?;
    let bytes = &mut set.chunk_mut(&frame)[start..start + packet.bytes.len()];
    bytes[packet.header..].copy_from_slice(&packet.bytes[packet.header..]);
    packet.write_header(flow, bytes);
    match set.transmit(PortId(0), frame) {
        Ok(()) => Ok(true),
        Err(frame) => {
            set.release(frame);
            Ok(false)
        }
    }
}

/// Lets the kernel send what is still in the ring, 200 ms at most.
fn drain(set: &mut QueueSet) {
    let start = Instant::now();
    while set.census().tx > 0 && start.elapsed() < Duration::from_millis(200) {
        set.flush();
    }
}
