//! The project's goals (P1 to P4, P6 to P8, P11) against this machine, in one run: medians of five, a table.
//!
//! Run it alone: a busy neighbour moves absolute figures by half, ratios by a tenth.

use maglane_benches::runs::{Direction, Known, LimitRun, Newcomers, per_packet};
use maglane_benches::scene::Plan;
use maglane_benches::timing::median;
use maglane_benches::traffic::Kind;
use maglane_shared::service::ForwardingMode;

const PACKETS: u32 = 1 << 20;

fn main() {
    println!("flows        limit   ipip    nat out nat in   ipip/limit  nat/ipip");
    for flows in [1u32, 1 << 16, 1 << 20] {
        let mut limit = LimitRun::new(Plan::default(), flows);
        let mut ipip = Known::new(Plan::default(), flows);
        let plan = Plan {
            mode: ForwardingMode::Nat,
            ..Plan::default()
        };
        let mut nat = Known::new(plan, flows);
        let l = median(|| limit.ns(PACKETS));
        let i = median(|| ipip.ns(Direction::ToBackend, PACKETS));
        let o = median(|| nat.ns(Direction::ToBackend, PACKETS));
        let r = median(|| nat.ns(Direction::ToClient, PACKETS));
        println!(
            "{flows:8} {l:9.1} {i:7.1} {o:7.1} {r:7.1} {:9.2} {:9.2}",
            i / l,
            (o + r) / 2.0 / i
        );
    }
    let mut new = Newcomers::new(Plan::default());
    let mut limit = LimitRun::new(Plan::default(), 1 << 30 >> 10);
    println!(
        "new {:.1} limit {:.1}",
        median(|| per_packet(new.carry(PACKETS), PACKETS)),
        median(|| per_packet(limit.carry(Kind::Syn, PACKETS), PACKETS))
    );
}
