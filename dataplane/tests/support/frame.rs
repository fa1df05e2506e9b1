//! Frames for tests, written as one would say them: `tcp("203.0.113.7:40000", "192.0.2.10:80", "S").data(32)`.
//!
//! Headers and checksums come from `etherparse`, never from the code under test. What no honest sender
//! would send is made by patching the bytes afterwards ([`patch`], [`reseal`]).

use std::net::{IpAddr, SocketAddr};

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    ArpEthIpv4Packet, ArpOperation, IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, Ipv6FlowLabel,
    Ipv6Header, TcpHeader, UdpHeader,
};

/// Our first interface and the neighbour that clients' packets come from.
pub const PORT0: [u8; 6] = [2, 0, 0, 0, 0, 0];
pub const PORT1: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const ROUTER: [u8; 6] = [2, 0, 0, 0, 0xaa, 1];

/// The numbers of segments that say nothing else.
pub const SEQUENCE: u32 = 0x0102_0304;
pub const ACKNOWLEDGMENT: u32 = 0x0506_0708;

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

/// IPv6 extension headers by their next-header number.
pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const DESTINATION: u8 = 60;

#[derive(Clone, Debug)]
pub struct Frame {
    macs: ([u8; 6], [u8; 6]),
    /// (TPID, VLAN id), outermost first.
    tags: Vec<(u16, u16)>,
    src: IpAddr,
    dst: IpAddr,
    ttl: u8,
    traffic_class: u8,
    dont_fragment: bool,
    id: u16,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    transport: Transport,
    data: Vec<u8>,
    padding: usize,
}

#[derive(Clone, Debug)]
enum Transport {
    Tcp {
        ports: (u16, u16),
        flags: String,
        options: Vec<u8>,
        /// Sequence and acknowledgment number; that of a segment without ACK is 0 by default.
        numbers: (u32, u32),
        window: u16,
    },
    Udp {
        ports: (u16, u16),
        checksum: bool,
    },
    /// Type, code, and the four bytes after the checksum.
    Icmp {
        kind: u8,
        code: u8,
        rest: [u8; 4],
    },
    Raw {
        protocol: u8,
    },
}

fn endpoint(text: &str) -> SocketAddr {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is not an address and port"))
}

fn frame(src: IpAddr, dst: IpAddr, transport: Transport) -> Frame {
    Frame {
        macs: (PORT0, ROUTER),
        tags: vec![],
        src,
        dst,
        ttl: 61,
        traffic_class: 0,
        dont_fragment: true,
        id: 0x1234,
        options: vec![],
        extensions: vec![],
        transport,
        data: vec![],
        padding: 0,
    }
}

/// `flags` by their letters: S A F R P U.
pub fn tcp(src: &str, dst: &str, flags: &str) -> Frame {
    let (src, dst) = (endpoint(src), endpoint(dst));
    let transport = Transport::Tcp {
        ports: (src.port(), dst.port()),
        flags: flags.to_owned(),
        options: vec![],
        numbers: (SEQUENCE, if flags.contains('A') { ACKNOWLEDGMENT } else { 0 }),
        window: 64_240,
    };
    frame(src.ip(), dst.ip(), transport)
}

pub fn udp(src: &str, dst: &str) -> Frame {
    let (src, dst) = (endpoint(src), endpoint(dst));
    frame(
        src.ip(),
        dst.ip(),
        Transport::Udp {
            ports: (src.port(), dst.port()),
            checksum: true,
        },
    )
}

pub fn raw(src: &str, dst: &str, protocol: u8, data: &[u8]) -> Frame {
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    Frame {
        data: data.to_vec(),
        ..frame(src, dst, Transport::Raw { protocol })
    }
}

/// Any ICMP or ICMPv6 message.
pub fn icmp(src: &str, dst: &str, kind: u8, code: u8, rest: u32) -> Frame {
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    frame(
        src,
        dst,
        Transport::Icmp {
            kind,
            code,
            rest: rest.to_be_bytes(),
        },
    )
}

