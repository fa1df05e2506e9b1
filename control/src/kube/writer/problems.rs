//! What stands in the way of status writes, in words.

use crate::kube::failure::Failure;
use crate::kube::kinds::resource;
use crate::model::{ObjectKind, ObjectRef};
use crate::problem::Problem;

pub(super) fn refused(object: &ObjectRef, text: &str) -> Problem {
    let message = format!("its status was refused: {text}");
    let remedy = "apply the CRDs of this version (deploy/crds); else report it as a bug";
    Problem::error(message, remedy).about(object.clone())
}

pub(super) fn forbidden(kind: ObjectKind, failure: &Failure) -> Problem {
    let plural = resource(kind).plural;
    let message = format!("the status of {plural} cannot be written: {failure}");
    Problem::error(message, failure.remedy(&format!("patch {plural}/status")))
}

pub(super) fn contested(object: &ObjectRef, text: &str) -> Problem {
    let rivals = rivals(text);
    let message = match rivals.is_empty() {
        true => format!("somebody else owns what we write into its status: {text}"),
        false => format!("its status is also written by {}", rivals.join(" and ")),
    };
    quarrel(object, message)
}

pub(super) fn undone(object: &ObjectRef) -> Problem {
    quarrel(object, "somebody undoes what we write into its status".to_owned())
}

fn quarrel(object: &ObjectRef, message: String) -> Problem {
    let remedy = "stop one of the two writers; until then we write at most once a minute";
    Problem::error(message, remedy).about(object.clone())
}

/// `conflict with "NAME" using v1: .status...`, once a manager.
fn rivals(text: &str) -> Vec<&str> {
    let parts = text.split("with \"").skip(1);
    let mut names: Vec<&str> = parts.filter_map(|part| part.split('"').next()).collect();
    names.sort_unstable();
    names.dedup();
    names
}
