//! Service (v1) and EndpointSlice (discovery.k8s.io/v1) -> the crate's own types, for every source of such
//! objects. Kubernetes types end here.

mod annotations;
mod announce;
mod imports;
mod node;
mod pools;
mod request;

pub(crate) use announce::{Announces, announce};
pub(crate) use imports::{ServiceImport, import};
pub(crate) use node::node;
pub(crate) use pools::{namespace, pool, reservation};

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec as KubeServiceSpec, ServiceStatus};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use maglane_shared::addr::{Addr, Family, Protocol};
use maglane_shared::flow::HashInputs;

use crate::model::{
    ClusterId, EndpointSliceSpec, EndpointSpec, NodeKey, ObjectRef, PortProtocol, PortSpec, Readiness,
    ServiceKind, ServiceSpec, Setting, SlicePort, TrafficPolicy, Uid,
};
use crate::problem::Problem;

use annotations::Annotations;
pub(crate) use annotations::vip;

/// A value of the wrong shape.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// `spec.ports[0].port`
    pub field: String,
    pub message: String,
}

const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Older than the field `loadBalancerSourceRanges`.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// What an object comes to.
#[derive(Debug)]
pub(crate) enum Converted<T> {
    Object(Box<T>),
    /// Not for us, and why.
    LeftAlone(Problem),
}

/// Where an object stands, for its problems.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub object: &'a ObjectRef,
    pub place: &'a str,
}

impl Origin<'_> {
    fn about(self, problem: Problem) -> Problem {
        problem.about(self.object.clone()).at(self.place)
    }

    fn leave<T>(self, problem: Problem) -> Converted<T> {
        Converted::LeftAlone(self.about(problem))
    }
}

pub(crate) fn service(service: Service, origin: Origin<'_>) -> Result<Converted<ServiceSpec>, Misfit> {
    let spec = service.spec.unwrap_or_default();
    if let Some(why) = not_ours(&spec, service.metadata.labels.as_ref()) {
        return Ok(origin.leave(why));
    }
    let no_annotations = BTreeMap::new();
    let annotations = Annotations {
        object: origin.object,
        place: origin.place,
        all: service.metadata.annotations.as_ref().unwrap_or(&no_annotations),
    };
    let affinity = affinity(&spec);
    // The hash alone keeps most clients with their backend, on every node and without a table.
    let hash_inputs = match (annotations.hash_inputs(), affinity) {
        (Setting::Unset, Some(_)) => Setting::Valid(HashInputs::ClientAddress),
        (setting, _) => setting,
    };
    let mut problems: Vec<Problem> = annotations.unknown().collect();
    let source_ranges = source_ranges(&spec, origin, annotations.all.get(SOURCE_RANGES), &mut problems);
    let told = ingress(service.status.as_ref());
    let vips = vips(&annotations, origin, &told, &spec)?;
    let (mut request, mut observed) = (None, None);
    if kind(&spec) == ServiceKind::LoadBalancer && !origin.object.name.cluster.is_remote() {
        let held = addresses(&told, "status.loadBalancer.ingress")?;
        request = Some(Box::new(request::request(
            &service.metadata,
            &spec,
            &held,
            origin,
            &mut problems,
        )));
        observed = Some(Box::new(request::observed(
            &service.metadata,
            service.status.as_ref(),
        )));
    }
    let ports = spec.ports.iter().flatten().enumerate();
    Ok(Converted::Object(Box::new(ServiceSpec {
        name: origin.object.name.clone(),
        created: service.metadata.creation_timestamp.map(|time| time.0.as_second()),
        kind: kind(&spec),
        class: spec.load_balancer_class.as_deref().map(Into::into),
        ports: ports.map(|(at, p)| port(p, at)).collect::<Result<_, _>>()?,
        vips,
        cluster_ips: addresses(spec.cluster_ips.as_deref().unwrap_or_default(), "spec.clusterIPs")?,
        external_ips: addresses(
            spec.external_ips.as_deref().unwrap_or_default(),
            "spec.externalIPs",
        )?,
        external_policy: policy(spec.external_traffic_policy.as_deref()),
        internal_policy: policy(spec.internal_traffic_policy.as_deref()),
        affinity,
        source_ranges,
        health_check_node_port: spec
            .health_check_node_port
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0),
        request,
        observed,
        mode: annotations.mode(),
        hash_inputs,
        weights: annotations.weights(),
        backends: annotations.backends(),
        on_removal: annotations.on_removal(),
        tcp_timeout: annotations.tcp_timeout(),
        udp_timeout: annotations.udp_timeout(),
        mss: annotations.mss(),
        mtu: annotations.mtu(),
        global: annotations.global(),
        imported: annotations.tiers(),
        problems,
    })))
}

