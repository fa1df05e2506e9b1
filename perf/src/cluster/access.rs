//! How to reach a cluster as one user: a server, its authority, a client certificate; as a kubeconfig too.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Who asks, as a client certificate says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User {
    pub name: String,
    pub group: Option<String>,
}

impl User {
    /// Passes every authorisation.
    #[must_use]
    pub fn admin() -> Self {
        Self {
            name: "admin".to_owned(),
            group: Some("system:masters".to_owned()),
        }
    }

    /// May do nothing until a binding names it.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            group: None,
        }
    }

    /// The user that a service account's bindings mean: run the product under the roles it ships with.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            group: Some("system:serviceaccounts".to_owned()),
        }
    }

    /// The groups that a server puts this user in.
    #[must_use]
    pub fn groups(&self) -> Vec<&str> {
        self.group
            .as_deref()
            .into_iter()
            .chain(["system:authenticated"])
            .collect()
    }
}

/// All that a client needs, as PEM.
#[derive(Debug, Clone)]
pub struct Access {
    pub server: SocketAddr,
    pub user: User,
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

impl Access {
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.server)
    }

    /// A kubeconfig with one context, all in one file.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        let [authority, certificate, key] =
            [&self.authority, &self.certificate, &self.key].map(|pem| STANDARD.encode(pem));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster:\n    \
             server: {}\n    certificate-authority-data: {authority}\ncontexts:\n- name: test\n  context:\n    \
             cluster: test\n    user: test\nusers:\n- name: test\n  user:\n    \
             client-certificate-data: {certificate}\n    client-key-data: {key}\n",
            self.url()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_holds_everything_in_one_file() {
        let access = Access {
            server: "127.0.0.1:6443".parse().unwrap(),
            user: User::admin(),
            authority: "a".to_owned(),
            certificate: "c".to_owned(),
            key: "k".to_owned(),
        };
        let text = access.kubeconfig();
        let parsed: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(
            parsed["clusters"][0]["cluster"]["server"],
            "https://127.0.0.1:6443"
        );
        assert_eq!(parsed["users"][0]["user"]["client-key-data"], "aw==");
        assert_eq!(parsed["current-context"], "test");
    }

    #[test]
    fn an_ipv6_server_is_bracketed() {
        let access = Access {
            server: "[::1]:6443".parse().unwrap(),
            user: User::named("x"),
            authority: String::new(),
            certificate: String::new(),
            key: String::new(),
        };
        assert_eq!(access.url(), "https://[::1]:6443");
    }
}
