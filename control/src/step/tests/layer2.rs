//! Layer 2 in virtual time: the order of things, takeover, settling, fences.

use serde_json::json;

use super::*;
use crate::l2::{Coverage, NodeLease, OnApiLoss, Peers, Standing, Subnets};
use crate::model::NodeSpec;
use crate::testing::l2_advertisement;

const VIP: &str = "10.0.0.100";
const S: u64 = 1000;

fn l2_settings(peers: Peers, on_api_loss: OnApiLoss) -> Settings {
    let mut settings = settings(1);
    settings.plan.node = Some("lb-a".into());
    settings.l2 = L2Settings {
        coverage: Coverage::All,
        peers,
        on_api_loss,
        ..L2Settings::default()
    };
    settings
}

fn alone() -> World {
    World::of(l2_settings(Peers::Alone, OnApiLoss::Fence)).synced_up()
}

impl World {
    /// Time passes in quarters of a second.
    fn until(&mut self, ms: u64, mut each: impl FnMut(&mut World, u64)) {
        let mut now = self.now.as_millis() as u64;
        while now < ms {
            now += 250;
            self.now = Duration::from_millis(now);
            each(self, now);
            self.tell(vec![Event::Tick]);
        }
    }

    fn wait(&mut self, ms: u64) {
        self.until(ms, |_, _| {});
    }

    fn answers(&self) -> Vec<String> {
        self.owned.iter().flatten().map(Addr::to_string).collect()
    }

    fn row(&mut self) -> String {
        let catalog = self.controller.catalog();
        let [row] = &catalog.l2[..] else {
            panic!("{:?}", catalog.l2)
        };
        format!("{} {:?} {}", row.vip, row.choice, row.interfaces.join(","))
    }

    /// Another node renews its lease.
    fn peer(&mut self, node: &str, standing: Standing) {
        let renewed = self.now.as_micros() as i64;
        let network = "10.0.0.0/24".parse().unwrap();
        let lease = NodeLease {
            node: node.into(),
            holder: format!("{node}_1").into(),
            seconds: 5,
            renewed,
            facts: NodeFacts {
                subnets: Subnets([("eth0".into(), vec![network])].into()),
                standing,
            },
        };
        self.tell(vec![Event::NodeLeaseApplied(Box::new(lease))]);
    }

    /// So does this one, and sees that it did.
    fn renew(&mut self) {
        let until = self.now + Duration::from_secs(5);
        self.tell(vec![Event::NodeLeaseRenewed { until }]);
        let standing = self.facts.last().unwrap().standing;
        self.peer("lb-a", standing);
    }
}

#[test]
fn an_address_is_owned_once_it_is_steered_and_given_up_before_it_is_not() {
    let mut world = alone();
    world.apply("web", VIP, &["10.0.0.1"]);
    world.worker_turns(0);
    assert!(world.answers().is_empty(), "not yet steered");
    world.settle();
    assert_eq!(world.answers(), [VIP]);
    assert_eq!(world.row(), "10.0.0.100 Node(\"lb-a\") eth0");
    world.tell(vec![Event::ServiceDeleted(name("web"))]);
    world.settle();
    assert!(world.answers().is_empty() && world.vips().is_empty());
}

#[test]
fn only_where_its_network_is_and_while_that_can_answer() {
    let mut world = alone();
    world.apply("far", "192.0.2.1", &["10.0.0.1"]);
    world.settle();
    assert!(world.answers().is_empty());
    assert_eq!(world.row(), "192.0.2.1 Nobody(NoNode) ");
    world.tell(vec![Event::RoutesRead(vec![
        route("10.0.0.0/24", &[(2, None)]),
        route("192.0.2.0/24", &[(2, None)]),
    ])]);
    assert_eq!(world.answers(), ["192.0.2.1"]);
    for broken in [
        crate::routes::Link {
            up: false,
            ..link(2, "eth0")
        },
        crate::routes::Link {
            mute: true,
            ..link(2, "eth0")
        },
        link(2, "eth7"),
    ] {
        world.tell(vec![Event::LinksRead(vec![broken.clone()])]);
        assert!(world.answers().is_empty(), "{broken:?}");
        world.tell(vec![Event::LinksRead(vec![link(2, "eth0")])]);
        assert_eq!(world.answers(), ["192.0.2.1"]);
    }
}

#[test]
fn no_backend_no_answer_and_no_advertisement_neither() {
    let mut world = alone();
    world.apply("web", VIP, &[]);
    world.settle();
    assert_eq!(
        (world.answers(), world.row()),
        (vec![], format!("{VIP} Nobody(NoBackend) "))
    );
    world.apply("web", VIP, &["10.0.0.1"]);
    world.settle();
    assert_eq!(world.answers(), [VIP]);

    let mut world = World::synced(1);
    world.apply("web", VIP, &["10.0.0.1"]);
    world.settle();
    assert!(world.owned.is_empty() && world.facts.is_empty(), "layer 2 is off");
    assert!(world.controller.catalog().l2.is_empty());
}