fn not_ours(spec: &KubeServiceSpec, labels: Option<&BTreeMap<String, String>>) -> Option<Problem> {
    let why = if spec.type_.as_deref() == Some("ExternalName") {
        "is of type ExternalName"
    } else if spec.cluster_ip.as_deref() == Some("None") {
        "is headless (clusterIP None)"
    } else if labels.is_some_and(|labels| labels.contains_key(PROXY_NAME)) {
        "is for another proxy (label service.kubernetes.io/service-proxy-name)"
    } else {
        return None;
    };
    Some(Problem::note(
        format!("left alone: it {why}"),
        "nothing, unless it should be balanced",
    ))
}

fn kind(spec: &KubeServiceSpec) -> ServiceKind {
    match spec.type_.as_deref() {
        Some("LoadBalancer") => ServiceKind::LoadBalancer,
        Some("NodePort") => ServiceKind::NodePort,
        Some(_) | None => ServiceKind::ClusterIp,
    }
}

fn policy(text: Option<&str>) -> TrafficPolicy {
    match text {
        Some("Local") => TrafficPolicy::Local,
        Some(_) | None => TrafficPolicy::Cluster,
    }
}

/// `sessionAffinityConfig` absent: three hours, the API server's default.
fn affinity(spec: &KubeServiceSpec) -> Option<u32> {
    const DEFAULT: u32 = 10_800;
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds);
    Some(
        seconds
            .and_then(|seconds| u32::try_from(seconds).ok())
            .map_or(DEFAULT, |seconds| seconds.clamp(1, 86_400)),
    )
}

/// The spec's list, else the older annotation. What is no range is left out and told; when none is left, nobody
/// may connect: an operator who meant to close a door must not find it open.
fn source_ranges(
    spec: &KubeServiceSpec,
    origin: Origin<'_>,
    annotation: Option<&String>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<IpNet>> {
    let listed: Vec<&str> = spec
        .load_balancer_source_ranges
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let (texts, field) = match (listed.is_empty(), annotation) {
        (false, _) => (listed, "spec.loadBalancerSourceRanges".to_owned()),
        (true, Some(text)) => (
            text.split(',').collect(),
            format!("metadata.annotations[{SOURCE_RANGES}]"),
        ),
        (true, None) => return None,
    };
    let texts = texts.into_iter().map(str::trim).filter(|text| !text.is_empty());
    let mut ranges: Vec<IpNet> = vec![];
    for text in texts {
        match text.parse::<IpNet>() {
            Ok(range) => ranges.push(range.trunc()),
            Err(_) => {
                let remedy =
                    "write ADDRESS/LENGTH, as 192.0.2.0/24; until then nobody may connect from there";
                let problem = Problem::error(format!("{text:?} is no range of addresses"), remedy);
                problems.push(origin.about(problem).field(field.clone()));
            }
        }
    }
    Some(ranges)
}

/// Of `status.loadBalancer.ingress`: those that are not another proxy's business (KEP-1860).
fn ingress(status: Option<&ServiceStatus>) -> Vec<String> {
    let ingress = status
        .and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref())
        .into_iter()
        .flatten();
    let direct = ingress.filter(|i| i.ip_mode.as_deref() != Some("Proxy"));
    direct.filter_map(|i| i.ip.clone()).collect()
}

/// In a cluster what the status says, nothing else: who wrote it has chosen. In a manifest the annotation, else
/// the status, else what the spec asks for.
fn vips(
    annotations: &Annotations<'_>,
    origin: Origin<'_>,
    told: &[String],
    spec: &KubeServiceSpec,
) -> Result<Setting<Vec<Addr>>, Misfit> {
    let manifest = origin.object.name.cluster == ClusterId::MANIFESTS;
    if manifest {
        match annotations.addresses() {
            Setting::Unset => {}
            setting @ (Setting::Valid(_) | Setting::Invalid { .. }) => return Ok(setting),
        }
    }
    if !told.is_empty() {
        return addresses(told, "status.loadBalancer.ingress").map(Setting::Valid);
    }
    let asked = spec
        .load_balancer_ip
        .as_deref()
        .filter(|text| manifest && !text.is_empty());
    match asked {
        Some(text) => Ok(Setting::Valid(vec![address(text, || {
            "spec.loadBalancerIP".to_owned()
        })?])),
        None => Ok(Setting::Unset),
    }
}

fn addresses(texts: &[String], field: &str) -> Result<Vec<Addr>, Misfit> {
    let read = |(at, text): (usize, &String)| address(text, || format!("{field}[{at}]"));
    texts
        .iter()
        .filter(|text| !text.is_empty())
        .enumerate()
        .map(read)
        .collect()
}

fn address(text: &str, field: impl Fn() -> String) -> Result<Addr, Misfit> {
    vip(text).map_err(|message| Misfit {
        field: field(),
        message: format!("{text:?} {message}"),
    })
}

