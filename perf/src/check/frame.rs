//! One frame: what is in it, and whether every checksum holds.

use std::net::IpAddr;

use etherparse::{IpSlice, Ipv4HeaderSlice};

use super::Summary;
use crate::decap::gue;

/// What a frame begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Ethernet,
    /// An IP packet without a link header.
    Ip,
    /// A capture of `any`: header length, and where in it the protocol stands.
    Cooked {
        header: usize,
        protocol: usize,
    },
}

/// Tunnels in tunnels deeper than this are left alone.
const MAX_DEPTH: u8 = 4;
const TCP_RST: u8 = 0x04;

/// Takes frames, keeps a [`Summary`].
#[derive(Debug, Default)]
pub struct Inspector {
    summary: Summary,
}

impl Inspector {
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    #[must_use]
    pub fn into_summary(self) -> Summary {
        self.summary
    }

    /// `original` is the frame's length on the wire, bytes.
    pub fn inspect(&mut self, link: Link, frame: &[u8], original: u32) {
        self.summary.frames += 1;
        self.summary.bytes += u64::from(original);
        self.summary.longest = self.summary.longest.max(original.into());
        if frame.len() < original as usize {
            self.truncated(format!("captured {} of {original} bytes", frame.len()));
            return;
        }
        match link {
            Link::Ip => self.ip(frame, 0),
            Link::Ethernet => self.tagged(frame, 12),
            Link::Cooked { header, protocol } => self.typed(frame, protocol, header),
        }
    }

    /// EtherType at `at`, behind any number of VLAN tags.
    fn tagged(&mut self, frame: &[u8], mut at: usize) {
        while let Some(0x8100 | 0x88a8 | 0x9100) = be16(frame, at) {
            self.summary.count("vlan");
            at += 4;
        }
        self.typed(frame, at, at + 2);
    }

    fn typed(&mut self, frame: &[u8], kind: usize, payload: usize) {
        match (be16(frame, kind), frame.get(payload..)) {
            (Some(0x0800 | 0x86dd), Some(packet)) => self.ip(packet, 0),
            (Some(0x0806), Some(_)) => self.summary.count("arp"),
            (Some(other), Some(_)) => self.summary.count(&format!("ethertype-{other:04x}")),
            (_, _) => self.truncated("no whole link header".to_owned()),
        }
    }

    fn ip(&mut self, packet: &[u8], depth: u8) {
        let ip = match IpSlice::from_slice(packet) {
            Ok(ip) => ip,
            Err(error) => return self.truncated(format!("IP: {error}")),
        };
        self.summary
            .count(if ip.ipv4().is_some() { "ipv4" } else { "ipv6" });
        if ip.ipv4().is_some() {
            self.ipv4_header(packet);
        }
        let payload = ip.payload();
        if payload.fragmented {
            self.summary.count("fragment");
            return;
        }
        let pseudo = pseudo(
            ip.source_addr(),
            ip.destination_addr(),
            payload.ip_number.0,
            payload.payload.len(),
        );
        let sum = fold(add(pseudo, payload.payload));
        match payload.ip_number.0 {
            1 => self.icmp("icmp", payload.payload, fold(add(0, payload.payload))),
            58 => self.icmp("icmpv6", payload.payload, sum),
            6 => self.tcp(payload.payload, sum),
            17 => self.udp(payload.payload, sum, ip.ipv4().is_some(), depth),
            4 | 41 => {
                self.summary.count("ipip");
                self.inner(payload.payload, depth);
            }
            other => self.summary.count(&format!("ip-protocol-{other}")),
        }
    }

    fn inner(&mut self, packet: &[u8], depth: u8) {
        if depth < MAX_DEPTH {
            self.ip(packet, depth + 1);
        }
    }

    fn ipv4_header(&mut self, packet: &[u8]) {
        if let Ok(header) = Ipv4HeaderSlice::from_slice(packet) {
            self.verify("IPv4 header", fold(add(0, header.slice())));
        }
    }

    fn tcp(&mut self, segment: &[u8], sum: u16) {
        self.summary.count("tcp");
        let Some(flags) = segment.get(13).filter(|_| segment.len() >= 20) else {
            return self.truncated(format!("TCP header of {} bytes", segment.len()));
        };
        self.summary.tcp_resets += u64::from(flags & TCP_RST != 0);
        self.summary.verified += 1;
        self.verify("TCP", sum);
    }

    fn udp(&mut self, datagram: &[u8], sum: u16, is_v4: bool, depth: u8) {
        self.summary.count("udp");
        let [Some(port), Some(length), Some(checksum)] = [2, 4, 6].map(|at| be16(datagram, at)) else {
            return self.truncated(format!("UDP header of {} bytes", datagram.len()));
        };
        if usize::from(length) != datagram.len() {
            return self.truncated(format!("UDP length {length} in {} bytes", datagram.len()));
        }
        // RFC 768 allows no checksum in IPv4; RFC 6935 allows it in IPv6 to tunnels only.
        if checksum != 0 {
            self.summary.verified += 1;
            self.verify("UDP", sum);
        } else if !is_v4 && port != gue::PORT {
            self.bad("UDP over IPv6 without a checksum".to_owned());
        }
        if port == gue::PORT
            && let Some(packet) = gue::inner(&datagram[8..])
        {
            self.summary.count("gue");
            self.inner(packet, depth);
        }
    }

    fn icmp(&mut self, name: &str, message: &[u8], sum: u16) {
        self.summary.count(name);
        if message.len() < 8 {
            return self.truncated(format!("{name} of {} bytes", message.len()));
        }
        self.summary.verified += 1;
        self.verify(name, sum);
    }

