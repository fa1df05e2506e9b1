//! The barest AF_XDP forwarder: in on one interface, new MAC addresses, out on the other.
//!
//! It does no balancing at all, so its rate is the ceiling for Maglane on the same machine.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use maglane_xsk::{AttachOptions, InterfaceConfig, PortId, QueueSet, QueueSetConfig, SteerSet, Steering};

use super::frame::Mac;

const BATCH: usize = 64;
const IDLE: Duration = Duration::from_millis(100);

/// Where packets come in, where they go, and whose they are.
#[derive(Debug, Clone)]
pub struct Settings {
    pub input: String,
    pub output: String,
    pub queue: u32,
    /// Packets to these addresses are taken.
    pub vips: Vec<IpAddr>,
    pub source_mac: Mac,
    pub target_mac: Mac,
    /// How long to look for packets before sleeping, as Maglane's workers do.
    pub spin: Duration,
}

/// Forwards until `stop` says so and gives the number of packets; `ready` runs once packets are taken.
///
/// # Errors
/// When a socket can't be opened or the steering program not attached.
pub fn run(settings: &Settings, ready: impl FnOnce(), stop: impl Fn() -> bool) -> anyhow::Result<u64> {
    let port = |name: &String| InterfaceConfig {
        name: name.clone(),
        queue: settings.queue,
    };
    let mut set = QueueSet::open(&QueueSetConfig::new(vec![
        port(&settings.input),
        port(&settings.output),
    ]))
    .context("open the AF_XDP sockets")?;
    let mut steering = Steering::attach(&settings.input, &AttachOptions::default())?;
    for (id, socket) in set.socket_fds() {
        if id == PortId(0) {
            steering.set_socket(settings.queue, socket)?;
        }
    }
    steering.apply(&SteerSet {
        vips: settings.vips.iter().copied().collect(),
        ..SteerSet::default()
    })?;
    ready();
    let mut received = Vec::with_capacity(BATCH);
    let (mut forwarded, mut last) = (0, Instant::now());
    while !stop() {
        if set.receive(&mut received, BATCH) == 0 {
            set.flush();
            if last.elapsed() >= settings.spin {
                set.wait(IDLE);
            }
            continue;
        }
        last = Instant::now();
        for packet in received.drain(..) {
            let start = packet.frame.start();
            if let Some([target, source]) = set
                .chunk_mut(&packet.frame)
                .get_mut(start..start + 12)
                .and_then(|macs| macs.as_chunks_mut::<6>().0.first_chunk_mut::<2>())
            {
                *target = settings.target_mac.0;
                *source = settings.source_mac.0;
            }
            match set.transmit(PortId(1), packet.frame) {
                Ok(()) => forwarded += 1,
                Err(frame) => set.release(frame),
            }
        }
        set.flush();
    }
    Ok(forwarded)
}
