//! Is it still the same cluster? A watch says nothing when etcd was restored or wiped under it; it is silent
//! for ever (kubernetes#107457). So one small list is asked for now and then: its version must never go back,
//! and the namespace `kube-system` must be the one it was (FAILURES K4).

use std::sync::Arc;
use std::time::Duration;

use kube::core::Request;
use kube::core::params::ListParams;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::sleep;

use super::body::{Body, Limit};
use super::fold::Version;
use super::wire::version;
use super::{Common, Reporter, What};
use crate::kube::backoff::spread;
use crate::kube::config::CALL_TIMEOUT;
use crate::kube::failure::Failure;

/// What is read, as problems name it.
pub(super) const WHAT: &str = "namespaces";
/// Between two probes, whatever asks for one.
const APART: Duration = Duration::from_secs(1);

/// What a probe saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    version: Version,
    /// Of `kube-system`; empty while there is none.
    uid: String,
}

impl Sight {
    fn read(text: &[u8]) -> Result<Sight, Failure> {
        #[derive(Deserialize)]
        struct List {
            metadata: Meta,
            #[serde(default)]
            items: Option<Vec<Item>>,
        }
        #[derive(Deserialize)]
        struct Item {
            metadata: Meta,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        #[derive(Default)]
        struct Meta {
            resource_version: String,
            uid: String,
        }
        let list: List = serde_json::from_slice(text)
            .map_err(|error| Failure::Garbled(format!("the list of namespaces is none: {error}")))?;
        let system = list.items.into_iter().flatten().next();
        Ok(Sight {
            version: version(&list.metadata.resource_version),
            uid: system.map(|item| item.metadata.uid).unwrap_or_default(),
        })
    }

    /// Takes the place of what was seen before; says whether it is another history.
    pub fn replace(&mut self, now: Sight) -> bool {
        let back = now.version.is_some() && now.version < self.version;
        let other = !now.uid.is_empty() && !self.uid.is_empty() && now.uid != self.uid;
        if now.uid.is_empty() {
            self.version = now.version;
        } else {
            *self = now;
        }
        back || other
    }
}

/// Never ends.
pub(super) async fn probe(common: Arc<Common>, histories: watch::Sender<u64>, mut reporter: Reporter) {
    let mut seen = Sight::default();
    loop {
        match look(&common).await {
            Ok(sight) => {
                if seen.replace(sight) {
                    histories.send_modify(|history| *history += 1);
                }
                reporter.well(&common.back).await;
            }
            Err(failure) => {
                if let Failure::Unauthorized(_) = &failure {
                    common.access.renew().await;
                }
                reporter.tell(What::Failed(failure)).await;
            }
        }
        sleep(APART).await;
        tokio::select! {
            () = common.back.notified() => {}
            () = sleep(spread(common.settings.probe_every, fastrand::u32(..))) => {}
        }
    }
}

async fn look(common: &Common) -> Result<Sight, Failure> {
    let params = ListParams::default().limit(1).fields("metadata.name=kube-system");
    let request = Request::new("/api/v1/namespaces")
        .list(&params)
        .map_err(kube::Error::BuildRequest)?;
    let client = common.access.clients().calls;
    let body = Body::open(&client, request, Limit::within(CALL_TIMEOUT)).await?;
    Sight::read(&body.whole(CALL_TIMEOUT).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(version: u64, uid: &str) -> Sight {
        let items = match uid {
            "" => String::new(),
            uid => format!(r#"{{"metadata":{{"name":"kube-system","uid":"{uid}"}}}}"#),
        };
        let list = format!(r#"{{"metadata":{{"resourceVersion":"{version}"}},"items":[{items}]}}"#);
        Sight::read(list.as_bytes()).unwrap()
    }

    #[test]
    fn a_version_that_goes_back_is_another_history_once() {
        let mut seen = Sight::default();
        assert!(!seen.replace(sight(100, "a")));
        assert!(!seen.replace(sight(100, "a")));
        assert!(!seen.replace(sight(200, "a")));
        assert!(seen.replace(sight(150, "a")));
        assert!(!seen.replace(sight(151, "a")));
    }

    #[test]
    fn another_kube_system_is_another_history_also_when_the_version_is_past_the_old_one() {
        let mut seen = Sight::default();
        assert!(!seen.replace(sight(100, "")));
        assert!(!seen.replace(sight(100, "a")));
        assert!(!seen.replace(sight(101, "")));
        assert!(seen.replace(sight(300, "b")));
        assert!(!seen.replace(sight(301, "b")));
    }

    #[test]
    fn what_is_no_list_is_a_failure() {
        assert!(Sight::read(b"<html>").is_err());
    }
}
