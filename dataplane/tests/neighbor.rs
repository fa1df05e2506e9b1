//! The pure builder of ARP and neighbour discovery, against `etherparse`, against itself, and against anything.

#[allow(dead_code, reason = "each test binary uses its own part")]
mod support {
    pub mod check;
    pub mod frame;
}

use etherparse::{ArpPacketSlice, Ipv6HeaderSlice};
use maglane_dataplane::forward::neighbor::{Heard, announcements, reply};
use maglane_shared::addr::{Addr, MacAddr};
use maglane_shared::counters::DropReason;
use proptest::prelude::*;
use support::check::{check, link};
use support::frame::{PORT0, ROUTER, arp};

const MAC: MacAddr = MacAddr(PORT0);
const OTHER: MacAddr = MacAddr(ROUTER);

fn addr(text: &str) -> Addr {
    text.parse().unwrap()
}

#[test]
fn arp_is_announced_as_request_and_as_reply() {
    let vip = addr("192.0.2.10");
    let sent = announcements(vip, MAC);
    let operations = sent.iter().map(|message| {
        let bytes = message.bytes();
        check(bytes);
        let (kind, l3) = link(bytes);
        assert_eq!(
            (kind, bytes.len(), &bytes[..6]),
            (0x0806, 60, [0xff; 6].as_slice())
        );
        let arp = ArpPacketSlice::from_slice(&bytes[l3..]).unwrap().to_packet();
        let arp = arp.try_eth_ipv4().unwrap();
        assert_eq!((arp.sender_mac, arp.sender_ipv4), (PORT0, vip.v4_bytes()));
        assert_eq!(arp.target_ipv4, vip.v4_bytes());
        (arp.operation.0, arp.target_mac)
    });
    assert_eq!(operations.collect::<Vec<_>>(), [(1, [0; 6]), (2, [0xff; 6])]);
}

#[test]
fn neighbor_discovery_is_announced_to_all_nodes() {
    let vip = addr("2001:db8:f::10");
    let sent = announcements(vip, MAC);
    assert_eq!(sent.len(), 1);
    let bytes = sent[0].bytes();
    check(bytes);
    assert_eq!(bytes[..6], [0x33, 0x33, 0, 0, 0, 1]);
    let (kind, l3) = link(bytes);
    let ip = Ipv6HeaderSlice::from_slice(&bytes[l3..]).unwrap();
    assert_eq!((kind, ip.hop_limit(), ip.next_header().0), (0x86dd, 255, 58));
    assert_eq!(
        (ip.source(), ip.destination()),
        (vip.v6_bytes(), addr("ff02::1").v6_bytes())
    );
    let body = &bytes[l3 + 40..];
    // Advertisement, code 0, override and not solicited; the option says where.
    assert_eq!((body[0], body[1], body[4]), (136, 0, 0x20));
    assert_eq!(
        (&body[8..24], &body[24..]),
        (
            vip.v6_bytes().as_slice(),
            [&[2, 1], &PORT0[..]].concat().as_slice()
        )
    );
}

/// What one node says another owner of the address takes for a claim, and itself for its own.
#[test]
fn an_announcement_is_a_conflict_to_another_owner_and_an_echo_to_us() {
    for vip in [addr("192.0.2.10"), addr("2001:db8:f::10")] {
        for message in announcements(vip, MAC) {
            let owns = |a| a == vip;
            assert_eq!(
                reply(message.bytes(), OTHER, owns),
                Heard::Claimed { addr: vip, by: MAC }
            );
            let echo = Heard::Refused(DropReason::NeighborIgnored);
            assert_eq!(reply(message.bytes(), MAC, owns), echo);
            let Heard::Refused(reason) = reply(message.bytes(), OTHER, |_| false) else {
                panic!("answered for what is not owned");
            };
            assert!(matches!(
                reason,
                DropReason::NeighborNotOwned | DropReason::NeighborIgnored
            ));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged_and_answers_are_sound(bytes in prop::collection::vec(any::<u8>(), 0..120), flips in prop::collection::vec((0usize..120, any::<u8>()), 0..4)) {
        let asked = arp([0xff; 6], 1, (ROUTER, "192.0.2.7"), ([0; 6], "192.0.2.10"));
        let told = announcements(addr("2001:db8:f::10"), OTHER)[0].bytes().to_vec();
        for mut frame in [bytes, asked, told] {
            for (at, byte) in &flips {
                if let Some(place) = frame.get_mut(*at) {
                    *place = *byte;
                }
            }
            if let Heard::Asked { answer, asker: _ } = reply(&frame, MAC, |_| true) {
                check(answer.bytes());
                prop_assert_eq!(&answer.bytes()[6..12], PORT0.as_slice());
            }
        }
    }
}