#[test]
fn an_advertisement_decides_which_services_are_answered_for_and_where() {
    let mut settings = l2_settings(Peers::Alone, OnApiLoss::Fence);
    settings.l2.coverage = Coverage::Advertised;
    let mut world = World::of(settings).synced_up();
    world.apply("web", VIP, &["10.0.0.1"]);
    world.settle();
    let advertise = |spec| Event::AnnounceApplied(Box::new(l2_advertisement("all", spec)));
    let of_service = |name: &str| json!([{ "matchLabels": { "io.kubernetes.service.name": name } }]);
    world.tell(vec![advertise(json!({ "serviceSelectors": of_service("mail") }))]);
    world.settle();
    assert!(world.answers().is_empty(), "it is about another one");
    assert_eq!(world.row(), format!("{VIP} Nobody(NoAdvertisement) "));
    world.tell(vec![advertise(json!({ "serviceSelectors": of_service("web") }))]);
    world.settle();
    world.wait(11 * S);
    assert_eq!(world.answers(), [VIP]);
    world.tell(vec![advertise(json!({ "interfaces": ["elsewhere"] }))]);
    world.settle();
    assert!(world.answers().is_empty(), "not on this interface");
    let rack = json!([{ "matchLabels": { "rack": "7" } }]);
    world.tell(vec![advertise(json!({ "nodeSelectors": rack }))]);
    world.settle();
    assert!(world.answers().is_empty(), "not by this node");
    world.tell(vec![advertise(json!({}))]);
    world.settle();
    world.wait(11 * S);
    assert_eq!(world.answers(), [VIP]);
    let object = l2_advertisement("all", json!({})).object();
    world.tell(vec![Event::AnnounceDeleted(object)]);
    world.settle();
    assert!(world.answers().is_empty(), "the last advertisement is gone");
}

#[test]
fn a_gain_is_announced_in_a_burst_and_then_every_minute() {
    let mut world = alone();
    world.apply("web", VIP, &["10.0.0.1"]);
    world.settle();
    world.wait(130 * S);
    let times: Vec<u128> = world.announced.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 1250, 2250, 3500, 4500, 64_500, 124_500]);
}

#[test]
fn what_failed_is_asked_for_again_at_the_next_tick() {
    let mut world = alone();
    world.apply("web", VIP, &["10.0.0.1"]);
    world.settle();
    world.owned.clear();
    let reason = "no room".to_owned();
    world.tell(vec![Event::OwnL2Failed { reason }]);
    assert!(world.answers().is_empty() && world.reports.last().unwrap().contains("no room"));
    world.wait(S);
    assert_eq!(world.answers(), [VIP]);
    assert!(world.reports.last().unwrap().starts_with('-'));
}

/// One node of three; the others' leases are played.
fn member(on_api_loss: OnApiLoss) -> World {
    let mut world = World::of(l2_settings(Peers::Leases, on_api_loss)).synced_up();
    world.apply("web", VIP, &["10.0.0.1"]);
    world.settle();
    assert_eq!(world.facts.len(), 1, "it has a lease to hold");
    assert!(world.answers().is_empty(), "and nothing before it does");
    world
}

/// A node that the hash prefers to lb-a for the address, or lb-a to it.
fn rival(better: bool) -> String {
    fn settled(node: &str) -> crate::l2::Candidate<'_> {
        crate::l2::Candidate {
            node,
            standing: Standing::Settled,
        }
    }
    let wins = |node: &str| crate::l2::choose(addr(VIP), &[settled("lb-a"), settled(node)]) == Some(node);
    let mut names = (0..10_000).map(|n| format!("lb-{n}"));
    names
        .find(|node| wins(node) == better)
        .expect("lb-a is neither best nor worst of 10,000")
}

fn winner_against_us() -> String {
    rival(true)
}

fn loser_to_us() -> String {
    rival(false)
}

#[test]
fn the_first_node_owns_at_once_and_a_better_one_takes_over_when_it_has_settled() {
    let mut world = member(OnApiLoss::Fence);
    world.renew();
    assert_eq!(world.answers(), [VIP], "nobody else could answer");
    world.until(11 * S, |world, _| world.renew());
    assert_eq!(world.facts.last().unwrap().standing, Standing::Settled);
    let better = &*winner_against_us();
    world.until(20 * S, |world, _| {
        world.renew();
        world.peer(better, Standing::New);
    });
    assert_eq!(world.answers(), [VIP], "it has not settled");
    world.peer(better, Standing::Settled);
    assert!(world.answers().is_empty(), "silent at once");
    assert_eq!(world.row(), format!("{VIP} Node({better:?}) "));
    let before = world.announced.len();
    // It dies: its lease runs out after 5 s, and this node says so.
    world.until(24_750, |world, _| world.renew());
    assert!(world.answers().is_empty());
    world.until(25 * S, |world, _| world.renew());
    assert_eq!(world.answers(), [VIP]);
    assert_eq!(world.announced[before..], [(25_000, addr(VIP))]);
}

