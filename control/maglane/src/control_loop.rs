//! The control loop: sources, workers' facts and time go in as events, effects come out and are performed.
//!
//! One thread, one runtime. The controller is owned by the loop alone; whoever wants to know what is served
//! asks for the catalog over a channel. What must outlive a panic of this loop is in [`Shared`].

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use maglane_control::effect::Effect;
use maglane_control::error::ControlError;
use maglane_control::event::{Event, Source};
use maglane_control::health::{Prober, Timing};
use maglane_control::l2::{L2Settings, OnApiLoss, Peers};
use maglane_control::manifest::ManifestSource;
use maglane_control::metrics::Pending;
use maglane_control::netlink::Netlink;
use maglane_control::record::Recorder;
use maglane_control::step::Controller;
use maglane_shared::table::Generation;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::control_settings::{controller_settings, recorder};
use crate::effects::{self, Books, Followup, Layer2};
use crate::engine::AnswerEnd;
use crate::health_ports::HealthPorts;
use crate::kubernetes::Kubernetes;
use crate::l2::Announcer;
use crate::run::{Kept, Shared};
use crate::state_dir::StateWriter;
use crate::view::{View, Views};
use crate::{admin, http};

/// How often workers' facts are collected; bounds how late steering follows a table.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The same while a worker does not run the newest table.
const LOOK_CLOSELY: Duration = Duration::from_millis(1);
/// Time between two [`Event::Tick`]s and two checks of the programs.
const TICK_EVERY: Duration = Duration::from_millis(250);
/// Questions that wait for the loop before their askers do.
const QUESTIONS: usize = 16;

struct Loop {
    shared: Arc<Shared>,
    controller: Controller,
    netlink: Netlink,
    kubernetes: Kubernetes,
    prober: Prober,
    health_ports: HealthPorts,
    books: Books,
    announcer: Announcer,
    /// By worker, as last told to the controller.
    seen: Vec<Generation>,
    synced: BTreeSet<Source>,
    /// Since start.
    ticked: Duration,
    pending: Pending,
    /// As last told to the controller.
    draining: bool,
    recorder: Option<Recorder<File>>,
    state: Option<StateWriter>,
}

/// Runs until `stopped` says so, or something cannot be opened at all.
pub fn run(shared: Arc<Shared>, stopped: watch::Receiver<bool>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .context("starting the control runtime")?
        .block_on(drive(shared, stopped))
}

async fn drive(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) -> Result<()> {
    let mut manifests = shared
        .settings
        .manifests
        .as_deref()
        .map(ManifestSource::open)
        .transpose()?;
    let (questions, mut asked) = mpsc::channel(QUESTIONS);
    serve(&shared, &Views::new(questions))?;
    let start = std::time::Instant::now() - shared.health.uptime();
    let kubernetes = Kubernetes::open(&shared.settings.kubernetes, start).await?;
    open_fence(&shared);
    let mut drain = shared.drain.subscribe();
    drain.mark_changed();
    let heard = Arc::clone(&shared);
    heard.speaker.retell();
    let mut control = Loop::open(shared, kubernetes)?;
    control.restore();
    let mut looked = Instant::now();
    loop {
        control.shared.health.control_beat();
        let pause = if control.pending.is_empty() {
            LOOK_EVERY
        } else {
            LOOK_CLOSELY
        };
        tokio::select! {
            _ = stopped.changed() => break,
            // Nothing can be done with them before the kernel's routes are known.
            events = told(&mut manifests), if control.synced.contains(&Source::Kernel) => control.step(events),
            events = control.kubernetes.next(), if control.synced.contains(&Source::Kernel) => control.step(events),
            events = control.netlink.next() => control.kernel(events)?,
            events = control.prober.next() => control.step(events),
            events = control.health_ports.next() => control.step(events),
            events = heard.speaker.next() => control.step(events),
            Ok(()) = drain.changed() => {
                let draining = *drain.borrow_and_update();
                control.drain(draining);
            }
            Some(question) = asked.recv() => control.answer(question),
            () = sleep_until(looked + pause) => {
                looked = Instant::now();
                control.look();
            }
        }
    }
    if let Some(state) = control.state.take() {
        state.finish(control.controller.store());
    }
    // Before the lease is given back: whoever takes over must not be contradicted.
    control.shared.engine.answer_until(AnswerEnd::Now);
    control.kubernetes.stop().await;
    Ok(())
}

