//! Pings of a VIP, and ICMP errors about flows, in both directions.

use super::*;
use crate::support::frame::{Says, icmp_error, ping};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case(
            "echo",
            &table("a VIP answers pings, in either family")
                .web("nat", V4)
                .web("ipip", V6),
            [
                ping(V4.client, V4.vip).ttl(1).bytes(),
                ping(V6.client, V6.vip).ttl(1).bytes(),
            ],
        ),
        case(
            "echo_vlan",
            &table("a ping is answered on the VLAN it came on").web("nat", V4),
            [
                ping(V4.client, V4.vip).vlan(42).bytes(),
                ping(V4.client, V4.vip).service_vlan(7).vlan(42).bytes(),
            ],
        ),
    ];
    for (who, names) in [
        (
            V4,
            [
                "icmp_to_nat_backend_v4",
                "icmp_to_dnat_backend_v4",
                "icmp_to_nat_client_v4",
                "icmp_to_dnat_client_v4",
            ],
        ),
        (
            V6,
            [
                "icmp_to_nat_backend_v6",
                "icmp_to_dnat_backend_v6",
                "icmp_to_nat_client_v6",
                "icmp_to_dnat_client_v6",
            ],
        ),
    ] {
        cases.push(case(names[0], &about_reply("nat", who), to_backend(who)));
        cases.push(case(names[1], &about_reply("dnat", who), to_backend(who)));
        let nat = at(who.node, SNAT_PORT);
        cases.push(case(names[2], &about_request("nat", who), to_client(who, &nat)));
        let dnat = at(who.client, CLIENT_PORT);
        cases.push(case(names[3], &about_request("dnat", who), to_client(who, &dnat)));
    }
    for (mode, who, name) in [
        ("l2-dsr", V4, "icmp_to_l2_dsr_backend_v4"),
        ("l2-dsr", V6, "icmp_to_l2_dsr_backend_v6"),
        ("ipip", V4, "icmp_to_ipip_backend_v4"),
        ("gue", V6, "icmp_to_gue_backend_v6"),
    ] {
        cases.push(case(name, &about_reply(mode, who), to_backend(who)));
    }
    cases.push(quotes_cut_short());
    cases
}

fn about_reply(mode: &str, who: Who) -> Table {
    table("an ICMP error about a reply goes to the backend that sent it, quoting what that sent")
        .web(mode, who)
}

fn about_request(mode: &str, who: Who) -> Table {
    table("an ICMP error about a client's packet goes to the client, quoting what that sent").web(mode, who)
}

/// A flow each of TCP and UDP, then errors about replies from the VIP to the client.
fn to_backend(who: Who) -> Vec<Vec<u8>> {
    let reply = tcp(&at(who.vip, 80), &at(who.client, CLIENT_PORT), "PA").data(1200);
    let datagram = udp(&at(who.vip, 80), &at(who.client, CLIENT_PORT)).data(64);
    vec![
        who.segment(80, "S").bytes(),
        who.datagram(80).bytes(),
        icmp_error(who.hop, Says::TooBig(1400), &reply, 548).bytes(),
        icmp_error(who.client, Says::PortUnreachable, &datagram, 548).bytes(),
    ]
}

/// The same about what this node sent to the backend. `source` is how the backend knows the client.
fn to_client(who: Who, source: &str) -> Vec<Vec<u8>> {
    let request = tcp(source, &at(who.backend, BACKEND_PORT), "PA").data(1200);
    let datagram = udp(source, &at(who.backend, BACKEND_PORT)).data(64);
    let error = |from: &str, says, about: &Frame| who.backend_sends(icmp_error(from, says, about, 548));
    vec![
        who.segment(80, "S").bytes(),
        who.datagram(80).bytes(),
        error(who.hop, Says::TooBig(1400), &request).bytes(),
        error(who.backend, Says::PortUnreachable, &datagram).bytes(),
        error(who.hop, Says::TimeExceeded, &request).bytes(),
    ]
}

fn quotes_cut_short() -> Case {
    let reply = tcp(&at(V4.vip, 80), &at(V4.client, CLIENT_PORT), "PA").data(100);
    let datagram = udp(&at(V4.vip, 80), &at(V4.client, CLIENT_PORT)).data(64);
    let silent = datagram.clone().no_checksum();
    let optioned = reply.clone().options(&[0x94, 4, 0, 0]);
    let about = [(reply, 28), (datagram, 28), (silent, 28), (optioned, 32)];
    let errors = about.map(|(about, quote)| icmp_error(V4.hop, Says::HostUnreachable, &about, quote).bytes());
    let first = [V4.segment(80, "S").bytes(), V4.datagram(80).bytes()];
    let table = table("eight bytes of transport are enough to tell the flow (RFC 792)").web("nat", V4);
    case("icmp_quotes_cut_short", &table, first.into_iter().chain(errors))
}