/// An ARP frame to this MAC address: `operation`, who sends, whom it is about.
pub fn arp(
    to: [u8; 6],
    operation: u16,
    (sender_mac, sender): ([u8; 6], &str),
    (target_mac, target): ([u8; 6], &str),
) -> Vec<u8> {
    let v4 = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().octets();
    let packet = ArpEthIpv4Packet {
        operation: ArpOperation(operation),
        sender_mac,
        sender_ipv4: v4(sender),
        target_mac,
        target_ipv4: v4(target),
    };
    [&to[..], &sender_mac, &[0x08, 0x06], &packet.to_bytes()].concat()
}

/// An echo request with 56 bytes of data, as `ping` sends it.
pub fn ping(src: &str, dst: &str) -> Frame {
    let v6 = src.contains(':');
    icmp(src, dst, if v6 { 128 } else { 8 }, 0, 0x4d47_0001).data(56)
}

/// What an ICMP error says.
#[derive(Clone, Copy, Debug)]
pub enum Says {
    PortUnreachable,
    HostUnreachable,
    TimeExceeded,
    TooBig(u32),
    ParameterProblem,
}

/// An ICMP error from `from` to the sender of `about`, quoting at most `quote` bytes of it.
pub fn icmp_error(from: &str, says: Says, about: &Frame, quote: usize) -> Frame {
    let (kind, code, rest) = match (says, about.src.is_ipv4()) {
        (Says::PortUnreachable, true) => (3, 3, 0),
        (Says::HostUnreachable, true) => (3, 1, 0),
        (Says::TooBig(mtu), true) => (3, 4, mtu),
        (Says::TimeExceeded, true) => (11, 0, 0),
        (Says::ParameterProblem, true) => (12, 0, 20 << 24),
        (Says::PortUnreachable, false) => (1, 4, 0),
        (Says::HostUnreachable, false) => (1, 3, 0),
        (Says::TooBig(mtu), false) => (2, 0, mtu),
        (Says::TimeExceeded, false) => (3, 0, 0),
        (Says::ParameterProblem, false) => (4, 1, 40),
    };
    let mut quoted = about.packet();
    quoted.truncate(quote);
    Frame {
        data: quoted,
        ..icmp(from, &about.src.to_string(), kind, code, rest)
    }
}

impl Frame {
    pub fn macs(mut self, destination: [u8; 6], source: [u8; 6]) -> Self {
        self.macs = (destination, source);
        self
    }

    pub fn vlan(mut self, id: u16) -> Self {
        self.tags.push((0x8100, id));
        self
    }

    pub fn service_vlan(mut self, id: u16) -> Self {
        self.tags.push((0x88a8, id));
        self
    }

    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    pub fn traffic_class(mut self, traffic_class: u8) -> Self {
        self.traffic_class = traffic_class;
        self
    }

    pub fn fragmentable(mut self) -> Self {
        self.dont_fragment = false;
        self
    }

    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// IPv4 options; a multiple of four bytes.
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// An IPv6 extension header; `body` is all but its next-header byte.
    pub fn extension(mut self, kind: u8, body: &[u8]) -> Self {
        self.extensions.push((kind, body.to_vec()));
        self
    }

    pub fn tcp_options(mut self, bytes: &[u8]) -> Self {
        if let Transport::Tcp { options, .. } = &mut self.transport {
            *options = bytes.to_vec();
        }
        self
    }

    /// Sequence and acknowledgment number, and the window.
    pub fn numbers(mut self, sequence: u32, acknowledgment: u32, size: u16) -> Self {
        if let Transport::Tcp { numbers, window, .. } = &mut self.transport {
            (*numbers, *window) = ((sequence, acknowledgment), size);
        }
        self
    }

    pub fn no_checksum(mut self) -> Self {
        if let Transport::Udp { checksum, .. } = &mut self.transport {
            *checksum = false;
        }
        self
    }

    /// `n` bytes that count up.
    pub fn data(mut self, n: usize) -> Self {
        self.data = (0..n).map(|i| i as u8).collect();
        self
    }

    pub fn payload(mut self, bytes: &[u8]) -> Self {
        self.data = bytes.to_vec();
        self
    }

    /// Ethernet padding after the packet.
    pub fn padding(mut self, n: usize) -> Self {
        self.padding = n;
        self
    }

