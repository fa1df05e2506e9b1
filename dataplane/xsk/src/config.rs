//! What a [`crate::QueueSet`] is opened with. Checked by [`QueueSetConfig::check`]; nothing is guessed later.

use std::time::Duration;

use crate::XskError;

/// Whether to use something the kernel or driver may not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Toggle {
    /// Use it when it works.
    #[default]
    Auto,
    /// Refuse to start without it.
    On,
    /// Do not try.
    Off,
}

/// One interface's queue, in `--interface` order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceConfig {
    pub name: String,
    /// RX and TX queue number, from 0.
    pub queue: u32,
}

/// `SO_BUSY_POLL` in microseconds and `SO_BUSY_POLL_BUDGET` in packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    pub usecs: u32,
    pub budget: u32,
}

impl Default for BusyPoll {
    fn default() -> Self {
        BusyPoll {
            usecs: 20,
            budget: 64,
        }
    }
}

/// Everything needed to open one worker's UMEM and sockets. Ring sizes are in descriptors and powers of two.
#[derive(Clone, Debug)]
pub struct QueueSetConfig {
    pub interfaces: Vec<InterfaceConfig>,
    /// Chunks in the UMEM, shared by all ports.
    pub frames: u32,
    /// Bytes a chunk: 2048 or 4096.
    pub chunk_size: u32,
    pub rx_ring: u32,
    pub tx_ring: u32,
    /// At least the RX ring plus the NIC's own ring, or RX starves in a burst (FAILURES D3).
    pub fill_ring: u32,
    pub completion_ring: u32,
    /// Bytes kept free before a received packet, on top of the kernel's own 256, for encapsulation in place.
    pub headroom: u32,
    pub zero_copy: Toggle,
    pub huge_pages: Toggle,
    /// `XDP_USE_SG`. `Auto`: only where the interface's MTU does not fit a chunk, so that such frames are seen and counted.
    pub multi_buffer: Toggle,
    pub busy_poll: Option<BusyPoll>,
    /// Packets a `sendto` may send in copy mode (`XDP_MAX_TX_SKB_BUDGET`, Linux 6.17; 32 before).
    pub tx_budget: u32,
    /// How long to retry a queue that is still held (EBUSY). A closed socket's queue needs 28-47 ms.
    pub bind_retry: Duration,
}

/// The kernel puts this much before every received packet (`XDP_PACKET_HEADROOM`).
pub const KERNEL_HEADROOM: u32 = 256;
/// More ports than any node has NICs; the owner table keeps a port in six bits.
pub const MAX_PORTS: usize = 32;
const MIN_FRAMES_PER_PORT: u32 = 64;
const DEFAULT_FRAMES_PER_PORT: u32 = 8192;

impl QueueSetConfig {
    /// Defaults for these interfaces: 8192 chunks of 2 KiB a port, rings of 2048, fill ring of 4096.
    pub fn new(interfaces: Vec<InterfaceConfig>) -> Self {
        QueueSetConfig {
            frames: DEFAULT_FRAMES_PER_PORT * interfaces.len().max(1) as u32,
            interfaces,
            chunk_size: 2048,
            rx_ring: 2048,
            tx_ring: 2048,
            fill_ring: 4096,
            completion_ring: 4096,
            headroom: 0,
            zero_copy: Toggle::Auto,
            huge_pages: Toggle::Auto,
            multi_buffer: Toggle::Auto,
            busy_poll: None,
            tx_budget: 64,
            bind_retry: Duration::from_secs(1),
        }
    }

    /// Refuses what the kernel would refuse with a bare EINVAL, or accept and starve on.
    pub fn check(&self) -> Result<(), XskError> {
        let fail = |text: String| Err(XskError::Config(text));
        let ports = self.interfaces.len();
        if ports == 0 || ports > MAX_PORTS {
            return fail(format!("{ports} interfaces given; 1 to {MAX_PORTS} are possible"));
        }
        for (i, interface) in self.interfaces.iter().enumerate() {
            if self.interfaces[..i].contains(interface) {
                return fail(format!(
                    "{} queue {} is listed twice",
                    interface.name, interface.queue
                ));
            }
        }
        if !matches!(self.chunk_size, 2048 | 4096) {
            return fail(format!("chunk_size {} is neither 2048 nor 4096", self.chunk_size));
        }
        self.check_rings()?;
        let minimum = MIN_FRAMES_PER_PORT * ports as u32;
        if self.frames < minimum {
            return fail(format!(
                "frames {} is below {minimum} ({MIN_FRAMES_PER_PORT} a port)",
                self.frames
            ));
        }
        if self.headroom + KERNEL_HEADROOM + 128 > self.chunk_size {
            return fail(format!(
                "headroom {} leaves no room in a chunk of {}",
                self.headroom, self.chunk_size
            ));
        }
        Ok(())
    }

    fn check_rings(&self) -> Result<(), XskError> {
        let rings = [
            ("rx_ring", self.rx_ring),
            ("tx_ring", self.tx_ring),
            ("fill_ring", self.fill_ring),
            ("completion_ring", self.completion_ring),
        ];
        for (name, size) in rings {
            if !size.is_power_of_two() || size > 1 << 20 {
                return Err(XskError::Config(format!(
                    "{name} {size} is not a power of two up to 1048576"
                )));
            }
        }
        if self.fill_ring < self.rx_ring {
            let text = format!(
                "fill_ring {} is below rx_ring {}: RX would starve",
                self.fill_ring, self.rx_ring
            );
            return Err(XskError::Config(text));
        }
        Ok(())
    }

    /// Where a received or freshly allocated packet starts in its chunk.
    pub(crate) fn data_start(&self) -> u32 {
        KERNEL_HEADROOM + self.headroom
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> QueueSetConfig {
        QueueSetConfig::new(vec![InterfaceConfig {
            name: "a".into(),
            queue: 0,
        }])
    }

    #[test]
    fn defaults_pass_the_check() {
        config().check().unwrap();
    }

    #[test]
    fn each_mistake_is_named() {
        type Spoil = fn(&mut QueueSetConfig);
        let cases: [(&str, Spoil); 7] = [
            ("0 interfaces", |c| c.interfaces.clear()),
            ("listed twice", |c| c.interfaces.push(c.interfaces[0].clone())),
            ("chunk_size 1500", |c| c.chunk_size = 1500),
            ("rx_ring 1000", |c| c.rx_ring = 1000),
            ("RX would starve", |c| c.fill_ring = 1024),
            ("frames 10", |c| c.frames = 10),
            ("headroom 1800", |c| c.headroom = 1800),
        ];
        for (expected, spoil) in cases {
            let mut config = config();
            spoil(&mut config);
            let text = config.check().unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
    }
}
