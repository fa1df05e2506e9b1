//! The clusters: their objects in as events, the controller's wishes out as calls. Nothing here decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::FutureExt;
use futures_util::future::select_all;
use maglane_control::event::{Event, Source};
use maglane_control::kube::events::{Note, Reason, Recorder};
use maglane_control::kube::lease::{Election, LeaseSettings, NodeLeaseHolder, Role, identity};
use maglane_control::kube::writer::{Ownership, StatusWrite as Write, Writer};
use maglane_control::kube::{Access, Cluster, ClusterSource, Origin, SessionWriter, StreamSettings};
use maglane_control::l2::NodeFacts;
use maglane_control::model::ClusterId;
use maglane_control::problem::Problem;
use maglane_control::status::{SessionWrite, StatusWrite, UserEvent};
use serde_json::Value;

use crate::cli::values::Kubeconfig;
use crate::settings::KubernetesSettings;

/// Name of the Lease of the process that allocates addresses.
const LEASE: &str = "maglane";
/// Longest wait for calls under way, and for the lease to be given back.
const FAREWELL: Duration = Duration::from_millis(1500);

/// All followed clusters; none is as good.
pub struct Kubernetes {
    sources: Vec<ClusterSource>,
    own: Option<Own>,
}

/// What is done in the own cluster.
struct Own {
    election: Election,
    writer: Writer,
    recorder: Recorder,
    sessions: SessionWriter,
    lease: NodeLeaseHolder,
    /// Zero of the controller's time.
    start: Instant,
    problems: Vec<Problem>,
}

impl Kubernetes {
    /// Reads credentials and connects to nothing yet: an API server that is down is no reason not to start.
    /// `start` is zero of the controller's time.
    pub async fn open(settings: &KubernetesSettings, start: Instant) -> Result<Kubernetes> {
        let Some(own) = &settings.own else {
            return Ok(Kubernetes {
                sources: vec![],
                own: None,
            });
        };
        let access = Arc::new(Access::open(origin(own)).await?);
        let home = &settings.namespace;
        let mut sources = vec![follow(&access, ClusterId::OWN, "kubernetes".to_owned(), home)];
        for (cluster, id) in settings.others.iter().zip(ClusterId::OWN.0 + 1..) {
            let origin = Origin::File {
                flag: format!("--cluster {}={}", cluster.name, cluster.kubeconfig.display()),
                path: cluster.kubeconfig.clone(),
            };
            let access = Arc::new(Access::open(origin).await?);
            sources.push(follow(
                &access,
                ClusterId(id),
                format!("cluster {}", cluster.name),
                home,
            ));
        }
        let lease = LeaseSettings::new(&settings.namespace, LEASE).lasting(settings.lease_duration);
        let election = Election::start(Arc::clone(&access), lease, identity(&settings.node_name))?;
        let name = identity(&settings.node_name);
        let own = Own {
            start,
            lease: NodeLeaseHolder::start(Arc::clone(&access), home, &settings.node_name, name),
            writer: Writer::new(Arc::clone(&access), election.holder()),
            sessions: SessionWriter::start(Arc::clone(&access)),
            recorder: Recorder::start(access, &settings.node_name),
            election,
            problems: vec![],
        };
        Ok(Kubernetes {
            sources,
            own: Some(own),
        })
    }

