//! One key of one Secret among the manifests, read when a session begins: Secrets are in no event, store or recording.

use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::Secret;

use super::document::documents;
use super::watch::is_manifest;
use crate::kube::secret_text;
use crate::model::PASSWORD_KEY;

/// The text at `password` of the first Secret with this name, in whichever namespace; the error names the remedy.
pub fn password(dir: &Path, name: &str) -> Result<String, String> {
    let listed = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut files: Vec<_> = listed.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let named = |secret: &Secret| secret.metadata.name.as_deref() == Some(name);
    let secret = files.iter().flat_map(|file| secrets(file)).find(named);
    let secret = secret.ok_or(format!(
        "Secret {name} is in no file of {}: add it",
        dir.display()
    ))?;
    secret_text(secret).ok_or(format!(
        "Secret {name} has no text at key {PASSWORD_KEY:?}: add it"
    ))
}

fn secrets(file: &Path) -> Vec<Secret> {
    let Some(name) = file
        .file_name()
        .and_then(|name| name.to_str())
        .filter(|name| is_manifest(name))
    else {
        return vec![];
    };
    let Ok(bytes) = fs::read(file) else {
        return vec![];
    };
    documents(name, &bytes)
        .into_iter()
        .filter_map(|document| document.content.ok())
        .filter(|value| {
            (value["apiVersion"].as_str(), value["kind"].as_str()) == (Some("v1"), Some("Secret"))
        })
        .filter_map(|value| serde_json::from_value(value).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_in_either_spelling_and_its_absence_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = "\
apiVersion: v1
kind: Secret
metadata: {name: plain}
stringData: {password: s3cret}
---
apiVersion: v1
kind: Secret
metadata: {name: stored}
data: {password: czNjcmV0}
---
apiVersion: v1
kind: Secret
metadata: {name: other}
data: {token: czNjcmV0}
";
        fs::write(dir.path().join("secrets.yaml"), file).unwrap();
        fs::write(dir.path().join("broken.yaml"), ": : :").unwrap();
        fs::write(dir.path().join("notes.txt"), file.replace("plain", "hidden")).unwrap();
        let read = |name| password(dir.path(), name);
        assert_eq!(read("plain").as_deref(), Ok("s3cret"));
        assert_eq!(read("stored").as_deref(), Ok("s3cret"));
        assert!(read("other").unwrap_err().contains("password"));
        assert!(read("hidden").unwrap_err().contains("in no file"));
    }
}
