//! The objects as last told, and which Services a change touches. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use maglane_shared::addr::Addr;

use crate::event::Event;
use crate::model::{
    AnnounceObject, ClusterId, EndpointSliceSpec, GlobalSpec, ImportSpec, NamespaceSpec, NodeSpec,
    ObjectKind, ObjectName, ObjectRef, PoolSpec, ReservationSpec, ServiceSpec,
};

/// A clone shares the objects.
#[derive(Clone, Debug, Default)]
pub struct Store {
    services: BTreeMap<ObjectName, Arc<ServiceSpec>>,
    slices: BTreeMap<ObjectName, Arc<EndpointSliceSpec>>,
    nodes: BTreeMap<ObjectName, Arc<NodeSpec>>,
    namespaces: BTreeMap<ObjectName, Arc<NamespaceSpec>>,
    pools: BTreeMap<ObjectName, Arc<PoolSpec>>,
    reservations: BTreeMap<ObjectName, Arc<ReservationSpec>>,
    announce: BTreeMap<ObjectRef, Arc<AnnounceObject>>,
    /// Of type ClusterSetIP; each has the name of its Service.
    imports: BTreeSet<ObjectName>,
    /// What Services of manifests have been given.
    granted: BTreeMap<ObjectName, Vec<Addr>>,
    /// Slices by the Service they name, which need not exist.
    by_service: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
    revision: u64,
}

impl Store {
    /// Each method returns the Services that must be planned anew; none when nothing has changed.
    #[must_use]
    pub fn apply_service(&mut self, spec: ServiceSpec) -> Vec<ObjectName> {
        let spec = match self.services.get(&spec.name) {
            Some(before) => {
                let spec = spec.after(before);
                if spec == **before {
                    return vec![];
                }
                spec
            }
            None => spec,
        };
        let name = spec.name.clone();
        self.services.insert(name.clone(), Arc::new(spec));
        self.revision += 1;
        self.homes(name)
    }

    #[must_use]
    pub fn delete_service(&mut self, name: &ObjectName) -> Vec<ObjectName> {
        match self.services.remove(name) {
            Some(service) => {
                self.revision += 1;
                self.granted.remove(name);
                self.homes(service.name.clone())
            }
            None => vec![],
        }
    }

    #[must_use]
    pub fn apply_slice(&mut self, mut spec: EndpointSliceSpec) -> Vec<ObjectName> {
        if self.slices.get(&spec.name).is_some_and(|before| **before == spec) {
            return vec![];
        }
        // A large cluster has a million, and a list that grew has room for more.
        spec.endpoints.shrink_to_fit();
        let mut touched = self.delete_slice(&spec.name);
        let service = spec.service.clone();
        self.by_service
            .entry(service.clone())
            .or_default()
            .insert(spec.name.clone());
        self.slices.insert(spec.name.clone(), Arc::new(spec));
        self.revision += 1;
        for home in self.homes(service) {
            if !touched.contains(&home) {
                touched.push(home);
            }
        }
        touched
    }

    #[must_use]
    pub fn delete_slice(&mut self, name: &ObjectName) -> Vec<ObjectName> {
        let Some(slice) = self.slices.remove(name) else {
            return vec![];
        };
        self.revision += 1;
        if let Some(names) = self.by_service.get_mut(&slice.service) {
            names.remove(name);
            if names.is_empty() {
                self.by_service.remove(&slice.service);
            }
        }
        self.homes(slice.service.clone())
    }

    /// Nodes are in the plans of many Services, so they do not tell which: says whether anything changed.
    /// Likewise the next ones.
    #[must_use]
    pub fn apply_node(&mut self, spec: NodeSpec) -> bool {
        self.count(|store| put(&mut store.nodes, spec.name.clone(), spec))
    }

    #[must_use]
    pub fn delete_node(&mut self, name: &ObjectName) -> bool {
        self.count(|store| store.nodes.remove(name).is_some())
    }

    #[must_use]
    pub fn apply_namespace(&mut self, spec: NamespaceSpec) -> bool {
        self.count(|store| put(&mut store.namespaces, spec.name.clone(), spec))
    }

    #[must_use]
    pub fn delete_namespace(&mut self, name: &ObjectName) -> bool {
        self.count(|store| store.namespaces.remove(name).is_some())
    }

    #[must_use]
    pub fn apply_pool(&mut self, spec: PoolSpec) -> bool {
        self.count(|store| put(&mut store.pools, spec.name.clone(), spec))
    }

