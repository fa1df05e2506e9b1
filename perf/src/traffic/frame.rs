//! One packet of the first flow; the generators derive the other flows from it.
//!
//! Flow `f` adds `f >> 14` to the last 16 bits of the source address and `f & 0x3fff` to the source port.

use std::net::IpAddr;
use std::str::FromStr;

use anyhow::{bail, ensure};
use etherparse::PacketBuilder;

/// Flows one template can spread to without running out of ports or address bits.
pub const MAX_FLOWS: u32 = 1 << 26;
/// The source port of flow 0.
const FIRST_PORT: u16 = 16_384;
const ETHERNET: usize = 14;
/// Shortest Ethernet frame without its check sequence, bytes.
const MIN_FRAME: usize = 60;

/// What the packets claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowKind {
    Udp,
    TcpSyn,
    TcpAck,
}

impl FromStr for FlowKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "udp" => Ok(Self::Udp),
            "syn" => Ok(Self::TcpSyn),
            "ack" => Ok(Self::TcpAck),
            other => Err(format!("{other} is unknown; use udp, syn or ack")),
        }
    }
}

/// Ethernet addresses, in the usual notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Option<Vec<u8>> = text
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).ok())
            .collect();
        let array = bytes.and_then(|bytes| bytes.try_into().ok());
        array
            .map(Self)
            .ok_or_else(|| format!("{text} is no MAC address; write 02:00:00:00:00:01"))
    }
}

/// What to build a packet from.
#[derive(Debug, Clone)]
pub struct Template {
    pub kind: FlowKind,
    pub source_mac: Mac,
    pub target_mac: Mac,
    /// Of flow 0. Its last 16 bits and the flows' share of them must not overflow.
    pub source: IpAddr,
    pub target: IpAddr,
    pub port: u16,
    /// Frame length without the check sequence, bytes: "64 B" packets are 60 here.
    pub size: usize,
}

/// A whole frame and where its changing fields are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub bytes: Vec<u8>,
    /// Length of all headers: 42, 54, 62 or 74.
    pub header: usize,
    address_at: usize,
    port_at: usize,
    ip_sum_at: Option<usize>,
    sum_at: usize,
}

impl Template {
    /// # Errors
    /// When the addresses are of two families or the size is below the headers or above 3,400.
    pub fn build(&self) -> anyhow::Result<Packet> {
        let builder = PacketBuilder::ethernet2(self.source_mac.0, self.target_mac.0);
        let (builder, ip) = match (self.source, self.target) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (builder.ipv4(a.octets(), b.octets(), 64), 20),
            (IpAddr::V6(a), IpAddr::V6(b)) => (builder.ipv6(a.octets(), b.octets(), 64), 40),
            (a, b) => bail!("source {a} and target {b} are of two families"),
        };
        let transport = if self.kind == FlowKind::Udp { 8 } else { 20 };
        let header = ETHERNET + ip + transport;
        ensure!(
            (header..=3400).contains(&self.size),
            "size {} is outside {header}..=3400",
            self.size
        );
        let payload = vec![0; self.size.max(MIN_FRAME) - header];
        let mut bytes = Vec::new();
        match self.kind {
            FlowKind::Udp => builder.udp(FIRST_PORT, self.port).write(&mut bytes, &payload)?,
            FlowKind::TcpSyn => builder
                .tcp(FIRST_PORT, self.port, 1, 65_535)
                .syn()
                .write(&mut bytes, &payload)?,
            FlowKind::TcpAck => {
                builder
                    .tcp(FIRST_PORT, self.port, 1, 65_535)
                    .ack(1)
                    .write(&mut bytes, &payload)?;
            }
        }
        let l4 = ETHERNET + ip;
        Ok(Packet {
            bytes,
            header,
            address_at: if ip == 20 { ETHERNET + 14 } else { ETHERNET + 22 },
            port_at: l4,
            ip_sum_at: (ip == 20).then_some(ETHERNET + 10),
            sum_at: if transport == 8 { l4 + 6 } else { l4 + 16 },
        })
    }
}

impl Packet {
    /// The headers of flow `flow`, sums updated (RFC 1624), into the beginning of `frame`.
    ///
    /// # Panics
    /// When `frame` is shorter than the headers.
    pub fn write_header(&self, flow: u32, frame: &mut [u8]) {
        frame[..self.header].copy_from_slice(&self.bytes[..self.header]);
        let mut add = |at: usize, by: u16| {
            let old = get(frame, at);
            let new = old.wrapping_add(by);
            put(frame, at, new);
            (old, new)
        };
        let address = add(self.address_at, (flow >> 14) as u16);
        let port = add(self.port_at, (flow & 0x3fff) as u16);
        if let Some(at) = self.ip_sum_at {
            let sum = fixed(get(frame, at), address);
            put(frame, at, sum);
        }
        let sum = fixed(fixed(get(frame, self.sum_at), address), port);
        put(frame, self.sum_at, sum);
    }
}

fn get(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

fn put(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn fixed(sum: u16, (old, new): (u16, u16)) -> u16 {
    let mut s = u32::from(!sum) + u32::from(!old) + u32::from(new);
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    !(s as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Inspector, Link};

    fn template(kind: FlowKind, source: &str, target: &str, size: usize) -> Template {
        Template {
            kind,
            source_mac: "02:00:00:00:00:01".parse().unwrap(),
            target_mac: "02:00:00:00:00:02".parse().unwrap(),
            source: source.parse().unwrap(),
            target: target.parse().unwrap(),
            port: 80,
            size,
        }
    }

    #[test]
    fn every_flow_of_every_kind_has_right_checksums() {
        for kind in [FlowKind::Udp, FlowKind::TcpSyn, FlowKind::TcpAck] {
            for (source, target) in [("10.10.0.1", "203.0.113.1"), ("fd10::1", "2001:db8::1")] {
                let packet = template(kind, source, target, 80).build().unwrap();
                let mut inspector = Inspector::default();
                for flow in [0, 1, 0x3fff, 0x4000, 65_535, 1_000_000] {
                    let mut frame = packet.bytes.clone();
                    packet.write_header(flow, &mut frame);
                    inspector.inspect(Link::Ethernet, &frame, frame.len() as u32);
                }
                let summary = inspector.into_summary();
                assert!(
                    summary.good() && summary.verified == 6,
                    "{kind:?} {target}: {summary}"
                );
            }
        }
    }

    #[test]
    fn header_lengths_are_those_the_program_knows() {
        let length = |kind, source, target| template(kind, source, target, 80).build().unwrap().header;
        assert_eq!(length(FlowKind::Udp, "10.0.0.1", "10.0.0.2"), 42);
        assert_eq!(length(FlowKind::TcpAck, "10.0.0.1", "10.0.0.2"), 54);
        assert_eq!(length(FlowKind::Udp, "::1", "::2"), 62);
        assert_eq!(length(FlowKind::TcpSyn, "::1", "::2"), 74);
    }

    #[test]
    fn impossible_packets_are_refused() {
        assert!(template(FlowKind::Udp, "10.0.0.1", "::2", 80).build().is_err());
        assert!(template(FlowKind::TcpAck, "::1", "::2", 70).build().is_err());
        assert!("02:00:00".parse::<Mac>().is_err() && "zz:0:0:0:0:0".parse::<Mac>().is_err());
    }
}
