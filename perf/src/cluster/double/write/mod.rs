//! POST, PUT, PATCH and DELETE: one write is read, changed, checked and stored under one lock.

mod checks;
mod parts;

use serde_json::{Value, json};

use self::parts::{
    generated, has_finalizers, keep_system_fields, own_part, take_over, text, wants, without, without_field,
};
use super::fields::{self, Manager, Operation};
use super::kinds::{Generation, Overwrite, Resource, Scope, Status};
use super::object::ObjectKey;
use super::patch::{self, Patch};
use super::store::State;
use super::{admit, clock, read};
use crate::cluster::refusal::{Cause, Refusal};
use crate::cluster::target::{Params, Target};

/// One request for a change.
pub(super) struct Write<'a> {
    pub resource: &'a Resource,
    pub target: Target,
    pub params: &'a Params,
    /// Of the field manager: the parameter, or else the User-Agent's first word.
    pub manager: String,
}

/// What a write left behind.
pub(super) struct Written {
    pub created: bool,
    pub value: Value,
}

/// Which part of the object a path is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Status,
}

impl Write<'_> {
    pub fn create(mut self, state: &mut State, mut object: Value) -> Result<Written, Refusal> {
        if self.target.subresource.is_some() {
            return Err(Refusal::method_not_allowed());
        }
        self.check_identity(&object)?;
        let name = match text(&object["metadata"]["name"]) {
            "" => generated(text(&object["metadata"]["generateName"])),
            name => Some(name.to_owned()),
        };
        self.target.name.clone_from(&name);
        if name.is_none() {
            let cause = Cause::new(
                "FieldValueRequired",
                "metadata.name",
                "Required value: name or generateName is required",
            );
            return Err(self.invalid(&[cause]));
        }
        object["metadata"]["name"] = json!(name);
        if state.get(self.resource, &self.key()).is_some() {
            return Err(Refusal::exists(&self.target));
        }
        if self.resource.status == Status::Apart && self.resource.kind != "Node" {
            without(&mut object, "status");
        }
        without_field(&mut object, "metadata", "managedFields");
        self.begin_life(state, &mut object)?;
        self.track(&json!({}), &mut object, Part::Whole);
        Ok(self.store(state, object, true))
    }

    pub fn update(self, state: &mut State, object: Value) -> Result<Written, Refusal> {
        let part = self.part()?;
        self.check_identity(&object)?;
        let old = read::find(state, self.resource, &self.target)?.value(self.resource);
        if text(&object["metadata"]["resourceVersion"]).is_empty()
            && self.resource.overwrite == Overwrite::NeedsVersion
        {
            let why = "must be specified for an update";
            let cause = Cause::invalid("metadata.resourceVersion", &json!(0), why);
            return Err(self.invalid(&[cause]));
        }
        self.replace(state, &old, object, part)
    }

    pub fn patch(mut self, state: &mut State, patch: Patch) -> Result<Written, Refusal> {
        let part = self.part()?;
        let old = match read::find(state, self.resource, &self.target) {
            Ok(object) => object.value(self.resource),
            Err(refusal) => match (patch, part) {
                (Patch::Apply(config), Part::Whole) => return self.create_by_apply(state, config),
                (_, _) => return Err(refusal),
            },
        };
        match patch {
            Patch::Apply(config) => self.apply(state, &old, config, part),
            Patch::Merge(_) | Patch::Json(_) => {
                let mut object = old.clone();
                patch::lay(&patch, &mut object)?;
                self.check_identity(&object)?;
                self.replace(state, &old, object, part)
            }
        }
    }

    /// Marks what has finalizers, takes away what has none.
    pub fn delete(self, state: &mut State, options: &Value) -> Result<Value, Refusal> {
        if self.target.subresource.is_some() {
            return Err(Refusal::method_not_allowed());
        }
        let old = read::find(state, self.resource, &self.target)?.value(self.resource);
        self.check_preconditions(&old, &options["preconditions"])?;
        let details = json!({
            "name": self.target.name,
            "group": self.resource.group,
            "kind": self.resource.plural,
            "uid": old["metadata"]["uid"],
        });
        let gone = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
        });
        if self.dry_run() {
            return Ok(gone);
        }
        if has_finalizers(&old) {
            let mut marked = old;
            if marked["metadata"]["deletionTimestamp"].is_null() {
                marked["metadata"]["deletionTimestamp"] = json!(clock::now());
                marked["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                state.put(self.resource, &self.key(), marked.clone());
            }
            return Ok(marked);
        }
        let last = self.end_life(state, old);
        // Of the kinds served here only Services answer with themselves.
        Ok(if self.resource.kind == "Service" {
            last
        } else {
            gone
        })
    }

    fn create_by_apply(self, state: &mut State, config: Value) -> Result<Written, Refusal> {
        self.check_identity(&config)?;
        let manager = self.manager(Operation::Apply, Part::Whole);
        let mut config = own_part(self.resource, config, Part::Whole);
        config["metadata"]["name"] = json!(self.target.name);
        let mut object = fields::apply(&json!({}), &config, &self.resource.shape, &manager, self.forced())?;
        object["apiVersion"] = json!(self.resource.api_version());
        object["kind"] = json!(self.resource.kind);
        self.begin_life(state, &mut object)?;
        Ok(self.store(state, object, true))
    }

    fn apply(
        &mut self,
        state: &mut State,
        old: &Value,
        config: Value,
        part: Part,
    ) -> Result<Written, Refusal> {
        self.check_identity(&config)?;
        self.check_version(old, &config)?;
        let config = own_part(self.resource, config, part);
        let manager = self.manager(Operation::Apply, part);
        let mut object = fields::apply(old, &config, &self.resource.shape, &manager, self.forced())?;
        keep_system_fields(old, &mut object);
        // After the merge: nobody owns what is filled in.
        admit::admit(state, self.resource, &self.target, Some(old), &mut object)?;
        self.finish(state, old, object, part)
    }

    fn replace(&self, state: &mut State, old: &Value, object: Value, part: Part) -> Result<Written, Refusal> {
        self.check_version(old, &object)?;
        let uid = text(&object["metadata"]["uid"]);
        if !uid.is_empty() && uid != text(&old["metadata"]["uid"]) {
            return Err(Refusal::precondition(&self.target, "the UID is another one"));
        }
        let mut new = match part {
            Part::Whole => {
                let mut new = object;
                if self.resource.status == Status::Apart {
                    take_over(old, &mut new, "status");
                }
                new
            }
            Part::Status => {
                let mut new = old.clone();
                take_over(&object, &mut new, "status");
                new
            }
        };
        keep_system_fields(old, &mut new);
        admit::admit(state, self.resource, &self.target, Some(old), &mut new)?;
        self.track(old, &mut new, part);
        self.finish(state, old, new, part)
    }

    /// Stores the new object where it differs from the old one.
    fn finish(&self, state: &mut State, old: &Value, mut new: Value, part: Part) -> Result<Written, Refusal> {
        if self.resource.generation == Generation::Counted && part == Part::Whole && wants(old) != wants(&new)
        {
            new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_u64().unwrap_or(0) + 1);
        }
        if !fields::differs(old, &new) {
            return Ok(Written {
                created: false,
                value: old.clone(),
            });
        }
        if !new["metadata"]["deletionTimestamp"].is_null() && !has_finalizers(&new) && !self.dry_run() {
            let value = self.end_life(state, new);
            return Ok(Written {
                created: false,
                value,
            });
        }
        Ok(self.store(state, new, false))
    }

    fn store(&self, state: &mut State, mut value: Value, created: bool) -> Written {
        if !self.dry_run() {
            let key = self.key();
            value = state.put(self.resource, &key, value).value(self.resource);
            admit::settled(state, self.resource, &key, Some(&value));
        }
        Written { created, value }
    }

    fn begin_life(&self, state: &mut State, object: &mut Value) -> Result<(), Refusal> {
        let namespace = ObjectKey {
            namespace: String::new(),
            name: self.target.namespace.clone(),
        };
        if self.resource.scope == Scope::Namespaced {
            let place = Target {
                version: "v1".to_owned(),
                resource: "namespaces".to_owned(),
                name: Some(namespace.name.clone()),
                ..Target::default()
            };
            let namespaces = state.resource(&place)?;
            if state.get(&namespaces, &namespace).is_none() {
                return Err(Refusal::not_found(&place));
            }
            object["metadata"]["namespace"] = json!(self.target.namespace);
        }
        let metadata = &mut object["metadata"];
        metadata["uid"] = json!(uuid::Uuid::new_v4().to_string());
        metadata["creationTimestamp"] = json!(clock::now());
        without(metadata, "deletionTimestamp");
        without(metadata, "resourceVersion");
        if self.resource.generation == Generation::Counted {
            metadata["generation"] = json!(1);
        }
        admit::admit(state, self.resource, &self.target, None, object)
    }

    /// Gives the object's last words.
    fn end_life(&self, state: &mut State, value: Value) -> Value {
        let key = self.key();
        let last = state.remove(self.resource, &key, value).value(self.resource);
        admit::settled(state, self.resource, &key, None);
        last
    }

    /// Gives what changed to the writer; the server's own status of an object to nobody.
    fn track(&self, old: &Value, new: &mut Value, part: Part) {
        let manager = self.manager(Operation::Update, part);
        let apart = self.resource.status == Status::Apart && part == Part::Whole;
        let concern = |field: &str| !(apart && field == "status");
        fields::track(old, new, &self.resource.shape, &manager, concern);
    }

    fn part(&self) -> Result<Part, Refusal> {
        match self.target.subresource.as_deref() {
            None => Ok(Part::Whole),
            Some("status") if self.resource.status == Status::Apart => Ok(Part::Status),
            Some(_) => Err(Refusal::no_such_resource()),
        }
    }

    fn key(&self) -> ObjectKey {
        read::key(&self.target)
    }

    fn manager(&self, operation: Operation, part: Part) -> Manager {
        Manager {
            name: self.manager.clone(),
            operation,
            subresource: (part == Part::Status).then(|| "status".to_owned()),
            api_version: self.resource.api_version(),
        }
    }

    fn forced(&self) -> bool {
        self.params.is_true("force")
    }

    fn dry_run(&self) -> bool {
        self.params.get("dryRun") == Some("All")
    }

    fn invalid(&self, causes: &[Cause]) -> Refusal {
        Refusal::invalid(&self.resource.kind, &self.target, causes)
    }
}