    /// Where the IP header begins.
    pub fn l3(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// The whole frame.
    pub fn bytes(&self) -> Vec<u8> {
        self.link(&self.packet())
    }

    /// Cut into fragments that carry `sizes` bytes each (multiples of 8), and one with the rest.
    pub fn fragments(&self, sizes: &[usize]) -> Vec<Vec<u8>> {
        let (whole, mut offset, mut out) = (self.transport_bytes(), 0usize, vec![]);
        for size in sizes.iter().copied().chain([usize::MAX]) {
            let end = whole.len().min(offset.saturating_add(size));
            out.push(self.fragment(offset, &whole[offset..end], end < whole.len()));
            offset = end;
        }
        out
    }

    /// One fragment with these bytes at this offset.
    pub fn fragment(&self, offset: usize, bytes: &[u8], more: bool) -> Vec<u8> {
        let packet = match (self.src, self.dst) {
            (IpAddr::V4(_), IpAddr::V4(_)) => self.ipv4(bytes, offset, more),
            (IpAddr::V6(_), IpAddr::V6(_)) => {
                let mut body = vec![0; 7];
                body[1..3].copy_from_slice(&((offset as u16) | u16::from(more)).to_be_bytes());
                body[3..].copy_from_slice(&u32::from(self.id).to_be_bytes());
                let cut = self.clone().extension(FRAGMENT, &body);
                cut.ipv6(bytes)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("mixed families"),
        };
        self.link(&packet)
    }

    /// The IP packet alone.
    pub fn packet(&self) -> Vec<u8> {
        let transport = self.transport_bytes();
        match (self.src, self.dst) {
            (IpAddr::V4(_), IpAddr::V4(_)) => self.ipv4(&transport, 0, false),
            (IpAddr::V6(_), IpAddr::V6(_)) => self.ipv6(&transport),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("mixed families"),
        }
    }

    fn link(&self, packet: &[u8]) -> Vec<u8> {
        let ether_type: u16 = if self.src.is_ipv4() { 0x0800 } else { 0x86dd };
        let mut out = [self.macs.0, self.macs.1].concat();
        for (tpid, id) in &self.tags {
            out.extend(tpid.to_be_bytes());
            out.extend(id.to_be_bytes());
        }
        out.extend(ether_type.to_be_bytes());
        out.extend(packet);
        out.resize(out.len() + self.padding, 0);
        out
    }

    fn protocol(&self) -> u8 {
        match &self.transport {
            Transport::Tcp { .. } => TCP,
            Transport::Udp { .. } => UDP,
            Transport::Icmp { .. } if self.src.is_ipv4() => ICMP,
            Transport::Icmp { .. } => ICMPV6,
            Transport::Raw { protocol } => *protocol,
        }
    }

    fn ipv4(&self, transport: &[u8], offset: usize, more: bool) -> Vec<u8> {
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (self.src, self.dst) else {
            panic!("not IPv4")
        };
        let mut header = Ipv4Header::new(
            (transport.len() + self.options.len()) as u16,
            self.ttl,
            IpNumber(self.protocol()),
            src.octets(),
            dst.octets(),
        )
        .unwrap();
        header.options = Ipv4Options::try_from(self.options.as_slice()).unwrap();
        header.dscp = (self.traffic_class >> 2).try_into().unwrap();
        header.ecn = (self.traffic_class & 3).try_into().unwrap();
        header.dont_fragment = self.dont_fragment;
        header.identification = self.id;
        header.more_fragments = more;
        header.fragment_offset = IpFragOffset::try_new((offset / 8) as u16).unwrap();
        header.set_payload_len(transport.len()).unwrap();
        header.header_checksum = header.calc_header_checksum();
        [&header.to_bytes()[..], transport].concat()
    }

    fn ipv6(&self, transport: &[u8]) -> Vec<u8> {
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (self.src, self.dst) else {
            panic!("not IPv6")
        };
        let next = self
            .extensions
            .iter()
            .map(|(kind, _)| *kind)
            .chain([self.protocol()]);
        let next: Vec<u8> = next.collect();
        let mut payload = vec![];
        for ((_, body), after) in self.extensions.iter().zip(&next[1..]) {
            payload.push(*after);
            payload.extend(body);
        }
        payload.extend(transport);
        let header = Ipv6Header {
            traffic_class: self.traffic_class,
            flow_label: Ipv6FlowLabel::ZERO,
            payload_length: payload.len() as u16,
            next_header: IpNumber(next[0]),
            hop_limit: self.ttl,
            source: src.octets(),
            destination: dst.octets(),
        };
        [&header.to_bytes()[..], &payload].concat()
    }

    /// The transport header, with its checksum, and its data.
    pub fn transport_bytes(&self) -> Vec<u8> {
        let header = match &self.transport {
            Transport::Tcp {
                ports,
                flags,
                options,
                numbers,
                window,
            } => self.tcp(
                TcpHeader {
                    acknowledgment_number: numbers.1,
                    ..TcpHeader::new(ports.0, ports.1, numbers.0, *window)
                },
                flags,
                options,
            ),
            Transport::Udp { ports, checksum } => self.udp(*ports, *checksum),
            Transport::Icmp { kind, code, rest } => self.icmp(*kind, *code, *rest),
            Transport::Raw { .. } => vec![],
        };
        [&header[..], &self.data].concat()
    }

    fn tcp(&self, mut header: TcpHeader, flags: &str, options: &[u8]) -> Vec<u8> {
        for flag in flags.chars() {
            match flag {
                'S' => header.syn = true,
                'A' => header.ack = true,
                'F' => header.fin = true,
                'R' => header.rst = true,
                'P' => header.psh = true,
                'U' => header.urg = true,
                _ => panic!("no TCP flag is called {flag}"),
            }
        }
        header.set_options_raw(options).unwrap();
        header.checksum = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                header.calc_checksum_ipv4_raw(src.octets(), dst.octets(), &self.data)
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                header.calc_checksum_ipv6_raw(src.octets(), dst.octets(), &self.data)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("mixed families"),
        }
        .unwrap();
        header.to_bytes().to_vec()
    }

    fn udp(&self, ports: (u16, u16), checksum: bool) -> Vec<u8> {
        let mut header = UdpHeader {
            source_port: ports.0,
            destination_port: ports.1,
            length: (8 + self.data.len()) as u16,
            checksum: 0,
        };
        if checksum {
            header.checksum = match (self.src, self.dst) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => {
                    header.calc_checksum_ipv4_raw(src.octets(), dst.octets(), &self.data)
                }
                (IpAddr::V6(src), IpAddr::V6(dst)) => {
                    header.calc_checksum_ipv6_raw(src.octets(), dst.octets(), &self.data)
                }
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("mixed families"),
            }
            .unwrap();
        }
        header.to_bytes().to_vec()
    }

