use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::{EndpointSpec, NodeKey, Readiness, Setting};
use crate::testing::{addr, endpoint, port, service, slice, slice_port};

fn planned(services: Vec<ServiceSpec>, slices: Vec<EndpointSliceSpec>) -> Plan {
    let mut store = Store::default();
    for spec in services {
        let _ = store.apply_service(spec);
    }
    for spec in slices {
        let _ = store.apply_slice(spec);
    }
    plan(&store, &PlanSettings::default(), &BTreeSet::new())
}

/// One Service by itself, on a node with these addresses.
fn alone(
    service: &ServiceSpec,
    slices: &[&EndpointSliceSpec],
    settings: &PlanSettings,
    local: &[&str],
) -> ServicePlan {
    let mut store = Store::default();
    for spec in slices {
        let _ = store.apply_slice((*spec).clone());
    }
    let around = Surroundings {
        local: &local.iter().map(|a| addr(a)).collect(),
        nodes: &[],
        down: &BTreeSet::new(),
        others: Others::Away,
    };
    plan_service(service, &store, settings, around)
}

/// `10.0.0.1:80=1 10.0.0.2:80=0`
fn backends(port: &PlannedPort) -> String {
    let text = port
        .backends
        .iter()
        .map(|b| format!("{}:{}={}", b.addr, b.port, b.weight));
    text.collect::<Vec<_>>().join(" ")
}

fn with(readiness: Readiness, a: &str) -> EndpointSpec {
    EndpointSpec {
        readiness,
        ..endpoint(a)
    }
}

