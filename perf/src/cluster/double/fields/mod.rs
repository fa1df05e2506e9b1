//! Who owns which field: server-side apply and `metadata.managedFields`, as structured-merge-diff does it.
//!
//! A path is a leaf: a scalar, an atomic list or map, an empty map; and an item of a keyed list besides its
//! leaves. Ownership is a set of paths per manager, operation and subresource.

mod apply;
mod owners;
mod path;
mod set;
mod shape;
mod tree;

pub(super) use apply::apply;
pub(super) use owners::{Manager, Operation, differs, track};
pub(super) use shape::{Key, Listing, Shape};

#[cfg(test)]
mod tests;