/// Where no lease limits answers.
fn open_fence(shared: &Shared) {
    let L2Settings {
        peers, on_api_loss, ..
    } = shared.settings.l2;
    match (peers, on_api_loss) {
        (Peers::Leases, OnApiLoss::Fence) => {}
        (Peers::Alone, _) | (Peers::Leases, OnApiLoss::Keep) => shared.engine.answer_until(AnswerEnd::Never),
    }
}

/// The next news of the manifests; never, where there are none.
async fn told(manifests: &mut Option<ManifestSource>) -> Vec<Event> {
    match manifests {
        Some(manifests) => manifests.next().await,
        None => std::future::pending().await,
    }
}

/// The listeners live in [`Shared`], so that a loop started anew serves the same addresses.
fn serve(shared: &Arc<Shared>, views: &Views) -> Result<()> {
    let metrics = shared
        .metrics
        .try_clone()
        .and_then(TcpListener::from_std)
        .context("serving metrics")?;
    let admin = shared
        .admin
        .try_clone()
        .and_then(UnixListener::from_std)
        .context("serving the admin socket")?;
    tokio::spawn(http::serve(metrics, Arc::clone(shared), views.clone()));
    tokio::spawn(admin::serve(admin, Arc::clone(shared), views.clone()));
    Ok(())
}

impl Loop {
    fn open(shared: Arc<Shared>, kubernetes: Kubernetes) -> Result<Loop> {
        let Kept { resume, meter } = shared.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let settings = controller_settings(&shared);
        let state_dir = shared.settings.kubernetes.state_dir.clone();
        Ok(Loop {
            state: state_dir.map(StateWriter::start).transpose()?,
            recorder: recorder(shared.settings.kubernetes.record.as_deref(), &settings)?,
            controller: Controller::new(settings, resume),
            netlink: Netlink::open()?,
            kubernetes,
            prober: Prober::new(Timing::default()),
            health_ports: HealthPorts::new(Arc::clone(&shared.health)),
            announcer: Announcer::open(&shared.settings.interfaces)?,
            books: Books::new(&shared.engine, meter),
            seen: vec![Generation(0); shared.engine.watches.len()],
            synced: BTreeSet::new(),
            ticked: Duration::ZERO,
            pending: Pending::default(),
            draining: false,
            shared,
        })
    }

    /// What an earlier process knew; a loop started anew in this one goes on from what it kept.
    fn restore(&mut self) {
        let restored = self
            .shared
            .restored
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(events) = restored.filter(|events| !events.is_empty()) {
            tracing::info!("--state-dir: {} objects of an earlier run", events.len());
            self.step(vec![Event::Restored(events)]);
        }
    }

    /// One step, and whatever follows from its effects.
    fn step(&mut self, mut events: Vec<Event>) {
        let heard = self.shared.health.uptime();
        for event in &events {
            if let Event::SourceSynced(source) = event {
                self.synced.insert(*source);
            }
            if let Event::NodeLeaseRenewed { until } = event {
                self.renewed(*until);
            }
        }
        while !events.is_empty() {
            let effects = self.decide(events);
            if !effects.is_empty() {
                // Before they are performed: a loop started anew must not fall behind what this one did.
                self.keep();
            }
            let engine = &self.shared.engine;
            let follow = effects::perform(effects, &mut self.controller, engine, &mut self.books);
            follow
                .published
                .into_iter()
                .for_each(|generation| self.pending.published(generation, heard));
            events = self.follow(follow);
        }
        if self.controller.all_synced() {
            self.shared.health.synced(self.controller.table().generation);
        }
    }

