//! More Services than addresses, and the process that gives them killed again and again: nobody's address changes,
//! none is given twice, and who has none says why and gets one when one is free. `KILLS=100` makes it that often.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::World;
use super::number;
use crate::stage::{may_run, say};

const SERVICES: usize = 1000;
const POOL: usize = 900;
const KIND: &str = "/api/v1/namespaces/default/services";

fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name(number) },
        "spec": {
            "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
            "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"],
            "ports": [{ "port": 80, "protocol": "TCP" }],
        },
    })
}

fn name(number: usize) -> String {
    format!("many-{number}")
}

/// What everybody has, and who has been seen with what before.
#[derive(Default)]
struct Ledger {
    held: BTreeMap<String, String>,
}

impl Ledger {
    /// Reads the cluster; panics on an address that changed or that two have. Gives how many have none.
    fn audit(&mut self, world: &World) -> usize {
        let (mut taken, mut without) = (BTreeSet::new(), 0);
        for item in services(world) {
            let name = item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let ingress = item["status"]["loadBalancer"]["ingress"][0]["ip"].as_str();
            let Some(address) = ingress else {
                assert!(!self.held.contains_key(&name), "{name} has lost its address");
                without += 1;
                continue;
            };
            assert!(taken.insert(address.to_owned()), "{address} was given twice");
            let before = self.held.insert(name.clone(), address.to_owned());
            assert!(
                before.is_none() || before.as_deref() == Some(address),
                "{name} had {before:?}, has {address}"
            );
        }
        without
    }

    fn delete(&mut self, world: &World, number: usize) {
        world
            .stage
            .check(world.client().delete(&format!("{KIND}/{}", name(number))));
        self.held.remove(&name(number));
    }
}

fn services(world: &World) -> Vec<Value> {
    let list = world.stage.check(world.client().get(KIND));
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items
        .into_iter()
        .filter(|item| {
            item["metadata"]["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("many-"))
        })
        .collect()
}

/// Why a Service has no address, as its condition says.
fn reason(service: &Value) -> String {
    let conditions = service["status"]["conditions"].as_array();
    let allocated = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "maglane.io/AddressAllocated");
    allocated.map_or(String::new(), |condition| {
        format!(
            "{} {}",
            condition["status"].as_str().unwrap_or_default(),
            condition["reason"].as_str().unwrap_or_default()
        )
    })
}

#[test]
fn kubernetes_the_allocator_is_killed_again_and_again_and_no_address_changes() {
    if !may_run("the allocator killed") {
        return;
    }
    let kills = number("KILLS", 8);
    let mut world = World::start();
    world.apply(
        "{apiVersion: maglane.io/v1alpha1, kind: AddressPool, metadata: {name: main}, \
         spec: {addresses: [198.18.0.0-198.18.3.131]}}",
    );
    let mut ledger = Ledger::default();
    for number in 0..SERVICES {
        world
            .stage
            .check(world.client().apply_object("default", &service(number)));
    }
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |bound: u64| {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % bound
    };
    let begin = Instant::now();
    for kill in 0..kills {
        world = world.launch_with(&["--lease-duration=3".to_owned()]);
        // Something to do for the next one: some go, others come.
        let mark = world.cluster.log().mark();
        for _ in 0..20 {
            let number = random(SERVICES as u64) as usize;
            if services_has(&world, number) {
                ledger.delete(&world, number);
            }
            world
                .stage
                .check(world.client().apply_object("default", &service(number)));
        }
        let moment = random(60);
        world.until("writes of the allocator", || {
            let writes = world.cluster.log().writes(&user(), mark);
            writes
                .iter()
                .filter(|entry| entry.path.contains("/status"))
                .count() as u64
                >= moment.min(10)
        });
        std::thread::sleep(Duration::from_millis(moment));
        let balancer = world.stage.balancer.take();
        balancer.into_iter().for_each(|balancer| balancer.guard.kill());
        let without = ledger.audit(&world);
        if kill % 10 == 0 {
            say(&format!(
                "   kill {}: {} have an address, {without} have none",
                kill + 1,
                SERVICES - without
            ));
        }
    }
    let took = begin.elapsed();
    world = world.launch_with(&["--lease-duration=3".to_owned()]);
    world.until("as many have one as there are", || {
        ledger.audit(&world) == SERVICES - POOL
    });
    let poor = |world: &World| -> Vec<Value> {
        let all = services(world).into_iter();
        all.filter(|s| s["status"]["loadBalancer"]["ingress"][0]["ip"].is_null())
            .collect()
    };
    world.until("the others say why", || {
        poor(&world).iter().all(|s| reason(s) == "False OutOfIps")
    });
    say(&format!(
        "ok kubernetes: {SERVICES} Services, {POOL} addresses, {kills} kills in {:.0} s: 0 duplicates, 0 changed \
         addresses; {} without one say OutOfIps",
        took.as_secs_f64(),
        SERVICES - POOL
    ));
    let rich = (0..SERVICES)
        .find(|number| ledger.held.contains_key(&name(*number)))
        .unwrap();
    ledger.delete(&world, rich);
    let begin = Instant::now();
    world.until("a freed address is given to one of them", || {
        ledger.audit(&world) == SERVICES - POOL - 1
    });
    say(&format!(
        "ok kubernetes: a freed address was given after {} ms",
        begin.elapsed().as_millis()
    ));
}

fn services_has(world: &World, number: usize) -> bool {
    world.client().get(&format!("{KIND}/{}", name(number))).is_ok()
}

fn user() -> String {
    format!("system:serviceaccount:{}:maglane", super::NAMESPACE)
}