    #[must_use]
    pub fn delete_pool(&mut self, name: &ObjectName) -> bool {
        self.count(|store| store.pools.remove(name).is_some())
    }

    #[must_use]
    pub fn apply_reservation(&mut self, spec: ReservationSpec) -> bool {
        self.count(|store| put(&mut store.reservations, spec.reservation.name.clone(), spec))
    }

    #[must_use]
    pub fn delete_reservation(&mut self, name: &ObjectName) -> bool {
        self.count(|store| store.reservations.remove(name).is_some())
    }

    #[must_use]
    pub fn apply_announce(&mut self, object: AnnounceObject) -> bool {
        self.count(|store| put(&mut store.announce, object.object(), object))
    }

    #[must_use]
    pub fn delete_announce(&mut self, object: &ObjectRef) -> bool {
        self.count(|store| store.announce.remove(object).is_some())
    }

    /// Returns the Services that must be planned anew. Likewise the next one.
    #[must_use]
    pub fn apply_import(&mut self, spec: ImportSpec) -> Vec<ObjectName> {
        let news = self.imports.insert(spec.name.clone());
        self.import(news, spec.name)
    }

    #[must_use]
    pub fn delete_import(&mut self, name: &ObjectName) -> Vec<ObjectName> {
        let news = self.imports.remove(name);
        self.import(news, name.clone())
    }

    fn import(&mut self, news: bool, service: ObjectName) -> Vec<ObjectName> {
        if !news {
            return vec![];
        }
        self.revision += 1;
        self.homes(service)
    }

    /// A Service of a manifest has these addresses now.
    #[must_use]
    pub fn grant(&mut self, name: ObjectName, addresses: Vec<Addr>) -> Vec<ObjectName> {
        self.revision += 1;
        if addresses.is_empty() {
            self.granted.remove(&name);
        } else {
            self.granted.insert(name.clone(), addresses);
        }
        vec![name]
    }

    fn count(&mut self, change: impl FnOnce(&mut Store) -> bool) -> bool {
        let changed = change(self);
        self.revision += u64::from(changed);
        changed
    }

    pub fn granted(&self, name: &ObjectName) -> &[Addr] {
        self.granted.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn namespaces(&self) -> impl Iterator<Item = &NamespaceSpec> {
        self.namespaces.values().map(|spec| &**spec)
    }

    pub fn pools(&self) -> impl Iterator<Item = &PoolSpec> {
        self.pools.values().map(|spec| &**spec)
    }

    pub fn reservations(&self) -> impl Iterator<Item = &ReservationSpec> {
        self.reservations.values().map(|spec| &**spec)
    }

    /// What decides about announcing, by kind and name.
    pub fn announce(&self) -> impl Iterator<Item = &AnnounceObject> {
        self.announce.values().map(|object| &**object)
    }

    /// Is there an L2Advertisement?
    pub fn has_l2(&self) -> bool {
        let mut kinds = self.announce.keys().map(|object| object.kind);
        kinds.any(|kind| kind == ObjectKind::L2Advertisement)
    }

    /// Grows with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn service(&self, name: &ObjectName) -> Option<&ServiceSpec> {
        self.services.get(name).map(|spec| &**spec)
    }

    pub fn services(&self) -> impl Iterator<Item = &ServiceSpec> {
        self.services.values().map(|spec| &**spec)
    }

