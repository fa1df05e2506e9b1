//! The BGP sessions of a plan, kept as the plan says: one task a peer on a runtime and thread of their own, so that
//! no panic of the control loop costs a session.
//!
//! ```text
//!  control loop ── Wanted (the newest counts) ──► manager ──► a task a BgpPeer: driver, BFD session, gate
//!  control loop ◄─ events (coalesced) ─ ledger ◄───────────────────┘      ▲
//!  admin, metrics ◄──────────────────── ledger              news ── liveness thread
//! ```

mod gate;
mod ledger;
mod link;
mod manager;
mod peer;
mod secrets;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use maglane_bgp::bfd::live::Liveness;
use maglane_control::admin::PeerFigures;
use maglane_control::announce::BgpPlan;
use maglane_control::event::Event;
use tokio::sync::watch;

use ledger::Ledger;

pub use secrets::Secrets;

/// What is to be; replaced as a whole.
#[derive(Clone, Debug, Default)]
struct Wanted {
    plan: Arc<BgpPlan>,
    telling: Telling,
    ending: bool,
}

/// Whether anybody is told anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Telling {
    #[default]
    AsPlanned,
    /// Everything is withdrawn, whatever the plan says: this process is about to stop.
    Nothing,
}

pub struct Speaker {
    wanted: watch::Sender<Wanted>,
    ledger: Arc<Ledger>,
    /// The liveness thread lives as long as somebody could ask it for a session.
    _liveness: Liveness,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Speaker {
    pub fn start(liveness: Liveness, secrets: Secrets) -> Result<Speaker> {
        let (wanted, wants) = watch::channel(Wanted::default());
        let ledger = Arc::new(Ledger::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the speaker's runtime")?;
        let (shown, live) = (Arc::clone(&ledger), liveness.clone());
        let body = move || runtime.block_on(manager::run(wants, shown, live, secrets));
        let thread = thread::Builder::new()
            .name("speaker".to_owned())
            .spawn(body)
            .context("starting the speaker thread")?;
        Ok(Speaker {
            wanted,
            ledger,
            _liveness: liveness,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// These sessions from now on, with these routes.
    pub fn announce(&self, plan: BgpPlan) {
        let plan = Arc::new(plan);
        self.wanted.send_modify(|wanted| wanted.plan = plan);
    }

    /// A control loop begins: everything is news to it.
    pub fn retell(&self) {
        self.ledger.retell();
    }

    /// What has changed since it was last asked, never nothing. May be dropped while it waits.
    pub async fn next(&self) -> Vec<Event> {
        self.ledger.next().await
    }

    pub fn peers(&self) -> Vec<PeerFigures> {
        self.ledger.view()
    }

    /// Withdraws everything and keeps the sessions; true when every peer has taken it within `limit`.
    pub fn withdraw(&self, limit: Duration) -> bool {
        self.wanted
            .send_modify(|wanted| wanted.telling = Telling::Nothing);
        within(limit, || self.ledger.all_silent())
    }

    /// BFD AdminDown, then Cease, then close; true when all peers were told within `limit`.
    pub fn stop(&self, limit: Duration) -> bool {
        self.wanted.send_modify(|wanted| wanted.ending = true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.is_none_or(|thread| within(limit, || thread.is_finished()))
    }
}

fn within(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}