#[test]
fn a_newcomer_waits_until_it_has_settled() {
    let mut world = member(OnApiLoss::Fence);
    let worse = &*loser_to_us();
    world.until(9 * S, |world, _| {
        world.peer(worse, Standing::Settled);
        world.renew();
    });
    assert!(world.answers().is_empty());
    world.until(12 * S, |world, _| {
        world.peer(worse, Standing::Settled);
        world.renew();
    });
    assert_eq!(world.answers(), [VIP]);
}

#[test]
fn api_loss_fences_or_freezes() {
    for (on_api_loss, want) in [
        (OnApiLoss::Fence, vec![]),
        (OnApiLoss::Keep, vec![VIP.to_owned()]),
    ] {
        let mut world = member(on_api_loss);
        let other = &*loser_to_us();
        world.until(12 * S, |world, _| {
            world.peer(other, Standing::Settled);
            world.renew();
        });
        assert_eq!(world.answers(), [VIP]);
        world.apply("second", "10.0.0.101", &["10.0.0.1"]);
        world.settle();
        let before = world.answers().len();
        // Ten minutes without the API: no lease is seen, none renewed.
        world.wait(16_750);
        assert_eq!(world.answers().len(), before);
        world.wait(600 * S);
        assert_eq!(
            world.answers().first().cloned().into_iter().collect::<Vec<_>>(),
            want
        );
        assert!(world.answers().len() <= before, "nothing is gained");
        // It comes back: who kept goes on, who was fenced is new, and alone.
        world.renew();
        assert!(world.answers().contains(&VIP.to_owned()), "{on_api_loss:?}");
        let standing = world.facts.last().unwrap().standing;
        let settled = on_api_loss == OnApiLoss::Keep;
        assert_eq!(standing == Standing::Settled, settled, "{on_api_loss:?}");
    }
}

/// Renewals arrive, the watch is silent: others only look dead.
#[test]
fn a_node_that_does_not_see_itself_takes_nothing_over() {
    let mut world = member(OnApiLoss::Fence);
    let better = &*winner_against_us();
    world.until(12 * S, |world, _| {
        world.peer(better, Standing::Settled);
        world.renew();
    });
    assert!(world.answers().is_empty());
    world.until(60 * S, |world, _| {
        let until = world.now + Duration::from_secs(5);
        world.tell(vec![Event::NodeLeaseRenewed { until }]);
    });
    assert!(world.answers().is_empty());
}

#[test]
fn a_barred_node_owns_nothing() {
    let mut world = member(OnApiLoss::Fence);
    world.renew();
    assert_eq!(world.answers(), [VIP]);
    let node = |barred| {
        let spec = NodeSpec {
            name: ObjectName::of(ClusterId::OWN, "", "lb-a"),
            addresses: vec![],
            network_unavailable: barred,
            ..crate::testing::node("lb-a", "")
        };
        Event::NodeApplied(Box::new(spec))
    };
    world.tell(vec![node(true)]);
    assert!(world.answers().is_empty());
    world.tell(vec![node(false)]);
    assert_eq!(world.answers(), [VIP]);
}

#[test]
fn a_lasting_conflict_is_a_problem_and_is_answered_now_and_then() {
    let mut world = alone();
    world.apply("web", VIP, &["10.0.0.1"]);
    world.settle();
    world.wait(20 * S);
    let (reports, announced) = (world.reports.len(), world.announced.len());
    let claim = || Event::AddressClaimed {
        port: PortIndex(0),
        addr: addr(VIP),
        mac: mac(9),
    };
    world.tell(vec![claim()]);
    assert_eq!(world.announced.len(), announced, "nor contradicted");
    assert_eq!(world.reports.len(), reports, "a moment is no conflict");
    world.until(40 * S, |world, _| world.tell(vec![claim()]));
    let problem = &world.reports[reports];
    assert!(
        problem.contains(VIP) && problem.contains(&mac(9).to_string()),
        "{problem}"
    );
    assert_eq!(
        world.announced[announced..],
        [(21_000, addr(VIP)), (31_000, addr(VIP))]
    );
    world.wait(101 * S);
    assert!(world.reports.last().unwrap().starts_with('-'), "it is over");
}
