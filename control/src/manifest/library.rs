//! What the files say, file by file, and what of it is news. Pure: bytes in, events out.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::Deserialize;
use serde_json::Value;

use super::document::{Document, documents, typed};
use crate::convert::{self, Converted, Misfit, Origin, ServiceImport};
use crate::crd::{
    AddressPool, AddressReservation, BfdProfile, BgpAdvertisement, BgpPeer, Community, L2Advertisement,
};
use crate::event::{Event, Source};
use crate::model::{
    AnnounceObject, ClusterId, EndpointSliceSpec, ImportSpec, NamespaceSpec, NodeSpec, ObjectKind,
    ObjectName, ObjectRef, PoolSpec, ReservationSpec, ServiceSpec,
};
use crate::problem::Problem;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Object {
    Service(Box<ServiceSpec>),
    Slice(Box<EndpointSliceSpec>),
    Node(Box<NodeSpec>),
    Namespace(Box<NamespaceSpec>),
    Pool(Box<PoolSpec>),
    Reservation(Box<ReservationSpec>),
    Announce(Box<AnnounceObject>),
    Import(Box<ImportSpec>),
}

impl Object {
    fn applied(self) -> Event {
        match self {
            Object::Service(spec) => Event::ServiceApplied(spec),
            Object::Slice(spec) => Event::SliceApplied(spec),
            Object::Node(spec) => Event::NodeApplied(spec),
            Object::Namespace(spec) => Event::NamespaceApplied(spec),
            Object::Pool(spec) => Event::PoolApplied(spec),
            Object::Reservation(spec) => Event::ReservationApplied(spec),
            Object::Announce(object) => Event::AnnounceApplied(object),
            Object::Import(spec) => Event::ImportApplied(spec),
        }
    }
}

/// What a document comes to.
enum Outcome {
    Good(ObjectRef, Object),
    /// Nothing to serve, and a word about it.
    Ignored(Problem),
    /// `object` where that much can be read.
    Broken {
        object: Option<ObjectRef>,
        problem: Problem,
    },
}

#[derive(Debug, Default)]
struct File {
    objects: BTreeMap<ObjectRef, Object>,
    problems: Vec<Problem>,
}

/// All files of the directory.
#[derive(Debug, Default)]
pub struct Library {
    /// Whose objects they are taken for.
    cluster: ClusterId,
    files: BTreeMap<String, File>,
    /// What the controller was told.
    told: BTreeMap<ObjectRef, Object>,
    told_problems: Vec<Problem>,
    /// About the directory itself.
    trouble: Option<Problem>,
}

impl Library {
    /// As if the objects were in this cluster; the default takes them for what they are, manifests.
    pub fn of(cluster: ClusterId) -> Library {
        Library {
            cluster,
            ..Library::default()
        }
    }

    /// The file's new content.
    pub fn put(&mut self, name: &str, bytes: &[u8]) {
        let outcomes = documents(name, bytes)
            .into_iter()
            .map(|document| outcome(self.cluster, name, document));
        let before = self.files.remove(name).unwrap_or_default();
        let mut file = File::default();
        let mut keep = Keep::Named(BTreeSet::new());
        for outcome in outcomes {
            match outcome {
                Outcome::Good(reference, object) => file.add(name, reference, object),
                Outcome::Ignored(problem) => file.problems.push(problem),
                Outcome::Broken { object, problem } => {
                    keep.widen(object);
                    file.problems.push(problem);
                }
            }
        }
        for (reference, object) in before.objects {
            if keep.holds(&reference) {
                file.objects.entry(reference).or_insert(object);
            }
        }
        self.files.insert(name.to_owned(), file);
    }

    /// The file cannot be read: what it said holds.
    pub fn unreadable(&mut self, name: &str, error: &str) {
        let problem = Problem::error(
            format!("cannot be read: {error}"),
            "let this user read it, or remove it",
        )
        .at(name);
        self.files.entry(name.to_owned()).or_default().problems = vec![problem];
    }

