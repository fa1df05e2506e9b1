//! What decides about announcing (maglane.io/v1alpha1) -> [`AnnounceObject`].

use kube::Resource;
use serde::Serialize;

use super::pools::{good, observed};
use super::{Converted, Misfit, Origin};
use crate::crd::Read;
use crate::model::{AnnounceObject, AnnounceSpec};

/// A kind that decides about announcing.
pub(crate) trait Announces: Resource {
    type Status: Serialize;

    fn spec(&self) -> Read<AnnounceSpec>;

    fn status(&self) -> &Option<Self::Status>;
}

pub(crate) fn announce<T: Announces>(
    object: T,
    origin: Origin<'_>,
) -> Result<Converted<AnnounceObject>, Misfit> {
    let observed = observed(object.status());
    good(object.spec(), origin, |spec, problems| AnnounceObject {
        name: origin.object.name.clone(),
        generation: object.meta().generation,
        spec,
        observed,
        problems,
    })
}
