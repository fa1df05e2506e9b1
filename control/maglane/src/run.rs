//! `maglane run` from start to stop: who is started, in which order, and what ends it.
//!
//! ```text
//!  main thread     waits for: a signal · the end of a worker · the end of the control thread
//!  worker-0..n     the packet path, pinned          liveness   watches every heart, BFD; pinned, SCHED_FIFO
//!  speaker         tokio: BGP sessions; outlives the panics of the control loop
//!  control         tokio: source, netlink, step, effects, admin, metrics; started anew when it panics
//! ```
//! A worker that ends by itself ends the process (exit code 1, program detached, so that the kernel and the
//! routers see a dead node, not half a one): FAILURES P1.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use maglane_bgp::bfd::{self, live::Liveness};
use maglane_control::event::Event;
use maglane_control::metrics::Meter;
use maglane_control::step::Resume;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;
use tokio::sync::watch;

use crate::admin::AdminSocket;
use crate::cli::run::RunArgs;
use crate::engine::{self, Crew, Engine, WorkerEnd};
use crate::health::Health;
use crate::preflight::{self, Launch, lock};
use crate::settings::Settings;
use crate::speaker::{Secrets, Speaker};
use crate::supervisor::{self, Control};
use crate::{logging, shutdown, state_dir};

/// What the main thread waits for.
#[derive(Debug)]
pub enum Happening {
    Signal(Signal),
    Worker(WorkerEnd),
    /// The control thread gave up.
    Control(String),
}

/// Everything the control thread works with; outlives its panics.
pub struct Shared {
    pub settings: Settings,
    pub launch: Launch,
    pub engine: Engine,
    pub health: Arc<Health>,
    pub speaker: Speaker,
    /// This node is to be taken out of service.
    pub drain: watch::Sender<bool>,
    pub metrics: TcpListener,
    pub admin: UnixListener,
    pub kept: Mutex<Kept>,
    /// What `--state-dir` held at start, for the first control loop.
    pub restored: Mutex<Option<Vec<Event>>>,
    /// One flow dump at a time: the workers have one mailbox each.
    pub dump: tokio::sync::Mutex<()>,
}

/// Where the control loop is, should it have to be started anew.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pub resume: Resume,
    pub meter: Arc<Meter>,
}

pub fn run(args: RunArgs) -> Result<ExitCode> {
    let settings = Settings::check(args)?;
    logging::install(&settings.log)?;
    // Before any thread exists: they inherit the mask, so that only the signal thread takes these.
    let signals = block_signals()?;
    let restored = restore(&settings)?;
    let _locks = lock::acquire(&settings.control.lock_dir, &settings.interfaces)?;
    let node = preflight::survey(&settings, maglane_xsk::available_cores())?;
    let launch = preflight::resolve(&settings, node)?;
    for warning in &launch.warnings {
        tracing::warn!("{warning}");
    }
    let admin = AdminSocket::bind(&settings.control.admin_socket)?;
    let metrics = bind_metrics(&settings)?;
    let (happens, happenings) = mpsc::channel();
    watch_signals(signals, happens.clone())?;
    let (engine, crew) = start_workers(&settings, &launch, &happens)?;
    stay_off_worker_cores(&launch);
    let vitals: Vec<_> = engine
        .watches
        .iter()
        .map(|watch| Arc::clone(&watch.vitals))
        .collect();
    let health = Arc::new(Health::new(&vitals));
    health.attached(true);
    let liveness = start_liveness(Arc::clone(&health), &launch)?;
    let speaker = Speaker::start(liveness, Secrets::new(&settings))?;
    let listener = admin.listener()?;
    let shared = Arc::new(Shared {
        settings,
        launch,
        engine,
        health,
        speaker,
        drain: watch::Sender::new(false),
        metrics,
        admin: listener,
        kept: Mutex::default(),
        restored: Mutex::new(restored),
        dump: tokio::sync::Mutex::default(),
    });
    let control = supervisor::start(Arc::clone(&shared), happens)?;
    let failure = wait(&happenings);
    Ok(stop(&shared, control, crew, failure, &happenings))
}

fn restore(settings: &Settings) -> Result<Option<Vec<Event>>> {
    let Some(dir) = &settings.kubernetes.state_dir else {
        return Ok(None);
    };
    let (events, complaints) = state_dir::load(dir)?;
    for complaint in complaints {
        tracing::warn!("{complaint}");
    }
    Ok(Some(events))
}

fn start_workers(
    settings: &Settings,
    launch: &Launch,
    happens: &Sender<Happening>,
) -> Result<(Engine, Crew)> {
    let opened = engine::open(settings, launch)?;
    let (ends, ended) = mpsc::channel();
    let happens = happens.clone();
    let forward = move || {
        ended
            .into_iter()
            .try_for_each(|end| happens.send(Happening::Worker(end)))
    };
    thread::Builder::new()
        .name("worker-ends".to_owned())
        .spawn(forward)?;
    let started = opened.start(&ends)?;
    tracing::info!(
        "{} workers on cores {:?}, interfaces {}, source addresses {:?} ports {}",
        launch.workers,
        launch.cores,
        settings.interfaces.join(","),
        launch.snat_addresses,
        settings.nat.ports
    );
    Ok(started)
}

