//! The way to an API server: kubeconfig or in-cluster credentials -> clients with bounded waits.
//!
//! kube's own retries are off: they would hide for minutes what the back-off here must know (a Lease renewal
//! that sleeps past its time). Streams get no read timeout, their readers set deadlines of their own; short
//! calls get one, so that a connection to a hung server is given up (KUBERNETES §1.4, §1.5).

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::error::ControlError;
use crate::kube::failure::chain;

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Of one short call, answer included.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Credentials are read anew at most this often.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// Where address and credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The service account of the pod.
    InCluster,
    File {
        /// As given, for messages: `--kubeconfig PATH`, `--cluster NAME=PATH`.
        flag: String,
        path: PathBuf,
    },
}

/// The clients of one cluster.
#[derive(Clone)]
pub(crate) struct Clients {
    /// For lists and watches.
    pub streams: Client,
    /// For everything that is answered at once.
    pub calls: Client,
}

/// One cluster's API server. Shared by everything that talks to it.
pub struct Access {
    origin: Origin,
    current: Mutex<Current>,
}

struct Current {
    clients: Clients,
    namespace: String,
    read: Instant,
}

impl Access {
    /// Reads the credentials; connects to nothing yet. Call inside a tokio runtime.
    pub async fn open(origin: Origin) -> Result<Access, ControlError> {
        let current = read(&origin).await?;
        Ok(Access {
            origin,
            current: Mutex::new(current),
        })
    }

    pub(crate) fn clients(&self) -> Clients {
        self.current().clients.clone()
    }

    /// The namespace that the credentials name: in a cluster, the pod's own.
    pub fn namespace(&self) -> String {
        self.current().namespace.clone()
    }

    /// After a refusal: certificates and tokens may have been replaced on disk. When they cannot be read, the
    /// old ones stay.
    pub(crate) async fn renew(&self) {
        let age = self.current().read.elapsed();
        if age < RENEW_EVERY {
            return;
        }
        self.current().read = Instant::now();
        if let Ok(current) = read(&self.origin).await {
            *self.current() = current;
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(origin: &Origin) -> Result<Current, ControlError> {
    // Another crate of the process may bring a second provider; rustls then wants to be told which to use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = match origin {
        Origin::InCluster => Config::incluster().map_err(|error| ControlError::InCluster(chain(&error)))?,
        Origin::File { flag, path } => from_file(path).await.map_err(|detail| ControlError::Kubeconfig {
            flag: flag.clone(),
            detail,
        })?,
    };
    let namespace = config.default_namespace.clone();
    let clients = clients(config).map_err(|detail| match origin {
        Origin::InCluster => ControlError::InCluster(detail),
        Origin::File { flag, path: _ } => ControlError::Kubeconfig {
            flag: flag.clone(),
            detail,
        },
    })?;
    Ok(Current {
        clients,
        namespace,
        read: Instant::now(),
    })
}

async fn from_file(path: &Path) -> Result<Config, String> {
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| chain(&error))?;
    let through_proxy = names_proxy(&kubeconfig);
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| chain(&error))?;
    if !through_proxy {
        // kube takes HTTPS_PROXY as well; one from the environment was not meant for the control plane.
        config.proxy_url = None;
    }
    Ok(config)
}

/// Does the cluster of the current context have a `proxy-url`?
fn names_proxy(kubeconfig: &Kubeconfig) -> bool {
    let named = |name: &String| kubeconfig.contexts.iter().find(|context| context.name == *name);
    let context = kubeconfig.current_context.as_ref().and_then(named);
    let Some(context) = context.and_then(|named| named.context.as_ref()) else {
        return false;
    };
    let clusters = kubeconfig.clusters.iter();
    let cluster = clusters.filter(|named| named.name == context.cluster);
    let proxies = cluster.filter_map(|named| named.cluster.as_ref()?.proxy_url.as_deref());
    proxies.into_iter().any(|proxy| !proxy.is_empty())
}

fn clients(mut config: Config) -> Result<Clients, String> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(CALL_TIMEOUT);
    let streams = Client::try_from(config.clone()).map_err(|error| chain(&error))?;
    config.read_timeout = Some(CALL_TIMEOUT);
    config.reset_reader_on_write = true;
    let calls = Client::try_from(config).map_err(|error| chain(&error))?;
    Ok(Clients { streams, calls })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GOOD: &str = "
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: c, user: u, namespace: balancer}}]
clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: u, user: {token: first}}]
";

    fn file(text: &str) -> (tempfile::TempDir, Origin) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(&path, text).unwrap();
        let flag = format!("--cluster west={}", path.display());
        (dir, Origin::File { flag, path })
    }

    #[tokio::test]
    async fn a_good_file_opens_without_a_server() {
        let (_dir, origin) = file(GOOD);
        assert_eq!(Access::open(origin).await.unwrap().namespace(), "balancer");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_file_names_the_flag_and_the_remedy() {
        let cases = [
            ("{", "failed to parse"),
            (&GOOD.replace("current-context: here", ""), "current context"),
            (&GOOD.replace("cluster: c,", "cluster: other,"), "other"),
            (&GOOD.replace("http://127.0.0.1:1", "http://[::"), "url"),
        ];
        for (text, what) in cases {
            let (_dir, origin) = file(text);
            let error = Access::open(origin).await.err().unwrap().to_string();
            assert!(error.starts_with("--cluster west="), "{error}");
            assert!(error.contains(what), "{error}");
            assert!(error.contains("; "), "no remedy: {error}");
        }
        let flag = "--kubeconfig /nowhere".to_owned();
        let origin = Origin::File {
            flag,
            path: "/nowhere".into(),
        };
        let error = Access::open(origin).await.err().unwrap().to_string();
        assert!(error.starts_with("--kubeconfig /nowhere"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_proxy_counts_only_when_the_file_names_it() {
        let proxied = GOOD.replace("{server:", "{proxy-url: 'http://proxy:3128', server:");
        assert!(names_proxy(&Kubeconfig::from_yaml(&proxied).unwrap()));
        assert!(!names_proxy(&Kubeconfig::from_yaml(GOOD).unwrap()));
    }
}
