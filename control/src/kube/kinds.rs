//! The kinds of objects that are followed, and where the API has each kind. A new kind is one more [`Kind`].

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;

use crate::convert::{self, Converted, Misfit, Origin};
use crate::crd::{
    AddressPool, AddressReservation, BfdProfile, BgpAdvertisement, BgpPeer, Community, L2Advertisement,
};
use crate::event::Event;
use crate::model::{ClusterId, ObjectKind, ObjectName, ObjectRef};

/// How the API spells a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resource {
    pub api_version: &'static str,
    /// What servers have that know no such version.
    pub older: Option<&'static str>,
    pub kind: &'static str,
    pub plural: &'static str,
}

pub(crate) const fn resource(kind: ObjectKind) -> Resource {
    match kind {
        ObjectKind::Service => Resource {
            api_version: "v1",
            older: None,
            kind: "Service",
            plural: "services",
        },
        ObjectKind::EndpointSlice => Resource {
            api_version: "discovery.k8s.io/v1",
            older: None,
            kind: "EndpointSlice",
            plural: "endpointslices",
        },
        ObjectKind::Node => Resource {
            api_version: "v1",
            older: None,
            kind: "Node",
            plural: "nodes",
        },
        ObjectKind::Namespace => Resource {
            api_version: "v1",
            older: None,
            kind: "Namespace",
            plural: "namespaces",
        },
        ObjectKind::AddressPool => ours("AddressPool", "addresspools"),
        ObjectKind::AddressReservation => ours("AddressReservation", "addressreservations"),
        ObjectKind::ServiceImport => Resource {
            api_version: "multicluster.x-k8s.io/v1beta1",
            older: Some("multicluster.x-k8s.io/v1alpha1"),
            kind: "ServiceImport",
            plural: "serviceimports",
        },
        ObjectKind::BgpPeer => ours("BgpPeer", "bgppeers"),
        ObjectKind::BgpAdvertisement => ours("BgpAdvertisement", "bgpadvertisements"),
        ObjectKind::BfdProfile => ours("BfdProfile", "bfdprofiles"),
        ObjectKind::Community => ours("Community", "communities"),
        ObjectKind::L2Advertisement => ours("L2Advertisement", "l2advertisements"),
        ObjectKind::BgpSessionState => ours("BgpSessionState", "bgpsessionstates"),
    }
}

const fn ours(kind: &'static str, plural: &'static str) -> Resource {
    Resource {
        api_version: "maglane.io/v1alpha1",
        older: None,
        kind,
        plural,
    }
}

impl Resource {
    /// `/api/v1`, `/apis/discovery.k8s.io/v1`
    fn root(self) -> String {
        let tree = if self.api_version.contains('/') {
            "apis"
        } else {
            "api"
        };
        format!("/{tree}/{}", self.api_version)
    }

    /// As an older server spells it.
    pub fn older(self) -> Option<Resource> {
        self.older.map(|api_version| Resource {
            api_version,
            older: None,
            ..self
        })
    }

    /// All objects of the cluster.
    pub fn everywhere(self) -> String {
        format!("{}/{}", self.root(), self.plural)
    }

    /// The objects among which this one is: those of its namespace, where it has one.
    pub fn collection(self, object: &ObjectName) -> String {
        match &*object.namespace {
            "" => self.everywhere(),
            namespace => format!("{}/namespaces/{namespace}/{}", self.root(), self.plural),
        }
    }
}

/// What it means when the server has no such kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Something is wrong.
    Required,
    /// Nobody has installed it, so there are no such objects.
    Optional,
}

impl Presence {
    /// The server has said for this long that it has no such kind; right after its start it may only not know
    /// yet (KUBERNETES §1.2), so that what was told stays for a while.
    pub fn is_absent(self, gone_for: Duration, believed_after: Duration, told: Told) -> bool {
        match (self, told) {
            (Presence::Required, _) => false,
            (Presence::Optional, Told::Nothing) => true,
            (Presence::Optional, Told::Something) => gone_for >= believed_after,
        }
    }
}

/// Whether any object of the kind was told that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    Something,
}