fn block_signals() -> Result<SigSet> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block().context("blocking signals")?;
    Ok(signals)
}

fn watch_signals(signals: SigSet, happens: Sender<Happening>) -> Result<()> {
    let watch = move || {
        while let Ok(signal) = signals.wait() {
            if happens.send(Happening::Signal(signal)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watch)
        .context("starting the signal thread")?;
    Ok(())
}

fn bind_metrics(settings: &Settings) -> Result<TcpListener> {
    let address = settings.control.metrics_address;
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(listener)
    };
    bind().with_context(|| {
        format!("--metrics-address {address}: cannot be bound; choose a free address and port")
    })
}

/// This thread and all it will start; the workers have pinned themselves.
fn stay_off_worker_cores(launch: &Launch) {
    let mut set = CpuSet::new();
    let filled = launch.control_cores.iter().try_for_each(|core| set.set(*core));
    if let Err(error) = filled.and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)) {
        tracing::warn!("the control thread cannot be kept off the workers' cores: {error}");
    }
}

/// BFD attests what this thread sees of the workers: nothing ordinary may keep it from its core.
fn start_liveness(health: Arc<Health>, launch: &Launch) -> Result<Liveness> {
    let (liveness, thread) = bfd::live::prepare().context("preparing the liveness thread")?;
    let core = launch.control_cores.last().copied();
    let body = move || {
        match maglane_xsk::take_precedence() {
            Ok(()) => {
                if let Some(Err(error)) = core.map(maglane_xsk::pin_current_thread) {
                    tracing::warn!("the liveness thread is not pinned: {error}");
                }
            }
            Err(error) => tracing::warn!(
                "the liveness thread gets no precedence ({error}): on a busy node BFD faster than 300 ms x 3 may \
                 flap; give the process CAP_SYS_NICE"
            ),
        }
        thread.run(move || health.look());
    };
    thread::Builder::new()
        .name("liveness".to_owned())
        .spawn(body)
        .context("starting the liveness thread")?;
    Ok(liveness)
}

/// Waits for the end; `Some` is why it is a bad one.
fn wait(happenings: &Receiver<Happening>) -> Option<String> {
    match happenings.recv() {
        Ok(Happening::Signal(signal)) => {
            tracing::info!("{signal}: stopping");
            None
        }
        Ok(Happening::Worker(WorkerEnd { worker, failure })) => Some(format!(
            "worker {worker} {}",
            failure.unwrap_or_else(|| "ended unasked".to_owned())
        )),
        Ok(Happening::Control(failure)) => Some(failure),
        Err(mpsc::RecvError) => Some("nobody is left to wait for".to_owned()),
    }
}

/// Longest wait for the control loop to let go.
const CONTROL_WAIT: Duration = Duration::from_secs(2);
/// Longest wait for BFD's and BGP's last words.
const FAREWELL_WAIT: Duration = Duration::from_secs(3);

fn stop(
    shared: &Shared,
    control: Control,
    crew: Crew,
    failure: Option<String>,
    happenings: &Receiver<Happening>,
) -> ExitCode {
    shared.health.stopping();
    match &failure {
        Some(failure) => {
            tracing::error!("{failure}; stopping, so that this node is not taken for a healthy one");
        }
        None => drain(shared, happenings),
    }
    if !shared.speaker.stop(FAREWELL_WAIT) {
        tracing::warn!(
            "not every BGP peer has heard that this process stops; their hold timers will tell them"
        );
    }
    if !control.stop(CONTROL_WAIT) {
        tracing::warn!("the control loop does not stop; going on without it");
    }
    let summary = shutdown::stop(&shared.engine, crew, shared.health.uptime());
    tracing::info!("{summary}");
    if failure.is_none() && summary.frames_astray == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Withdraws all and forwards on until the traffic has gone elsewhere, the time is up, or somebody insists.
fn drain(shared: &Shared, happenings: &Receiver<Happening>) {
    let limit = shared.settings.control.drain_timeout;
    if limit.is_zero() || shared.speaker.peers().is_empty() {
        return;
    }
    let start = Instant::now();
    // Nobody listens where the control loop is gone; the sessions are told all the same.
    shared.drain.send_replace(true);
    if !shared.speaker.withdraw(limit) {
        tracing::warn!(
            "--drain-timeout {limit:?}: not every peer has taken the withdrawals; stopping all the same"
        );
        return;
    }
    let left = limit.saturating_sub(start.elapsed());
    let insists = || {
        matches!(
            happenings.try_recv(),
            Ok(Happening::Signal(_) | Happening::Worker(_))
        )
    };
    let outcome = shutdown::forward_on(&shared.engine, left, insists);
    tracing::info!("drained for {:?}: {outcome}", start.elapsed());
}
