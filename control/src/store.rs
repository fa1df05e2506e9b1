//! The objects as last told, and which Services a change touches. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{EndpointSliceSpec, ObjectName, ServiceSpec};

#[derive(Debug, Default)]
pub struct Store {
    services: BTreeMap<ObjectName, ServiceSpec>,
    slices: BTreeMap<ObjectName, EndpointSliceSpec>,
    /// Slices by the Service they name, which need not exist.
    by_service: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
}

impl Store {
    /// Each method returns the Services that must be planned anew; none when nothing has changed.
    #[must_use]
    pub fn apply_service(&mut self, spec: ServiceSpec) -> Vec<ObjectName> {
        let name = spec.name.clone();
        let spec = match self.services.remove(&name) {
            Some(before) => {
                let spec = spec.after(&before);
                if spec == before {
                    self.services.insert(name, before);
                    return vec![];
                }
                spec
            }
            None => spec,
        };
        self.services.insert(name.clone(), spec);
        vec![name]
    }

    #[must_use]
    pub fn delete_service(&mut self, name: &ObjectName) -> Vec<ObjectName> {
        self.services
            .remove(name)
            .map(|service| service.name)
            .into_iter()
            .collect()
    }

    #[must_use]
    pub fn apply_slice(&mut self, spec: EndpointSliceSpec) -> Vec<ObjectName> {
        if self.slices.get(&spec.name) == Some(&spec) {
            return vec![];
        }
        let mut touched = self.delete_slice(&spec.name);
        self.by_service
            .entry(spec.service.clone())
            .or_default()
            .insert(spec.name.clone());
        if !touched.contains(&spec.service) {
            touched.push(spec.service.clone());
        }
        self.slices.insert(spec.name.clone(), spec);
        touched
    }

    #[must_use]
    pub fn delete_slice(&mut self, name: &ObjectName) -> Vec<ObjectName> {
        let Some(slice) = self.slices.remove(name) else {
            return vec![];
        };
        if let Some(names) = self.by_service.get_mut(&slice.service) {
            names.remove(name);
            if names.is_empty() {
                self.by_service.remove(&slice.service);
            }
        }
        vec![slice.service]
    }

    pub fn service(&self, name: &ObjectName) -> Option<&ServiceSpec> {
        self.services.get(name)
    }

    pub fn services(&self) -> impl Iterator<Item = &ServiceSpec> {
        self.services.values()
    }

    /// The slices of a Service, by name.
    pub fn slices_of(&self, service: &ObjectName) -> Vec<&EndpointSliceSpec> {
        let names = self.by_service.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.get(name)).collect()
    }
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
