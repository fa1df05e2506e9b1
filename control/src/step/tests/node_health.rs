//! Health check node ports: nodes that answer badly drain, all together do not; and what this node says itself.

use super::*;
use crate::model::{BackendKind, EndpointSpec, NodeKey, NodeSpec, PortSpec, Setting, TrafficPolicy};

fn local_service(title: &str, vip: &str) -> ServiceSpec {
    ServiceSpec {
        external_policy: TrafficPolicy::Local,
        health_check_node_port: Some(30_999),
        ports: vec![PortSpec {
            node_port: Some(30_080),
            ..port("", "TCP", 80)
        }],
        ..service(title, vip).build()
    }
}

fn node(title: &str, address: &str) -> Event {
    Event::NodeApplied(Box::new(NodeSpec {
        name: ObjectName::new("", title),
        addresses: vec![addr(address), addr("2001:db8::1")],
        zone: None,
        pod_ranges: vec![],
        labels: BTreeMap::new(),
        network_unavailable: false,
        usable: true,
    }))
}

fn ends(on: &[&str]) -> Event {
    let end = |(at, node): (usize, &&str)| EndpointSpec {
        node: Some(NodeKey::of(node)),
        ..endpoint(&format!("10.0.0.{}", at + 1))
    };
    Event::SliceApplied(Box::new(slice(
        "web-1",
        "web",
        on.iter().enumerate().map(end).collect(),
    )))
}

fn target(address: &str) -> ProbeTarget {
    ProbeTarget {
        addr: addr(address),
        port: 30_999,
    }
}

fn health(address: &str, verdict: Verdict) -> Event {
    Event::NodeHealth {
        target: target(address),
        verdict,
    }
}

impl World {
    /// Weights of the backends, by address.
    fn weights(&mut self) -> Vec<u16> {
        let ports = Arc::clone(&self.controller.catalog().ports);
        ports[0]
            .planned
            .backends
            .iter()
            .map(|backend| backend.weight)
            .collect()
    }
}

#[test]
fn a_node_whose_port_says_no_drains_unless_all_say_no() {
    let mut world = World::synced(1);
    let web = ServiceSpec {
        backends: Setting::Valid(BackendKind::Nodes),
        ..local_service("web", "192.0.2.1")
    };
    world.tell(vec![
        node("a", "10.1.0.1"),
        node("b", "10.1.0.2"),
        node("c", "10.1.0.3"),
        ends(&["a", "b"]),
        Event::ServiceApplied(Box::new(web)),
    ]);
    assert_eq!(world.probes, [[target("10.1.0.1"), target("10.1.0.2")].into()]);
    assert_eq!(
        world.weights(),
        [1, 1, 0],
        "as the slices say, until somebody answers"
    );
    world.tell(vec![
        health("10.1.0.1", Verdict::Up),
        health("10.1.0.2", Verdict::Down),
    ]);
    assert_eq!(world.weights(), [1, 0, 0]);
    world.tell(vec![
        health("10.1.0.1", Verdict::Down),
        health("10.1.0.3", Verdict::Down),
    ]);
    assert_eq!(world.weights(), [1, 1, 0], "nobody is well: panic mode");
    assert!(
        world
            .reports
            .iter()
            .any(|r| r.starts_with('+') && r.contains("no node answers 200"))
    );
    world.tell(vec![health("10.1.0.2", Verdict::Up)]);
    assert_eq!(world.weights(), [0, 1, 0]);
    assert!(
        world
            .reports
            .iter()
            .any(|r| r.starts_with('-') && r.contains("no node answers 200"))
    );
    // A node that gets its first endpoint is asked, and starts with what the slices say.
    world.tell(vec![ends(&["b", "c"])]);
    assert_eq!(
        world.probes.last(),
        Some(&[target("10.1.0.2"), target("10.1.0.3")].into())
    );
    assert_eq!(world.weights(), [0, 1, 1]);
    world.tell(vec![Event::ServiceDeleted(name("web"))]);
    assert_eq!(world.probes.last(), Some(&BTreeSet::new()));
}

#[test]
fn this_node_answers_for_local_services_only_when_it_serves_node_ports() {
    for node_port in [false, true] {
        let mut world = World::new(1);
        let mut settings = settings(1);
        settings.plan.serve.node_port = node_port;
        world.controller = Controller::new(settings, Resume::default());
        world.tell(vec![
            Event::LinksRead(vec![link(2, "eth0")]),
            Event::RoutesRead(vec![route("10.0.0.0/8", &[(2, None)])]),
            Event::NeighborsRead(vec![]),
            Event::SourceSynced(Source::Kernel),
            Event::SourceSynced(Source::Manifests),
            Event::ServiceApplied(Box::new(local_service("web", "192.0.2.1"))),
        ]);
        let said = |world: &World| world.answers.last().map(|all| all.get(&30_999).cloned());
        let answer = |endpoints| HealthAnswer {
            service: name("web"),
            endpoints,
        };
        if !node_port {
            assert_eq!(said(&world), None);
            continue;
        }
        assert_eq!(said(&world), Some(Some(answer(0))));
        world.tell(vec![ends(&["a", "b"])]);
        assert_eq!(said(&world), Some(Some(answer(2))));
        world.tell(vec![Event::ServiceApplied(Box::new(local_service(
            "zebra",
            "192.0.2.2",
        )))]);
        assert!(
            world
                .reports
                .iter()
                .any(|r| r.contains("zebra") && r.contains("port 30999 speaks for"))
        );
        world.tell(vec![Event::ServiceDeleted(name("web"))]);
        assert_eq!(said(&world).flatten().map(|a| a.service), Some(name("zebra")));
        assert!(world.probes.is_empty(), "backends are pods");
    }
}
