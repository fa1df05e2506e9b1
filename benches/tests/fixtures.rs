//! The fixtures do what they claim: valid frames in, valid tunnelled frames out, of the limit loop too.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use maglane_benches::lane::{Chunk, Lane, START};
use maglane_benches::limit::Limit;
use maglane_benches::scene::members;
use maglane_benches::traffic::{Kind, LEN, Order, Template, client, tuple_of};
use maglane_dataplane::forward::parse;
use maglane_shared::flow::HashKey;
use maglane_shared::maglev::MaglevTable;

fn limit() -> Limit {
    Limit::new(
        512,
        100,
        MaglevTable::build(&members(100), 16_381, &HashKey::default()),
        1 << 12,
    )
}

fn carried(limit: &mut Limit, kind: Kind) -> Vec<Chunk> {
    let mut lane = Lane::default();
    lane.fill(&Template::new(kind), (0..).map(|flow| client(flow, 512)));
    assert_eq!(limit.forward(lane.chunks(), 1), 64);
    lane.chunks().to_vec()
}

#[test]
fn templates_are_valid_packets() {
    let mut frame = [0; LEN];
    for flow in 0..1000 {
        Template::new(Kind::Syn).stamp(client(flow, 512), &mut frame);
        assert!(parse::parse(&frame).is_ok());
        assert_eq!(tuple_of(&frame), client(flow, 512));
        let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
            panic!("not TCP");
        };
        assert!(tcp.syn() && !tcp.ack());
    }
}

#[test]
fn an_order_visits_every_flow_once_a_round() {
    for flows in [1u32, 2, 64, 1 << 12] {
        let mut order = Order::new(flows);
        for _ in 0..2 {
            let mut round: Vec<u32> = order.by_ref().take(flows as usize).collect();
            round.sort_unstable();
            assert!(round.into_iter().eq(0..flows), "{flows}");
        }
    }
}

#[test]
fn the_limit_loop_does_katrans_job() {
    let mut limit = limit();
    let (first, later) = (carried(&mut limit, Kind::Syn), carried(&mut limit, Kind::Data));
    for (flow, (first, later)) in first.iter().zip(&later).enumerate() {
        let frame = &later[START - 20..START + LEN];
        let sliced = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(NetSlice::Ipv4(outer)) = sliced.net else {
            panic!("not IPv4");
        };
        let header = outer.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        assert_eq!(header.protocol, etherparse::IpNumber::IPV4);
        assert_eq!(usize::from(header.total_len), LEN - 14 - 6 + 20 + 6);
        assert_eq!(
            tuple_of(&later[START..]),
            client(flow as u32, 512),
            "the inner packet stays as it was"
        );
        let outer_of = |chunk: &Chunk| tuple_of(&chunk[START - 20..]).dst;
        assert_eq!(outer_of(first), outer_of(later), "the flow keeps its backend");
    }
}
