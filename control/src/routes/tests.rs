use std::time::Duration;

use maglane_shared::flow::FlowHash;
use maglane_shared::next_hop::{NextHop, NoHop};

use super::*;
use crate::effect::Question;
use crate::testing::{addr, link, mac, neighbor, route};

fn store() -> RouteStore {
    let mut store = RouteStore::new(vec!["eth0".into(), "eth1".into()]);
    store.links_read(vec![
        link(1, "lo"),
        link(2, "eth0"),
        link(3, "eth1"),
        link(4, "other"),
    ]);
    store.routes_read(vec![
        route("10.0.0.0/24", &[(2, None)]),
        route("10.1.0.0/24", &[(3, None)]),
        route("0.0.0.0/0", &[(2, Some("10.0.0.254")), (3, Some("10.1.0.254"))]),
        route("10.4.0.0/24", &[(4, None)]),
        route("::/0", &[(2, Some("fe80::1"))]),
    ]);
    store
}

fn backends(store: &mut RouteStore, all: &[&str]) {
    let before: Vec<Addr> = store.wants.backends().collect();
    store.change_backends(before.into_iter(), all.iter().map(|a| addr(a)));
}

/// The hop to `to` for some flow.
fn hop(store: &mut RouteStore, to: &str) -> Result<NextHop, NoHop> {
    let table = store.table();
    let group = table.group_for(addr(to))?;
    Ok(*table.hop(table.pick(group, FlowHash(1 << 60))?).unwrap())
}

#[test]
fn routes_lead_to_neighbours_gateways_and_nowhere() {
    let mut store = store();
    backends(&mut store, &["10.0.0.1", "10.9.0.1", "10.4.0.1"]);
    assert_eq!(hop(&mut store, "10.0.0.1"), Err(NoHop::Unresolved(PortIndex(0))));
    assert_eq!(hop(&mut store, "10.4.0.1"), Err(NoHop::NoRoute));
    store.neighbors_read(vec![
        neighbor(2, "10.0.0.1", 9),
        neighbor(3, "10.1.0.254", 8),
        neighbor(2, "fe80::1", 7),
    ]);
    let direct = hop(&mut store, "10.0.0.1").unwrap();
    assert_eq!(
        (direct.port, direct.destination, direct.source),
        (PortIndex(0), Some(mac(9)), mac(2))
    );
    // The other gateway is not resolved: every flow takes this one.
    let far = hop(&mut store, "10.9.0.1").unwrap();
    assert_eq!(
        (far.port, far.neighbor, far.destination),
        (PortIndex(1), addr("10.1.0.254"), Some(mac(8)))
    );
    assert_eq!(hop(&mut store, "2001:db8::1").unwrap().destination, Some(mac(7)));
    // Known to the kernel, wanted by nobody.
    store.neighbor_changed(neighbor(2, "10.0.0.77", 77));
    assert_eq!(hop(&mut store, "10.0.0.77").unwrap().destination, Some(mac(77)));
    assert_eq!(store.group_for(addr("10.4.0.1")), NO_WAY);
    assert_eq!(&*store.table().port_macs, [mac(2), mac(3)]);
}

#[test]
fn a_changed_mac_replaces_the_hops_alone() {
    let mut store = store();
    backends(&mut store, &["10.0.0.1"]);
    store.neighbors_read(vec![neighbor(2, "10.0.0.1", 9)]);
    let before = store.table();
    store.neighbor_changed(neighbor(2, "10.0.0.1", 9));
    assert!(Arc::ptr_eq(&before, &store.table()), "nothing new");
    store.neighbor_changed(neighbor(2, "10.0.0.1", 10));
    let after = store.table();
    assert_eq!(after.version, before.version + 1);
    assert!(Arc::ptr_eq(&after.groups, &before.groups) && Arc::ptr_eq(&after.prefixes, &before.prefixes));
    assert!(Arc::ptr_eq(&after.neighbors, &before.neighbors) && !Arc::ptr_eq(&after.hops, &before.hops));
    assert_eq!(hop(&mut store, "10.0.0.1").unwrap().destination, Some(mac(10)));
}

#[test]
fn a_mac_goes_on_while_the_kernel_asks_and_goes_when_nobody_answers() {
    let mut store = store();
    backends(&mut store, &["10.0.0.1"]);
    let told = |state| Neighbor {
        state,
        ..neighbor(2, "10.0.0.1", 9)
    };
    store.neighbors_read(vec![neighbor(2, "10.0.0.1", 9)]);
    store.table();
    store.neighbor_changed(told(NeighborState::Pending));
    assert_eq!(hop(&mut store, "10.0.0.1").unwrap().destination, Some(mac(9)));
    store.neighbor_removed(2, addr("10.0.0.1"));
    assert_eq!(hop(&mut store, "10.0.0.1").unwrap().destination, Some(mac(9)));
    // A dump without it is a removal as well.
    store.neighbors_read(vec![]);
    assert_eq!(hop(&mut store, "10.0.0.1").unwrap().destination, Some(mac(9)));
    store.neighbor_changed(told(NeighborState::Failed));
    assert_eq!(hop(&mut store, "10.0.0.1"), Err(NoHop::Unresolved(PortIndex(0))));
    store.neighbor_changed(told(NeighborState::Fixed(mac(5))));
    assert_eq!(hop(&mut store, "10.0.0.1").unwrap().destination, Some(mac(5)));
}

