//! What can be done to a cluster, and the gate that its connections pass.

use std::time::Duration;

use tokio::sync::watch;

/// One fault; it stays until [`heal`](super::Cluster::heal) or the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Connections are taken by the kernel, nothing is ever answered; open watches stall. The real server is
    /// stopped with SIGSTOP.
    Frozen,
    /// Connections are refused, open ones reset. The real server is killed with SIGKILL.
    Down,
    /// Every connection is closed as soon as it opens, and those that are open.
    Closed,
    /// Every request is answered 503; open watches go on.
    Unavailable,
    /// Every request is answered 429 with this Retry-After (whole seconds); open watches go on.
    Throttled(Duration),
    /// Every request is answered 403; open watches go on.
    Forbidden,
    /// Watches that are open now never hear again and stay open; whatever is opened later is served.
    SilentWatches,
    /// Lists of this resource (`endpointslices`) are answered late; all else at once.
    SlowList { resource: String, delay: Duration },
}

/// What a request meets before it reaches the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Weather {
    #[default]
    Clear,
    Frozen,
    Unavailable,
    Throttled(Duration),
    Forbidden,
    SlowList {
        resource: String,
        delay: Duration,
    },
}

/// Whether connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Door {
    #[default]
    Open,
    /// Taken and closed at once.
    Slammed,
    /// Nobody listens.
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Conditions {
    pub weather: Weather,
    pub door: Door,
    /// Watches opened before this epoch are silent for good.
    pub epoch: u64,
    /// Counts the changes.
    pub serial: u64,
}

/// The conditions, shared with every connection.
#[derive(Debug)]
pub(super) struct Gate(watch::Sender<Conditions>);

impl Gate {
    pub fn new() -> Self {
        Self(watch::Sender::new(Conditions::default()))
    }

    pub fn follow(&self) -> watch::Receiver<Conditions> {
        self.0.subscribe()
    }

    /// Gives the serial to wait for.
    pub fn inflict(&self, fault: &Fault) -> u64 {
        self.change(|now| {
            let (weather, door) = match fault.clone() {
                Fault::Frozen => (Weather::Frozen, Door::Open),
                Fault::Down => (Weather::Clear, Door::Gone),
                Fault::Closed => (Weather::Clear, Door::Slammed),
                Fault::Unavailable => (Weather::Unavailable, Door::Open),
                Fault::Throttled(after) => (Weather::Throttled(after), Door::Open),
                Fault::Forbidden => (Weather::Forbidden, Door::Open),
                Fault::SilentWatches => (Weather::Clear, Door::Open),
                Fault::SlowList { resource, delay } => (Weather::SlowList { resource, delay }, Door::Open),
            };
            let silence = u64::from(*fault == Fault::SilentWatches);
            (now.weather, now.door, now.epoch) = (weather, door, now.epoch + silence);
        })
    }

    /// Gives the serial to wait for.
    pub fn clear(&self) -> u64 {
        self.change(|now| (now.weather, now.door) = (Weather::Clear, Door::Open))
    }

    fn change(&self, change: impl FnOnce(&mut Conditions)) -> u64 {
        let mut serial = 0;
        self.0.send_modify(|now| {
            change(now);
            now.serial += 1;
            serial = now.serial;
        });
        serial
    }
}

/// Waits while the cluster is frozen and gives the conditions that come after.
pub(super) async fn thawed(conditions: &mut watch::Receiver<Conditions>) -> Conditions {
    let thaw = conditions.wait_for(|now| now.weather != Weather::Frozen).await;
    let now = thaw.map(|now| now.clone());
    match now {
        Ok(now) => now,
        // The cluster is being dropped: its connections go with it.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn healing_ends_every_fault_but_silence() {
        let gate = Gate::new();
        for fault in [Fault::Frozen, Fault::Down, Fault::Closed, Fault::SilentWatches] {
            gate.inflict(&fault);
            gate.clear();
        }
        let now = gate.follow().borrow().clone();
        assert_eq!(
            (now.weather, now.door, now.epoch),
            (Weather::Clear, Door::Open, 1)
        );
    }
}