    /// The file is gone, and its objects with it.
    pub fn remove(&mut self, name: &str) {
        self.files.remove(name);
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Something about the directory as a whole, or that it is over.
    pub fn set_trouble(&mut self, trouble: Option<Problem>) {
        self.trouble = trouble;
    }

    /// What has changed since the last call. Deletions come last.
    pub fn news(&mut self) -> Vec<Event> {
        let mut holders: BTreeMap<&ObjectRef, (&str, &Object)> = BTreeMap::new();
        let mut problems: Vec<Problem> = self.trouble.iter().cloned().collect();
        for (name, file) in &self.files {
            problems.extend(file.problems.iter().cloned());
            for (reference, object) in &file.objects {
                match holders.get(reference) {
                    None => drop(holders.insert(reference, (name, object))),
                    Some((first, _)) => problems.push(duplicate(reference, first, name)),
                }
            }
        }
        let now: BTreeMap<ObjectRef, Object> = holders
            .into_iter()
            .map(|(reference, (_, object))| (reference.clone(), object.clone()))
            .collect();
        let applied = now
            .iter()
            .filter(|(reference, object)| self.told.get(reference) != Some(object));
        let mut events: Vec<Event> = applied.map(|(_, object)| object.clone().applied()).collect();
        events.extend(
            self.told
                .keys()
                .filter(|reference| !now.contains_key(reference))
                .cloned()
                .map(Event::deleted),
        );
        self.told = now;
        if problems != self.told_problems {
            self.told_problems.clone_from(&problems);
            events.push(Event::SourceProblems {
                source: Source::Manifests,
                problems,
            });
        }
        events
    }
}

impl File {
    fn add(&mut self, name: &str, reference: ObjectRef, object: Object) {
        match self.objects.entry(reference) {
            Entry::Vacant(place) => drop(place.insert(object)),
            Entry::Occupied(first) => self.problems.push(duplicate(first.key(), name, name)),
        }
    }
}

/// Which of a file's former objects outlive its new content.
enum Keep {
    Named(BTreeSet<ObjectRef>),
    /// A document cannot be read at all: it could be any of them.
    All,
}

impl Keep {
    fn widen(&mut self, object: Option<ObjectRef>) {
        match (&mut *self, object) {
            (Keep::Named(named), Some(object)) => drop(named.insert(object)),
            (Keep::Named(_), None) => *self = Keep::All,
            (Keep::All, _) => {}
        }
    }

