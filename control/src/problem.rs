//! What is wrong with an object, a file or the whole, in words an operator can act on.
//!
//! A [`Problem`] is a value: whoever finds it says what, where and how to fix it; the binary logs it when it
//! appears and when it is gone, and the admin socket lists the present ones. It never stops anything.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::ObjectRef;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something asked for is not done.
    Error,
    /// It is done otherwise than asked.
    Warning,
    /// Good to know: something was left alone.
    Note,
}

impl Severity {
    pub const ALL: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Note];

    pub const fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// One complaint. Equal problems are one problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Problem {
    pub severity: Severity,
    /// The object, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// File and document, or another place of origin; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// Path of the field, as `spec.ports[0].port`; empty when it is about the whole object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong, with the offending value.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    pub fn new(severity: Severity, message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem {
            severity,
            object: None,
            place: String::new(),
            field: String::new(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    pub fn error(message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem::new(Severity::Error, message, remedy)
    }

    pub fn warning(message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem::new(Severity::Warning, message, remedy)
    }

    pub fn note(message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem::new(Severity::Note, message, remedy)
    }

    pub fn about(self, object: ObjectRef) -> Problem {
        Problem {
            object: Some(object),
            ..self
        }
    }

    pub fn at(self, place: impl Into<String>) -> Problem {
        Problem {
            place: place.into(),
            ..self
        }
    }

    pub fn field(self, field: impl Into<String>) -> Problem {
        Problem {
            field: field.into(),
            ..self
        }
    }
}

/// `place: object: field: message; remedy`, without the empty parts.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.message, self.remedy)
    }
}