    fn icmp(&self, kind: u8, code: u8, rest: [u8; 4]) -> Vec<u8> {
        let mut header = vec![kind, code, 0, 0];
        header.extend(rest);
        let len = (8 + self.data.len()) as u32;
        let mut sum = Sum16BitWords::new().add_slice(&header).add_slice(&self.data);
        let sum = match (self.src, self.dst) {
            (IpAddr::V6(src), IpAddr::V6(dst)) => sum
                .add_16bytes(src.octets())
                .add_16bytes(dst.octets())
                .add_4bytes(len.to_be_bytes())
                .add_2bytes([0, ICMPV6]),
            (IpAddr::V4(_), IpAddr::V4(_)) => sum,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("mixed families"),
        };
        header[2..4].copy_from_slice(&sum.ones_complement().to_ne_bytes());
        header
    }
}

/// The frame with these bytes at `at`.
pub fn patch(mut bytes: Vec<u8>, at: usize, with: &[u8]) -> Vec<u8> {
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

pub fn cut(mut bytes: Vec<u8>, len: usize) -> Vec<u8> {
    bytes.truncate(len);
    bytes
}

/// The untagged IPv4 frame with its header checksum made right again after a [`patch`].
pub fn reseal(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = (14 + usize::from(bytes[14] & 0xf) * 4).clamp(34, bytes.len());
    bytes[24..26].fill(0);
    let sum = Sum16BitWords::new().add_slice(&bytes[14..end]).ones_complement();
    patch(bytes, 24, &sum.to_ne_bytes())
}
