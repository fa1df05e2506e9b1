//! The header views against `etherparse`: what it writes they read, what they write it reads; and the
//! checksum in all the ways it is made.

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    Ethernet2Header, IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header, TcpHeader, UdpHeader,
};
use maglane_dataplane::wire::checksum::{Sum, one_hop_less};
use maglane_dataplane::wire::ethernet::Ethernet;
use maglane_dataplane::wire::icmp::Icmp;
use maglane_dataplane::wire::ipv4::{Header, Ipv4};
use maglane_dataplane::wire::ipv6::{Extension, Ipv6};
use maglane_dataplane::wire::tcp::Tcp;
use maglane_dataplane::wire::udp::Udp;
use maglane_dataplane::wire::vlan::Vlan;
use maglane_shared::addr::{Addr, Family, MacAddr};
use proptest::prelude::*;

/// A header's worth of bytes, most of them at the values where carries are lost.
fn bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    proptest::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], N)
        .prop_map(|bytes| bytes.try_into().unwrap())
}

fn full(data: &[u8]) -> u16 {
    Sum16BitWords::new().add_slice(data).ones_complement().to_be()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn ethernet(raw in bytes::<18>(), to in bytes::<6>(), from in bytes::<6>()) {
        let (theirs, _) = Ethernet2Header::from_slice(&raw).unwrap();
        let ours = Ethernet::at(&raw, 0).unwrap();
        prop_assert_eq!(ours.destination().0, theirs.destination);
        prop_assert_eq!(ours.source().0, theirs.source);
        prop_assert_eq!(ours.ether_type(), theirs.ether_type.0);
        prop_assert_eq!(Vlan::at(&raw, 14).unwrap().ether_type(), u16::from_be_bytes([raw[16], raw[17]]));
        let mut written = raw;
        let mut ours = Ethernet::at_mut(&mut written, 0).unwrap();
        ours.set_destination(MacAddr(to));
        ours.set_source(MacAddr(from));
        let (theirs, _) = Ethernet2Header::from_slice(&written).unwrap();
        prop_assert_eq!((theirs.destination, theirs.source), (to, from));
    }

    #[test]
    fn ipv4(raw in bytes::<20>(), src in bytes::<4>(), dst in bytes::<4>(), id: u16, len in 20u16.., tos: u8,
        dont_fragment: bool) {
        let mut raw = raw;
        raw[0] = 0x45;
        let (theirs, _) = Ipv4Header::from_slice(&raw).unwrap();
        let ours = Ipv4::at(&raw, 0).unwrap();
        prop_assert_eq!((ours.version(), ours.header_len()), (4, 20));
        prop_assert_eq!(ours.traffic_class(), theirs.dscp.value() << 2 | theirs.ecn.value());
        prop_assert_eq!(ours.total_len(), theirs.total_len);
        prop_assert_eq!(ours.id(), theirs.identification);
        prop_assert_eq!(ours.dont_fragment(), theirs.dont_fragment);
        prop_assert_eq!(ours.more_fragments(), theirs.more_fragments);
        prop_assert_eq!(ours.fragment_offset(), theirs.fragment_offset.value() * 8);
        prop_assert_eq!((ours.ttl(), ours.protocol()), (theirs.time_to_live, theirs.protocol.0));
        prop_assert_eq!(ours.checksum(), theirs.header_checksum);
        prop_assert_eq!((ours.src().v4_bytes(), ours.dst().v4_bytes()), (theirs.source, theirs.destination));

        let mut ours = Ipv4::at_mut(&mut raw, 0).unwrap();
        ours.write(&Header {
            total_len: len,
            protocol: 4,
            traffic_class: tos,
            ttl: 64,
            id,
            dont_fragment,
            src: Addr::from_v4_bytes(src),
            dst: Addr::from_v4_bytes(dst),
        });
        let mut wanted = Ipv4Header::new(len - 20, 64, IpNumber(4), src, dst).unwrap();
        wanted.dscp = (tos >> 2).try_into().unwrap();
        wanted.ecn = (tos & 3).try_into().unwrap();
        wanted.identification = id;
        wanted.dont_fragment = dont_fragment;
        wanted.header_checksum = wanted.calc_header_checksum();
        prop_assert_eq!(&raw[..], &wanted.to_bytes()[..]);
    }

    #[test]
    fn ipv6(raw in bytes::<40>(), src in bytes::<16>(), dst in bytes::<16>(), len: u16, tos: u8, label: u32) {
        let mut raw = raw;
        raw[0] = 0x60 | raw[0] & 0xf;
        let (theirs, _) = Ipv6Header::from_slice(&raw).unwrap();
        let ours = Ipv6::at(&raw, 0).unwrap();
        prop_assert_eq!((ours.version(), ours.traffic_class()), (6, theirs.traffic_class));
        prop_assert_eq!(ours.payload_len(), theirs.payload_length);
        prop_assert_eq!((ours.next_header(), ours.hop_limit()), (theirs.next_header.0, theirs.hop_limit));
        prop_assert_eq!((ours.src().v6_bytes(), ours.dst().v6_bytes()), (theirs.source, theirs.destination));

        let mut ours = Ipv6::at_mut(&mut raw, 0).unwrap();
        ours.start(len, 41, tos, 64, label);
        ours.set_src(Addr::from_v6_bytes(src));
        ours.set_dst(Addr::from_v6_bytes(dst));
        let wanted = Ipv6Header {
            traffic_class: tos,
            flow_label: (label & 0xf_ffff).try_into().unwrap(),
            payload_length: len,
            next_header: IpNumber(41),
            hop_limit: 64,
            source: src,
            destination: dst,
        };
        prop_assert_eq!(raw, wanted.to_bytes());
    }

    #[test]
    fn ipv6_fragment(next: u8, offset in 0u16..8192, more: bool, id: u32) {
        let offset = IpFragOffset::try_new(offset).unwrap();
        let raw = Ipv6FragmentHeader::new(IpNumber(next), offset, more, id).to_bytes();
        let ours = Extension::at(&raw, 0).unwrap();
        prop_assert_eq!((ours.next_header(), ours.fragment_offset()), (next, offset.value() * 8));
        prop_assert_eq!((ours.more_fragments(), ours.fragment_id()), (more, id));
    }

    #[test]
    fn tcp_and_udp(raw in bytes::<20>(), src: u16, dst: u16, sum: u16) {
        let mut raw = raw;
        raw[12] = 0x50 | raw[12] & 0xf;
        let (theirs, _) = TcpHeader::from_slice(&raw).unwrap();
        let ours = Tcp::at(&raw, 0).unwrap();
        prop_assert_eq!((ours.src_port(), ours.dst_port()), (theirs.source_port, theirs.destination_port));
        prop_assert_eq!((ours.header_len(), ours.checksum()), (theirs.header_len(), theirs.checksum));
        let flags = ours.flags().0;
        prop_assert_eq!([flags & 1, flags >> 1 & 1, flags >> 2 & 1, flags >> 4 & 1].map(|bit| bit == 1),
            [theirs.fin, theirs.syn, theirs.rst, theirs.ack]);
        let (theirs, _) = UdpHeader::from_slice(&raw).unwrap();
        let ours = Udp::at(&raw, 0).unwrap();
        prop_assert_eq!((ours.src_port(), ours.dst_port()), (theirs.source_port, theirs.destination_port));
        prop_assert_eq!((ours.datagram_len(), ours.checksum()), (theirs.length, theirs.checksum));

        let mut ours = Udp::at_mut(&mut raw, 0).unwrap();
        ours.set_src_port(src);
        ours.set_dst_port(dst);
        ours.set_datagram_len(8);
        ours.set_checksum(sum);
        let (theirs, _) = UdpHeader::from_slice(&raw).unwrap();
        prop_assert_eq!((theirs.source_port, theirs.destination_port, theirs.length), (src, dst, 8));
        prop_assert_eq!(theirs.checksum, if sum == 0 { 0xffff } else { sum });
    }

    #[test]
    fn icmp(raw in bytes::<8>(), kind: u8, code: u8, mtu: u16) {
        let ours = Icmp::at(&raw, 0).unwrap();
        prop_assert_eq!((ours.kind(), ours.code()), (raw[0], raw[1]));
        prop_assert_eq!(&ours.mtu().to_be_bytes(), &raw[4..8]);
        let mut raw = raw;
        Icmp::at_mut(&mut raw, 0).unwrap().start(kind, code, mtu);
        prop_assert_eq!(&raw[..4], &[kind, code, 0, 0]);
        prop_assert_eq!(Icmp::at(&raw, 0).unwrap().mtu(), u32::from(mtu));
    }

    #[test]
    fn a_short_header_is_no_header(len in 0usize..60, at in 0usize..60) {
        let bytes = vec![0; len];
        prop_assert_eq!(Ipv6::at(&bytes, at).is_some(), at + 40 <= len);
        prop_assert_eq!(Udp::at(&bytes, at).is_some(), at + 8 <= len);
    }

    #[test]
    fn the_whole_checksum(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(Sum::default().bytes(&data).checksum(), full(&data));
    }

    #[test]
    fn one_hop_less_is_an_update_like_any_other(old: u16) {
        let change = Sum::default().replace_u16(0x100, 0);
        prop_assert_eq!(one_hop_less(old), change.update(old));
    }

    #[test]
    fn a_changed_checksum_is_the_whole_one(mut data in bytes::<40>(), words in bytes::<16>(), at in 0usize..12) {
        // As in a header: the checksum of the 38 bytes behind it comes first.
        data[..2].fill(0);
        let before = full(&data);
        let old: [u8; 16] = data[2 + at * 2..][..16].try_into().unwrap();
        // Four bytes of it, or all.
        let family = if words[0] % 2 == 0 { Family::V4 } else { Family::V6 };
        let mut change = match family {
            Family::V4 => {
                let [old, new] = [old, words].map(|bytes| Addr::from_v4_bytes(*bytes.first_chunk().unwrap()));
                data[2 + at * 2..][..4].copy_from_slice(&words[..4]);
                Sum::default().replace_addr(family, old, new)
            }
            Family::V6 => {
                let [old, new] = [old, words].map(Addr::from_v6_bytes);
                data[2 + at * 2..][..16].copy_from_slice(&words);
                Sum::default().replace_addr(family, old, new)
            }
        };
        change = change.replace_u16(u16::from_be_bytes([data[38], data[39]]), 0x1234);
        data[38..].copy_from_slice(&0x1234u16.to_be_bytes());
        // 0 and 0xffff are one number; the whole checksum is 0xffff only over nothing but zeros.
        prop_assert_eq!(change.update(before) % 0xffff, full(&data) % 0xffff);
        prop_assert!(change.update(before) != 0xffff || before == 0xffff);
    }
}
