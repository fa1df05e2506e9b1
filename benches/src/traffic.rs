//! Which flow's packet comes next, and that packet's bytes.

use etherparse::PacketBuilder;

use crate::scene::{FIRST_VIP, GATEWAY_MAC, OUR_MAC, VIP_PORT};

/// Bytes of a frame: 64 on the wire with its check sequence.
pub const LEN: usize = 60;

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    pub src: u32,
    pub dst: u32,
    pub src_port: u16,
    pub dst_port: u16,
}

/// TCP flags of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Syn,
    Data,
}

/// Client `flow` towards one of `services`.
pub fn client(flow: u32, services: u32) -> Tuple {
    Tuple {
        src: 0x6400_0000 + flow / 16,
        dst: FIRST_VIP + flow.wrapping_mul(0x9e37_79b1) % services,
        src_port: 1024 + (flow % 16) as u16 * 37,
        dst_port: VIP_PORT,
    }
}

/// All numbers below a power of two, over and over, in an order no prefetcher guesses.
#[derive(Clone, Debug)]
pub struct Order {
    mask: u32,
    at: u32,
}

impl Order {
    pub fn new(flows: u32) -> Self {
        assert!(flows.is_power_of_two());
        Order {
            mask: flows - 1,
            at: 1,
        }
    }
}

impl Iterator for Order {
    type Item = u32;

    /// A linear congruence of full period (Hull and Dobell 1962), its bits stirred one-to-one.
    fn next(&mut self) -> Option<u32> {
        self.at = self.at.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        let x = self.at & self.mask;
        Some((x ^ (x >> 7)) & self.mask)
    }
}

/// A frame of each kind, to be stamped with addresses and ports.
#[derive(Clone, Debug)]
pub struct Template([u8; LEN]);

impl Template {
    pub fn new(kind: Kind) -> Self {
        let builder = PacketBuilder::ethernet2(GATEWAY_MAC.0, OUR_MAC.0)
            .ipv4([0; 4], [0; 4], 64)
            .tcp(0, 0, 1, 65_535);
        let builder = match kind {
            Kind::Syn => builder.syn(),
            Kind::Data => builder.ack(1),
        };
        let mut bytes = Vec::with_capacity(LEN);
        builder.write(&mut bytes, &[0; 6]).expect("writing to memory");
        Template(bytes.try_into().expect("14 + 20 + 20 + 6 bytes"))
    }

    /// Writes the frame of `tuple`. The TCP checksum is left as it is: balancers change it by the difference.
    pub fn stamp(&self, tuple: Tuple, frame: &mut [u8; LEN]) {
        *frame = self.0;
        frame[26..30].copy_from_slice(&tuple.src.to_be_bytes());
        frame[30..34].copy_from_slice(&tuple.dst.to_be_bytes());
        frame[34..36].copy_from_slice(&tuple.src_port.to_be_bytes());
        frame[36..38].copy_from_slice(&tuple.dst_port.to_be_bytes());
        frame[24..26].fill(0);
        let words = frame[14..34]
            .chunks(2)
            .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
        let sum: u32 = words.sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Who sent a frame to whom, read back from behind its Ethernet header.
pub fn tuple_of(frame: &[u8]) -> Tuple {
    let word = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    let ports = word(34);
    Tuple {
        src: word(26),
        dst: word(30),
        src_port: (ports >> 16) as u16,
        dst_port: ports as u16,
    }
}
