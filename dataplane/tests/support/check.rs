//! An independent judge of finished frames: every length and checksum, read and recomputed with
//! `etherparse`, down through tunnels and the packets that ICMP errors quote.

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    ArpPacketSlice, IpNumber, Ipv4HeaderSlice, Ipv6ExtensionsSlice, Ipv6HeaderSlice, TcpSlice, UdpSlice,
    ether_type,
};

/// UDP port of GUE.
const GUE: u16 = 6080;

/// Is the packet whole, or the start of one that an ICMP error quotes?
#[derive(Clone, Copy, PartialEq)]
enum Extent {
    Whole,
    Quote,
}

/// Panics with the reason when anything about the frame is wrong.
pub fn check(frame: &[u8]) {
    let (kind, l3) = link(frame);
    if kind == ether_type::ARP.0 {
        return arp(frame, l3);
    }
    let version = frame[l3] >> 4;
    let wanted = if version == 4 {
        ether_type::IPV4.0
    } else {
        ether_type::IPV6.0
    };
    assert_eq!(kind, wanted, "EtherType {kind:04x} before IP version {version}");
    ip(&frame[l3..], Extent::Whole);
}

/// An answer of the interface that sends it; the rest of the frame is padding.
fn arp(frame: &[u8], l3: usize) {
    let packet = ArpPacketSlice::from_slice(&frame[l3..])
        .expect("ARP packet")
        .to_packet();
    let packet = packet.try_eth_ipv4().expect("ARP for IPv4 over Ethernet");
    assert_eq!(
        packet.sender_mac,
        frame[6..12],
        "sender of the packet and of the frame"
    );
    assert!(
        frame.len() >= 60 && frame[l3 + 28..].iter().all(|byte| *byte == 0),
        "padding"
    );
}

/// EtherType and length of the Ethernet and VLAN headers.
pub fn link(frame: &[u8]) -> (u16, usize) {
    let mut at = 12;
    loop {
        let kind = u16::from_be_bytes([frame[at], frame[at + 1]]);
        if kind != 0x8100 && kind != 0x88a8 {
            return (kind, at + 2);
        }
        at += 4;
    }
}

fn ip(packet: &[u8], extent: Extent) {
    match packet[0] >> 4 {
        4 => ipv4(packet, extent),
        6 => ipv6(packet, extent),
        version => panic!("IP version {version}"),
    }
}

fn ipv4(packet: &[u8], extent: Extent) {
    let header = Ipv4HeaderSlice::from_slice(packet)
        .expect("IPv4 header")
        .to_header();
    assert_eq!(
        header.header_checksum,
        header.calc_header_checksum(),
        "IPv4 header checksum"
    );
    let end = usize::from(header.total_len);
    assert!(
        extent == Extent::Quote || end <= packet.len(),
        "IPv4 total length {end} of {}",
        packet.len()
    );
    let cut = end > packet.len();
    let body = &packet[header.header_len()..end.min(packet.len())];
    if header.is_fragmenting_payload() || cut {
        return;
    }
    let pseudo = Sum16BitWords::new()
        .add_4bytes(header.source)
        .add_4bytes(header.destination);
    transport(header.protocol, body, pseudo, false);
}

fn ipv6(packet: &[u8], extent: Extent) {
    let header = Ipv6HeaderSlice::from_slice(packet)
        .expect("IPv6 header")
        .to_header();
    let end = 40 + usize::from(header.payload_length);
    assert!(
        extent == Extent::Quote || end <= packet.len(),
        "IPv6 payload length {end} of {}",
        packet.len()
    );
    if end > packet.len() {
        return;
    }
    let (extensions, protocol, body) =
        Ipv6ExtensionsSlice::from_slice(header.next_header, &packet[40..end]).expect("IPv6 extensions");
    if extensions.is_fragmenting_payload() {
        return;
    }
    let pseudo = Sum16BitWords::new()
        .add_16bytes(header.source)
        .add_16bytes(header.destination);
    transport(protocol, body, pseudo, true);
}

fn transport(protocol: IpNumber, body: &[u8], pseudo: Sum16BitWords, v6: bool) {
    match protocol {
        IpNumber::IPV4 => ipv4(body, Extent::Whole),
        IpNumber::IPV6 => ipv6(body, Extent::Whole),
        IpNumber::TCP => {
            TcpSlice::from_slice(body).expect("TCP header");
            covered(protocol, body, pseudo);
        }
        IpNumber::UDP => udp(body, pseudo, v6),
        IpNumber::ICMP => message(body, Sum16BitWords::new(), &[3, 11, 12]),
        IpNumber::IPV6_ICMP => message(body, with_length(protocol, body, pseudo), &[1, 2, 3, 4]),
        IpNumber(_) => {}
    }
}

fn with_length(protocol: IpNumber, body: &[u8], pseudo: Sum16BitWords) -> Sum16BitWords {
    pseudo
        .add_2bytes([0, protocol.0])
        .add_4bytes((body.len() as u32).to_be_bytes())
}

/// A body that contains its own checksum sums to zero.
fn covered(protocol: IpNumber, body: &[u8], pseudo: Sum16BitWords) {
    let sum = with_length(protocol, body, pseudo)
        .add_slice(body)
        .ones_complement();
    assert_eq!(sum, 0, "checksum of protocol {}", protocol.0);
}

fn udp(body: &[u8], pseudo: Sum16BitWords, v6: bool) {
    let datagram = UdpSlice::from_slice(body).expect("UDP header");
    let len = usize::from(datagram.length());
    if datagram.checksum() == 0 {
        assert!(!v6, "UDP over IPv6 without a checksum");
    } else {
        covered(IpNumber::UDP, &body[..len], pseudo);
    }
    if datagram.destination_port() == GUE {
        ip(datagram.payload(), Extent::Whole);
    }
}

fn message(body: &[u8], pseudo: Sum16BitWords, errors: &[u8]) {
    assert!(body.len() >= 8, "ICMP header");
    assert_eq!(pseudo.add_slice(body).ones_complement(), 0, "ICMP checksum");
    if errors.contains(&body[0]) {
        ip(&body[8..], Extent::Quote);
    }
}