/// In which clusters a kind is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Everywhere,
    /// Only where this node belongs.
    Own,
}

/// A followed kind.
#[derive(Debug)]
pub(crate) struct Kind {
    pub kind: ObjectKind,
    pub reach: Reach,
    pub presence: Presence,
    /// Labels that the server selects by; empty for all.
    pub selector: &'static str,
    /// An object's JSON -> the event that tells of it.
    pub read: ReadObject,
    pub deleted: fn(ObjectName) -> Event,
}

pub(crate) static KINDS: [Kind; 12] = [
    Kind {
        kind: ObjectKind::Service,
        reach: Reach::Everywhere,
        presence: Presence::Required,
        selector: "",
        read: |json, origin| {
            let converted = convert::service(typed::<Service>(json)?, origin)?;
            Ok(applied(converted, Event::ServiceApplied))
        },
        deleted: Event::ServiceDeleted,
    },
    Kind {
        kind: ObjectKind::EndpointSlice,
        reach: Reach::Everywhere,
        presence: Presence::Required,
        // As kube-proxy: nobody balances headless Services, nor those of another proxy.
        selector: "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name",
        read: |json, origin| {
            let converted = convert::slice(typed::<EndpointSlice>(json)?, origin)?;
            Ok(applied(converted, Event::SliceApplied))
        },
        deleted: Event::SliceDeleted,
    },
    Kind {
        kind: ObjectKind::Node,
        reach: Reach::Own,
        presence: Presence::Required,
        selector: "",
        read: |json, origin| {
            let converted = convert::node(typed::<Node>(json)?, origin)?;
            Ok(applied(converted, Event::NodeApplied))
        },
        deleted: Event::NodeDeleted,
    },
    Kind {
        kind: ObjectKind::Namespace,
        reach: Reach::Own,
        presence: Presence::Required,
        selector: "",
        read: |json, origin| {
            let converted = convert::namespace(typed::<Namespace>(json)?, origin)?;
            Ok(applied(converted, Event::NamespaceApplied))
        },
        deleted: Event::NamespaceDeleted,
    },
    Kind {
        kind: ObjectKind::AddressPool,
        reach: Reach::Own,
        presence: Presence::Optional,
        selector: "",
        read: |json, origin| {
            let converted = convert::pool(typed::<AddressPool>(json)?, origin)?;
            Ok(applied(converted, Event::PoolApplied))
        },
        deleted: Event::PoolDeleted,
    },
    Kind {
        kind: ObjectKind::AddressReservation,
        reach: Reach::Own,
        presence: Presence::Optional,
        selector: "",
        read: |json, origin| {
            let converted = convert::reservation(typed::<AddressReservation>(json)?, origin)?;
            Ok(applied(converted, Event::ReservationApplied))
        },
        deleted: Event::ReservationDeleted,
    },
    announce(
        ObjectKind::BgpPeer,
        |json, origin| {
            convert::announce(typed::<BgpPeer>(json)?, origin)
                .map(|converted| applied(converted, Event::AnnounceApplied))
        },
        |name| gone(ObjectKind::BgpPeer, name),
    ),
    announce(
        ObjectKind::BgpAdvertisement,
        |json, origin| {
            convert::announce(typed::<BgpAdvertisement>(json)?, origin)
                .map(|converted| applied(converted, Event::AnnounceApplied))
        },
        |name| gone(ObjectKind::BgpAdvertisement, name),
    ),
    announce(
        ObjectKind::BfdProfile,
        |json, origin| {
            convert::announce(typed::<BfdProfile>(json)?, origin)
                .map(|converted| applied(converted, Event::AnnounceApplied))
        },
        |name| gone(ObjectKind::BfdProfile, name),
    ),
    announce(
        ObjectKind::Community,
        |json, origin| {
            convert::announce(typed::<Community>(json)?, origin)
                .map(|converted| applied(converted, Event::AnnounceApplied))
        },
        |name| gone(ObjectKind::Community, name),
    ),
    announce(
        ObjectKind::L2Advertisement,
        |json, origin| {
            convert::announce(typed::<L2Advertisement>(json)?, origin)
                .map(|converted| applied(converted, Event::AnnounceApplied))
        },
        |name| gone(ObjectKind::L2Advertisement, name),
    ),
    Kind {
        kind: ObjectKind::ServiceImport,
        reach: Reach::Own,
        presence: Presence::Optional,
        selector: "",
        read: |json, origin| {
            let converted = convert::import(typed::<convert::ServiceImport>(json)?, origin)?;
            Ok(applied(converted, Event::ImportApplied))
        },
        deleted: Event::ImportDeleted,
    },
];

