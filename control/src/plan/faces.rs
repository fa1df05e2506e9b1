//! Which addresses a Service is served on, and why not on others (SEMANTICS: load balancer, cluster, external
//! and node addresses).

use std::collections::BTreeSet;

use maglane_shared::addr::Addr;
use maglane_shared::service::ForwardingMode;

use super::{PlanSettings, Reach, refused_vip};
use crate::model::{ClusterId, PortSpec, ServiceKind, ServiceSpec, TrafficPolicy};
use crate::problem::Problem;

/// One address of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Face {
    pub addr: Addr,
    pub reach: Reach,
    /// Do `loadBalancerSourceRanges` hold here?
    pub guarded: bool,
    /// Only endpoints of this node: a cluster address with `internalTrafficPolicy: Local`.
    pub local_only: bool,
}

impl Face {
    /// The port to serve there, if any.
    pub fn port(&self, port: &PortSpec) -> Option<u16> {
        match self.reach {
            Reach::Address => Some(port.port),
            Reach::Port => port.node_port,
        }
    }

    /// Backends do not own a node's address, nor do they know its ports.
    pub fn mode(&self, wanted: ForwardingMode) -> ForwardingMode {
        match (self.reach, wanted) {
            (Reach::Port, ForwardingMode::L2Dsr | ForwardingMode::Ipip | ForwardingMode::Gue) => {
                ForwardingMode::Nat
            }
            (Reach::Address | Reach::Port, wanted) => wanted,
        }
    }
}

/// By address, each once. `granted` is what the allocator gave to a manifest.
pub(super) fn faces(
    service: &ServiceSpec,
    settings: &PlanSettings,
    granted: &[Addr],
    local: &BTreeSet<Addr>,
    problems: &mut Vec<Problem>,
) -> Vec<Face> {
    let face = |addr: &Addr, reach, guarded| Face {
        addr: *addr,
        reach,
        guarded,
        local_only: false,
    };
    let mut faces: Vec<Face> = vec![];
    if is_ours(service, settings) {
        let vips = service.vips.get().into_iter().flatten().chain(granted);
        faces.extend(vips.map(|addr| face(addr, Reach::Address, true)));
    }
    if settings.serve.external_ip {
        faces.extend(
            service
                .external_ips
                .iter()
                .map(|addr| face(addr, Reach::Address, true)),
        );
    } else if !service.external_ips.is_empty() {
        problems.push(unserved(service));
    }
    if settings.serve.cluster_ip {
        faces.extend(service.cluster_ips.iter().map(|addr| Face {
            local_only: service.internal_policy == TrafficPolicy::Local,
            ..face(addr, Reach::Address, false)
        }));
    }
    if settings.serve.node_port && service.ports.iter().any(|port| port.node_port.is_some()) {
        let own = local.iter().filter(|addr| is_reachable(**addr));
        faces.extend(own.map(|addr| face(addr, Reach::Port, false)));
    }
    if faces.is_empty() {
        problems.extend(unaddressed(service));
    }
    faces.sort_unstable();
    faces.dedup_by_key(|face| face.addr);
    let (faces, refused): (Vec<Face>, Vec<Face>) = faces
        .into_iter()
        .partition(|face| face.reach == Reach::Port || !settings.snat.contains(&face.addr));
    problems.extend(refused.into_iter().map(|face| refused_vip(service, face.addr)));
    faces
}

/// Is it for us to give it addresses? A manifest that names some is.
pub fn is_ours(service: &ServiceSpec, settings: &PlanSettings) -> bool {
    if service.name.cluster == ClusterId::MANIFESTS {
        return true;
    }
    match (service.kind, service.class.as_deref()) {
        (ServiceKind::LoadBalancer, Some(class)) => class == &*settings.class,
        (ServiceKind::LoadBalancer, None) => settings.default_class,
        (ServiceKind::ClusterIp | ServiceKind::NodePort, _) => false,
    }
}

/// Node ports are served where others can reach this node.
fn is_reachable(addr: Addr) -> bool {
    let ip = addr.ip();
    let link_local = match ip {
        std::net::IpAddr::V4(ip) => ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !ip.is_loopback() && !link_local
}

/// Of manifests; in a cluster the conditions of the Service say it.
fn unaddressed(service: &ServiceSpec) -> Option<Problem> {
    if service.name.cluster != ClusterId::MANIFESTS {
        return None;
    }
    let remedy = "name its virtual addresses in the annotation maglane.io/addresses";
    let problem = match service.kind {
        ServiceKind::LoadBalancer => Problem::warning("not served: it has no address", remedy),
        ServiceKind::ClusterIp | ServiceKind::NodePort => {
            Problem::note("left alone: it has no address", remedy)
        }
    };
    Some(problem.about(service.object()))
}

fn unserved(service: &ServiceSpec) -> Problem {
    let message = "externalIPs are not served: whoever may create a Service could take over any address";
    Problem::note(
        message,
        "use a load balancer address, or start with --serve external-ip (CVE-2020-8554)",
    )
    .about(service.object())
    .field("spec.externalIPs")
}
