//! From plans to peers: one task a BgpPeer, told of its own part of each plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use maglane_bgp::bfd::live::{self, Liveness};
use maglane_control::announce::PeerPlan;
use maglane_control::model::ObjectName;
use tokio::net::UnixDatagram;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ledger::Ledger;
use super::link::Listeners;
use super::{Secrets, Telling, Wanted, peer};

/// What every peer's task works with.
pub struct Context {
    pub ledger: Arc<Ledger>,
    pub liveness: Liveness,
    pub secrets: Secrets,
    pub listeners: Listeners,
    /// Changes when the liveness thread has news.
    pub news: watch::Receiver<u64>,
}

/// What one peer is to be.
#[derive(Clone, Debug)]
pub struct PeerWanted {
    /// `None`: it left the plan.
    pub plan: Option<Arc<PeerPlan>>,
    pub revision: u64,
    pub telling: Telling,
    pub ending: bool,
}

pub async fn run(
    mut wanted: watch::Receiver<Wanted>,
    ledger: Arc<Ledger>,
    liveness: Liveness,
    secrets: Secrets,
) {
    let (bump, news) = watch::channel(0);
    let pump = match listen(&liveness) {
        Ok(reader) => tokio::spawn(relay(reader, bump)),
        Err(error) => {
            tracing::error!("the liveness thread cannot be heard: {error}; no BGP session is begun");
            return;
        }
    };
    let context = Arc::new(Context {
        ledger,
        liveness,
        secrets,
        listeners: Listeners::default(),
        news,
    });
    let mut peers = Peers {
        context,
        running: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    loop {
        let now = wanted.borrow_and_update().clone();
        peers.follow(&now);
        if now.ending {
            break;
        }
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { break },
            Some(ended) = peers.tasks.join_next() => peers.ended(ended),
        }
    }
    while peers.tasks.join_next().await.is_some() {}
    pump.abort();
}

fn listen(liveness: &Liveness) -> Result<UnixDatagram, String> {
    let reader = liveness.news().map_err(|error| error.to_string())?;
    UnixDatagram::from_std(reader).map_err(|error| error.to_string())
}

async fn relay(reader: UnixDatagram, bump: watch::Sender<u64>) {
    while reader.recv(&mut [0; 8]).await.is_ok() {
        bump.send_modify(|count| *count += 1);
    }
}

struct Peers {
    context: Arc<Context>,
    running: BTreeMap<ObjectName, watch::Sender<PeerWanted>>,
    tasks: JoinSet<ObjectName>,
}

impl Peers {
    fn follow(&mut self, wanted: &Wanted) {
        let ending = wanted.ending;
        let part = |plan: Option<&PeerPlan>| PeerWanted {
            plan: plan.cloned().map(Arc::new),
            revision: wanted.plan.revision,
            telling: wanted.telling,
            ending,
        };
        self.running.retain(|name, orders| {
            let plan = wanted.plan.peers.get(name);
            orders.send_replace(part(plan));
            plan.is_some()
        });
        if ending {
            return;
        }
        for (name, plan) in &wanted.plan.peers {
            if !self.running.contains_key(name) {
                let (orders, inbox) = watch::channel(part(Some(plan)));
                self.running.insert(name.clone(), orders);
                self.tasks
                    .spawn(peer::run(Arc::clone(&self.context), name.clone(), inbox));
            }
        }
    }

    /// A task that panicked is not started again until the plan changes; the others go on.
    fn ended(&mut self, ended: Result<ObjectName, tokio::task::JoinError>) {
        match ended {
            Ok(name) => {
                if self.running.contains_key(&name) {
                    tracing::debug!("{name}: its former session is over");
                } else {
                    self.context.ledger.end(&name);
                }
            }
            Err(error) => tracing::error!("a BGP peer's task ended: {error}"),
        }
    }
}

impl Context {
    pub fn begin_bfd(&self, path: &live::Path) -> Result<live::SessionHandle, String> {
        self.liveness.add(path).map_err(|error| error.to_string())
    }
}
