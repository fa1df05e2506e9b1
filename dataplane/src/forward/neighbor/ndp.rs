//! Neighbour discovery (RFC 4861 §7.1, §7.2) and the defence against duplicates (RFC 4862 §5.4).

use maglane_shared::addr::{Addr, MacAddr};
use maglane_shared::counters::DropReason;

use super::{Heard, Message};
use crate::forward::parse::protocol;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::icmp::v6;
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::ndp::{self, Options};

/// All nodes on the link: ff02::1 and the MAC address it maps to (RFC 2464 §7).
const ALL_NODES: Addr = Addr::from_bits(0xff02 << 112 | 1);
const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);

/// What a valid message says.
struct Said {
    kind: u8,
    /// At layer 2 and 3.
    from: MacAddr,
    to: MacAddr,
    src: Addr,
    target: Addr,
    options: Options,
}

/// `at` is where the IPv6 header begins.
pub(super) fn reply(
    frame: &[u8],
    at: usize,
    mac: MacAddr,
    owned: impl Fn(Addr) -> bool,
) -> Result<Heard, DropReason> {
    let said = read(frame, at).ok_or(DropReason::NeighborMalformed)?;
    let advertised = said
        .options
        .target
        .filter(|_| said.kind == v6::NEIGHBOR_ADVERTISEMENT);
    let by = advertised.unwrap_or(said.from);
    if said.from == mac || by == mac {
        return Err(DropReason::NeighborIgnored);
    }
    if owned(said.src) {
        let addr = said.src;
        return Ok(Heard::Claimed { addr, by });
    }
    if !owned(said.target) {
        return Err(DropReason::NeighborNotOwned);
    }
    if said.kind == v6::NEIGHBOR_ADVERTISEMENT {
        let addr = said.target;
        return Ok(Heard::Claimed { addr, by });
    }
    if said.to != mac && !said.to.is_multicast() {
        return Err(DropReason::NeighborIgnored);
    }
    let link = frame.get(2 * 6..at).unwrap_or_default();
    Ok(answer(&said, mac, link))
}

fn answer(said: &Said, mac: MacAddr, link: &[u8]) -> Heard {
    if said.src == Addr::UNSPECIFIED {
        // Somebody is about to take the address: everybody is told whose it is (RFC 4861 §7.2.4).
        return Heard::Asked {
            asker: None,
            answer: advertisement(said.target, mac, ndp::OVERRIDE, (ALL_NODES, ALL_NODES_MAC), link),
        };
    }
    // Without the option it is a host that knows us already (metallb#2920).
    let to = (said.src, said.options.source.unwrap_or(said.from));
    let flags = ndp::SOLICITED | ndp::OVERRIDE;
    Heard::Asked {
        asker: Some(said.src),
        answer: advertisement(said.target, mac, flags, to, link),
    }
}

/// The checks of RFC 4861 §7.1.1 and §7.1.2. Extension headers are not expected, fragments are forbidden (RFC 6980).
fn read(frame: &[u8], at: usize) -> Option<Said> {
    let link = Ethernet::at(frame, 0)?;
    let ip = Ipv6::at(frame, at)?;
    let start = at + ipv6::LEN;
    let body = frame.get(start..start + usize::from(ip.payload_len()))?;
    let message = ndp::Message::at(body, 0)?;
    let options = ndp::options(&body[ndp::LEN..])?;
    let (src, dst, target) = (ip.src(), ip.dst(), message.target());
    let sum = Sum::default().pseudo_header(src, dst, protocol::ICMPV6, ip.payload_len());
    let sound = ip.version() == 6
        && ip.next_header() == protocol::ICMPV6
        && ip.hop_limit() == ndp::HOP_LIMIT
        && message.code() == 0
        && sum.bytes(body).fold() == 0xffff;
    let possible = !is_multicast(target) && !is_multicast(src) && !src.is_v4() && !target.is_v4();
    let macs = [Some(link.source()), options.source, options.target];
    let unicast = macs.into_iter().flatten().all(|mac| !mac.is_multicast());
    let said = Said {
        kind: message.kind(),
        from: link.source(),
        to: link.destination(),
        src,
        target,
        options,
    };
    let allowed = match said.kind {
        v6::NEIGHBOR_SOLICITATION => {
            src != Addr::UNSPECIFIED || (is_multicast(dst) && options.source.is_none())
        }
        v6::NEIGHBOR_ADVERTISEMENT => src != Addr::UNSPECIFIED,
        _ => false,
    };
    (sound && possible && unicast && allowed).then_some(said)
}

fn is_multicast(addr: Addr) -> bool {
    addr.bits() >> 120 == 0xff
}

/// To all nodes, unasked.
pub(super) fn announcement(addr: Addr, mac: MacAddr) -> Message {
    let to = (ALL_NODES, ALL_NODES_MAC);
    advertisement(addr, mac, ndp::OVERRIDE, to, &ethernet::IPV6.to_be_bytes())
}

/// From the address it is about, as a host that has it would send it.
fn advertisement(target: Addr, mac: MacAddr, flags: u8, to: (Addr, MacAddr), link: &[u8]) -> Message {
    let (dst, destination) = to;
    let len = ndp::ADVERTISEMENT_LEN as u16;
    let mut body = ndp::advertisement(flags, target, mac);
    let sum = Sum::default().pseudo_header(target, dst, protocol::ICMPV6, len);
    let checksum = sum.bytes(&body).checksum().to_be_bytes();
    body[2..4].copy_from_slice(&checksum);
    let mut header = [0; ipv6::LEN];
    if let Some(mut ip) = Ipv6::at_mut(&mut header, 0) {
        ip.start(len, protocol::ICMPV6, 0, ndp::HOP_LIMIT, 0);
        ip.set_src(target);
        ip.set_dst(dst);
    }
    Message::new(destination, mac, link, [&header, &body])
}
