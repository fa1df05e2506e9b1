//! Property tests of the byte work: what is read, rewritten, wrapped and answered, against `etherparse`.
//!
//! Packets are drawn from one seed each, so a failure names a number that reproduces it. In debug builds
//! each property sees 100,000 packets or 10,000, in release builds fifty times as many.

#[allow(dead_code, reason = "each test binary uses its own part")]
mod support;

use maglane_dataplane::forward::encap::{Tunnel, TunnelKind, encapsulate, outer_source, overhead};
use maglane_dataplane::forward::icmp::{IcmpError, echo_reply, icmp_error, may_answer};
use maglane_dataplane::forward::parse::{Icmp, Parsed, Transport, parse};
use maglane_dataplane::forward::quoted::{quoted, rewrite_quoted};
use maglane_dataplane::forward::reset::tcp_reset;
use maglane_dataplane::forward::rewrite::{Endpoint, clamp_segment_size, decrement_ttl, rewrite};
use maglane_dataplane::packet::Packet;
use maglane_shared::addr::{Addr, Family};
use maglane_shared::counters::DropReason;
use maglane_shared::flow::FlowHash;
use maglane_shared::service::GUE_PORT;
use support::check::{check, link};
use support::frame::{self, Frame, Says};

const HEADROOM: usize = 64;

fn rounds(debug: u64) -> std::ops::Range<u64> {
    0..if cfg!(debug_assertions) { debug } else { debug * 50 }
}

/// SplitMix64: a seed gives the same packet on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn port(&mut self) -> u16 {
        // The values at which carries are lost, as often as all others together.
        let port = [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff]
            .get(self.below(12))
            .copied()
            .unwrap_or(self.next() as u16);
        // What is sent to GUE's port the judge would read as a tunnel.
        if port == GUE_PORT { port + 1 } else { port }
    }

    fn addr(&mut self, family: Family) -> Addr {
        match family {
            Family::V4 => Addr::from_v4_bytes([
                [10, 100, 172, 192, 203][self.below(5)],
                self.port() as u8,
                self.port() as u8,
                self.next() as u8,
            ]),
            Family::V6 => {
                let low = u128::from(self.port()) << 112 >> (16 * self.below(6)) | u128::from(self.next());
                Addr::from_bits(0x2001_0db8 << 96 | low & (u128::MAX >> 32))
            }
        }
    }

    fn endpoint(&mut self, family: Family) -> Endpoint {
        Endpoint {
            addr: self.addr(family),
            port: self.port(),
        }
    }

    fn bytes(&mut self, max: usize) -> Vec<u8> {
        let fill = [None, Some(0), Some(0xff)][self.below(3)];
        (0..self.below(max + 1))
            .map(|_| fill.unwrap_or(self.next() as u8))
            .collect()
    }

    fn family(&mut self) -> Family {
        if self.next() & 1 == 0 {
            Family::V4
        } else {
            Family::V6
        }
    }

    /// An honest TCP or UDP frame of any shape that is let through.
    fn frame(&mut self, family: Family) -> Frame {
        let (src, dst) = (self.endpoint(family), self.endpoint(family));
        let (src, dst) = (text(src), text(dst));
        let flags = ["S", "A", "PA", "FA", "RA", "SA", "R"][self.below(7)];
        let frame = if self.next() & 1 == 0 {
            frame::tcp(&src, &dst, flags).tcp_options(&vec![1; 4 * self.below(4)])
        } else if family == Family::V4 && self.below(4) == 0 {
            frame::udp(&src, &dst).no_checksum()
        } else {
            frame::udp(&src, &dst)
        };
        let frame = match self.below(4) {
            0 => frame.vlan(7),
            1 => frame.service_vlan(9).vlan(7),
            _ => frame,
        };
        let frame = match (family, self.below(4)) {
            (Family::V4, 0) => frame.options(&vec![1; 4 * (1 + self.below(10))]),
            (Family::V6, 0) => frame.extension(frame::HOP_BY_HOP, &[0, 1, 4, 0, 0, 0, 0]),
            (Family::V6, 1) => frame.extension(frame::DESTINATION, &[[1].as_slice(), &[0; 14]].concat()),
            (Family::V4 | Family::V6, _) => frame,
        };
        let frame = if self.below(3) == 0 {
            frame.fragmentable()
        } else {
            frame
        };
        let ttl = 2 + self.below(254) as u8;
        let traffic_class = self.next() as u8;
        frame
            .ttl(ttl)
            .traffic_class(traffic_class)
            .id(self.next() as u16)
            .payload(&self.bytes(200))
    }
}

