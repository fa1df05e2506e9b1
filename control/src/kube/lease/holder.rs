//! The elector's shell: makes its calls, each under a timeout, and tells who may write.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Answer, Call, Elector, LeaseSettings, Stored, WallTime};
use crate::error::ControlError;
use crate::kube::config::Access;
use crate::kube::failure::Failure;

/// A name of this process alone.
pub fn identity(node: &str) -> String {
    // Seeded by the operating system for each process.
    let random = RandomState::new().hash_one(std::process::id());
    format!("{node}_{random:016x}")
}

/// What the election comes to, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// This process may write.
    Holder,
    /// Another one may; empty where nobody is known to.
    Other(String),
}

#[derive(Clone, Debug, Default)]
struct Standing {
    /// End of our right to write.
    until: Option<Instant>,
    holder: String,
}

/// The right to write. Asked before every write; it ends by itself.
#[derive(Clone, Debug)]
pub struct Holder(watch::Receiver<Standing>);

impl Holder {
    pub fn may_write(&self, now: Instant) -> bool {
        self.until().is_some_and(|until| now < until)
    }

    /// A write must be over by then.
    pub fn until(&self) -> Option<Instant> {
        self.0.borrow().until
    }

    /// Returns when the right was given, prolonged or taken; never when the election is over.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// This process's part in the election. Dropping it ends it without release.
#[derive(Debug)]
pub struct Election {
    standing: watch::Receiver<Standing>,
    told: Option<Role>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Election {
    /// Call inside a tokio runtime.
    pub fn start(
        access: Arc<Access>,
        settings: LeaseSettings,
        identity: String,
    ) -> Result<Election, ControlError> {
        settings.check()?;
        let (tell, standing) = watch::channel(Standing::default());
        let (stop, stopped) = oneshot::channel();
        let candidate = Candidate {
            elector: Elector::new(settings.clone(), identity),
            access,
            settings,
            start: Instant::now(),
            tell,
        };
        Ok(Election {
            standing,
            told: None,
            stop: Some(stop),
            task: tokio::spawn(candidate.run(stopped)),
        })
    }

    pub fn holder(&self) -> Holder {
        Holder(self.standing.clone())
    }

    /// The role when it is another than last told; at first in any case. May be dropped while it waits.
    pub async fn next(&mut self) -> Role {
        loop {
            let standing = self.standing.borrow_and_update().clone();
            let until = standing.until.filter(|until| Instant::now() < *until);
            let role = match until {
                Some(_) => Role::Holder,
                None => Role::Other(standing.holder),
            };
            if self.told.as_ref() != Some(&role) {
                self.told = Some(role.clone());
                return role;
            }
            let lapse = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.standing.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                () = lapse => {}
            }
        }
    }

    /// Gives the lease back. Writes must be over: whoever waits may hold it at once.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // A task that is gone has nothing to release.
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Candidate {
    elector: Elector,
    access: Arc<Access>,
    settings: LeaseSettings,
    start: Instant,
    tell: watch::Sender<Standing>,
}

impl Candidate {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let due = self.start + self.elector.due();
            tokio::select! {
                _ = &mut stopped => break,
                () = sleep_until(due) => {}
            }
            let Some(call) = self.elector.call(self.start.elapsed(), wall()) else {
                continue;
            };
            let answer = self.perform(call).await;
            self.elector
                .answered(answer, self.start.elapsed(), fastrand::u32(..));
            self.publish();
        }
        let release = self.elector.release(wall());
        self.publish();
        if let Some(call) = release {
            // Without an answer the next holder waits for the lease to run out.
            self.perform(call).await;
        }
    }

    fn publish(&self) {
        let standing = Standing {
            until: self.elector.until().map(|until| self.start + until),
            holder: self.elector.holder().to_owned(),
        };
        self.tell.send_replace(standing);
    }

    async fn perform(&self, call: Call) -> Answer {
        let LeaseSettings { namespace, name, .. } = &self.settings;
        let leases: Api<Lease> = Api::namespaced(self.access.clients().calls, namespace);
        let post = PostParams::default();
        let reply = async {
            match call {
                Call::Get => leases.get(name).await,
                Call::Create(record) => {
                    leases
                        .create(&post, &record.into_lease(namespace, name, None))
                        .await
                }
                Call::Update(Stored { record, version }) => {
                    let lease = record.into_lease(namespace, name, Some(version));
                    leases.replace(name, &post, &lease).await
                }
            }
        };
        match timeout(self.settings.call_timeout(), reply).await {
            Ok(Ok(lease)) => Answer::Stored(Stored::of(lease)),
            Ok(Err(error)) => self.refused(Failure::from(error)).await,
            Err(_) => Answer::Unknown,
        }
    }

    async fn refused(&self, failure: Failure) -> Answer {
        match failure {
            Failure::NotFound(_) => Answer::Missing,
            Failure::Conflict(_) => Answer::Conflict,
            Failure::Unauthorized(_) => {
                self.access.renew().await;
                Answer::Unknown
            }
            Failure::Expired
            | Failure::Forbidden(_)
            | Failure::Invalid(_)
            | Failure::Unavailable { .. }
            | Failure::Unreachable(_)
            | Failure::TimedOut(_)
            | Failure::Garbled(_) => Answer::Unknown,
        }
    }
}

/// Only written into the record.
fn wall() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    WallTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