    pub fn node(&self, name: &ObjectName) -> Option<&NodeSpec> {
        self.nodes.get(name).map(|node| &**node)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &NodeSpec> {
        self.nodes.values().map(|spec| &**spec)
    }

    /// What would make this store of an empty one.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        fn copies<K, T: Clone>(all: &BTreeMap<K, Arc<T>>) -> impl Iterator<Item = Box<T>> {
            all.values().map(|spec| Box::new(T::clone(spec)))
        }
        let granted = self.granted.iter().map(|(name, addresses)| Event::Granted {
            service: name.clone(),
            addresses: addresses.clone(),
        });
        let imports = self
            .imports
            .iter()
            .map(|name| Event::ImportApplied(Box::new(ImportSpec { name: name.clone() })));
        copies(&self.nodes)
            .map(Event::NodeApplied)
            .chain(copies(&self.namespaces).map(Event::NamespaceApplied))
            .chain(copies(&self.pools).map(Event::PoolApplied))
            .chain(copies(&self.reservations).map(Event::ReservationApplied))
            .chain(copies(&self.announce).map(Event::AnnounceApplied))
            .chain(imports)
            .chain(copies(&self.services).map(Event::ServiceApplied))
            .chain(copies(&self.slices).map(Event::SliceApplied))
            .chain(granted)
    }

    /// The slices of a Service, by name.
    pub fn slices_of(&self, service: &ObjectName) -> Vec<&EndpointSliceSpec> {
        let names = self.by_service.get(service).into_iter().flatten();
        names
            .filter_map(|name| self.slices.get(name).map(|spec| &**spec))
            .collect()
    }

    /// How it shares endpoints with the Services of its name in other clusters, if it does.
    pub fn global<'s>(&self, service: &'s ServiceSpec) -> Option<&'s GlobalSpec> {
        static PLAIN: GlobalSpec = GlobalSpec {
            failover_threshold: None,
            weights: BTreeMap::new(),
        };
        let imported = || {
            self.imports
                .contains(&service.name)
                .then(|| service.imported.get().unwrap_or(&PLAIN))
        };
        service.global.get().or_else(imported)
    }

    /// The Services of other clusters that share this one's name and say so, when it says so too. An import
    /// speaks for them: whoever runs the cluster set makes one only of what they export.
    pub fn siblings(&self, service: &ServiceSpec) -> Vec<&ServiceSpec> {
        if service.name.cluster.is_remote() || self.global(service).is_none() {
            return vec![];
        }
        let imported = self.imports.contains(&service.name);
        let last = ObjectName {
            cluster: ClusterId(u8::MAX),
            ..service.name.clone()
        };
        self.services
            .range(&service.name..=&last)
            .map(|(_, spec)| &**spec)
            .filter(|spec| spec.name.cluster.is_remote() && (imported || spec.global.get().is_some()))
            .collect()
    }

    /// Whose plan an object of this Service is in: another cluster's counts for the Services here.
    fn homes(&self, name: ObjectName) -> Vec<ObjectName> {
        if !name.cluster.is_remote() {
            return vec![name];
        }
        let here = [ClusterId::MANIFESTS, ClusterId::OWN].map(|cluster| ObjectName {
            cluster,
            ..name.clone()
        });
        here.into_iter()
            .filter(|name| self.services.contains_key(name))
            .collect()
    }
}

/// Says whether it is news.
fn put<K: Ord, T: PartialEq>(all: &mut BTreeMap<K, Arc<T>>, name: K, spec: T) -> bool {
    if all.get(&name).is_some_and(|before| **before == spec) {
        return false;
    }
    all.insert(name, Arc::new(spec));
    true
}

#[cfg(test)]
mod tests {
    use maglane_shared::service::ForwardingMode;

    use super::*;
    use crate::model::Setting;
    use crate::problem::Problem;
    use crate::testing::{endpoint, name, service, slice};

    #[test]
    fn only_what_changed_is_touched() {
        let mut store = Store::default();
        let web = service("web", "192.0.2.1").build();
        assert_eq!(store.apply_service(web.clone()), [name("web")]);
        assert_eq!(store.apply_service(web.clone()), []);
        let one = slice("web-1", "web", vec![endpoint("10.0.0.1")]);
        assert_eq!(store.apply_slice(one.clone()), [name("web")]);
        assert_eq!(store.apply_slice(one.clone()), []);
        let moved = EndpointSliceSpec {
            service: name("other"),
            ..one.clone()
        };
        assert_eq!(store.apply_slice(moved), [web.name.clone(), name("other")]);
        assert!(store.slices_of(&web.name).is_empty());
        assert_eq!(store.delete_slice(&one.name), [name("other")]);
        assert_eq!(store.delete_slice(&one.name), []);
        assert_eq!(store.delete_service(&web.name), [name("web")]);
        assert_eq!(store.delete_service(&web.name), []);
    }

    #[test]
    fn a_setting_that_turns_bad_goes_on_with_its_last_good_value() {
        let mut store = Store::default();
        let bad = || Setting::Invalid {
            problem: Problem::warning("bad", "mend it"),
            last_good: None,
        };
        let good = Setting::Valid(ForwardingMode::Ipip);
        for (told, held, complaint) in [
            (bad(), None, true),
            (good.clone(), Some(ForwardingMode::Ipip), false),
            (bad(), Some(ForwardingMode::Ipip), true),
            (bad(), Some(ForwardingMode::Ipip), true),
            (Setting::Unset, None, false),
        ] {
            let spec = ServiceSpec {
                mode: told,
                ..service("web", "192.0.2.1").build()
            };
            let name = spec.name.clone();
            let _ = store.apply_service(spec);
            let mode = &store.service(&name).unwrap().mode;
            assert_eq!((mode.get().copied(), mode.problem().is_some()), (held, complaint));
        }
    }
}
