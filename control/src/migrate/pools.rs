//! What all sources of pools have in common: metadata, addresses, and a last look at the result.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::Value;

use super::fields::Fields;
use super::{Migration, taken};
use crate::crd::{AddressPool, AddressPoolSpec, ServiceAllocation};
use crate::ipam::{Ends, Pool, Range, Snapshot, allocate};
use crate::problem::{Problem, Severity};

/// What the API server and kubectl write into every object.
const MANAGED: [&str; 7] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Name, labels and, to tell which pool is older, the time of creation.
pub(super) fn metadata(object: &mut Value, migration: &mut Migration, place: &str) -> Option<ObjectMeta> {
    let mut metadata = taken(object, "metadata");
    let created: Option<Time> = serde_json::from_value(taken(&mut metadata, "creationTimestamp")).ok();
    let mut fields = Fields::new(migration, place, "metadata", metadata);
    fields.ignore(&MANAGED);
    let mut annotations: BTreeMap<String, String> = fields.take("annotations").unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    for (key, value) in annotations {
        let problem = Problem::warning(
            format!("{value:?} is not carried over"),
            "annotate the AddressPool, if something reads it there",
        );
        fields.report(&format!("annotations[{key}]"), problem);
    }
    let metadata = ObjectMeta {
        name: fields.take("name"),
        labels: fields.take("labels"),
        creation_timestamp: created,
        ..ObjectMeta::default()
    };
    fields.finish();
    if metadata.name.is_none() {
        let problem = Problem::error("is missing", "name the object and migrate again");
        migration.add(problem.field("metadata.name"), place);
    }
    metadata.name.is_some().then_some(metadata)
}

/// The addresses that can be used, without blanks.
pub(super) fn usable(texts: Vec<String>, name: &str, fields: &mut Fields<'_>) -> Vec<String> {
    let mut usable = vec![];
    for (at, text) in texts.into_iter().enumerate() {
        match Range::parse(&text, Ends::Included) {
            Ok(_) => usable.push(text.chars().filter(|c| !c.is_whitespace()).collect()),
            Err(error) => fields.error(&format!("{name}[{at}]"), &error.to_string()),
        }
    }
    usable
}

/// Says what a pool for some does differently here: it is strict.
pub(super) fn say_strict(spec: &AddressPoolSpec, project: &str, fields: &mut Fields<'_>, name: &str) {
    let Some(who) = &spec.service_allocation else {
        return;
    };
    let selects = *who
        != (ServiceAllocation {
            priority: who.priority,
            ..ServiceAllocation::default()
        });
    if selects && spec.auto_assign {
        let problem = Problem::note(
            format!(
                "once the pool is exhausted, {project} gives its Services addresses from pools for everyone; here they wait"
            ),
            "set spec.serviceAllocation.strict: false to have it as before",
        );
        fields.report(name, problem);
    }
}

/// Adds the pool, unless something about it is in error.
pub(super) fn add(migration: &mut Migration, source: &str, metadata: ObjectMeta, spec: AddressPoolSpec) {
    let mut pool = AddressPool::new("", spec);
    pool.metadata = metadata;
    let is_error = |problem: &Problem| problem.severity == Severity::Error;
    let mut broken = migration
        .problems
        .iter()
        .any(|problem| problem.place == source && is_error(problem));
    if !broken {
        let problems = pool.pool().problems;
        broken = problems.iter().any(is_error);
        for problem in problems {
            migration.add(problem, source);
        }
    }
    match broken {
        true => migration.add(
            Problem::error("is left out", "correct what is said of it and migrate again"),
            source,
        ),
        false => migration.pools.push((source.to_owned(), pool)),
    }
}

/// Looks at all pools together, then forgets when they were created: the API server will say that anew.
pub(super) fn finish(mut migration: Migration) -> Migration {
    let pools: Vec<Pool> = migration
        .pools
        .iter()
        .filter_map(|(_, pool)| pool.pool().value)
        .collect();
    let all = allocate(&Snapshot {
        pools: pools.iter().collect(),
        reservations: vec![],
        namespaces: &BTreeMap::new(),
        requests: vec![],
    });
    let mut sources = BTreeMap::new();
    for (source, pool) in &mut migration.pools {
        pool.metadata.creation_timestamp = None;
        sources.insert(pool.metadata.name.clone().unwrap_or_default(), source.clone());
    }
    for (name, state) in all.pools {
        let (Some(conflict), Some(source)) = (state.conflict, sources.get(&*name)) else {
            continue;
        };
        let problem = Problem::warning(
            format!(
                "overlaps with address pool {} ({})",
                conflict.with, conflict.range
            ),
            "take the overlap out; until then the one that is created first gives addresses, the other does not",
        );
        migration.add(problem, source);
    }
    migration
}
