//! What the sessions have come to: written by the peers' tasks, read by the control loop as events that add up while
//! it is busy, and by whoever shows it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use maglane_bgp::bfd::{self, Diagnostic, live};
use maglane_bgp::fsm::State;
use maglane_bgp::peer::Counters;
use maglane_control::admin::{BfdFigures, PeerFigures};
use maglane_control::announce::{BfdSession, BgpSession, PeerPlan};
use maglane_control::event::Event;
use maglane_control::model::ObjectName;
use tokio::sync::Notify;

/// What a peer's task says of itself.
#[derive(Clone, Debug)]
pub struct Report {
    pub plan: Arc<PeerPlan>,
    pub bgp: BgpSession,
    pub since: Option<std::time::Instant>,
    pub bfd: Option<live::Reader>,
    pub bfd_configured: bool,
}

#[derive(Debug)]
struct Entry {
    report: Report,
    ended: bool,
    /// As last told.
    told: (Option<BgpSession>, Option<BfdSession>),
}

#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<BTreeMap<ObjectName, Entry>>,
    changed: Notify,
}

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<ObjectName, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self, report: Report) {
        let mut entries = self.entries();
        match entries.get_mut(&report.bgp.peer) {
            Some(entry) => (entry.report, entry.ended) = (report, false),
            None => {
                let entry = Entry {
                    ended: false,
                    told: (None, None),
                    report,
                };
                entries.insert(entry.report.bgp.peer.clone(), entry);
            }
        }
        self.changed.notify_one();
    }

    pub fn end(&self, peer: &ObjectName) {
        if let Some(entry) = self.entries().get_mut(peer) {
            entry.ended = true;
            self.changed.notify_one();
        }
    }

    pub fn retell(&self) {
        for entry in self.entries().values_mut() {
            entry.told = (None, None);
        }
        self.changed.notify_one();
    }

    pub async fn next(&self) -> Vec<Event> {
        loop {
            let news = self.take();
            if !news.is_empty() {
                return news;
            }
            self.changed.notified().await;
        }
    }

    fn take(&self) -> Vec<Event> {
        let mut news = vec![];
        self.entries().retain(|peer, entry| {
            if entry.ended {
                news.push(Event::BgpSessionEnded(peer.clone()));
                return false;
            }
            let bgp = &entry.report.bgp;
            if !entry.told.0.as_ref().is_some_and(|told| same(told, bgp)) {
                entry.told.0 = Some(bgp.clone());
                news.push(Event::BgpSession(Box::new(bgp.clone())));
            }
            let bfd = entry
                .report
                .bfd_configured
                .then(|| bfd_session(peer, &entry.report));
            if entry.told.1 != bfd {
                entry.told.1.clone_from(&bfd);
                news.extend(bfd.map(|bfd| Event::BfdSession(Box::new(bfd))));
            }
            true
        });
        news
    }

    pub fn view(&self) -> Vec<PeerFigures> {
        let view = |entry: &Entry| PeerFigures {
            plan: Arc::clone(&entry.report.plan),
            bgp: entry.report.bgp.clone(),
            up_ms: entry.report.since.map(|since| since.elapsed().as_millis() as u64),
            bfd: entry.report.bfd.as_ref().map(|reader| {
                let status = reader.status();
                let why = why(&status);
                BfdFigures { status, why }
            }),
        };
        self.entries().values().map(view).collect()
    }

    /// No peer holds a route of ours, as far as TCP knows.
    pub fn all_silent(&self) -> bool {
        let silent = |entry: &Entry| {
            let bgp = &entry.report.bgp;
            bgp.state != State::Established || (bgp.told == 0 && bgp.synced.is_some())
        };
        self.entries().values().all(silent)
    }
}

/// Counters alone are no news.
fn same(one: &BgpSession, other: &BgpSession) -> bool {
    let bare = |session: &BgpSession| BgpSession {
        counters: Counters::default(),
        ..session.clone()
    };
    bare(one) == bare(other)
}

fn bfd_session(peer: &ObjectName, report: &Report) -> BfdSession {
    let status = report.bfd.as_ref().map(live::Reader::status);
    BfdSession {
        peer: peer.clone(),
        state: status.map_or(bfd::State::AdminDown, |status| status.state),
        diagnostic: status.map_or("not begun", |status| why(&status)).into(),
    }
}

/// In words; empty when it is up.
pub fn why(status: &live::Status) -> &'static str {
    if status.state == bfd::State::Up {
        return "";
    }
    if status.remote_admin_down {
        return "the peer took the session down administratively";
    }
    match status.diagnostic {
        Diagnostic::None => "the peer is not heard yet",
        Diagnostic::DetectionTimeExpired => "the peer fell silent",
        Diagnostic::NeighborSignaledDown => "the peer says the session is down",
        Diagnostic::ForwardingPlaneReset => "this node does not forward",
        Diagnostic::AdministrativelyDown => "taken down on purpose",
        Diagnostic::EchoFailed
        | Diagnostic::PathDown
        | Diagnostic::ConcatenatedPathDown
        | Diagnostic::ReverseConcatenatedPathDown
        | Diagnostic::Reserved(_) => "down",
    }
}
