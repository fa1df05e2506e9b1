//! The Lease object as the elector sees it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

/// Microseconds since 1970, for people; nothing is decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WallTime(pub i64);

impl WallTime {
    fn of(time: &MicroTime) -> WallTime {
        WallTime(time.0.as_microsecond())
    }

    fn time(self) -> Option<MicroTime> {
        Timestamp::from_microsecond(self.0).ok().map(MicroTime)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Empty: nobody.
    pub holder: String,
    pub seconds: u32,
    pub transitions: i32,
    pub acquired: Option<WallTime>,
    pub renewed: Option<WallTime>,
}

/// A record with the resourceVersion that it has, or replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub record: Record,
    pub version: String,
}

impl Record {
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// Held by `holder` from now on.
    pub fn claimed(&self, holder: &str, duration: Duration, wall: WallTime) -> Record {
        let kept = self.holder == holder;
        Record {
            holder: holder.to_owned(),
            seconds: u32::try_from(duration.as_secs()).unwrap_or(u32::MAX),
            transitions: if kept {
                self.transitions
            } else {
                self.transitions.saturating_add(1)
            },
            acquired: self.acquired.filter(|_| kept).or(Some(wall)),
            renewed: Some(wall),
        }
    }

    /// Held by nobody, as client-go leaves it.
    pub fn released(&self, wall: WallTime) -> Record {
        Record {
            holder: String::new(),
            seconds: 1,
            transitions: self.transitions,
            acquired: Some(wall),
            renewed: Some(wall),
        }
    }

    pub fn into_lease(self, namespace: &str, name: &str, version: Option<String>) -> Lease {
        Lease {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                resource_version: version,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.holder),
                lease_duration_seconds: i32::try_from(self.seconds).ok(),
                lease_transitions: Some(self.transitions),
                acquire_time: self.acquired.and_then(WallTime::time),
                renew_time: self.renewed.and_then(WallTime::time),
                ..LeaseSpec::default()
            }),
        }
    }
}

impl Stored {
    pub fn of(lease: Lease) -> Stored {
        let spec = lease.spec.unwrap_or_default();
        let seconds = spec.lease_duration_seconds.unwrap_or_default();
        Stored {
            record: Record {
                holder: spec.holder_identity.unwrap_or_default(),
                seconds: u32::try_from(seconds).unwrap_or_default(),
                transitions: spec.lease_transitions.unwrap_or_default(),
                acquired: spec.acquire_time.as_ref().map(WallTime::of),
                renewed: spec.renew_time.as_ref().map(WallTime::of),
            },
            version: lease.metadata.resource_version.unwrap_or_default(),
        }
    }
}
