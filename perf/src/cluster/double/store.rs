//! What is stored, by kind, with what changed lately: one revision counts all writes, as etcd's does.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::admit::Numbers;
use super::kinds::{self, Resource};
use super::object::{Object, ObjectKey};
use crate::cluster::refusal::Refusal;
use crate::cluster::target::Target;

/// Changes kept per kind; who asks for older ones must list again.
const HISTORY: usize = 1 << 15;

/// A write: the object before and after. A deletion has no after, but last words.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Written {
        before: Option<Arc<Object>>,
        after: Arc<Object>,
    },
    Deleted {
        before: Arc<Object>,
        last: Arc<Object>,
    },
}

#[derive(Debug, Default)]
struct Table {
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    changes: VecDeque<Change>,
    /// Changes up to this revision are forgotten.
    floor: u64,
}

#[derive(Debug)]
pub(super) struct State {
    revision: u64,
    /// By their ids, as the tables are.
    resources: HashMap<String, Arc<Resource>>,
    tables: HashMap<String, Table>,
    /// What Services hold: addresses handed out, node ports in use.
    pub numbers: Numbers,
}

/// The state with a bell that rings at every write.
#[derive(Debug)]
pub(super) struct Store {
    state: Mutex<State>,
    bell: watch::Sender<u64>,
}

impl Store {
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State::new()),
            bell: watch::Sender::new(0),
        }
    }

    pub fn read(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one write whole: nobody sees half of it.
    pub fn write<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.read();
        let outcome = act(&mut state);
        drop(state);
        self.bell.send_modify(|rings| *rings += 1);
        outcome
    }

    pub fn bell(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }
}

impl State {
    fn new() -> Self {
        Self {
            revision: 1,
            resources: kinds::builtins()
                .map(|resource| (resource.id.clone(), Arc::new(resource)))
                .collect(),
            tables: HashMap::new(),
            numbers: Numbers::default(),
        }
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// # Errors
    /// 404 when it is not served in this version, or not at such a path.
    pub fn resource(&self, target: &Target) -> Result<Arc<Resource>, Refusal> {
        let found = self.resources.get(&kinds::id(&target.group, &target.resource));
        found
            .filter(|resource| resource.version == target.version)
            .cloned()
            .ok_or_else(Refusal::no_such_resource)
    }

    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    pub fn serve(&mut self, resource: Resource) {
        self.resources.insert(resource.id.clone(), Arc::new(resource));
    }

    /// Serves a kind no more; its objects go with it.
    pub fn forget(&mut self, id: &str) {
        self.resources.remove(id);
        self.tables.remove(id);
    }

    pub fn get(&self, resource: &Resource, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.table(resource)?.objects.get(key)
    }

    pub fn all(&self, resource: &Resource) -> impl Iterator<Item = &Arc<Object>> {
        self.table(resource)
            .into_iter()
            .flat_map(|table| table.objects.values())
    }

    /// The objects as they were at a revision.
    ///
    /// # Errors
    /// 410 when that is forgotten.
    pub fn all_at(&self, resource: &Resource, revision: u64) -> Result<Vec<Arc<Object>>, Refusal> {
        let mut objects: BTreeMap<ObjectKey, Arc<Object>> = self
            .all(resource)
            .map(|object| (object.key.clone(), Arc::clone(object)))
            .collect();
        for change in self.since(resource, revision)?.into_iter().rev() {
            match change.before() {
                Some(before) => objects.insert(before.key.clone(), Arc::clone(before)),
                None => objects.remove(&change.object().key),
            };
        }
        Ok(objects.into_values().collect())
    }

    /// The changes after a revision, oldest first. A revision still to come has none.
    ///
    /// # Errors
    /// 410 when some of them are forgotten.
    pub fn since(&self, resource: &Resource, revision: u64) -> Result<Vec<Change>, Refusal> {
        let Some(table) = self.table(resource) else {
            return Ok(Vec::new());
        };
        if revision < table.floor {
            let message = format!("too old resource version: {revision} ({})", table.floor);
            return Err(Refusal::expired(message));
        }
        let known = table
            .changes
            .partition_point(|change| change.object().revision <= revision);
        Ok(table.changes.range(known..).cloned().collect())
    }

    /// Stores the object with the next revision.
    pub fn put(&mut self, resource: &Resource, key: &ObjectKey, value: Value) -> Arc<Object> {
        let object = self.stamp(key, value);
        let table = self.table_mut(resource);
        let before = table.objects.insert(key.clone(), Arc::clone(&object));
        table.remember(Change::Written {
            before,
            after: Arc::clone(&object),
        });
        object
    }

    /// Takes the object away and gives its last words.
    pub fn remove(&mut self, resource: &Resource, key: &ObjectKey, value: Value) -> Arc<Object> {
        let last = self.stamp(key, value);
        let table = self.table_mut(resource);
        if let Some(before) = table.objects.remove(key) {
            table.remember(Change::Deleted {
                before,
                last: Arc::clone(&last),
            });
        }
        last
    }

    /// Forgets all changes, as a restarted server does: its watch cache is empty.
    pub fn forget_changes(&mut self) {
        self.revision += 1;
        for id in self.resources.keys() {
            let table = self.tables.entry(id.clone()).or_default();
            table.changes.clear();
            table.floor = self.revision;
        }
    }

    /// Everything is gone and the revision begins anew, as after a lost etcd.
    pub fn wipe(&mut self) {
        *self = Self::new();
    }

    fn stamp(&mut self, key: &ObjectKey, mut value: Value) -> Arc<Object> {
        self.revision += 1;
        value["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        Arc::new(Object::new(key.clone(), self.revision, value))
    }

    fn table(&self, resource: &Resource) -> Option<&Table> {
        self.tables.get(&resource.id)
    }

    fn table_mut(&mut self, resource: &Resource) -> &mut Table {
        self.tables.entry(resource.id.clone()).or_default()
    }
}

impl Table {
    fn remember(&mut self, change: Change) {
        if self.changes.len() == HISTORY
            && let Some(oldest) = self.changes.pop_front()
        {
            self.floor = oldest.object().revision;
        }
        self.changes.push_back(change);
    }
}

impl Change {
    pub fn before(&self) -> Option<&Arc<Object>> {
        match self {
            Self::Written { before, .. } => before.as_ref(),
            Self::Deleted { before, .. } => Some(before),
        }
    }

    /// The object with the revision of the change.
    pub fn object(&self) -> &Arc<Object> {
        match self {
            Self::Written { after, .. } => after,
            Self::Deleted { last, .. } => last,
        }
    }
}