    fn holds(&self, object: &ObjectRef) -> bool {
        match self {
            Keep::Named(named) => named.contains(object),
            Keep::All => true,
        }
    }
}

fn duplicate(object: &ObjectRef, first: &str, second: &str) -> Problem {
    let message = if first == second {
        "is there twice; the first document holds".to_owned()
    } else {
        format!("is in {first} as well, which comes first by name and holds")
    };
    Problem::error(message, "keep one of the two")
        .about(object.clone())
        .at(second)
}

/// What every object has.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Header {
    api_version: String,
    kind: String,
    metadata: HeaderMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HeaderMetadata {
    name: String,
    namespace: Option<String>,
}

const MEND: &str = "correct it; until then its last good state holds";

fn outcome(cluster: ClusterId, file: &str, document: Document) -> Outcome {
    let Document { place, text, content } = document;
    let place = if place.is_empty() {
        file.to_owned()
    } else {
        format!("{file}: {place}")
    };
    let broken = |object: Option<ObjectRef>, misfit: Misfit| {
        let problem = Problem::error(misfit.message, MEND)
            .at(&place)
            .field(misfit.field);
        let problem = Problem {
            object: object.clone(),
            ..problem
        };
        Outcome::Broken { object, problem }
    };
    let value = match content {
        Ok(value) => value,
        Err(message) => {
            return broken(
                None,
                Misfit {
                    field: String::new(),
                    message,
                },
            );
        }
    };
    let header: Header = match typed(value.clone(), text.as_ref()) {
        Ok(header) => header,
        Err(misfit) => return broken(None, misfit),
    };
    let kind = match followed(&header.api_version, &header.kind) {
        Some(kind) => kind,
        None if header.api_version.is_empty() || header.kind.is_empty() => {
            let message = "has no apiVersion or no kind, so it is no Kubernetes object".to_owned();
            return broken(
                None,
                Misfit {
                    field: String::new(),
                    message,
                },
            );
        }
        None => return Outcome::Ignored(other_kind(&header.api_version, &header.kind).at(&place)),
    };
    if header.metadata.name.is_empty() {
        let message = "is missing; every object needs a name".to_owned();
        return broken(
            None,
            Misfit {
                field: "metadata.name".to_owned(),
                message,
            },
        );
    }
    let namespace = header.metadata.namespace.as_deref().filter(|n| !n.is_empty());
    let namespace = if kind.is_namespaced() {
        namespace.unwrap_or("default")
    } else {
        ""
    };
    let object = ObjectRef {
        kind,
        name: ObjectName::of(cluster, namespace, &header.metadata.name),
    };
    let origin = Origin {
        object: &object,
        place: &place,
    };
    read(value, text.as_ref(), origin).unwrap_or_else(|misfit| broken(Some(object.clone()), misfit))
}

/// By its kind.
fn read(value: Value, text: Option<&(String, u64)>, origin: Origin<'_>) -> Result<Outcome, Misfit> {
    let object = origin.object;
    let announce = |converted| good(object, converted, Object::Announce);
    match object.kind {
        ObjectKind::Service => typed::<Service>(value, text)
            .and_then(|service| convert::service(service, origin))
            .map(|converted| good(object, converted, Object::Service)),
        ObjectKind::EndpointSlice => typed::<EndpointSlice>(value, text)
            .and_then(|slice| convert::slice(slice, origin))
            .map(|converted| good(object, converted, Object::Slice)),
        ObjectKind::Node => typed::<Node>(value, text)
            .and_then(|node| convert::node(node, origin))
            .map(|converted| good(object, converted, Object::Node)),
        ObjectKind::Namespace => typed::<Namespace>(value, text)
            .and_then(|namespace| convert::namespace(namespace, origin))
            .map(|converted| good(object, converted, Object::Namespace)),
        ObjectKind::AddressPool => typed::<AddressPool>(value, text)
            .and_then(|pool| convert::pool(pool, origin))
            .map(|converted| good(object, converted, Object::Pool)),
        ObjectKind::AddressReservation => typed::<AddressReservation>(value, text)
            .and_then(|reservation| convert::reservation(reservation, origin))
            .map(|converted| good(object, converted, Object::Reservation)),
        ObjectKind::ServiceImport => typed::<ServiceImport>(value, text)
            .and_then(|import| convert::import(import, origin))
            .map(|converted| good(object, converted, Object::Import)),
        ObjectKind::BgpPeer => typed::<BgpPeer>(value, text)
            .and_then(|peer| convert::announce(peer, origin))
            .map(announce),
        ObjectKind::BgpAdvertisement => typed::<BgpAdvertisement>(value, text)
            .and_then(|advertisement| convert::announce(advertisement, origin))
            .map(announce),
        ObjectKind::BfdProfile => typed::<BfdProfile>(value, text)
            .and_then(|profile| convert::announce(profile, origin))
            .map(announce),
        ObjectKind::Community => typed::<Community>(value, text)
            .and_then(|community| convert::announce(community, origin))
            .map(announce),
        ObjectKind::L2Advertisement => typed::<L2Advertisement>(value, text)
            .and_then(|advertisement| convert::announce(advertisement, origin))
            .map(announce),
        ObjectKind::BgpSessionState => Ok(Outcome::Ignored(other_kind(
            "maglane.io/v1alpha1",
            "BgpSessionState",
        ))),
    }
}

/// The kinds that count.
fn followed(version: &str, kind: &str) -> Option<ObjectKind> {
    let kind = match (version, kind) {
        ("v1", "Service") => ObjectKind::Service,
        ("discovery.k8s.io/v1", "EndpointSlice") => ObjectKind::EndpointSlice,
        ("v1", "Node") => ObjectKind::Node,
        ("v1", "Namespace") => ObjectKind::Namespace,
        ("maglane.io/v1alpha1", "AddressPool") => ObjectKind::AddressPool,
        ("maglane.io/v1alpha1", "AddressReservation") => ObjectKind::AddressReservation,
        ("maglane.io/v1alpha1", "BgpPeer") => ObjectKind::BgpPeer,
        ("maglane.io/v1alpha1", "BgpAdvertisement") => ObjectKind::BgpAdvertisement,
        ("maglane.io/v1alpha1", "BfdProfile") => ObjectKind::BfdProfile,
        ("maglane.io/v1alpha1", "Community") => ObjectKind::Community,
        ("maglane.io/v1alpha1", "L2Advertisement") => ObjectKind::L2Advertisement,
        ("multicluster.x-k8s.io/v1alpha1" | "multicluster.x-k8s.io/v1beta1", "ServiceImport") => {
            ObjectKind::ServiceImport
        }
        _ => return None,
    };
    Some(kind)
}

fn good<T>(object: &ObjectRef, converted: Converted<T>, wrap: impl Fn(Box<T>) -> Object) -> Outcome {
    match converted {
        Converted::Object(spec) => Outcome::Good(object.clone(), wrap(spec)),
        Converted::LeftAlone(problem) => Outcome::Ignored(problem),
    }
}

fn other_kind(version: &str, kind: &str) -> Problem {
    let message = format!(
        "{kind} ({version}) is ignored: only Service, Node, Namespace (v1), EndpointSlice (discovery.k8s.io/v1), \
         AddressPool, AddressReservation, BgpPeer, BgpAdvertisement, BfdProfile, Community and L2Advertisement \
         (maglane.io/v1alpha1), ServiceImport (multicluster.x-k8s.io) count"
    );
    Problem::note(message, "nothing, or move it elsewhere")
}