fn messages(plan: &Plan) -> Vec<String> {
    plan.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn ready_endpoints_serve_and_all_others_drain() {
    use Readiness::{NotReady, Ready, ServingTerminating};
    for (states, want) in [
        (
            [Ready, ServingTerminating, NotReady],
            "10.0.0.1:80=1 10.0.0.2:80=0 10.0.0.3:80=0",
        ),
        (
            [NotReady, ServingTerminating, NotReady],
            "10.0.0.1:80=0 10.0.0.2:80=1 10.0.0.3:80=0",
        ),
        (
            [NotReady, NotReady, NotReady],
            "10.0.0.1:80=0 10.0.0.2:80=0 10.0.0.3:80=0",
        ),
        ([Ready, Ready, Ready], "10.0.0.1:80=1 10.0.0.2:80=1 10.0.0.3:80=1"),
    ] {
        let ends = states
            .iter()
            .zip(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
            .map(|(s, a)| with(*s, a))
            .collect();
        let plan = planned(
            vec![service("web", "192.0.2.1").build()],
            vec![slice("web-1", "web", ends)],
        );
        assert_eq!(backends(&plan.ports[0]), want, "{states:?}");
        assert_eq!(plan.problems, []);
    }
}

#[test]
fn several_slices_are_one_and_an_address_counts_once() {
    let plan = planned(
        vec![service("web", "192.0.2.1").build()],
        vec![
            slice(
                "web-1",
                "web",
                vec![with(Readiness::NotReady, "10.0.0.1"), endpoint("10.0.0.2")],
            ),
            slice("web-2", "web", vec![endpoint("10.0.0.1"), endpoint("10.0.0.3")]),
        ],
    );
    assert_eq!(
        backends(&plan.ports[0]),
        "10.0.0.1:80=1 10.0.0.2:80=1 10.0.0.3:80=1"
    );
}

#[test]
fn ports_are_matched_by_name_and_protocol() {
    let ports = vec![
        port("web", "TCP", 80),
        port("dns", "TCP", 53),
        port("dns", "UDP", 53),
        PortSpec {
            target: Some(9000),
            ..port("all", "TCP", 90)
        },
    ];
    let listed = EndpointSliceSpec {
        ports: Some(vec![
            slice_port("dns", "UDP", 5353),
            slice_port("web", "TCP", 8080),
            crate::model::SlicePort {
                port: None,
                ..slice_port("all", "TCP", 1)
            },
        ]),
        ..slice("web-1", "web", vec![endpoint("10.0.0.1")])
    };
    let plan = planned(
        vec![service("web", "192.0.2.1").ports(ports).build()],
        vec![listed.clone()],
    );
    let found: BTreeMap<String, String> = plan
        .ports
        .iter()
        .map(|p| (p.key.to_string(), backends(p)))
        .collect();
    assert_eq!(found["192.0.2.1:80/TCP"], "10.0.0.1:8080=1");
    assert_eq!(found["192.0.2.1:53/UDP"], "10.0.0.1:5353=1");
    assert_eq!(found["192.0.2.1:53/TCP"], "");
    assert_eq!(found["192.0.2.1:90/TCP"], "10.0.0.1:9000=1");
    let [complaint] = &messages(&plan)[..] else {
        panic!("{:?}", plan.problems)
    };
    assert!(
        complaint.starts_with("Service default/web: spec.ports[1].name: no EndpointSlice"),
        "{complaint}"
    );
    let every = EndpointSliceSpec {
        ports: None,
        ..listed
    };
    let plan = planned(vec![service("web", "192.0.2.1").build()], vec![every]);
    assert_eq!(backends(&plan.ports[0]), "10.0.0.1:80=1");
}

#[test]
fn sctp_is_a_warning_and_the_other_ports_are_served() {
    let ports = vec![port("a", "SCTP", 36412), port("", "TCP", 80)];
    let plan = planned(
        vec![service("web", "192.0.2.1").ports(ports).build()],
        vec![slice("web-1", "web", vec![endpoint("10.0.0.1")])],
    );
    assert_eq!(plan.ports.len(), 1);
    let message = &messages(&plan)[0];
    assert!(
        message.starts_with("Service default/web: spec.ports[0].protocol: port 36412 is SCTP"),
        "{message}"
    );
}

#[test]
fn each_vip_gets_backends_of_its_family_but_tunnels_may_mix() {
    let vips = "192.0.2.1,2001:db8::1";
    let v4 = slice("web-4", "web", vec![endpoint("10.0.0.1")]);
    let v6 = slice("web-6", "web", vec![endpoint("fd00::1")]);
    for mode in ForwardingMode::ALL {
        let both = planned(
            vec![service("web", vips).mode(mode).build()],
            vec![v4.clone(), v6.clone()],
        );
        let found: Vec<String> = both.ports.iter().map(|p| backends(p)).collect();
        assert_eq!(found.len(), 2);
        assert!(
            found.contains(&"10.0.0.1:80=1".to_owned()) && found.contains(&"fd00::1:80=1".to_owned()),
            "{mode}"
        );
        let lone = planned(vec![service("web", vips).mode(mode).build()], vec![v4.clone()]);
        let of_v6 = lone.ports.iter().find(|p| !p.key.addr.is_v4()).unwrap();
        match mode {
            ForwardingMode::Ipip | ForwardingMode::Gue => {
                assert_eq!(
                    (backends(of_v6).as_str(), lone.problems.len()),
                    ("10.0.0.1:80=1", 0)
                );
            }
            ForwardingMode::Nat | ForwardingMode::Dnat | ForwardingMode::L2Dsr => {
                assert_eq!(backends(of_v6), "");
                let message = &messages(&lone)[0];
                assert!(
                    message.contains(&format!("IPv6 VIP has only IPv4 endpoints, which mode {mode}")),
                    "{message}"
                );
            }
        }
    }
}

#[test]
fn modes_that_keep_the_port_say_so() {
    let listed = |number| EndpointSliceSpec {
        ports: Some(vec![slice_port("", "TCP", number)]),
        ..slice("web-1", "web", vec![endpoint("10.0.0.1")])
    };
    for (mode, number, complaints) in [
        (ForwardingMode::L2Dsr, 8080, 1),
        (ForwardingMode::L2Dsr, 80, 0),
        (ForwardingMode::Gue, 8080, 1),
        (ForwardingMode::Nat, 8080, 0),
        (ForwardingMode::Dnat, 8080, 0),
    ] {
        let plan = planned(
            vec![service("web", "192.0.2.1").mode(mode).build()],
            vec![listed(number)],
        );
        assert_eq!(
            plan.problems.len(),
            complaints,
            "{mode} {number} {:?}",
            messages(&plan)
        );
    }
}

#[test]
fn weights_apply_and_strangers_are_noted() {
    let ends = vec![endpoint("10.0.0.1"), endpoint("10.0.0.2"), endpoint("10.0.0.3")];
    let weights = [("10.0.0.1", 5), ("10.0.0.2", 0), ("10.9.9.9", 1)];
    let plan = planned(
        vec![service("web", "192.0.2.1").weights(weights).build()],
        vec![slice("web-1", "web", ends)],
    );
    assert_eq!(
        backends(&plan.ports[0]),
        "10.0.0.1:80=5 10.0.0.2:80=0 10.0.0.3:80=1"
    );
    assert!(messages(&plan)[0].contains("no endpoint has the address 10.9.9.9"));
}

#[test]
fn the_older_rival_keeps_a_port_else_the_first_by_name() {
    let rivals = |a: Option<i64>, b: Option<i64>| {
        let build = |name: &str, created: Option<i64>| match created {
            Some(created) => service(name, "192.0.2.1").created(created).build(),
            None => service(name, "192.0.2.1").build(),
        };
        planned(
            vec![build("b", b), build("a", a)],
            vec![
                slice("a-1", "a", vec![endpoint("10.0.0.1")]),
                slice("b-1", "b", vec![endpoint("10.0.0.2")]),
            ],
        )
    };
    for (a, b, winner, loser) in [
        (None, None, "a", "b"),
        (Some(5), Some(4), "b", "a"),
        (Some(4), Some(4), "a", "b"),
        (None, Some(9), "b", "a"),
    ] {
        let plan = rivals(a, b);
        assert_eq!(plan.ports.len(), 1);
        assert_eq!(&*plan.ports[0].owner.name, winner);
        let want = format!("Service default/{loser}: 192.0.2.1:80/TCP is held by Service default/{winner}");
        assert!(messages(&plan)[0].starts_with(&want), "{:?}", messages(&plan));
    }
}

#[test]
fn a_source_address_of_nat_is_never_a_vip() {
    let settings = PlanSettings {
        snat: [addr("192.0.2.1")].into(),
        ..PlanSettings::default()
    };
    let spec = service("web", "192.0.2.1,192.0.2.2").build();
    let ends = slice("web-1", "web", vec![endpoint("10.0.0.1")]);
    let plan = alone(&spec, &[&ends], &settings, &[]);
    assert_eq!(plan.ports.len(), 1);
    assert!(plan.problems[0].to_string().contains("(--snat-address)"));
}

#[test]
fn settings_that_cannot_be_used_are_told_and_the_last_good_counts() {
    let problem = Problem::warning("bad mode", "mend it");
    let mut spec = service("web", "192.0.2.1").build();
    spec.mode = Setting::Invalid {
        problem: problem.clone(),
        last_good: Some(ForwardingMode::Gue),
    };
    let plan = planned(
        vec![spec],
        vec![slice("web-1", "web", vec![endpoint("10.0.0.1")])],
    );
    assert_eq!(
        (plan.ports[0].mode, plan.problems),
        (ForwardingMode::Gue, vec![problem])
    );
}

#[test]
fn ports_that_come_out_the_same_are_the_same() {
    let spec = service("web", "192.0.2.1,192.0.2.2").build();
    let ends = slice("web-1", "web", vec![endpoint("10.0.0.1")]);
    let settings = PlanSettings::default();
    let before = alone(&spec, &[&ends], &settings, &[]);
    let mut fewer = spec.clone();
    fewer.vips = Setting::Valid(vec![addr("192.0.2.2")]);
    let after = alone(&fewer, &[&ends], &settings, &[]).sharing(&before);
    assert!(Arc::ptr_eq(&after.ports[0], &before.ports[1]));
}

type Ends = Vec<(String, Readiness)>;

fn specs() -> impl Strategy<Value = (Vec<ServiceSpec>, Vec<EndpointSliceSpec>)> {
    let vip = prop_oneof!["192\\.0\\.2\\.[1-4]", "2001:db8::[1-4]"];
    let mode = prop::sample::select(ForwardingMode::ALL.to_vec());
    let svc = (
        "[a-d]",
        prop::collection::vec(vip, 1..3),
        mode,
        prop::option::of(0i64..3),
    );
    let services = prop::collection::vec(svc, 0..6).prop_map(|all| {
        let unique: BTreeMap<String, ServiceSpec> = all
            .into_iter()
            .map(|(name, vips, mode, created)| {
                let spec = service(&name, &vips.join(",")).mode(mode).build();
                (name, ServiceSpec { created, ..spec })
            })
            .collect();
        unique.into_values().collect()
    });
    let readiness = prop::sample::select(vec![
        Readiness::Ready,
        Readiness::ServingTerminating,
        Readiness::NotReady,
    ]);
    let ends = prop::collection::vec(
        (prop_oneof!["10\\.0\\.0\\.[1-6]", "fd00::[1-6]"], readiness),
        0..6,
    );
    let slices = prop::collection::vec(("[a-d]", ends, 80u16..82), 0..8).prop_map(|all| {
        let make = |(at, (of, ends, number)): (usize, (String, Ends, u16))| {
            let ends = ends.iter().map(|(a, readiness)| with(*readiness, a)).collect();
            let ports = Some(vec![slice_port("", "TCP", number)]);
            EndpointSliceSpec {
                ports,
                ..slice(&format!("s{at}"), &of, ends)
            }
        };
        all.into_iter().enumerate().map(make).collect()
    });
    (services, slices)
}

proptest! {
    #[test]
    fn the_order_of_objects_does_not_matter(
        (services, slices) in specs(),
        order in any::<prop::sample::Index>(),
    ) {
        let want = planned(services.clone(), slices.clone());
        let rotate = |n: usize| if n == 0 { 0 } else { order.index(n) };
        let (mut services, mut slices) = (services, slices);
        let (by_service, by_slice) = (rotate(services.len()), rotate(slices.len()));
        services.rotate_left(by_service);
        slices.rotate_left(by_slice);
        slices.reverse();
        prop_assert_eq!(&planned(services.clone(), slices.clone()), &want);
    }

    #[test]
    fn every_vip_port_has_one_holder_and_every_address_is_there_once((services, slices) in specs()) {
        let plan = planned(services, slices);
        prop_assert!(plan.ports.is_sorted_by(|a, b| a.key < b.key));
        for port in &plan.ports {
            prop_assert!(port.backends.is_sorted_by(|a, b| a.addr < b.addr));
        }
    }
}

/// `192.0.2.1:80/TCP nat 10.0.0.1:80=1`, one line a port.
fn lines(plan: &ServicePlan) -> Vec<String> {
    let line = |port: &Arc<PlannedPort>| format!("{} {} {}", port.key, port.mode, backends(port));
    plan.ports.iter().map(line).collect()
}

fn in_cluster(spec: ServiceSpec) -> ServiceSpec {
    ServiceSpec {
        name: ObjectName {
            cluster: ClusterId::OWN,
            ..spec.name
        },
        ..spec
    }
}

fn slice_of(cluster: u8, name: &str, service: &str, ends: Vec<EndpointSpec>) -> EndpointSliceSpec {
    let spec = slice(name, service, ends);
    let moved = |name: ObjectName| ObjectName {
        cluster: ClusterId(cluster),
        ..name
    };
    EndpointSliceSpec {
        name: moved(spec.name),
        service: moved(spec.service),
        ..spec
    }
}

#[test]
fn in_a_cluster_only_load_balancers_of_our_class_are_served() {
    let ends = slice_of(1, "web-1", "web", vec![endpoint("10.0.0.1")]);
    let settings = |default_class| PlanSettings {
        class: "maglane.io/maglane".into(),
        default_class,
        ..PlanSettings::default()
    };
    for (class, default_class, served) in [
        (Some("maglane.io/maglane"), false, true),
        (Some("maglane.io/maglane"), true, true),
        (Some("example.com/other"), true, false),
        (None, false, false),
        (None, true, true),
    ] {
        let spec = in_cluster(ServiceSpec {
            class: class.map(Into::into),
            ..service("web", "192.0.2.1").build()
        });
        let plan = alone(&spec, &[&ends], &settings(default_class), &[]);
        assert_eq!(!plan.ports.is_empty(), served, "{class:?} {default_class}");
    }
}

#[test]
fn a_manifest_without_an_address_is_told() {
    let mut spec = service("web", "192.0.2.1").build();
    spec.vips = Setting::Unset;
    let plan = planned(vec![spec], vec![]);
    assert_eq!(plan.ports, []);
    let want =
        "Service default/web: not served: it has no address; name its virtual addresses in the annotation";
    assert!(messages(&plan)[0].starts_with(want), "{:?}", messages(&plan));
}

#[test]
fn other_addresses_are_served_when_asked_for() {
    let ends = slice("web-1", "web", vec![endpoint("10.0.0.1")]);
    let spec = ServiceSpec {
        cluster_ips: vec![addr("10.96.0.1")],
        external_ips: vec![addr("198.51.100.1")],
        ports: vec![PortSpec {
            node_port: Some(30_080),
            ..port("", "TCP", 80)
        }],
        source_ranges: Some(vec!["203.0.113.0/24".parse().unwrap()]),
        ..service("web", "192.0.2.1").mode(ForwardingMode::L2Dsr).build()
    };
    let plan = alone(&spec, &[&ends], &PlanSettings::default(), &["10.0.0.250"]);
    assert_eq!(lines(&plan), ["192.0.2.1:80/TCP l2-dsr 10.0.0.1:80=1"]);
    assert!(
        plan.problems
            .iter()
            .any(|p| p.to_string().contains("CVE-2020-8554")),
        "{:?}",
        plan.problems
    );
    let settings = PlanSettings {
        serve: Serve {
            node_port: true,
            cluster_ip: true,
            external_ip: true,
        },
        ..PlanSettings::default()
    };
    let local = ["10.0.0.250", "127.0.0.1", "fe80::1", "169.254.0.1"];
    let plan = alone(&spec, &[&ends], &settings, &local);
    let mut found = lines(&plan);
    found.sort_unstable();
    let want = [
        "10.0.0.250:30080/TCP nat 10.0.0.1:80=1",
        "10.96.0.1:80/TCP l2-dsr 10.0.0.1:80=1",
        "192.0.2.1:80/TCP l2-dsr 10.0.0.1:80=1",
        "198.51.100.1:80/TCP l2-dsr 10.0.0.1:80=1",
    ];
    assert_eq!(found, want);
    let of = |text: &str| {
        plan.ports
            .iter()
            .find(|port| port.key.to_string().starts_with(text))
            .unwrap()
    };
    assert_eq!(
        (of("10.0.0.250").reach, of("192.0.2.1").reach),
        (Reach::Port, Reach::Address)
    );
    // kube-proxy guards load balancer addresses; external ones are as open to the world.
    let guarded = |text| of(text).source_ranges.is_some();
    assert_eq!(
        ["10.0.0.250", "10.96", "192.0.2", "198.51"].map(guarded),
        [false, false, true, true]
    );
}

#[test]
fn zone_hints_count_when_every_ready_endpoint_has_one_and_one_is_for_this_zone() {
    let hinted = |a: &str, zones: &[&str]| EndpointSpec {
        zones: zones.iter().map(|zone| (*zone).into()).collect(),
        ..endpoint(a)
    };
    let node = crate::model::NodeSpec {
        name: ObjectName::new("", "lb-1"),
        addresses: vec![],
        zone: Some("east".into()),
        pod_ranges: vec![],
        usable: true,
        labels: BTreeMap::new(),
        network_unavailable: false,
    };
    let settings = PlanSettings {
        node: Some("lb-1".into()),
        ..PlanSettings::default()
    };
    for (ends, want) in [
        (
            vec![hinted("10.0.0.1", &["east"]), hinted("10.0.0.2", &["west"])],
            "10.0.0.1:80=1 10.0.0.2:80=0",
        ),
        (
            vec![hinted("10.0.0.1", &["east"]), hinted("10.0.0.2", &[])],
            "10.0.0.1:80=1 10.0.0.2:80=1",
        ),
        (
            vec![hinted("10.0.0.1", &["north"]), hinted("10.0.0.2", &["west"])],
            "10.0.0.1:80=1 10.0.0.2:80=1",
        ),
    ] {
        let mut store = Store::default();
        let _ = store.apply_slice(slice("web-1", "web", ends));
        let around = Surroundings {
            local: &BTreeSet::new(),
            nodes: &[&node],
            down: &BTreeSet::new(),
            others: Others::Away,
        };
        let plan = plan_service(&service("web", "192.0.2.1").build(), &store, &settings, around);
        assert_eq!(backends(&plan.ports[0]), want);
    }
}

#[test]
fn nodes_are_backends_on_the_node_port_and_local_wants_a_ready_endpoint_there() {
    let node = |name: &str, address: &str, usable| crate::model::NodeSpec {
        name: ObjectName::new("", name),
        addresses: vec![addr(address)],
        zone: None,
        pod_ranges: vec![],
        usable,
        labels: BTreeMap::new(),
        network_unavailable: false,
    };
    let nodes = [
        node("a", "10.1.0.1", true),
        node("b", "10.1.0.2", true),
        node("c", "10.1.0.3", false),
    ];
    let mut store = Store::default();
    let on_a = EndpointSpec {
        node: Some(NodeKey::of("a")),
        ..endpoint("10.0.0.1")
    };
    let _ = store.apply_slice(slice("web-1", "web", vec![on_a]));
    let plan = |policy| {
        let spec = ServiceSpec {
            backends: Setting::Valid(crate::model::BackendKind::Nodes),
            external_policy: policy,
            ports: vec![PortSpec {
                node_port: Some(30_080),
                ..port("", "TCP", 80)
            }],
            ..service("web", "192.0.2.1").build()
        };
        let around = Surroundings {
            local: &BTreeSet::new(),
            nodes: &nodes.iter().collect::<Vec<_>>(),
            down: &BTreeSet::new(),
            others: Others::Away,
        };
        let plan = plan_service(&spec, &store, &PlanSettings::default(), around);
        backends(&plan.ports[0])
    };
    use crate::model::TrafficPolicy::{Cluster, Local};
    assert_eq!(
        plan(Cluster),
        "10.1.0.1:30080=1 10.1.0.2:30080=1 10.1.0.3:30080=0"
    );
    assert_eq!(plan(Local), "10.1.0.1:30080=1 10.1.0.2:30080=0 10.1.0.3:30080=0");
}

#[test]
fn a_global_service_has_the_endpoints_of_all_clusters_weighed() {
    let global = |threshold| {
        Setting::Valid(crate::model::GlobalSpec {
            failover_threshold: threshold,
            weights: [("west".into(), 3)].into(),
        })
    };
    let spec = |cluster: u8, threshold| {
        let spec = in_cluster(service("web", "192.0.2.1").build());
        ServiceSpec {
            name: ObjectName {
                cluster: ClusterId(cluster),
                ..spec.name
            },
            global: global(threshold),
            ..spec
        }
    };
    let settings = PlanSettings {
        default_class: true,
        clusters: [(ClusterId::OWN, "east".into()), (ClusterId(2), "west".into())].into(),
        ..PlanSettings::default()
    };
    let mut store = Store::default();
    let _ = store.apply_service(spec(2, None));
    let _ = store.apply_slice(slice_of(1, "web-1", "web", vec![endpoint("10.0.0.1")]));
    let _ = store.apply_slice(slice_of(2, "web-1", "web", vec![endpoint("10.2.0.1")]));
    let _ = store.apply_slice(slice_of(3, "web-1", "web", vec![endpoint("10.3.0.1")]));
    for (threshold, others, want) in [
        (None, Others::Away, "10.0.0.1:80=1 10.2.0.1:80=3"),
        (Some(1), Others::Away, "10.0.0.1:80=1"),
        (Some(1), Others::Joined, "10.0.0.1:80=1 10.2.0.1:80=3"),
        (Some(1), Others::Leaving, "10.0.0.1:80=1 10.2.0.1:80=0"),
    ] {
        let around = Surroundings {
            local: &BTreeSet::new(),
            nodes: &[],
            down: &BTreeSet::new(),
            others,
        };
        let plan = plan_service(&spec(1, threshold), &store, &settings, around);
        assert_eq!(backends(&plan.ports[0]), want, "{threshold:?} {others:?}");
        assert_eq!(plan.ready_here, 1);
    }
}

#[test]
fn an_import_makes_a_service_global_as_the_annotation_does() {
    let spec = |cluster: u8| {
        let spec = in_cluster(service("web", "192.0.2.1").build());
        ServiceSpec {
            name: ObjectName {
                cluster: ClusterId(cluster),
                ..spec.name
            },
            ..spec
        }
    };
    let settings = PlanSettings {
        default_class: true,
        clusters: [(ClusterId::OWN, "east".into()), (ClusterId(2), "west".into())].into(),
        ..PlanSettings::default()
    };
    let mut store = Store::default();
    let own = spec(1);
    let _ = store.apply_service(own.clone());
    let _ = store.apply_service(spec(2));
    let _ = store.apply_slice(slice_of(1, "web-1", "web", vec![endpoint("10.0.0.1")]));
    let _ = store.apply_slice(slice_of(2, "web-1", "web", vec![endpoint("10.2.0.1")]));
    let planned = |spec: &ServiceSpec, store: &Store| {
        let around = Surroundings {
            local: &BTreeSet::new(),
            nodes: &[],
            down: &BTreeSet::new(),
            others: Others::Away,
        };
        backends(&plan_service(spec, store, &settings, around).ports[0])
    };
    assert_eq!(planned(&own, &store), "10.0.0.1:80=1");
    let import = crate::model::ImportSpec {
        name: own.name.clone(),
    };
    let touched = [own.name.clone()];
    assert_eq!(store.apply_import(import.clone()), touched);
    assert_eq!(store.apply_import(import), [], "no news");
    assert_eq!(planned(&own, &store), "10.0.0.1:80=1 10.2.0.1:80=1");
    let weighed = ServiceSpec {
        imported: Setting::Valid(crate::model::GlobalSpec {
            failover_threshold: None,
            weights: [("west".into(), 3)].into(),
        }),
        ..own.clone()
    };
    assert_eq!(planned(&weighed, &store), "10.0.0.1:80=1 10.2.0.1:80=3");
    assert_eq!(store.delete_import(&own.name), touched);
    assert_eq!(planned(&own, &store), "10.0.0.1:80=1");
}