    /// What has changed, never nothing; waits for ever where no cluster is followed. May be dropped while it waits.
    pub async fn next(&mut self) -> Vec<Event> {
        let Kubernetes { sources, own } = self;
        if sources.is_empty() {
            return std::future::pending().await;
        }
        let told = select_all(sources.iter_mut().map(|source| source.next().boxed()));
        let own = async {
            match own {
                Some(own) => own.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (events, _, _) = told => events,
            events = own => events,
        }
    }

    pub fn write(&mut self, writes: Vec<StatusWrite>) {
        let Some(own) = &mut self.own else {
            return;
        };
        let now = now();
        for write in writes {
            own.writer.put(Write {
                body: dated(write.body, &write.since, &now),
                object: write.object,
                ownership: Ownership::Respect,
            });
        }
    }

    pub fn write_sessions(&self, writes: Vec<SessionWrite>) {
        if let Some(own) = &self.own {
            writes.into_iter().for_each(|write| own.sessions.put(write));
        }
    }

    pub fn tell(&self, events: Vec<UserEvent>) {
        let Some(own) = &self.own else {
            return;
        };
        for event in events {
            let known = Reason::ALL
                .into_iter()
                .find(|reason| reason.name() == &*event.reason);
            let Some(reason) = known else {
                tracing::error!("no Event is called {}; {} is not told", event.reason, event.note);
                continue;
            };
            own.recorder.tell(Note {
                object: event.object,
                uid: event.uid.into(),
                reason,
                text: event.note.into(),
            });
        }
    }

    /// This node is there for others from now on, and says this of itself.
    pub fn hold_lease(&self, facts: NodeFacts) {
        if let Some(own) = &self.own {
            own.lease.hold(facts);
        }
    }

    /// Ends calls and gives the lease back, so that another takes over at once.
    pub async fn stop(self) {
        let Some(mut own) = self.own else {
            return;
        };
        let farewell = async {
            own.writer.finish().await;
            tokio::join!(own.election.stop(), own.lease.stop());
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("the lease {LEASE} could not be given back in time; it runs out by itself");
        }
    }
}

impl Own {
    async fn next(&mut self) -> Vec<Event> {
        loop {
            tokio::select! {
                role = self.election.next() => {
                    match &role {
                        Role::Holder => tracing::info!("this process allocates addresses and writes status"),
                        Role::Other(holder) if holder.is_empty() => {}
                        Role::Other(holder) => tracing::info!("{holder} allocates addresses and writes status"),
                    }
                    return vec![Event::Leading(role == Role::Holder)];
                }
                until = self.lease.next() => {
                    let until = until.into_std().saturating_duration_since(self.start);
                    return vec![Event::NodeLeaseRenewed { until }];
                }
                _ = self.writer.next() => {
                    let problems = self.writer.problems();
                    if problems != self.problems {
                        self.problems.clone_from(&problems);
                        return vec![Event::SourceProblems { source: Source::Status, problems }];
                    }
                }
            }
        }
    }
}

pub fn origin(kubeconfig: &Kubeconfig) -> Origin {
    match kubeconfig {
        Kubeconfig::InCluster => Origin::InCluster,
        Kubeconfig::File(path) => Origin::File {
            flag: format!("--kubeconfig {}", path.display()),
            path: path.clone(),
        },
    }
}

/// Whatever the controller knows from the disk, it settles itself once the cluster has told all.
fn follow(access: &Arc<Access>, id: ClusterId, place: String, home: &str) -> ClusterSource {
    ClusterSource::start(
        Arc::clone(access),
        Cluster { id, place },
        StreamSettings {
            home: home.to_owned(),
            ..StreamSettings::default()
        },
        [],
    )
}

/// The wall clock as `metav1.Time` has it. It is only shown.
fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

/// The body with `lastTransitionTime` in each condition.
fn dated(mut body: Value, since: &std::collections::BTreeMap<Box<str>, Box<str>>, now: &str) -> Value {
    let conditions = body
        .pointer_mut("/status/conditions")
        .and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        let kind = condition["type"].as_str().unwrap_or_default();
        let time = since.get(kind).map_or(now, |since| since);
        condition["lastTransitionTime"] = time.into();
    }
    body
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let body = json!({ "status": { "conditions": [{ "type": "A" }, { "type": "B" }] } });
        let since = [("A".into(), "2026-01-01T00:00:00Z".into())].into();
        let dated = dated(body, &since, "2026-02-02T00:00:00Z");
        let times = dated["status"]["conditions"].as_array().unwrap().iter();
        let times: Vec<&str> = times.map(|c| c["lastTransitionTime"].as_str().unwrap()).collect();
        assert_eq!(times, ["2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"]);
        assert_eq!(dated_empty(), json!({ "status": {} }));
    }

    fn dated_empty() -> Value {
        dated(json!({ "status": {} }), &Default::default(), "")
    }
}