    fn verify(&mut self, what: &str, sum: u16) {
        if sum != 0xffff {
            self.bad(format!("bad {what} checksum (sum {sum:04x}, not ffff)"));
        }
    }

    fn bad(&mut self, fault: String) {
        self.summary.bad_checksums += 1;
        self.summary.find(fault);
    }

    fn truncated(&mut self, fault: String) {
        self.summary.truncated += 1;
        self.summary.find(fault);
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn add(sum: u64, bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let sum = pairs
        .iter()
        .fold(sum, |sum, pair| sum + u64::from(u16::from_be_bytes(*pair)));
    rest.iter().fold(sum, |sum, last| sum + (u64::from(*last) << 8))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> u64 {
    let bytes = |address: IpAddr, sum: u64| match address {
        IpAddr::V4(v4) => add(sum, &v4.octets()),
        IpAddr::V6(v6) => add(sum, &v6.octets()),
    };
    bytes(destination, bytes(source, u64::from(protocol) + length as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    type Build = fn(&[u8]) -> Vec<u8>;

    fn v4() -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [203, 0, 113, 7], 64)
    }

    fn v6() -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([1; 16], [2; 16], 64)
    }

    macro_rules! built {
        ($step:expr, $payload:expr) => {{
            let mut bytes = Vec::new();
            $step.write(&mut bytes, $payload).unwrap();
            bytes
        }};
    }

    fn cases() -> Vec<(&'static str, Build)> {
        vec![
            ("tcp4", |p| built!(v4().tcp(1, 2, 3, 4), p)),
            ("tcp6", |p| built!(v6().tcp(1, 2, 3, 4), p)),
            ("udp4", |p| built!(v4().udp(1, 2), p)),
            ("udp6", |p| built!(v6().udp(1, 2), p)),
            ("icmp4", |p| built!(v4().icmpv4_echo_request(1, 2), p)),
            ("icmp6", |p| built!(v6().icmpv6_echo_request(1, 2), p)),
            ("vlan", |p| {
                built!(
                    PacketBuilder::ethernet2([2; 6], [4; 6])
                        .single_vlan(etherparse::VlanId::try_new(7).unwrap())
                        .ipv4([1; 4], [2; 4], 9)
                        .tcp(1, 2, 3, 4),
                    p
                )
            }),
        ]
    }

    fn summary(frame: &[u8]) -> Summary {
        let mut inspector = Inspector::default();
        inspector.inspect(Link::Ethernet, frame, frame.len() as u32);
        inspector.into_summary()
    }

    #[test]
    fn good_frames_of_every_protocol_pass() {
        for (name, build) in cases() {
            for payload in [&b""[..], b"x", b"even", b"odd bytes"] {
                let got = summary(&build(payload));
                assert!(got.good(), "{name}: {got}");
                assert_eq!(got.verified, 1, "{name}");
            }
        }
    }

    #[test]
    fn one_flipped_payload_bit_is_found() {
        for (name, build) in cases() {
            let mut frame = build(b"payload");
            *frame.last_mut().unwrap() ^= 0x10;
            let got = summary(&frame);
            assert_eq!(got.bad_checksums, 1, "{name}: {got}");
            assert_eq!(got.findings[0].frame, 1);
        }
    }

    #[test]
    fn a_bad_ipv4_header_sum_is_found() {
        let mut frame = built!(v4().udp(1, 2), b"x");
        frame[14 + 8] ^= 1; // TTL
        assert_eq!(summary(&frame).bad_checksums, 1);
    }

    #[test]
    fn inner_packets_are_checked_too() {
        let inner = |good: bool| {
            let mut packet = built!(v4().tcp(5, 6, 7, 8), b"inner")[14..].to_vec();
            *packet.last_mut().unwrap() ^= u8::from(!good);
            packet
        };
        let gue0 = |packet: Vec<u8>| [&[0, 4, 0, 0][..], &packet].concat();
        for good in [true, false] {
            let ipip = {
                let mut bytes = Vec::new();
                v6().write(&mut bytes, 4.into(), &inner(good)).unwrap();
                bytes
            };
            let frames = [
                ("ipip", ipip),
                ("gue", built!(v4().udp(999, gue::PORT), &gue0(inner(good)))),
                ("gue", built!(v6().udp(999, gue::PORT), &inner(good))),
            ];
            for (name, frame) in frames {
                let got = summary(&frame);
                assert_eq!(got.protocols[name], 1, "{got}");
                assert_eq!(got.protocols["tcp"], 1, "{got}");
                assert_eq!(got.bad_checksums, u64::from(!good), "{name}: {got}");
            }
        }
    }

    #[test]
    fn zero_udp_is_fine_in_v4_and_bad_in_v6() {
        let zero = |mut frame: Vec<u8>, at: usize| {
            frame[at..at + 2].fill(0);
            summary(&frame).bad_checksums
        };
        assert_eq!(zero(built!(v4().udp(1, 2), b"x"), 14 + 20 + 6), 0);
        assert_eq!(zero(built!(v6().udp(1, 2), b"x"), 14 + 40 + 6), 1);
    }

    #[test]
    fn resets_and_cut_frames_are_counted() {
        let frame = built!(v4().tcp(1, 2, 3, 4).rst(), b"");
        assert_eq!(summary(&frame).tcp_resets, 1);
        let mut inspector = Inspector::default();
        inspector.inspect(Link::Ethernet, &frame[..40], frame.len() as u32);
        inspector.inspect(Link::Ethernet, &frame[..40], 40);
        assert_eq!(inspector.summary().truncated, 2);
    }
}
