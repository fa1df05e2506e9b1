//! The room `kube` against a small API server of the test's own: lists, watches, leases, status writes and
//! Events over real connections, with everything that servers and networks do to them.
//! Nothing here waits by sleeping: each change is awaited with a deadline.

mod events;
mod lease;
mod server;
mod streams;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use maglane_control::kube::{Access, Origin};
use server::Server;

/// For anything that should happen.
const DEADLINE: Duration = Duration::from_secs(30);

/// The way to the server. The directory holds the kubeconfig.
async fn access(server: &Server) -> (Arc<Access>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig(server, "first")).unwrap();
    let flag = "--kubeconfig".to_owned();
    let access = Access::open(Origin::File { flag, path }).await.unwrap();
    (Arc::new(access), dir)
}

fn kubeconfig(server: &Server, token: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u, namespace: balancer}}}}]
clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]
users: [{{name: u, user: {{token: {token}}}}}]
",
        server.address()
    )
}

/// Within the deadline, or the test fails and says what it waited for.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} for {what}"),
    }
}
