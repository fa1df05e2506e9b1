//! What has to hold before a write: the body is about what the path names, and about its newest version.

use serde_json::Value;

use super::Write;
use super::parts::text;
use crate::cluster::refusal::Refusal;

impl Write<'_> {
    /// The body speaks of what the path names.
    pub(super) fn check_identity(&self, object: &Value) -> Result<(), Refusal> {
        if !object["metadata"].is_object() && !object["metadata"].is_null() {
            return Err(Refusal::bad_request("metadata is no object"));
        }
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        if kind != self.resource.kind || version != self.resource.api_version() {
            let message = format!(
                "{version}/{kind} in the data does not match the expected {}/{}",
                self.resource.api_version(),
                self.resource.kind
            );
            return Err(Refusal::bad_request(message));
        }
        let name = text(&object["metadata"]["name"]);
        if let Some(expected) = &self.target.name
            && !name.is_empty()
            && name != expected
        {
            let message =
                format!("the name of the object ({name}) does not match the name on the URL ({expected})");
            return Err(Refusal::bad_request(message));
        }
        let namespace = text(&object["metadata"]["namespace"]);
        if !namespace.is_empty() && namespace != self.target.namespace {
            let message = format!(
                "the namespace of the provided object ({namespace}) does not match the namespace sent on the \
                 request ({})",
                self.target.namespace
            );
            return Err(Refusal::bad_request(message));
        }
        Ok(())
    }

    pub(super) fn check_version(&self, old: &Value, object: &Value) -> Result<(), Refusal> {
        let version = text(&object["metadata"]["resourceVersion"]);
        if version.is_empty() || version == text(&old["metadata"]["resourceVersion"]) {
            Ok(())
        } else {
            Err(Refusal::stale(&self.target))
        }
    }

    pub(super) fn check_preconditions(&self, old: &Value, wanted: &Value) -> Result<(), Refusal> {
        for field in ["uid", "resourceVersion"] {
            let wanted = text(&wanted[field]);
            if !wanted.is_empty() && wanted != text(&old["metadata"][field]) {
                return Err(Refusal::precondition(
                    &self.target,
                    &format!("{field} in precondition: {wanted}"),
                ));
            }
        }
        Ok(())
    }
}
