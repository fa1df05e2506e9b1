//! Objects for tests, in a line each.

use std::collections::BTreeMap;

use maglane_shared::addr::{Addr, MacAddr, Protocol};
use maglane_shared::service::ForwardingMode;

use crate::model::{
    AnnounceObject, EndpointSliceSpec, EndpointSpec, NodeSpec, ObjectKind, ObjectName, ObjectRef,
    PortProtocol, PortSpec, Readiness, ServiceKind, ServiceSpec, Setting, SlicePort, Uid,
};
use crate::routes::{Link, Neighbor, NeighborState, Route, RouteHop, Table, Way};

pub fn addr(text: &str) -> Addr {
    text.parse().unwrap()
}

pub fn name(name: &str) -> ObjectName {
    ObjectName::new("default", name)
}

pub struct ServiceBuilder(ServiceSpec);

/// A Service in `default` with TCP port 80, unnamed, on these VIPs (joined by commas).
pub fn service(service: &str, vips: &str) -> ServiceBuilder {
    ServiceBuilder(ServiceSpec {
        kind: ServiceKind::LoadBalancer,
        ports: vec![port("", "TCP", 80)],
        vips: Setting::Valid(vips.split(',').map(addr).collect()),
        ..ServiceSpec::named(name(service))
    })
}

impl ServiceBuilder {
    pub fn mode(mut self, mode: ForwardingMode) -> Self {
        self.0.mode = Setting::Valid(mode);
        self
    }

    pub fn ports(mut self, ports: Vec<PortSpec>) -> Self {
        self.0.ports = ports;
        self
    }

    pub fn created(mut self, created: i64) -> Self {
        self.0.created = Some(created);
        self
    }

    pub fn weights<const N: usize>(mut self, weights: [(&str, u16); N]) -> Self {
        let weights: BTreeMap<Addr, u16> = weights.into_iter().map(|(a, weight)| (addr(a), weight)).collect();
        self.0.weights = Setting::Valid(weights);
        self
    }

    pub fn build(self) -> ServiceSpec {
        self.0
    }
}

pub fn protocol(protocol: &str) -> PortProtocol {
    match protocol {
        "TCP" => PortProtocol::Balanced(Protocol::Tcp),
        "UDP" => PortProtocol::Balanced(Protocol::Udp),
        other => PortProtocol::Unsupported(other.into()),
    }
}

pub fn port(name: &str, proto: &str, port: u16) -> PortSpec {
    PortSpec {
        name: name.into(),
        protocol: protocol(proto),
        port,
        target: None,
        node_port: None,
    }
}

pub fn endpoint(a: &str) -> EndpointSpec {
    EndpointSpec {
        addr: addr(a),
        readiness: Readiness::Ready,
        uid: Uid::default(),
        node: None,
        zones: [].into(),
    }
}

/// TCP port 80, unnamed; the family is that of the first endpoint.
pub fn slice(slice: &str, service: &str, endpoints: Vec<EndpointSpec>) -> EndpointSliceSpec {
    EndpointSliceSpec {
        name: name(slice),
        service: name(service),
        family: endpoints.first().map_or(addr("0.0.0.0"), |e| e.addr).family(),
        ports: Some(vec![slice_port("", "TCP", 80)]),
        endpoints,
        problems: vec![],
    }
}

pub fn slice_port(name: &str, proto: &str, port: u16) -> SlicePort {
    SlicePort {
        name: name.into(),
        protocol: protocol(proto),
        port: Some(port),
    }
}

/// From YAML, as a manifest has it.
fn announced<T: crate::convert::Announces + serde::de::DeserializeOwned>(
    kind: ObjectKind,
    name: &str,
    spec: serde_json::Value,
) -> AnnounceObject {
    let object = ObjectRef {
        kind,
        name: ObjectName::new("", name),
    };
    let (version, metadata) = ("maglane.io/v1alpha1", serde_json::json!({ "name": name }));
    let value = serde_json::json!({
        "apiVersion": version, "kind": kind.to_string(), "metadata": metadata, "spec": spec,
    });
    let origin = crate::convert::Origin {
        object: &object,
        place: "",
    };
    match crate::convert::announce::<T>(serde_json::from_value(value).unwrap(), origin) {
        Ok(crate::convert::Converted::Object(object)) => *object,
        other => panic!("{other:?}"),
    }
}

/// An external peer of AS 64513; we are AS 64512. `more` adds to its spec.
pub fn bgp_peer(name: &str, address: &str, more: serde_json::Value) -> AnnounceObject {
    let mut spec = serde_json::json!({ "myASN": 64512, "peerASN": 64513, "peerAddress": address });
    add(&mut spec, more);
    announced::<crate::crd::BgpPeer>(ObjectKind::BgpPeer, name, spec)
}

pub fn bgp_advertisement(name: &str, spec: serde_json::Value) -> AnnounceObject {
    announced::<crate::crd::BgpAdvertisement>(ObjectKind::BgpAdvertisement, name, spec)
}

pub fn bfd_profile(name: &str, spec: serde_json::Value) -> AnnounceObject {
    announced::<crate::crd::BfdProfile>(ObjectKind::BfdProfile, name, spec)
}

pub fn community(name: &str, value: &str) -> AnnounceObject {
    let spec = serde_json::json!({ "communities": [{ "name": name, "value": value }] });
    announced::<crate::crd::Community>(ObjectKind::Community, name, spec)
}

pub fn l2_advertisement(name: &str, spec: serde_json::Value) -> AnnounceObject {
    announced::<crate::crd::L2Advertisement>(ObjectKind::L2Advertisement, name, spec)
}

fn add(spec: &mut serde_json::Value, more: serde_json::Value) {
    if let (serde_json::Value::Object(spec), serde_json::Value::Object(more)) = (spec, more) {
        spec.extend(more);
    }
}

/// Labels as `a=b,c=d`.
pub fn node(name: &str, labels: &str) -> NodeSpec {
    let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    NodeSpec {
        name: ObjectName::new("", name),
        addresses: vec![addr("10.0.0.254")],
        zone: None,
        pod_ranges: vec![],
        usable: true,
        labels: pairs.map(|(key, value)| (key.into(), value.into())).collect(),
        network_unavailable: false,
    }
}

pub fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

pub fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.into(),
        mac: mac(index as u8),
        mtu: 1500,
        up: true,
        mute: false,
    }
}

pub fn route(prefix: &str, hops: &[(u32, Option<&str>)]) -> Route {
    let (network, prefix_len) = prefix.split_once('/').unwrap();
    let hops = hops.iter().map(|(interface, gateway)| RouteHop {
        interface: *interface,
        gateway: gateway.map(addr),
        weight: 1,
    });
    Route {
        table: Table::Main,
        network: addr(network),
        prefix_len: prefix_len.parse().unwrap(),
        priority: 0,
        mtu: None,
        way: Way::Hops(hops.collect()),
    }
}

pub fn neighbor(interface: u32, a: &str, last: u8) -> Neighbor {
    Neighbor {
        interface,
        addr: addr(a),
        state: NeighborState::Resolved(mac(last)),
    }
}