type ReadObject = fn(&str, Origin<'_>) -> Result<Converted<Event>, Misfit>;

/// A kind that decides about announcing.
const fn announce(kind: ObjectKind, read: ReadObject, deleted: fn(ObjectName) -> Event) -> Kind {
    Kind {
        kind,
        reach: Reach::Own,
        presence: Presence::Optional,
        selector: "",
        read,
        deleted,
    }
}

fn gone(kind: ObjectKind, name: ObjectName) -> Event {
    Event::deleted(ObjectRef { kind, name })
}

/// The kinds to follow in a cluster.
pub(crate) fn kinds_of(cluster: ClusterId) -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(move |kind| match kind.reach {
        Reach::Everywhere => true,
        Reach::Own => !cluster.is_remote(),
    })
}

fn applied<T>(converted: Converted<T>, event: fn(Box<T>) -> Event) -> Converted<Event> {
    match converted {
        Converted::Object(spec) => Converted::Object(Box::new(event(spec))),
        Converted::LeftAlone(problem) => Converted::LeftAlone(problem),
    }
}

fn typed<T: DeserializeOwned>(json: &str) -> Result<T, Misfit> {
    let text = &mut serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(text).map_err(|error| {
        let field = error.path().to_string();
        Misfit {
            field: if field == "." { String::new() } else { field },
            message: error.into_inner().to_string(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let slices = resource(ObjectKind::EndpointSlice);
        assert_eq!(slices.everywhere(), "/apis/discovery.k8s.io/v1/endpointslices");
        let web = ObjectName::of(ClusterId::OWN, "shop", "web");
        let services = resource(ObjectKind::Service);
        assert_eq!(services.collection(&web), "/api/v1/namespaces/shop/services");
        let node = ObjectName::of(ClusterId::OWN, "", "node-1");
        assert_eq!(resource(ObjectKind::Node).collection(&node), "/api/v1/nodes");
        let imports = resource(ObjectKind::ServiceImport);
        let older = imports.older().unwrap();
        assert_eq!(
            older.everywhere(),
            "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports"
        );
        assert!(older.older().is_none() && older.everywhere() != imports.everywhere());
    }

    #[test]
    fn another_cluster_is_read_only_for_what_is_shared() {
        let kinds = |cluster| kinds_of(cluster).map(|kind| kind.kind).collect::<Vec<_>>();
        assert_eq!(kinds(ClusterId::OWN).len(), KINDS.len());
        assert_eq!(
            kinds(ClusterId(2)),
            [ObjectKind::Service, ObjectKind::EndpointSlice]
        );
    }

    #[test]
    fn a_kind_that_vanishes_takes_its_objects_along_only_after_a_while() {
        let minute = Duration::from_secs(60);
        let absent = |gone_for, told| Presence::Optional.is_absent(gone_for, minute, told);
        assert!(absent(Duration::ZERO, Told::Nothing));
        assert!(!absent(Duration::from_secs(59), Told::Something));
        assert!(absent(minute, Told::Something));
        assert!(!Presence::Required.is_absent(10 * minute, minute, Told::Nothing));
    }

    #[test]
    fn what_is_wrong_with_an_object_names_the_field() {
        let json = r#"{"metadata":{"name":"a"},"spec":{"ports":[{"port":"x"}]}}"#;
        let misfit = typed::<Service>(json).unwrap_err();
        assert_eq!(misfit.field, "spec.ports[0].port");
        assert!(misfit.message.contains("string \"x\""), "{}", misfit.message);
    }
}
