//! CustomResourceDefinitions: checked, established at once, and their kinds served from then on.

use serde_json::{Value, json};

use crate::cluster::double::clock;
use crate::cluster::double::kinds;
use crate::cluster::double::store::State;
use crate::cluster::refusal::Cause;

pub(super) fn admit(definition: &mut Value) -> Vec<Cause> {
    let names = &definition["spec"]["names"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list_kind = format!("{}List", text(&names["kind"]));
    let singular = text(&names["kind"]).to_lowercase();
    let expected = kinds::id(&text(&definition["spec"]["group"]), &text(&names["plural"]));
    let Some(resource) = kinds::defined(definition) else {
        return vec![Cause::required("spec")];
    };
    let name = &definition["metadata"]["name"];
    if *name != json!(expected) {
        let why = "must be spec.names.plural+\".\"+spec.group";
        return vec![Cause::invalid("metadata.name", name, why)];
    }
    let names = &mut definition["spec"]["names"];
    for (field, default) in [("listKind", list_kind), ("singular", singular)] {
        if names[field].is_null() {
            names[field] = json!(default);
        }
    }
    let names = names.clone();
    if definition["status"]["conditions"].is_null() {
        let condition = |kind: &str, reason: &str, message: &str| {
            json!({
                "type": kind, "status": "True", "reason": reason, "message": message,
                "lastTransitionTime": clock::now(),
            })
        };
        definition["status"] = json!({
            "acceptedNames": names,
            "storedVersions": [resource.version],
            "conditions": [
                condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            ],
        });
    }
    Vec::new()
}

pub(super) fn serve(state: &mut State, definition: &Value) {
    if let Some(resource) = kinds::defined(definition) {
        state.serve(resource);
    }
}
