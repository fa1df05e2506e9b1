//! Service (v1) and EndpointSlice (discovery.k8s.io/v1) -> the crate's own types. Kubernetes types end here.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec as KubeServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use maglane_shared::addr::{Addr, Family, Protocol};
use maglane_shared::flow::HashInputs;

use super::annotations::{ADDRESSES, Annotations, vip};
use super::document::Misfit;
use crate::model::{
    EndpointSliceSpec, EndpointSpec, ObjectName, ObjectRef, PortProtocol, PortSpec, Readiness, ServiceSpec,
    Setting, SlicePort,
};
use crate::problem::Problem;

const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What an object comes to.
#[derive(Debug)]
pub(super) enum Converted<T> {
    Object(Box<T>),
    /// Not for us, and why.
    LeftAlone(Problem),
}

/// Where an object stands, for its problems.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub object: &'a ObjectRef,
    pub place: &'a str,
}

impl Origin<'_> {
    fn leave<T>(self, problem: Problem) -> Converted<T> {
        Converted::LeftAlone(problem.about(self.object.clone()).at(self.place))
    }
}

pub(super) fn service(service: Service, origin: Origin<'_>) -> Result<Converted<ServiceSpec>, Misfit> {
    let spec = service.spec.unwrap_or_default();
    if let Some(why) = not_ours(&spec, service.metadata.labels.as_ref()) {
        return Ok(origin.leave(why));
    }
    let no_annotations = BTreeMap::new();
    let all = service.metadata.annotations.as_ref().unwrap_or(&no_annotations);
    let annotations = Annotations {
        object: origin.object,
        place: origin.place,
        all,
    };
    let ingress = service
        .status
        .and_then(|status| status.load_balancer?.ingress)
        .unwrap_or_default();
    let told = ingress
        .into_iter()
        .filter(|i| i.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|i| i.ip)
        .collect();
    let vips = vips(&annotations, told, spec.load_balancer_ip.as_deref())?;
    if vips == Setting::Unset {
        return Ok(origin.leave(without_address(&spec)));
    }
    let hash_inputs = match (annotations.hash_inputs(), spec.session_affinity.as_deref()) {
        (Setting::Unset, Some("ClientIP")) => Setting::Valid(HashInputs::ClientAddress),
        (setting, _) => setting,
    };
    let ports = spec.ports.iter().flatten().enumerate();
    Ok(Converted::Object(Box::new(ServiceSpec {
        name: origin.object.name.clone(),
        created: service.metadata.creation_timestamp.map(|time| time.0.as_second()),
        ports: ports.map(|(at, p)| port(p, at)).collect::<Result<_, _>>()?,
        vips,
        mode: annotations.mode(),
        hash_inputs,
        weights: annotations.weights(),
        problems: annotations.unknown().chain(open_ranges(&spec, origin)).collect(),
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

fn without_address(spec: &KubeServiceSpec) -> Problem {
    let remedy = format!("name its virtual addresses in the annotation {ADDRESSES}");
    match spec.type_.as_deref() {
        Some("LoadBalancer") => Problem::warning("not served: it has no address", remedy),
        Some(_) | None => Problem::note("left alone: it has no address", remedy),
    }
}

/// Who may connect is not checked here; somebody should know.
fn open_ranges(spec: &KubeServiceSpec, origin: Origin<'_>) -> Option<Problem> {
    let ranges = spec
        .load_balancer_source_ranges
        .as_ref()
        .filter(|ranges| !ranges.is_empty())?;
    let message = format!("{ranges:?} is not enforced: every client may connect");
    let problem = Problem::warning(message, "filter in front of this node or on the backends");
    Some(
        problem
            .about(origin.object.clone())
            .at(origin.place)
            .field("spec.loadBalancerSourceRanges"),
    )
}

/// The annotation, else what the status says, else what the spec asks for.
fn vips(
    annotations: &Annotations<'_>,
    told: Vec<String>,
    asked: Option<&str>,
) -> Result<Setting<Vec<Addr>>, Misfit> {
    match annotations.addresses() {
        Setting::Unset => {}
        setting @ (Setting::Valid(_) | Setting::Invalid { .. }) => return Ok(setting),
    }
    let parse = |text: &str, field: String| {
        vip(text).map_err(|message| Misfit {
            field,
            message: format!("{text:?} {message}"),
        })
    };
    if !told.is_empty() {
        let field = |at| format!("status.loadBalancer.ingress[{at}].ip");
        let vips = told
            .iter()
            .enumerate()
            .map(|(at, text)| parse(text, field(at)))
            .collect::<Result<_, _>>()?;
        return Ok(Setting::Valid(vips));
    }
    match asked.filter(|text| !text.is_empty()) {
        Some(text) => Ok(Setting::Valid(vec![parse(
            text,
            "spec.loadBalancerIP".to_owned(),
        )?])),
        None => Ok(Setting::Unset),
    }
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

pub(super) fn slice(
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
        service: ObjectName::new(&origin.object.name.namespace, service),
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
        uid: uid.into(),
    })
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