fn port(port: &ServicePort, at: usize) -> Result<PortSpec, Misfit> {
    let target = match &port.target_port {
        Some(IntOrString::Int(number)) => {
            Some(port_number(*number, || format!("spec.ports[{at}].targetPort"))?)
        }
        Some(IntOrString::String(_)) | None => None,
    };
    Ok(PortSpec {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol: protocol(port.protocol.as_deref()),
        port: port_number(port.port, || format!("spec.ports[{at}].port"))?,
        target,
        node_port: port
            .node_port
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0),
    })
}

fn port_number(number: i32, field: impl Fn() -> String) -> Result<u16, Misfit> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        Ok(_) | Err(_) => Err(Misfit {
            field: field(),
            message: format!("{number} is missing or no port; write 1 to 65535"),
        }),
    }
}

fn protocol(name: Option<&str>) -> PortProtocol {
    match name.unwrap_or("TCP") {
        "TCP" => PortProtocol::Balanced(Protocol::Tcp),
        "UDP" => PortProtocol::Balanced(Protocol::Udp),
        other => PortProtocol::Unsupported(other.into()),
    }
}

pub(crate) fn slice(
    slice: EndpointSlice,
    origin: Origin<'_>,
) -> Result<Converted<EndpointSliceSpec>, Misfit> {
    let Some(service) = slice
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(SERVICE_NAME))
    else {
        let remedy = "label it kubernetes.io/service-name: NAME, if it belongs to a Service";
        return Ok(origin.leave(Problem::note("left alone: it names no Service", remedy)));
    };
    let family = match slice.address_type.as_str() {
        "IPv4" => Family::V4,
        "IPv6" => Family::V6,
        "FQDN" => {
            let remedy = "list addresses of type IPv4 or IPv6";
            return Ok(origin.leave(Problem::note(
                "left alone: its addresses are names (addressType FQDN)",
                remedy,
            )));
        }
        other => {
            let message = format!("{other:?} is missing or unknown; write IPv4 or IPv6");
            return Err(Misfit {
                field: "addressType".to_owned(),
                message,
            });
        }
    };
    let ports = slice.ports.as_ref().map(|ports| {
        ports
            .iter()
            .enumerate()
            .map(|(at, p)| slice_port(p, at))
            .collect()
    });
    let endpoints = slice.endpoints.iter().enumerate();
    Ok(Converted::Object(Box::new(EndpointSliceSpec {
        name: origin.object.name.clone(),
        service: origin.object.name.sibling(service),
        family,
        ports: ports.transpose()?,
        endpoints: endpoints
            .map(|(at, e)| endpoint(e, at, family))
            .collect::<Result<_, _>>()?,
        problems: vec![],
    })))
}

fn slice_port(port: &EndpointPort, at: usize) -> Result<SlicePort, Misfit> {
    let number = port
        .port
        .map(|number| port_number(number, || format!("ports[{at}].port")));
    Ok(SlicePort {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol: protocol(port.protocol.as_deref()),
        port: number.transpose()?,
    })
}

/// Only the first address counts, as for kube-proxy: all of them are the same pod.
fn endpoint(endpoint: &Endpoint, at: usize, family: Family) -> Result<EndpointSpec, Misfit> {
    let misfit = |message| Misfit {
        field: format!("endpoints[{at}].addresses[0]"),
        message,
    };
    let text = endpoint
        .addresses
        .first()
        .ok_or_else(|| misfit("is missing; name the endpoint's address".to_owned()))?;
    let addr = vip(text).map_err(|message| misfit(format!("{text:?} {message}")))?;
    if addr.family() != family {
        return Err(misfit(format!(
            "{text:?} is not of the slice's addressType; put it in a slice of its family"
        )));
    }
    let uid = endpoint
        .target_ref
        .as_ref()
        .and_then(|target| target.uid.as_deref())
        .unwrap_or_default();
    Ok(EndpointSpec {
        addr,
        readiness: readiness(endpoint.conditions.as_ref()),
        uid: Uid::of(uid),
        node: endpoint.node_name.as_deref().map(NodeKey::of),
        zones: zones(endpoint),
    })
}

fn zones(endpoint: &Endpoint) -> Box<[Box<str>]> {
    let hints = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_ref());
    hints
        .into_iter()
        .flatten()
        .map(|zone| zone.name.as_str().into())
        .collect()
}

/// Absent conditions: ready (EndpointConditions, discovery.k8s.io/v1).
fn readiness(conditions: Option<&EndpointConditions>) -> Readiness {
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    match (ready, serving && terminating) {
        (true, _) => Readiness::Ready,
        (false, true) => Readiness::ServingTerminating,
        (false, false) => Readiness::NotReady,
    }
}
