//! Label selectors as in meta/v1, with every field bounded.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::bad_field;
use crate::ipam::{Requirement, Selector};
use crate::problem::Problem;

/// Selects what fulfils all of it. An empty selector selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must have these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "label_values")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
    "In and NotIn need values, Exists and DoesNotExist must have none"))]
pub struct LabelRequirement {
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    pub operator: Operator,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

fn label_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 63 },
    })
}

impl LabelSelector {
    /// `field` is this selector's path.
    pub(super) fn selector(&self, field: &str, problems: &mut Vec<Problem>) -> Selector {
        let labels = self.match_labels.iter().map(|(key, value)| {
            let value = [value.as_str().into()].into_iter().collect();
            (key.as_str().into(), Requirement::In(value))
        });
        let expressions = self.match_expressions.iter().enumerate().map(|(at, expression)| {
            let key = expression.key.as_str().into();
            (
                key,
                expression.requirement(&format!("{field}.matchExpressions[{at}]"), problems),
            )
        });
        Selector(labels.chain(expressions).collect())
    }
}

impl LabelRequirement {
    fn requirement(&self, field: &str, problems: &mut Vec<Problem>) -> Requirement {
        let values = || self.values.iter().map(|value| value.as_str().into()).collect();
        let (requirement, wants_values) = match self.operator {
            Operator::In => (Requirement::In(values()), true),
            Operator::NotIn => (Requirement::NotIn(values()), true),
            Operator::Exists => (Requirement::Exists, false),
            Operator::DoesNotExist => (Requirement::DoesNotExist, false),
        };
        match (wants_values, self.values.is_empty()) {
            (true, true) => {
                let text = format!("{:?} needs values; list them", self.operator);
                problems.push(bad_field(format!("{field}.values"), &text));
            }
            (false, false) => {
                let text = format!("{:?} must have no values; remove them", self.operator);
                problems.push(bad_field(format!("{field}.values"), &text));
            }
            (true, false) | (false, true) => {}
        }
        requirement
    }
}
