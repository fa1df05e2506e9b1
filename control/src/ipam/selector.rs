//! Label selectors, as Kubernetes means them (meta/v1 LabelSelector): every requirement must hold.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub type Labels = BTreeMap<Box<str>, Box<str>>;

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Requirement {
    In(BTreeSet<Box<str>>),
    /// Holds without the label, too.
    NotIn(BTreeSet<Box<str>>),
    Exists,
    DoesNotExist,
}

/// All of these; an empty selector selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector(pub Vec<(Box<str>, Requirement)>);

impl Selector {
    pub fn selects_labels(&self, labels: &Labels) -> bool {
        self.selects(|key| labels.get(key).map(|value| &**value))
    }

    /// `value_of` gives a label's value.
    pub fn selects<'l>(&self, value_of: impl Fn(&str) -> Option<&'l str>) -> bool {
        let holds = |(key, requirement): &(Box<str>, Requirement)| match (requirement, value_of(key)) {
            (Requirement::In(values), Some(value)) => values.contains(value),
            (Requirement::In(_), None) => false,
            (Requirement::NotIn(values), Some(value)) => !values.contains(value),
            (Requirement::NotIn(_), None) => true,
            (Requirement::Exists, value) => value.is_some(),
            (Requirement::DoesNotExist, value) => value.is_none(),
        };
        self.0.iter().all(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_read_a_missing_label_as_kubernetes_does() {
        let values = |values: &[&str]| values.iter().map(|v| Box::from(*v)).collect();
        for (requirement, with_a, with_b, without) in [
            (Requirement::In(values(&["a"])), true, false, false),
            (Requirement::NotIn(values(&["a"])), false, true, true),
            (Requirement::Exists, true, true, false),
            (Requirement::DoesNotExist, false, false, true),
        ] {
            let selector = Selector(vec![("tier".into(), requirement)]);
            let selects =
                |value: Option<&'static str>| selector.selects(|key| value.filter(|_| key == "tier"));
            assert_eq!(
                (selects(Some("a")), selects(Some("b")), selects(None)),
                (with_a, with_b, without),
                "{selector:?}"
            );
        }
        assert!(Selector::default().selects(|_| None));
    }
}
