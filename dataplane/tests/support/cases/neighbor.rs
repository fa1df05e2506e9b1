//! ARP and neighbour discovery for addresses that this node owns.

use super::*;
use crate::support::frame::{arp, icmp, patch};

const ASKER: [u8; 6] = [2, 0, 0, 0, 0xcc, 7];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0xdd, 9];
const BROADCAST: [u8; 6] = [0xff; 6];
const NOBODY: [u8; 6] = [0; 6];
/// The solicited-node group of the VIP 2001:db8:f::10, and the asker's own address.
const GROUP: &str = "ff02::1:ff00:10";
const GROUP_MAC: [u8; 6] = [0x33, 0x33, 0xff, 0, 0, 0x10];
const ASKER_V6: &str = "fe80::cc:7";
const ASKER_V4: &str = "192.0.2.7";
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const SOURCE: u8 = 1;
const TARGET: u8 = 2;

pub fn cases() -> Vec<Case> {
    let mut cases = answers();
    cases.extend(refusals());
    cases
}

fn owning(about: &'static str) -> Table {
    table(about)
        .web("nat", V4)
        .web("nat", V6)
        .setting(&format!("owned: ['{}', '{}']", V4.vip, V6.vip))
}

fn who_has(target: &str) -> Vec<u8> {
    arp(BROADCAST, REQUEST, (ASKER, ASKER_V4), (NOBODY, target))
}

fn link_layer(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

fn message(
    kind: u8,
    (src, from): (&str, [u8; 6]),
    (dst, to): (&str, [u8; 6]),
    target: &str,
    options: &[u8],
) -> Frame {
    let target = target.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let rest = if kind == 136 { 0x2000_0000 } else { 0 };
    icmp(src, dst, kind, 0, rest)
        .payload(&[&target, options].concat())
        .macs(to, from)
        .ttl(255)
}

fn solicit(src: &str, options: &[u8]) -> Frame {
    message(135, (src, ASKER), (GROUP, GROUP_MAC), V6.vip, options)
}

fn asked() -> Frame {
    solicit(ASKER_V6, &link_layer(SOURCE, ASKER))
}

fn advertise(from: [u8; 6], options: &[u8]) -> Frame {
    message(
        136,
        (V6.vip, from),
        ("ff02::1", [0x33, 0x33, 0, 0, 0, 1]),
        V6.vip,
        options,
    )
}

fn answers() -> Vec<Case> {
    let unicast = |options: &[u8]| message(135, (ASKER_V6, ASKER), (V6.vip, PORT0), V6.vip, options);
    let tag = |frame: Vec<u8>| [&frame[..12], &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 42], &frame[12..]].concat();
    vec![
        case(
            "arp_reply",
            &owning("who has the VIP: by broadcast, to us alone, tagged, and as a probe (RFC 5227)"),
            [
                who_has(V4.vip),
                arp(PORT0, REQUEST, (ASKER, ASKER_V4), (PORT0, V4.vip)),
                tag(who_has(V4.vip)),
                arp(BROADCAST, REQUEST, (ASKER, "0.0.0.0"), (NOBODY, V4.vip)),
            ],
        ),
        case(
            "ndp_advertisement",
            &owning(
                "solicitations with and without a source address option, to the group and to us alone, tagged",
            ),
            [
                asked().bytes(),
                unicast(&link_layer(SOURCE, ASKER)).bytes(),
                unicast(&[]).bytes(),
                asked().service_vlan(7).vlan(42).bytes(),
                // A nonce before (RFC 3971 §5.3.2), which an answer need not repeat.
                solicit(
                    ASKER_V6,
                    &[&[14, 1, 1, 2, 3, 4, 5, 6][..], &link_layer(SOURCE, ASKER)].concat(),
                )
                .bytes(),
            ],
        ),
        case(
            "ndp_duplicate_address",
            &owning("a probe for duplicates is answered to all nodes, not solicited (RFC 4861 §7.2.4)"),
            [
                solicit("::", &[]).bytes(),
                solicit("::", &[14, 1, 1, 2, 3, 4, 5, 6]).bytes(),
            ],
        ),
    ]
}

fn refusals() -> Vec<Case> {
    let wrong_group = ["192.0.2.99", "198.51.100.2"].map(who_has);
    let l4 = 14 + 40;
    let damaged = |at: usize, byte: u8| patch(asked().bytes(), at, &[byte]);
    vec![
        case(
            "drop_neighbor_not_owned",
            &owning("of another address, on another interface, and a VIP that nobody gave us"),
            [
                wrong_group[0].clone(),
                arp(PORT1, REQUEST, (ASKER, ASKER_V4), (NOBODY, V4.vip)),
                message(135, (ASKER_V6, ASKER), (GROUP, GROUP_MAC), "2001:db8:e::10", &[]).bytes(),
            ],
        ),
        case(
            "drop_neighbor_ignored",
            &owning("answers to others, requests to another host, and what we sent ourselves"),
            [
                arp(BROADCAST, REPLY, (ASKER, ASKER_V4), (PORT0, V4.vip)),
                arp(OTHER, REQUEST, (ASKER, ASKER_V4), (NOBODY, V4.vip)),
                arp(BROADCAST, REQUEST, (PORT0, V4.vip), (NOBODY, V4.vip)),
                advertise(PORT0, &link_layer(TARGET, PORT0)).bytes(),
                message(135, (ASKER_V6, ASKER), (GROUP, OTHER), V6.vip, &[]).bytes(),
            ],
        ),
        case(
            "drop_neighbor_conflict",
            &owning("another host claims a VIP: by request, by reply, by advertisement, as a source"),
            [
                arp(BROADCAST, REQUEST, (OTHER, V4.vip), (NOBODY, V4.vip)),
                arp(PORT0, REPLY, (OTHER, V4.vip), (PORT0, ASKER_V4)),
                advertise(OTHER, &link_layer(TARGET, OTHER)).bytes(),
                advertise(ASKER, &[]).bytes(),
                solicit(V6.vip, &link_layer(SOURCE, OTHER)).bytes(),
            ],
        ),
        case(
            "drop_neighbor_fenced",
            &owning("answers end with the right to give them").setting("fenced-at: 3"),
            [
                who_has(V4.vip),
                asked().bytes(),
                who_has(V4.vip),
                asked().bytes(),
                arp(BROADCAST, REPLY, (OTHER, V4.vip), (PORT0, V4.vip)),
            ],
        ),
        case(
            "drop_neighbor_malformed",
            &owning(
                "ARP of other kinds; hop limit, checksum, code, options, and a probe from nobody to us alone",
            ),
            [
                patch(who_has(V4.vip), 15, &[6]),
                patch(who_has(V4.vip), 19, &[16]),
                arp(
                    BROADCAST,
                    REQUEST,
                    ([1, 0, 0, 0, 0, 1], ASKER_V4),
                    (NOBODY, V4.vip),
                ),
                who_has(V4.vip)[..41].to_vec(),
                asked().ttl(254).bytes(),
                damaged(l4 + 2, 0),
                damaged(l4 + 24 + 1, 0),
                solicit(ASKER_V6, &[1, 2, 0, 0, 0, 0, 0, 0]).bytes(),
                solicit("::", &link_layer(SOURCE, ASKER)).bytes(),
                message(135, ("::", ASKER), (V6.vip, PORT0), V6.vip, &[]).bytes(),
                advertise(OTHER, &link_layer(TARGET, OTHER)).ttl(64).bytes(),
                message(135, (ASKER_V6, ASKER), (V6.vip, PORT0), V6.vip, &[])
                    .fragments(&[16])
                    .swap_remove(0),
            ],
        ),
    ]
}
