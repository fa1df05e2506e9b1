//! Metrics under MetalLB's names (internal/allocator/stats.go, internal/k8s/stats.go), for its users' dashboards.
//! Its gauges end in `_total`; so do these. Of pools in a cluster the elected process alone has figures.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::encode::{gauge, value};
use crate::catalog::{Catalog, PoolFigures};
use crate::model::ObjectKind;
use crate::problem::{Problem, Severity};

#[derive(Debug)]
pub(super) struct MetalLb(pub Arc<Catalog>);

/// Name, help, what to show.
type Family = (&'static str, &'static str, fn(&PoolFigures) -> u64);

#[rustfmt::skip]
const POOLS: [Family; 7] = [
    ("addresses_total", "Addresses of the pool", |p| p.v4.total.saturating_add(p.v6.total)),
    ("addresses_in_use_total", "Addresses that Services have", |p| p.v4.assigned.saturating_add(p.v6.assigned)),
    ("ipv4_addresses_total", "IPv4 addresses of the pool", |p| p.v4.total),
    ("ipv4_addresses_in_use_total", "IPv4 addresses that Services have", |p| p.v4.assigned),
    ("ipv6_addresses_total", "IPv6 addresses of the pool", |p| p.v6.total),
    ("ipv6_addresses_in_use_total", "IPv6 addresses that Services have", |p| p.v6.assigned),
    ("services_allocated_total", "Services that have addresses of the pool", |p| p.services as u64),
];

impl Collector for MetalLb {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let catalog = &self.0;
        for (name, help, pick) in POOLS {
            let samples = catalog
                .pools
                .iter()
                .map(|pool| (vec![("pool", pool.pool.to_string())], pick(pool) as f64));
            gauge(out, &format!("allocator_{name}"), help, samples)?;
        }
        let loaded = !catalog.sources.is_empty() && catalog.sources.values().all(|synced| *synced);
        let help = "Has everything been read once";
        value(
            out,
            "k8s_client_config_loaded_bool",
            help,
            f64::from(u8::from(loaded)),
        )?;
        let stale = catalog.problems.iter().any(is_stale);
        let help = "Is an older state of a pool or reservation in force, its newest being wrong";
        value(
            out,
            "k8s_client_config_stale_bool",
            help,
            f64::from(u8::from(stale)),
        )
    }
}

/// An object of ours that cannot be used as it is.
fn is_stale(problem: &Problem) -> bool {
    let ours = problem.object.as_ref().is_some_and(|object| match object.kind {
        ObjectKind::AddressPool
        | ObjectKind::AddressReservation
        | ObjectKind::BgpPeer
        | ObjectKind::BgpAdvertisement
        | ObjectKind::BfdProfile
        | ObjectKind::Community
        | ObjectKind::L2Advertisement => true,
        ObjectKind::Service
        | ObjectKind::EndpointSlice
        | ObjectKind::Node
        | ObjectKind::Namespace
        | ObjectKind::ServiceImport
        | ObjectKind::BgpSessionState => false,
    });
    ours && problem.severity == Severity::Error
}