#[test]
fn indexes_stay_while_others_come_and_go() {
    let mut store = store();
    backends(&mut store, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    let before = store.table();
    let group = |table: &RouteTable, a: &str| table.group_for(addr(a)).unwrap();
    let three = (
        group(&before, "10.0.0.3"),
        before.groups[group(&before, "10.0.0.3").0 as usize].clone(),
    );
    backends(&mut store, &["10.0.0.3", "10.0.0.9"]);
    store.routes_read(vec![route("10.0.0.0/24", &[(2, None)])]);
    let after = store.table();
    assert_eq!(
        (
            group(&after, "10.0.0.3"),
            after.groups[three.0.0 as usize].clone()
        ),
        three
    );
    // Free numbers are used again.
    assert!(group(&after, "10.0.0.9").0 < 6);
    assert_eq!(after.groups[0].len(), 0);
}

#[test]
fn weights_shape_the_group_in_whatever_order() {
    let hops = |hops: &[(u32, &str, u16)]| {
        let hops = hops.iter().map(|(interface, gateway, weight)| RouteHop {
            interface: *interface,
            gateway: Some(addr(gateway)),
            weight: *weight,
        });
        let way = Way::Hops(hops.collect());
        let mut store = store();
        store.routes_read(vec![Route {
            way,
            ..route("10.8.0.0/16", &[])
        }]);
        let table = store.table();
        let group = table.group_for(addr("10.8.0.1")).unwrap();
        let members = table.groups[group.0 as usize]
            .iter()
            .map(|at| table.hop(*at).unwrap().neighbor);
        members.collect::<Vec<_>>()
    };
    let want = vec![
        addr("10.0.0.1"),
        addr("10.1.0.1"),
        addr("10.1.0.1"),
        addr("10.1.0.1"),
    ];
    assert_eq!(hops(&[(2, "10.0.0.1", 2), (3, "10.1.0.1", 6)]), want);
    assert_eq!(hops(&[(3, "10.1.0.1", 6), (2, "10.0.0.1", 2)]), want);
    // An interface that is not served is no member; great weights are scaled, none to nothing.
    assert_eq!(
        hops(&[(2, "10.0.0.1", 1), (4, "10.4.0.1", 1)]),
        [addr("10.0.0.1")]
    );
    let scaled = hops(&[(2, "10.0.0.1", 1), (3, "10.1.0.1", 256)]);
    assert!(
        scaled.len() <= 129 && scaled.contains(&addr("10.0.0.1")),
        "{}",
        scaled.len()
    );
}

#[test]
fn the_local_table_and_the_lower_metric_win() {
    let mut store = store();
    let main = route("10.7.0.0/16", &[(2, Some("10.0.0.1"))]);
    let worse = Route {
        priority: 20,
        ..route("10.7.0.0/16", &[(3, Some("10.1.0.1"))])
    };
    let own = Route {
        table: Table::Local,
        way: Way::Nowhere,
        ..route("10.7.0.0/16", &[])
    };
    let neighbor_of = |store: &mut RouteStore| {
        let table = store.table();
        let group = table.group_for(addr("10.7.0.1"))?;
        Ok::<_, NoHop>(table.hop(table.groups[group.0 as usize][0]).unwrap().neighbor)
    };
    store.routes_read(vec![worse.clone(), main.clone()]);
    assert_eq!(neighbor_of(&mut store), Ok(addr("10.0.0.1")));
    store.routes_read(vec![worse, main, own]);
    assert_eq!(neighbor_of(&mut store), Err(NoHop::NoRoute));
}

#[test]
fn the_lesser_mtu_counts() {
    let mut store = store();
    store.routes_read(vec![Route {
        mtu: Some(1400),
        ..route("0.0.0.0/0", &[(2, Some("10.0.0.254"))])
    }]);
    store.neighbors_read(vec![neighbor(2, "10.0.0.254", 1)]);
    assert_eq!(hop(&mut store, "10.9.0.1").unwrap().mtu, 1400);
    store.links_read(vec![Link {
        mtu: 1300,
        ..link(2, "eth0")
    }]);
    assert_eq!(hop(&mut store, "10.9.0.1").unwrap().mtu, 1300);
}

fn due(store: &mut RouteStore, millis: u64) -> Vec<String> {
    store.table();
    store
        .due(Duration::from_millis(millis))
        .iter()
        .map(|n| match n.question {
            Question::Resolve => format!("{}@{}", n.addr, n.interface),
            Question::Confirm => format!("{}@{} still?", n.addr, n.interface),
            Question::Anew => format!("{}@{} anew", n.addr, n.interface),
        })
        .collect()
}

#[test]
fn what_is_missing_is_asked_for_and_what_is_known_confirmed_each_second() {
    let mut store = store();
    store.routes_read(vec![route("10.0.0.0/24", &[(2, None)])]);
    backends(&mut store, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    store.neighbor_changed(Neighbor {
        state: NeighborState::Fixed(mac(3)),
        ..neighbor(2, "10.0.0.3", 3)
    });
    assert_eq!(due(&mut store, 0), ["10.0.0.1@2", "10.0.0.2@2"]);
    store.neighbor_changed(neighbor(2, "10.0.0.1", 1));
    assert_eq!(due(&mut store, 999), [""; 0]);
    assert_eq!(due(&mut store, 1000), ["10.0.0.1@2 still?", "10.0.0.2@2"]);
    store.neighbor_changed(neighbor(2, "10.0.0.2", 2));
    assert_eq!(due(&mut store, 1999), [""; 0]);
    assert_eq!(due(&mut store, 2000), ["10.0.0.1@2 still?", "10.0.0.2@2 still?"]);
    // Forgotten by the kernel: at once.
    store.neighbor_removed(2, addr("10.0.0.1"));
    assert_eq!(due(&mut store, 2001), ["10.0.0.1@2"]);
}

#[test]
fn a_mac_address_that_does_not_answer_is_asked_for_anew_and_used_meanwhile() {
    let mut store = store();
    store.routes_read(vec![route("10.0.0.0/24", &[(2, None)])]);
    backends(&mut store, &["10.0.0.1"]);
    let state = |state| Neighbor {
        state,
        ..neighbor(2, "10.0.0.1", 1)
    };
    store.neighbor_changed(neighbor(2, "10.0.0.1", 1));
    assert_eq!(due(&mut store, 0), ["10.0.0.1@2 still?"]);
    store.neighbor_changed(state(NeighborState::Probing(mac(1))));
    assert_eq!(due(&mut store, 399), [""; 0]);
    assert_eq!(due(&mut store, 400), ["10.0.0.1@2 anew"]);
    store.neighbor_changed(state(NeighborState::Pending));
    assert_eq!(hop(&mut store, "10.0.0.1").unwrap().destination, Some(mac(1)));
    store.neighbor_changed(neighbor(2, "10.0.0.1", 9));
    assert_eq!(hop(&mut store, "10.0.0.1").unwrap().destination, Some(mac(9)));
    assert_eq!(due(&mut store, 1400), ["10.0.0.1@2 still?"]);
}

#[test]
fn many_neighbours_are_confirmed_less_often() {
    let mut store = store();
    store.routes_read(vec![route("10.0.0.0/16", &[(2, None)])]);
    let all: Vec<String> = (0..512)
        .map(|i| format!("10.0.{}.{}", i / 256, i % 256))
        .collect();
    backends(&mut store, &all.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &all {
        store.neighbor_changed(neighbor(2, name, 1));
    }
    assert_eq!(due(&mut store, 0).len(), 512);
    assert_eq!(due(&mut store, 1999).len(), 0);
    assert_eq!(due(&mut store, 2000).len(), 512);
}

#[test]
fn workers_wishes_are_kept_while_somebody_answers() {
    let mut store = store();
    store.routes_read(vec![route("10.0.0.0/24", &[(2, None)])]);
    store.neighbor_wanted(PortIndex(0), addr("10.0.0.50"), Duration::ZERO);
    assert_eq!(due(&mut store, 0), ["10.0.0.50@2"]);
    store.neighbor_changed(neighbor(2, "10.0.0.50", 50));
    assert_eq!(hop(&mut store, "10.0.0.50").unwrap().destination, Some(mac(50)));
    assert_eq!(due(&mut store, 15_000), ["10.0.0.50@2 still?"]);
    assert_eq!(due(&mut store, 600_000), ["10.0.0.50@2 still?"]);
    assert_eq!(due(&mut store, 620_000), [""; 0], "nobody asked for long");
    store.neighbor_wanted(PortIndex(0), addr("10.0.0.51"), Duration::from_secs(700));
    assert_eq!(due(&mut store, 700_000), ["10.0.0.51@2"]);
    store.neighbor_changed(Neighbor {
        state: NeighborState::Failed,
        ..neighbor(2, "10.0.0.51", 0)
    });
    assert_eq!(
        due(&mut store, 702_000),
        [""; 0],
        "given up; the worker asks again"
    );
}

#[test]
fn a_missing_or_dead_interface_is_told() {
    let mut store = store();
    assert_eq!(store.problems(), []);
    store.links_read(vec![Link {
        up: false,
        ..link(2, "eth0")
    }]);
    let told: Vec<String> = store.problems().iter().map(ToString::to_string).collect();
    assert!(
        told[0].starts_with("interface eth0 is down") && told[1].starts_with("interface eth1 does not exist")
    );
}
