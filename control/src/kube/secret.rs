//! One key of one Secret, asked for when a session begins; nothing is watched and nothing kept.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::Access;
use super::failure::chain;
use crate::model::PASSWORD_KEY;

/// The text at `password`; the error names the Secret and the remedy. Bounded by the client's own timeouts.
pub async fn password(access: &Access, namespace: &str, name: &str) -> Result<String, String> {
    let secrets: Api<Secret> = Api::namespaced(access.clients().calls, namespace);
    let found = match secrets.get_opt(name).await {
        Ok(found) => found,
        Err(error) => {
            access.renew().await;
            return Err(format!(
                "Secret {namespace}/{name} cannot be read: {}",
                chain(&error)
            ));
        }
    };
    let secret = found.ok_or(format!("Secret {namespace}/{name} does not exist: create it"))?;
    text(secret).ok_or(format!(
        "Secret {namespace}/{name} has no text at key {PASSWORD_KEY:?}: add it"
    ))
}

/// As applied or as stored.
pub(crate) fn text(secret: Secret) -> Option<String> {
    let plain = secret.string_data.and_then(|mut data| data.remove(PASSWORD_KEY));
    let stored = || secret.data.and_then(|mut data| data.remove(PASSWORD_KEY));
    plain.or_else(|| String::from_utf8(stored()?.0).ok())
}