    /// Hands on what others must do; what is left are events.
    fn follow(&mut self, follow: Followup) -> Vec<Event> {
        if let Some(plan) = follow.announce {
            self.shared.speaker.announce(plan);
        }
        self.netlink.resolve(&follow.neighbors);
        self.kubernetes.write(follow.writes);
        self.kubernetes.write_sessions(follow.sessions);
        self.kubernetes.tell(follow.told);
        if let Some(targets) = follow.probes {
            self.prober.want(&targets);
        }
        if let Some(answers) = follow.answers {
            self.health_ports.want(answers);
        }
        follow.layer2.into_iter().for_each(|wish| self.layer2(wish));
        follow.events
    }

    /// The right to answer goes with the lease.
    fn renewed(&self, until: Duration) {
        match self.shared.settings.l2.on_api_loss {
            OnApiLoss::Fence => {
                let start = std::time::Instant::now() - self.shared.health.uptime();
                self.shared.engine.answer_until(AnswerEnd::At(start + until));
            }
            OnApiLoss::Keep => {}
        }
    }

    fn layer2(&mut self, wish: Layer2) {
        match wish {
            Layer2::Listen(owned) => self.announcer.listen(&owned),
            Layer2::Announce(due) => {
                let table = self.controller.table();
                let sent = &self.shared.engine.gratuitous;
                self.announcer.announce(&due, &table.routes.port_macs, sent);
            }
            Layer2::HoldLease(facts) => self.kubernetes.hold_lease(facts),
        }
    }

    fn decide(&mut self, events: Vec<Event>) -> Vec<Effect> {
        let now = self.shared.health.uptime();
        let Some(recorder) = &mut self.recorder else {
            return self.controller.step_all(events, now);
        };
        let effects = self.controller.step_all(events.iter().cloned(), now);
        if let Err(error) = recorder.step(now, &events, &effects) {
            tracing::error!("--record: cannot be written: {error}; recording ends, all else goes on");
            self.recorder = None;
        }
        effects
    }

    fn keep(&self) {
        let kept = Kept {
            resume: self.controller.resume(),
            meter: Arc::clone(&self.books.meter),
        };
        *self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    fn kernel(&mut self, events: Result<Vec<Event>, ControlError>) -> Result<()> {
        match events {
            Ok(events) => self.step(events),
            Err(error) => {
                tracing::warn!("{error}; opening it anew");
                self.netlink = Netlink::open()?;
            }
        }
        Ok(())
    }

    fn look(&mut self) {
        let mut events = effects::facts(&self.shared.engine, &mut self.seen);
        let now = self.shared.health.uptime();
        self.pending
            .look(self.seen.iter().copied().min().unwrap_or_default(), now);
        if now.saturating_sub(self.ticked) >= TICK_EVERY {
            self.ticked = now;
            events.push(Event::Tick);
            if let Some(state) = &mut self.state {
                state.offer(self.controller.store());
            }
            self.heal();
        }
        self.step(events);
    }

    /// A program that is off and cannot be put on again stops BFD: this node does not forward.
    fn heal(&self) {
        let healed = self.shared.engine.heal();
        self.shared.health.attached(healed.is_ok());
        match healed {
            Ok(healed) => healed.iter().for_each(|interface| {
                tracing::warn!("{interface}: somebody took the steering program off; it is attached again");
            }),
            Err(error) => tracing::error!("{error:#}"),
        }
    }

    fn drain(&mut self, draining: bool) {
        if draining != self.draining {
            self.draining = draining;
            self.step(vec![Event::Draining(draining)]);
        }
    }

    fn answer(&mut self, question: oneshot::Sender<View>) {
        let view = View {
            catalog: self.controller.catalog(),
            meter: Arc::clone(&self.books.meter),
            updates: Arc::clone(&self.pending.times),
        };
        // Whoever asked may have gone.
        let _ = question.send(view);
    }
}
