//! Pools that hold addresses somebody has already: nodes, their pods, Services' cluster IPs. Only told of: who
//! moves a network from one use to another may know better.

use ipnet::IpNet;
use maglane_shared::addr::Addr;

use crate::ipam::Range;
use crate::model::{ClusterId, NodeSpec, ObjectKind, ObjectRef, PoolSpec, ServiceSpec};
use crate::problem::Problem;
use crate::store::Store;

/// Of one cluster, whom a pool may get in the way of.
#[derive(Debug)]
pub(super) struct Occupants<'s> {
    nodes: Vec<&'s NodeSpec>,
    services: Vec<&'s ServiceSpec>,
}

impl<'s> Occupants<'s> {
    pub fn of(store: &'s Store, cluster: ClusterId) -> Occupants<'s> {
        let services = store.services().filter(|service| service.name.cluster == cluster);
        Occupants {
            nodes: store
                .nodes()
                .filter(|node| node.name.cluster == cluster)
                .collect(),
            services: services
                .filter(|service| !service.cluster_ips.is_empty())
                .collect(),
        }
    }

    /// What the pool has in common with them: of each sort the first, and how many there are.
    pub fn overlap(&self, pool: &PoolSpec) -> Option<String> {
        let holds = |addr: &Addr| pool.pool.ranges.iter().any(|range| range.contains(*addr));
        let touches = |net: &IpNet| pool.pool.ranges.iter().any(|range| have_common(*range, net));
        let nodes = self.nodes.iter().flat_map(|node| {
            let addresses = node.addresses.iter().filter(|addr| holds(addr));
            addresses.map(|addr| format!("address {addr} of Node {}", node.name))
        });
        let pods = self.nodes.iter().flat_map(|node| {
            let ranges = node.pod_ranges.iter().filter(|net| touches(net));
            ranges.map(|net| format!("pod range {net} of Node {}", node.name))
        });
        let services = self.services.iter().flat_map(|service| {
            let addresses = service.cluster_ips.iter().filter(|addr| holds(addr));
            addresses.map(|addr| format!("cluster IP {addr} of Service {}", service.name))
        });
        let parts: Vec<String> = [summary(nodes), summary(pods), summary(services)]
            .into_iter()
            .flatten()
            .collect();
        (!parts.is_empty()).then(|| format!("it overlaps with {}", parts.join(", ")))
    }
}

pub(super) const REMEDY: &str = "take those addresses out of the pool, or packets to them may go astray";

pub(super) fn problem(pool: &PoolSpec, overlap: &str) -> Problem {
    Problem::warning(overlap, REMEDY)
        .about(ObjectRef {
            kind: ObjectKind::AddressPool,
            name: pool.name.clone(),
        })
        .field("spec.addresses")
}

fn summary(mut found: impl Iterator<Item = String>) -> Option<String> {
    let first = found.next()?;
    Some(match found.count() {
        0 => first,
        more => format!("{first} and {more} more such"),
    })
}

fn have_common(range: Range, net: &IpNet) -> bool {
    Addr::from(net.network()) <= range.last() && range.first() <= Addr::from(net.broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipam::{Ends, Pool};
    use crate::model::{ObjectName, Observed};
    use crate::testing::{addr, service};

    fn pool(ranges: &[&str]) -> PoolSpec {
        PoolSpec {
            labels: crate::ipam::Labels::new(),
            name: ObjectName::new("", "main"),
            pool: Pool {
                ranges: ranges
                    .iter()
                    .map(|range| Range::parse(range, Ends::Included).unwrap())
                    .collect(),
                ..Pool::default()
            },
            generation: None,
            observed: Observed::default(),
            problems: vec![],
        }
    }

    #[test]
    fn what_is_in_use_already_is_named_once_a_sort() {
        let mut store = Store::default();
        for (title, address, pods) in [
            ("a", "10.1.0.1", "10.2.0.0/24"),
            ("b", "10.1.0.2", "10.2.1.0/24"),
            ("c", "2001:db8::1", "2001:db8:1::/64"),
        ] {
            let _ = store.apply_node(NodeSpec {
                name: ObjectName::new("", title),
                addresses: vec![addr(address)],
                zone: None,
                pod_ranges: vec![pods.parse().unwrap()],
                labels: crate::ipam::Labels::new(),
                network_unavailable: false,
                usable: true,
            });
        }
        let mut web = service("web", "192.0.2.1").build();
        web.cluster_ips = vec![addr("10.96.0.10")];
        let _ = store.apply_service(web);
        let occupants = Occupants::of(&store, ClusterId::MANIFESTS);
        for (ranges, want) in [
            (&["192.0.2.0/24", "2001:db8:2::/64"][..], None),
            (
                &["10.1.0.2-10.1.0.9"],
                Some("it overlaps with address 10.1.0.2 of Node b"),
            ),
            (
                &["10.2.0.255"],
                Some("it overlaps with pod range 10.2.0.0/24 of Node a"),
            ),
            (
                &["2001:db8:1::7"],
                Some("it overlaps with pod range 2001:db8:1::/64 of Node c"),
            ),
            (
                &["10.0.0.0/8"],
                Some(
                    "it overlaps with address 10.1.0.1 of Node a and 1 more such, \
                     pod range 10.2.0.0/24 of Node a and 1 more such, \
                     cluster IP 10.96.0.10 of Service default/web",
                ),
            ),
        ] {
            assert_eq!(occupants.overlap(&pool(ranges)).as_deref(), want, "{ranges:?}");
        }
        let elsewhere = Occupants::of(&store, ClusterId::OWN);
        assert_eq!(elsewhere.overlap(&pool(&["10.0.0.0/8"])), None);
    }
}