fn text(endpoint: Endpoint) -> String {
    std::net::SocketAddr::new(endpoint.addr.ip(), endpoint.port).to_string()
}

/// Runs `change` on the frame in a chunk with headroom; the frame as it is afterwards.
fn change<T>(frame: &[u8], change: impl FnOnce(&mut Packet<'_>, &Parsed) -> T) -> (Vec<u8>, T) {
    let mut chunk = vec![0xa5; HEADROOM + frame.len() + 64];
    chunk[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
    let mut packet = Packet::new(&mut chunk, HEADROOM, frame.len()).unwrap();
    let parsed = parse(packet.data()).unwrap();
    let outcome = change(&mut packet, &parsed);
    (packet.data().to_vec(), outcome)
}

fn ports(parsed: &Parsed) -> (u16, u16) {
    match parsed.transport {
        Transport::Tcp {
            src_port,
            dst_port,
            flags: _,
        }
        | Transport::Udp { src_port, dst_port } => (src_port, dst_port),
        Transport::Icmp(_) | Transport::LaterFragment => panic!("no ports"),
    }
}

/// A UDP checksum may go out as 0xffff where it came in as 0xffff or 0; nothing else may differ.
fn frames_there_and_back(seed: u64) {
    let mut random = Random(seed);
    let family = random.family();
    let original = random.frame(family).bytes();
    if parse(&original) == Err(DropReason::LandAttack) {
        return;
    }
    let (src, dst) = (random.endpoint(family), random.endpoint(family));
    let (src, dst) = [
        (Some(src), Some(dst)),
        (None, Some(dst)),
        (Some(src), None),
        (None, None),
    ][random.below(4)];
    let (there, before) = change(&original, |packet, parsed| {
        rewrite(packet, parsed, src, dst);
        decrement_ttl(packet, parsed).unwrap();
        *parsed
    });
    check(&there);
    let Ok(after) = parse(&there) else { return };
    assert_eq!(after.src, src.map_or(before.src, |e| e.addr));
    assert_eq!(after.dst, dst.map_or(before.dst, |e| e.addr));
    assert_eq!(
        ports(&after),
        (
            src.map_or(ports(&before).0, |e| e.port),
            dst.map_or(ports(&before).1, |e| e.port)
        )
    );
    assert_eq!(after.ttl, before.ttl - 1);
    let (back, ()) = change(&there, |packet, parsed| {
        let (src_port, dst_port) = ports(&before);
        let src = Endpoint {
            addr: before.src,
            port: src_port,
        };
        let dst = Endpoint {
            addr: before.dst,
            port: dst_port,
        };
        rewrite(packet, parsed, Some(src), Some(dst));
    });
    check(&back);
    let l4 = usize::from(before.l4);
    assert_eq!(back[l4..], original[l4..], "seed {seed}");
}

#[test]
fn rewriting_keeps_checksums_right_and_can_be_undone() {
    rounds(100_000).for_each(frames_there_and_back);
}

#[test]
fn tunnels_keep_the_inner_packet_to_the_byte() {
    for seed in rounds(20_000) {
        let mut random = Random(seed);
        let (inner, outer) = (random.family(), random.family());
        let padding = random.below(2) * 6;
        let frame = random.frame(inner);
        let original = frame.clone().padding(padding).bytes();
        if parse(&original).is_err() {
            continue;
        }
        let kind = if random.next() & 1 == 0 {
            TunnelKind::Ipip
        } else {
            TunnelKind::Gue
        };
        let tunnel = Tunnel {
            kind,
            src: random.addr(outer),
            dst: random.addr(outer),
            hash: FlowHash(random.next()),
        };
        let (wrapped, result) = change(&original, |packet, parsed| encapsulate(packet, parsed, &tunnel));
        assert_eq!(result, Ok(()));
        check(&wrapped);
        let (l3, added) = (frame.l3(), usize::from(overhead(kind, outer)));
        assert_eq!(wrapped[..l3 - 2], original[..l3 - 2], "Ethernet and VLAN headers");
        assert_eq!(wrapped[l3 + added..], frame.packet(), "seed {seed}");
        outer_header(&wrapped, &frame, &tunnel);
    }
}

/// Addresses, traffic class, don't-fragment and entropy of the outer header.
fn outer_header(wrapped: &[u8], frame: &Frame, tunnel: &Tunnel) {
    let l3 = frame.l3();
    let inner = parse(&frame.bytes()).unwrap();
    let (protocol, l4) = match tunnel.dst.family() {
        Family::V4 => {
            let header = etherparse::Ipv4HeaderSlice::from_slice(&wrapped[l3..])
                .unwrap()
                .to_header();
            assert_eq!(Addr::from_v4_bytes(header.source), tunnel.src);
            assert_eq!(Addr::from_v4_bytes(header.destination), tunnel.dst);
            assert_eq!(header.dscp.value() << 2 | header.ecn.value(), inner.traffic_class);
            assert_eq!(header.dont_fragment, inner.dont_fragment);
            assert_eq!(header.time_to_live, 64);
            (header.protocol.0, 20)
        }
        Family::V6 => {
            let header = etherparse::Ipv6HeaderSlice::from_slice(&wrapped[l3..])
                .unwrap()
                .to_header();
            assert_eq!(Addr::from_v6_bytes(header.source), tunnel.src);
            assert_eq!(Addr::from_v6_bytes(header.destination), tunnel.dst);
            assert_eq!(header.traffic_class, inner.traffic_class);
            assert_eq!(header.flow_label.value(), tunnel.hash.low() & 0xf_ffff);
            (header.next_header.0, 40)
        }
    };
    match tunnel.kind {
        TunnelKind::Ipip => assert_eq!(protocol, if inner.src.is_v4() { 4 } else { 41 }),
        TunnelKind::Gue => {
            let udp = etherparse::UdpSlice::from_slice(&wrapped[l3 + l4..]).unwrap();
            assert_eq!((protocol, udp.destination_port()), (17, 6080));
            assert!(udp.source_port() >= 0xc000);
            assert_eq!(udp.checksum() == 0, tunnel.dst.is_v4());
        }
    }
}

#[test]
fn tunnel_sources_stay_inside_their_prefix_and_spread() {
    for (prefix, len) in [
        ("172.16.0.0", 16),
        ("10.0.0.0", 8),
        ("10.1.2.4", 30),
        ("100::", 64),
        ("fd00::", 8),
    ] {
        let network: Addr = prefix.parse().unwrap();
        let bits = if network.is_v4() { len + 96 } else { len };
        let mask = u128::MAX << (128 - bits);
        let mut seen = std::collections::HashSet::new();
        for seed in 0..4096 {
            let source = outer_source((network, len as u8), FlowHash(Random(seed).next()));
            assert_eq!(source.bits() & mask, network.bits() & mask, "{source}");
            assert!(source.bits() & !mask != 0, "{source} is the network itself");
            assert!(
                !network.is_v4() || source.bits() | mask != u128::MAX,
                "{source} is the broadcast"
            );
            seen.insert(source);
        }
        assert!(
            seen.len() >= if len == 30 { 2 } else { 3900 },
            "{} of {prefix}/{len}",
            seen.len()
        );
    }
    let host = "10.0.0.1".parse().unwrap();
    assert_eq!(outer_source((host, 32), FlowHash(7)), host);
}

#[test]
fn icmp_errors_are_well_formed_and_within_their_bounds() {
    for seed in rounds(20_000) {
        let mut random = Random(seed);
        let family = random.family();
        let filler = random.bytes(1400);
        let frame = random.frame(family).payload(&filler).padding(random.below(2) * 6);
        let original = frame.bytes();
        let from = random.addr(family);
        if parse(&original).is_err() {
            continue;
        }
        let errors = [
            IcmpError::TimeExceeded,
            IcmpError::TooBig { mtu: 1400 },
            IcmpError::PortUnreachable,
        ];
        let error = errors[random.below(3)];
        let (sent, result) = change(&original, |packet, parsed| {
            icmp_error(packet, parsed, error, from)
        });
        assert_eq!(result, Ok(()));
        check(&sent);
        let (l3, packet) = (frame.l3(), frame.packet());
        assert_eq!(sent[..l3], original[..l3]);
        let (added, max) = if family == Family::V4 {
            (28, 576)
        } else {
            (48, 1280)
        };
        assert_eq!(sent.len() - l3, (packet.len() + added).min(max));
        assert_eq!(
            sent[l3 + added..],
            packet[..packet.len().min(max - added)],
            "seed {seed}"
        );
        let Ok(parsed) = parse(&sent) else { continue };
        assert_eq!((parsed.src, parsed.dst), (from, parse(&original).unwrap().src));
        assert!(!may_answer(&parsed), "an error about an error");
    }
}

/// RFC 9293 §3.10.7.1: a reset is believed by whoever sent what it answers.
#[test]
fn resets_say_what_their_receiver_expects() {
    for seed in rounds(20_000) {
        let mut random = Random(seed);
        let family = random.family();
        let (src, dst) = (text(random.endpoint(family)), text(random.endpoint(family)));
        let flags = ["S", "A", "PA", "F", "FA", "U", "SA"][random.below(7)];
        let (sequence, acknowledgment) = (random.next() as u32, random.next() as u32);
        let frame = frame::tcp(&src, &dst, flags)
            .numbers(sequence, acknowledgment, 1000)
            .tcp_options(&vec![1; random.below(11) * 4])
            .payload(&random.bytes(200))
            .padding(random.below(2) * 6);
        let frame = if random.next() & 1 == 0 {
            frame
        } else {
            frame.vlan(7)
        };
        let original = frame.bytes();
        let Ok(asked) = parse(&original) else { continue };
        let (sent, result) = change(&original, tcp_reset);
        assert_eq!(result, Ok(()));
        let data = u32::from(asked.end - asked.l4) - u32::from(original[usize::from(asked.l4) + 12] >> 4) * 4;
        let numbers = data + flags.chars().filter(|flag| "SF".contains(*flag)).count() as u32;
        let reset = if flags.contains('A') {
            frame::tcp(&dst, &src, "R").numbers(acknowledgment, 0, 0)
        } else {
            frame::tcp(&dst, &src, "RA").numbers(0, sequence.wrapping_add(numbers), 0)
        };
        let wanted = reset.ttl(64).id(0).packet();
        assert_eq!(
            sent[..frame.l3()],
            original[..frame.l3()],
            "Ethernet and VLAN headers"
        );
        assert_eq!(sent[frame.l3()..], wanted, "seed {seed}");
        assert_eq!(
            change(&sent, tcp_reset).1,
            Err(DropReason::ResetNotSent),
            "a reset of a reset"
        );
    }
}

#[test]
fn only_whole_segments_are_reset() {
    let segment = frame::tcp("10.0.0.1:1", "10.0.0.2:2", "A")
        .fragmentable()
        .data(64);
    for frame in [
        segment.fragments(&[40]).swap_remove(0),
        segment.fragments(&[40]).swap_remove(1),
        frame::udp("10.0.0.1:1", "10.0.0.2:2").bytes(),
        frame::ping("10.0.0.1", "10.0.0.2").bytes(),
    ] {
        assert_eq!(change(&frame, tcp_reset), (frame, Err(DropReason::ResetNotSent)));
    }
}

/// Options in any order and alignment: the segment size becomes the limit, if it was more, and nothing else changes.
#[test]
fn a_segment_size_is_clamped_wherever_it_stands() {
    for seed in rounds(20_000) {
        let mut random = Random(seed);
        let family = random.family();
        let (src, dst) = (text(random.endpoint(family)), text(random.endpoint(family)));
        let (size, most) = (random.port(), random.port());
        let options = |size: u16, mut random: Random| {
            let mut bytes = vec![];
            for _ in 0..random.below(4) {
                let others: [&[u8]; 4] = [&[1], &[4, 2], &[3, 3, 7], &[8, 10, 1, 2, 3, 4, 5, 6, 7, 8]];
                bytes.extend(others[random.below(4)]);
            }
            bytes.extend([2, 4]);
            bytes.extend(size.to_be_bytes());
            bytes.extend(&[1, 1, 0][..(4 - bytes.len() % 4) % 4]);
            bytes
        };
        let state = random.next();
        let flags = ["S", "SA", "A"][random.below(3)];
        let with = |size| frame::tcp(&src, &dst, flags).tcp_options(&options(size, Random(state)));
        let original = with(size).bytes();
        if parse(&original).is_err() {
            continue;
        }
        let (clamped, ()) = change(&original, |packet, parsed| {
            clamp_segment_size(packet, parsed, most)
        });
        check(&clamped);
        let wanted = with(if flags == "A" { size } else { size.min(most) }).bytes();
        let sum = usize::from(parse(&original).unwrap().l4) + 16;
        let blank = |bytes: &[u8]| frame::patch(bytes.to_vec(), sum, &[0, 0]);
        assert_eq!(blank(&clamped), blank(&wanted), "seed {seed}");
    }
}

#[test]
fn echo_replies_have_the_requests_data() {
    for seed in rounds(10_000) {
        let mut random = Random(seed);
        let family = random.family();
        let (src, dst) = (random.addr(family).to_string(), random.addr(family).to_string());
        if src == dst {
            continue;
        }
        let request = frame::ping(&src, &dst)
            .payload(&random.bytes(300))
            .ttl(random.next() as u8);
        let (reply, result) = change(&request.bytes(), echo_reply);
        assert_eq!(result, Ok(()));
        check(&reply);
        let parsed = parse(&reply).unwrap();
        assert_eq!(
            (parsed.src, parsed.dst, parsed.ttl),
            (dst.parse().unwrap(), src.parse().unwrap(), 64)
        );
        let l4 = usize::from(parsed.l4);
        assert_eq!(reply[l4 + 4..], request.bytes()[l4 + 4..]);
        assert_eq!(reply[l4], if family == Family::V4 { 0 } else { 129 });
        let damaged = frame::patch(request.bytes(), l4 + 4, &[!request.bytes()[l4 + 4]]);
        assert_eq!(change(&damaged, echo_reply).1, Err(DropReason::IcmpBadChecksum));
    }
}

#[test]
fn quoted_packets_are_rewritten_whole_or_cut_short() {
    for seed in rounds(20_000) {
        let mut random = Random(seed);
        let family = random.family();
        let about = random.frame(family);
        let says = [
            Says::PortUnreachable,
            Says::TimeExceeded,
            Says::TooBig(1300),
            Says::HostUnreachable,
        ];
        let header = about.packet().len() - about.transport_bytes().len();
        let quote = header + 8 + random.below(300);
        let error = frame::icmp_error(
            &random.addr(family).to_string(),
            says[random.below(4)],
            &about,
            quote,
        );
        let original = error.bytes();
        if parse(&original).is_err() || parse(&about.bytes()).is_err() {
            continue;
        }
        let inner = (random.endpoint(family), random.endpoint(family));
        let outer = (random.addr(family), inner.0.addr);
        let (there, (parsed, was)) = change(&original, |packet, parsed| {
            let was = quoted(packet.data(), parsed).unwrap();
            let to = ((Some(inner.0), Some(inner.1)), (Some(outer.0), Some(outer.1)));
            rewrite_quoted(packet, parsed, &was, to.0, to.1);
            (*parsed, was)
        });
        check(&there);
        let whole = parse(&about.bytes()).unwrap();
        assert_eq!((was.src.addr, was.dst.addr), (whole.src, whole.dst));
        assert_eq!((was.src.port, was.dst.port), ports(&whole));
        let Ok(now) = parse(&there) else { continue };
        assert_eq!((now.src, now.dst), outer);
        let is = quoted(&there, &now).unwrap();
        assert_eq!((is.src, is.dst), inner);
        let (back, ()) = change(&there, |packet, now| {
            let is = quoted(packet.data(), now).unwrap();
            let to = (
                (Some(was.src), Some(was.dst)),
                (Some(parsed.src), Some(parsed.dst)),
            );
            rewrite_quoted(packet, now, &is, to.0, to.1);
        });
        assert_eq!(back, original, "seed {seed}");
    }
}

/// Honest frames with some bytes damaged, and noise: no panic, and what is accepted lies inside the frame.
#[test]
fn no_bytes_make_it_panic() {
    for seed in rounds(100_000) {
        let mut random = Random(seed);
        let family = random.family();
        let mut bytes = match random.below(8) {
            0 => random.bytes(200),
            1 => frame::ping("10.0.0.1", "10.0.0.2").bytes(),
            2 => frame::icmp_error("10.9.9.9", Says::TimeExceeded, &random.frame(Family::V4), 200).bytes(),
            3 => frame::icmp_error("2001:db8::9", Says::TooBig(1300), &random.frame(Family::V6), 200).bytes(),
            _ => random.frame(family).bytes(),
        };
        for _ in 0..random.below(4) {
            if !bytes.is_empty() {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
        let len = bytes.len() - random.below(2) * random.below(bytes.len() + 1);
        bytes.truncate(len);
        if bytes.len() > 34 && random.below(2) == 0 && bytes[12..14] == [8, 0] {
            bytes = frame::reseal(bytes);
        }
        if let Ok(parsed) = parse(&bytes) {
            assert!(14 <= parsed.l3 && parsed.l3 < parsed.l4 && parsed.l4 <= parsed.end);
            assert!(usize::from(parsed.end) <= bytes.len());
            assert_eq!(usize::from(parsed.l3), link(&bytes).1);
            everything(&bytes, &mut random);
        }
    }
}

fn everything(bytes: &[u8], random: &mut Random) {
    let family = parse(bytes).unwrap().family();
    let (src, dst) = (random.endpoint(family), random.endpoint(family));
    change(bytes, |packet, parsed| {
        rewrite(packet, parsed, Some(src), Some(dst))
    });
    let _ = change(bytes, decrement_ttl);
    let _ = change(bytes, tcp_reset);
    change(bytes, |packet, parsed| clamp_segment_size(packet, parsed, 1000));
    let _ = change(bytes, echo_reply);
    let _ = change(bytes, |packet, parsed| {
        icmp_error(packet, parsed, IcmpError::TimeExceeded, src.addr)
    });
    for kind in [TunnelKind::Ipip, TunnelKind::Gue] {
        let outer = random.family();
        let tunnel = Tunnel {
            kind,
            src: random.addr(outer),
            dst: random.addr(outer),
            hash: FlowHash(1),
        };
        let _ = change(bytes, |packet, parsed| encapsulate(packet, parsed, &tunnel));
    }
    change(bytes, |packet, parsed| {
        if parsed.transport == Transport::Icmp(Icmp::EchoRequest) {
            assert!(quoted(packet.data(), parsed).is_err());
        }
        if let Ok(found) = quoted(packet.data(), parsed) {
            assert!(found.l3 < found.l4 && found.l4 < parsed.end);
            rewrite_quoted(packet, parsed, &found, (Some(src), None), (None, Some(dst.addr)));
        }
    });
}

#[test]
fn a_frame_without_headroom_is_refused() {
    let mut bytes = frame::udp("10.0.0.1:1", "10.0.0.2:2").data(64).bytes();
    let len = bytes.len();
    let mut packet = Packet::new(&mut bytes, 0, len).unwrap();
    let parsed = parse(packet.data()).unwrap();
    let src = parsed.dst;
    let tunnel = Tunnel {
        kind: TunnelKind::Ipip,
        src,
        dst: src,
        hash: FlowHash(1),
    };
    assert_eq!(
        encapsulate(&mut packet, &parsed, &tunnel),
        Err(DropReason::NoHeadroom)
    );
    let error = icmp_error(&mut packet, &parsed, IcmpError::TimeExceeded, src);
    assert_eq!(error, Err(DropReason::NoHeadroom));
}
