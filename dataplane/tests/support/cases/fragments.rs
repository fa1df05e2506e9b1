//! Fragments: ports are known from the first; what later ones carry is passed on as it is.

use super::*;

pub fn cases() -> Vec<Case> {
    let v4 = V4.datagram(80).fragmentable().data(2000);
    let v6 = V6.datagram(80).data(2000);
    let parts = v4.fragments(&[800, 800]);
    let shuffled = [&parts[0], &parts[2], &parts[1], &parts[1], &parts[2], &parts[0]].map(Clone::clone);
    let other = |id| {
        V4.datagram(80)
            .fragmentable()
            .id(id)
            .data(2000)
            .fragments(&[800, 800])
    };
    let interleaved = other(1).into_iter().zip(other(2)).flat_map(|(a, b)| [a, b]);
    vec![
        case(
            "fragments_nat_v4",
            &table("all fragments are translated alike").web("nat", V4),
            parts.clone(),
        ),
        case(
            "fragments_nat_v6",
            &table("all fragments are translated alike").web("nat", V6),
            v6.fragments(&[800, 800]),
        ),
        case(
            "fragments_l2_dsr",
            &table("all fragments go to one backend").web("l2-dsr", V4),
            v4.fragments(&[800]),
        ),
        case(
            "fragments_in_tunnels",
            &table(
                "fragments are wrapped one by one; the outer header allows fragments where the inner does",
            )
            .service(V4.vip, 80, "UDP", "gue", V6)
            .service(V6.vip, 80, "UDP", "ipip", V4),
            v4.fragments(&[1200]).into_iter().chain(v6.fragments(&[1200])),
        ),
        case(
            "fragments_shuffled",
            &table("behind the first, order does not matter; duplicates are dropped").web("nat", V4),
            shuffled,
        ),
        case(
            "fragments_interleaved",
            &table("two packets of one client at a time").web("nat", V4),
            interleaved,
        ),
        case(
            "fragments_of_tcp",
            &table("the flags of the first fragment count once").web("nat", V4),
            V4.segment(80, "PA").fragmentable().data(1000).fragments(&[520]),
        ),
        Case {
            packets: parts
                .iter()
                .cloned()
                .zip([1, 2, 15_002])
                .map(|(frame, at)| Timed { at, frame })
                .collect(),
            ..case(
                "fragments_forgotten",
                &table("after 15 s the first fragment is forgotten").web("nat", V4),
                [],
            )
        },
    ]
}
