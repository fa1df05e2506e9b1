//! What the kinds about announcing have in common.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::bad_field;
use super::condition::Condition;
use super::selector::LabelSelector;
use crate::ipam::Selector;
use crate::model::{CommunityValue, Scope};
use crate::problem::Problem;

/// Whether it can be used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnnounceStatus {
    /// Accepted: it is in force as it is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// `field` is the list's path.
pub(super) fn selectors(field: &str, all: &[LabelSelector], problems: &mut Vec<Problem>) -> Vec<Selector> {
    let all = all.iter().enumerate();
    all.map(|(at, selector)| selector.selector(&format!("{field}[{at}]"), problems))
        .collect()
}

/// The lists that both advertisements have.
pub(super) fn scope(
    pools: &[String],
    [pool_selectors, services, nodes]: [&[LabelSelector]; 3],
    problems: &mut Vec<Problem>,
) -> Scope {
    Scope {
        pools: pools.iter().map(|name| name.as_str().into()).collect(),
        pool_selectors: selectors("spec.ipAddressPoolSelectors", pool_selectors, problems),
        services: selectors("spec.serviceSelectors", services, problems),
        nodes: selectors("spec.nodeSelectors", nodes, problems),
    }
}

/// A number that the schema has bounded already.
pub(super) fn bounded<N: TryFrom<i64> + PartialOrd + Copy + std::fmt::Display>(
    field: &str,
    number: i64,
    (least, most): (N, N),
    problems: &mut Vec<Problem>,
) -> N {
    match N::try_from(number).ok().filter(|n| (least..=most).contains(n)) {
        Some(number) => number,
        None => {
            let text = format!("{number} is out of bounds; write {least} to {most}");
            problems.push(bad_field(format!("spec.{field}"), &text));
            least
        }
    }
}

/// `65001:100`, `large:65001:1:2`, or one that RFCs name; `None` where it looks like none of them.
pub(super) fn community(text: &str) -> Option<Result<CommunityValue, String>> {
    use maglane_bgp::wire::Community;
    let known = match text {
        "no-export" => Some(Community::NO_EXPORT),
        "no-advertise" => Some(Community::NO_ADVERTISE),
        "graceful-shutdown" => Some(Community::GRACEFUL_SHUTDOWN),
        "no-llgr" => Some(Community::NO_LLGR),
        _ => None,
    };
    if let Some(known) = known {
        return Some(Ok(CommunityValue::Standard(known)));
    }
    let mended = |error: String| error.replacen(": write", "; write", 1);
    match text.strip_prefix("large:") {
        Some(numbers) => Some(
            numbers
                .parse()
                .map(CommunityValue::Large)
                .map_err(|error: maglane_bgp::error::ParseCommunityError| mended(error.to_string())),
        ),
        None if text.contains(':') => Some(
            text.parse()
                .map(CommunityValue::Standard)
                .map_err(|error: maglane_bgp::error::ParseCommunityError| mended(error.to_string())),
        ),
        None => None,
    }
}
