//! The settings of the packet path: complete, in plain units, checked once by [`Config::check`] before
//! a worker starts. The command line and its defaults in text form live in the binary.

use std::ops::RangeInclusive;

use maglane_shared::addr::{Addr, Family};

/// Largest batch a worker takes from its queue in one turn.
pub const MAX_BATCH: usize = 64;

/// Settings of every worker's [`crate::forward::Forwarder`] and poll loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub snat: Snat,
    pub tunnels: TunnelSources,
    pub timeouts: Timeouts,
    /// Flows a worker can hold (64 bytes each); rounded up to a power of two.
    pub flow_table_size: usize,
    /// Fragmented packets a worker can follow at a time.
    pub fragment_capacity: usize,
    pub icmp: IcmpRates,
    pub unknown_port: UnknownPort,
    pub poll: Poll,
}

/// Source addresses and ports for `nat` mode. Both lists may be empty: then that family has no NAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snat {
    pub v4: Vec<Addr>,
    pub v6: Vec<Addr>,
    pub ports: RangeInclusive<u16>,
}

/// Outer sources of tunnelled packets. IP in IP fills the host bits of a prefix from the flow's hash,
/// so that the backend's receive-side scaling spreads flows (Katran's scheme).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelSources {
    pub ipip_v4: (Addr, u8),
    pub ipip_v6: (Addr, u8),
    /// GUE spreads by its UDP source port instead, so these are addresses of this node.
    pub gue_v4: Option<Addr>,
    pub gue_v6: Option<Addr>,
}

/// Milliseconds without a packet after which a flow is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub syn_sent: u32,
    pub established: u32,
    pub closing: u32,
    pub closed: u32,
    pub datagram: u32,
}

/// Limits of what is answered by ICMP, in messages a second; as many again may come at once. TCP resets
/// have limits of their own, of the same size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpRates {
    /// All answers of one worker.
    pub total: u32,
    /// Answers to one source (sources share 1024 hashed buckets).
    pub per_source: u32,
}

/// What happens to a packet for a VIP on a port without a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownPort {
    /// Silence.
    Drop,
    /// ICMP port unreachable, rate-limited.
    Refuse,
}

/// How a worker waits for packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    pub wait: Wait,
    /// Frames taken in one turn, at most [`MAX_BATCH`].
    pub batch: usize,
    /// Core to pin the worker to.
    pub core: Option<usize>,
}

/// What a turn without packets is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The next turn at once: lowest latency, a whole core.
    Busy,
    /// Turns without sleeping for `spin_us` microseconds after the last packet, then sleep.
    Adaptive { spin_us: u32 },
    /// Sleep.
    Sleep,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            snat: Snat {
                v4: vec![],
                v6: vec![],
                ports: 15_000..=29_999,
            },
            tunnels: TunnelSources::default(),
            timeouts: Timeouts::default(),
            flow_table_size: 1 << 18,
            fragment_capacity: 4096,
            icmp: IcmpRates {
                total: 1000,
                per_source: 100,
            },
            unknown_port: UnknownPort::Drop,
            poll: Poll {
                wait: Wait::Adaptive { spin_us: 50 },
                batch: MAX_BATCH,
                core: None,
            },
        }
    }
}

impl Default for TunnelSources {
    fn default() -> Self {
        TunnelSources {
            ipip_v4: (Addr::from_v4_bytes([172, 16, 0, 0]), 16),
            // RFC 6666: the discard prefix, never routed.
            ipip_v6: (Addr::from_bits(0x0100 << 112), 64),
            gue_v4: None,
            gue_v6: None,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            syn_sent: 30_000,
            // RFC 5382 REQ-5: not less than two hours and four minutes.
            established: 7_440_000,
            closing: 60_000,
            closed: 10_000,
            // RFC 4787 REQ-5: two minutes at the least.
            datagram: 120_000,
        }
    }
}

impl Snat {
    /// The source addresses towards backends of `family`.
    #[inline]
    pub fn addresses(&self, family: Family) -> &[Addr] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// Is this where a reply to a translated flow comes back to?
    #[inline]
    pub fn owns(&self, addr: Addr, port: u16) -> bool {
        self.ports.contains(&port) && self.addresses(addr.family()).contains(&addr)
    }
}

impl Config {
    /// Refuses what a worker could not honour.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_snat()?;
        for (prefix, family) in [
            (self.tunnels.ipip_v4, Family::V4),
            (self.tunnels.ipip_v6, Family::V6),
        ] {
            let bits = if family == Family::V4 { 32 } else { 128 };
            if prefix.0.family() != family || prefix.1 > bits {
                return Err(ConfigError::TunnelPrefix(prefix.0, prefix.1));
            }
        }
        if !(1..=MAX_BATCH).contains(&self.poll.batch) {
            return Err(ConfigError::Batch(self.poll.batch));
        }
        if !(1024..=1 << 28).contains(&self.flow_table_size) {
            return Err(ConfigError::FlowTableSize(self.flow_table_size));
        }
        Ok(())
    }

    fn check_snat(&self) -> Result<(), ConfigError> {
        for (list, family) in [(&self.snat.v4, Family::V4), (&self.snat.v6, Family::V6)] {
            if list.len() > MAX_SNAT_ADDRESSES {
                return Err(ConfigError::TooManySnat(list.len()));
            }
            if let Some(&wrong) = list.iter().find(|a| a.family() != family) {
                return Err(ConfigError::SnatFamily(wrong));
            }
        }
        if self.snat.ports.is_empty() || *self.snat.ports.start() == 0 {
            return Err(ConfigError::SnatPorts(
                *self.snat.ports.start(),
                *self.snat.ports.end(),
            ));
        }
        Ok(())
    }
}

/// Source addresses of one family; a flow remembers which by one byte.
pub const MAX_SNAT_ADDRESSES: usize = 64;

/// Settings that no worker can run with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{0} is in the source-address list of the other family")]
    SnatFamily(Addr),
    #[error("{0} source addresses of one family: at most {MAX_SNAT_ADDRESSES} can be used")]
    TooManySnat(usize),
    #[error("source ports {0}-{1}: give a range that is not empty and does not start at 0")]
    SnatPorts(u16, u16),
    #[error("{0}/{1} is not a prefix of the family it is given for")]
    TunnelPrefix(Addr, u8),
    #[error("a batch of {0}: choose 1 to {MAX_BATCH}")]
    Batch(usize),
    #[error("a flow table of {0}: choose 1024 to 268435456")]
    FlowTableSize(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_each_error_names_its_value() {
        assert_eq!(Config::default().check(), Ok(()));
        let mut config = Config::default();
        config.snat.v4 = vec!["2001:db8::1".parse().unwrap()];
        assert!(config.check().unwrap_err().to_string().contains("2001:db8::1"));
        let mut config = Config::default();
        config.snat.ports = 0..=9;
        assert_eq!(config.check(), Err(ConfigError::SnatPorts(0, 9)));
        let mut config = Config::default();
        config.poll.batch = 65;
        assert_eq!(config.check(), Err(ConfigError::Batch(65)));
        let mut config = Config::default();
        config.tunnels.ipip_v4.1 = 33;
        assert!(config.check().is_err());
    }
}
