//! The bodies of PATCH: merge patch (RFC 7386), JSON patch (RFC 6902), server-side apply.

use serde_json::Value;

use crate::cluster::refusal::Refusal;

pub(super) enum Patch {
    Merge(Value),
    Json(json_patch::Patch),
    Apply(Value),
}

/// # Errors
/// 415 for a kind of patch that is not served, 400 for a body that is none.
pub(super) fn read(content_type: &str, body: &[u8]) -> Result<Patch, Refusal> {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    match kind {
        "application/merge-patch+json" => object(body).map(Patch::Merge),
        "application/apply-patch+yaml" => object(body).map(Patch::Apply),
        "application/json-patch+json" => serde_json::from_slice(body)
            .map(Patch::Json)
            .map_err(|error| Refusal::bad_request(error.to_string())),
        other => Err(Refusal::media_type(other)),
    }
}

/// A JSON or YAML object.
///
/// # Errors
/// 400 when it is none.
pub(super) fn object(body: &[u8]) -> Result<Value, Refusal> {
    let bad = |error: String| Refusal::bad_request(format!("the body is not an object: {error}"));
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(_) => serde_saphyr::from_slice(body).map_err(|error| bad(error.to_string()))?,
    };
    if value.is_object() {
        Ok(value)
    } else {
        Err(bad("it is a list or a scalar".to_owned()))
    }
}

/// Lays a merge or JSON patch over the object. Applied objects are merged where their owners are known.
pub(super) fn lay(patch: &Patch, object: &mut Value) -> Result<(), Refusal> {
    match patch {
        Patch::Merge(patch) => json_patch::merge(object, patch),
        Patch::Json(patch) => {
            json_patch::patch(object, patch).map_err(|error| Refusal::bad_request(error.to_string()))?;
        }
        Patch::Apply(_) => {}
    }
    if object["metadata"].is_object() {
        Ok(())
    } else {
        Err(Refusal::bad_request("the patched object has no metadata"))
    }
}
