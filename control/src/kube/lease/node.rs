//! This node's own lease: a sign of life every half of its duration, and what other nodes must know of this one.
//!
//! Nobody competes for it, so it is simply written (server-side apply). It counts from the moment before a renewal
//! was sent: whoever watches sees the renewal later, waits the whole duration after that, and finds this node silent.
//! Every call has a timeout, so one that hangs cannot keep the next from being made in time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::kube::backoff::spread;
use crate::kube::config::Access;
use crate::kube::failure::Failure;
use crate::l2::{FACTS, LEASE_LABEL, LEASE_PREFIX, NodeFacts};

/// Others take over so long after they saw the last renewal.
const DURATION: Duration = Duration::from_secs(5);
const RENEW: Duration = Duration::from_millis(2500);
/// Of a call: after a lost one another is made in time.
const CALL: Duration = Duration::from_millis(1500);
const RETRY: Duration = Duration::from_millis(500);
const MANAGER: &str = "maglane-node";

/// The lease while it is held. Dropping it ends the renewals without giving it back.
#[derive(Debug)]
pub struct NodeLeaseHolder {
    facts: watch::Sender<Option<NodeFacts>>,
    held: watch::Receiver<Option<Instant>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl NodeLeaseHolder {
    /// Nothing is written before [`Self::hold`]. Call inside a tokio runtime.
    pub fn start(access: Arc<Access>, namespace: &str, node: &str, identity: String) -> NodeLeaseHolder {
        let (facts, wanted) = watch::channel(None);
        let (tell, held) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let keeper = Keeper {
            access,
            namespace: namespace.to_owned(),
            name: format!("{LEASE_PREFIX}{node}"),
            identity,
            wanted,
            tell,
        };
        NodeLeaseHolder {
            facts,
            held,
            stop: Some(stop),
            task: tokio::spawn(keeper.run(stopped)),
        }
    }

    /// Hold it from now on, and say this in it.
    pub fn hold(&self, facts: NodeFacts) {
        self.facts.send_replace(Some(facts));
    }

    /// Until when it is held, each time that is renewed. May be dropped while it waits.
    pub async fn next(&mut self) -> Instant {
        loop {
            if self.held.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(until) = *self.held.borrow_and_update() {
                return until;
            }
        }
    }

    /// Gives it back, so that others need not wait. Answers must have ended.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // A task that is gone holds nothing.
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }
}

impl Drop for NodeLeaseHolder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeper {
    access: Arc<Access>,
    namespace: String,
    name: String,
    identity: String,
    wanted: watch::Receiver<Option<NodeFacts>>,
    tell: watch::Sender<Option<Instant>>,
}

impl Keeper {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut due = Instant::now();
        loop {
            let holding = self.wanted.borrow().is_some();
            tokio::select! {
                _ = &mut stopped => break,
                // News must not wait for the renewal.
                changed = self.wanted.changed() => if changed.is_err() { break },
                () = sleep_until(due), if holding => {}
            }
            let facts = self.wanted.borrow_and_update().clone();
            if let Some(facts) = facts {
                due = self.renew(&facts).await;
            }
        }
        let facts = self.wanted.borrow().clone();
        if let Some(facts) = facts {
            // Without an answer others wait for it to run out.
            let _ = self.write("", &facts).await;
        }
    }

    /// Returns when to try again.
    async fn renew(&self, facts: &NodeFacts) -> Instant {
        let sent = Instant::now();
        match self.write(&self.identity, facts).await {
            Ok(()) => {
                self.tell.send_replace(Some(sent + DURATION));
                sent + RENEW
            }
            Err(failure) => {
                tracing::warn!(
                    "the lease {}/{} is not renewed: {failure}",
                    self.namespace,
                    self.name
                );
                if let Failure::Unauthorized(_) = failure {
                    self.access.renew().await;
                }
                Instant::now() + spread(RETRY, fastrand::u32(..))
            }
        }
    }

    async fn write(&self, holder: &str, facts: &NodeFacts) -> Result<(), Failure> {
        let leases: Api<Lease> = Api::namespaced(self.access.clients().calls, &self.namespace);
        let params = PatchParams::apply(MANAGER).force();
        let body = body(&self.name, &self.namespace, holder, facts, &wall());
        let call = async { leases.patch(&self.name, &params, &Patch::Apply(&body)).await };
        match timeout(CALL, call).await {
            Ok(written) => Ok(written.map(drop)?),
            Err(_) => Err(Failure::TimedOut(CALL)),
        }
    }
}

fn body(name: &str, namespace: &str, holder: &str, facts: &NodeFacts, now: &str) -> Value {
    // Plain maps and numbers: they have a JSON form.
    let facts = serde_json::to_string(facts).unwrap_or_default();
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": { LEASE_LABEL: "" },
            "annotations": { FACTS: facts },
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": DURATION.as_secs(),
            "renewTime": now,
        },
    })
}

/// Only ever compared for being another one.
fn wall() -> String {
    use k8s_openapi::jiff::Timestamp;
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{now:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert;
    use crate::l2::{NodeLease, Standing, Subnets};
    use crate::model::{ClusterId, ObjectKind, ObjectName, ObjectRef};

    #[test]
    fn what_one_node_writes_another_reads() {
        let network = "10.0.0.0/24".parse().unwrap();
        let facts = NodeFacts {
            subnets: Subnets([("eth0".into(), vec![network])].into()),
            standing: Standing::Settled,
        };
        let body = body(
            "maglane-node-lb-1",
            "lb",
            "lb-1_7",
            &facts,
            "2026-01-02T03:04:05.000006Z",
        );
        let lease: Lease = serde_json::from_value(body).unwrap();
        let name = ObjectName::of(ClusterId::OWN, "lb", "maglane-node-lb-1");
        let object = ObjectRef {
            kind: ObjectKind::NodeLease,
            name,
        };
        let origin = convert::Origin {
            object: &object,
            place: "kubernetes",
        };
        let convert::Converted::Object(read) = convert::node_lease(lease, origin).unwrap() else {
            panic!("it is left alone");
        };
        let want = NodeLease {
            node: "lb-1".into(),
            holder: "lb-1_7".into(),
            seconds: 5,
            renewed: 1_767_323_045_000_006,
            facts,
        };
        assert_eq!(*read, want);
    }
}
