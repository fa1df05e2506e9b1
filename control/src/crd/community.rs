//! `Community`: names for BGP communities, as MetalLB's Community.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::announce::{AnnounceStatus, community};
use super::{Read, bad_field};
use crate::convert::Announces;
use crate::model::{AnnounceSpec, CommunitySpec as Names};

/// Names that BgpAdvertisements may use.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "maglane.io",
    version = "v1alpha1",
    kind = "Community",
    plural = "communities",
    category = "maglane",
    status = "AnnounceStatus",
    derive = "PartialEq",
    doc = "Names for BGP communities.",
    printcolumn(name = "Names", type_ = "string", json_path = ".spec.communities[*].name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct CommunitySpec {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub communities: Vec<NamedCommunity>,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedCommunity {
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub name: String,
    /// 65001:100, or large:65001:1:2.
    #[schemars(
        length(min = 3, max = 64),
        regex(pattern = "^([0-9]{1,5}:[0-9]{1,5}|large:[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10})$")
    )]
    pub value: String,
}

impl Announces for Community {
    type Status = AnnounceStatus;

    fn status(&self) -> &Option<AnnounceStatus> {
        &self.status
    }

    fn spec(&self) -> Read<AnnounceSpec> {
        let mut problems = vec![];
        let mut communities = BTreeMap::new();
        for (at, named) in self.spec.communities.iter().enumerate() {
            let field = format!("spec.communities[{at}]");
            let name: Box<str> = named.name.as_str().into();
            match community(&named.value) {
                Some(Ok(value)) => {
                    if communities.insert(name, value).is_some() {
                        let text = format!("{:?} is named twice; remove one", named.name);
                        problems.push(bad_field(format!("{field}.name"), &text));
                    }
                }
                Some(Err(error)) => problems.push(bad_field(format!("{field}.value"), &error)),
                None => {
                    let text = format!(
                        "{:?} is no community; write 65001:100 or large:65001:1:2",
                        named.value
                    );
                    problems.push(bad_field(format!("{field}.value"), &text));
                }
            }
        }
        Read::new(AnnounceSpec::Community(Names { communities }), problems)
    }
}
