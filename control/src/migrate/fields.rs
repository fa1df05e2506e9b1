//! Takes fields out of an object one by one; whatever is left at the end is reported by name.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Migration;
use crate::problem::Problem;

pub(super) struct Fields<'m> {
    migration: &'m mut Migration,
    place: &'m str,
    /// `spec`; empty at the top.
    path: String,
    left: Map<String, Value>,
}

impl<'m> Fields<'m> {
    pub fn new(migration: &'m mut Migration, place: &'m str, path: &str, value: Value) -> Fields<'m> {
        let mut fields = Fields {
            migration,
            place,
            path: path.to_owned(),
            left: Map::new(),
        };
        match value {
            Value::Object(map) => fields.left = map,
            Value::Null => {}
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                fields.error("", &format!("{other} is no mapping; write its fields"));
            }
        }
        fields
    }

    /// The field as a `T`. `None` where it is absent, null or of another type; the latter is reported.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        match serde_path_to_error::deserialize(value) {
            Ok(value) => Some(value),
            Err(error) => {
                let inner = error.path().to_string();
                let name = match (inner.as_str(), inner.starts_with('[')) {
                    (".", _) => name.to_owned(),
                    (inner, true) => format!("{name}{inner}"),
                    (inner, false) => format!("{name}.{inner}"),
                };
                self.error(&name, &format!("{}; correct it and migrate again", error.inner()));
                None
            }
        }
    }

    /// The fields of a field.
    pub fn section(&mut self, name: &str) -> Fields<'_> {
        let value = self.left.remove(name).unwrap_or_default();
        let path = self.name(name);
        Fields::new(self.migration, self.place, &path, value)
    }

    /// Fields that the API server writes, or that mean nothing here.
    pub fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.left.remove(*name);
        }
    }

    pub fn error(&mut self, name: &str, text: &str) {
        let (message, remedy) = text
            .split_once("; ")
            .unwrap_or((text, "correct it and migrate again"));
        self.report(name, Problem::error(message, remedy));
    }

    pub fn report(&mut self, name: &str, problem: Problem) {
        let field = self.name(name);
        self.migration.add(problem.field(field), self.place);
    }

    /// Reports what nobody has taken.
    pub fn finish(mut self) {
        for (name, value) in std::mem::take(&mut self.left) {
            let problem = Problem::warning(
                format!("{value} is not carried over: there is no such setting here"),
                "check that nothing depends on it",
            );
            self.report(&name, problem);
        }
    }

    fn name(&self, name: &str) -> String {
        match (self.path.is_empty(), name.is_empty()) {
            (true, _) => name.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{name}", self.path),
        }
    }
}
