//! Persistent HTTP flows: each remembers the backend of its first answer and counts every break.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::http::Connection;
use super::report::{Event, Failure, Report, Tally};
use super::{Target, phase};

/// How many flows may be connecting at once.
const CONNECTING: usize = 256;
/// How long a broken flow waits before it connects again.
const PAUSE: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Debug, Clone)]
pub struct Settings {
    pub target: Target,
    pub flows: usize,
    pub duration: Duration,
    /// Between two requests of one flow; zero is back to back.
    pub interval: Duration,
    pub path: String,
}

struct Shared {
    settings: Settings,
    tally: Mutex<Tally>,
    connecting: Semaphore,
    opened: AtomicUsize,
    stop: watch::Receiver<bool>,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }
}

/// Runs the flows for `duration` after all are open, or until `stop` is true; `tell` gets one event when
/// ready, progress now and then, and the report at the end.
pub async fn run(settings: Settings, stop: watch::Receiver<bool>, mut tell: impl FnMut(Event)) -> Report {
    let (end, ended) = watch::channel(false);
    let shared = Arc::new(Shared {
        tally: Mutex::new(Tally::new(settings.flows as u64)),
        connecting: Semaphore::new(CONNECTING),
        opened: AtomicUsize::new(0),
        stop: ended,
        settings,
    });
    let start = Instant::now();
    let mut flows = JoinSet::new();
    for index in 0..shared.settings.flows {
        flows.spawn(flow(Arc::clone(&shared), index));
    }
    watch_over(&shared, start, stop, &mut tell).await;
    end.send_replace(true);
    while flows.join_next().await.is_some() {}
    let report = shared.tally().report(start.elapsed());
    tell(Event::Report(report.clone()));
    report
}

async fn watch_over(
    shared: &Shared,
    start: Instant,
    mut stop: watch::Receiver<bool>,
    tell: &mut impl FnMut(Event),
) {
    let mut ready_at = None;
    let every = shared.settings.target.progress;
    let mut next = start + every;
    loop {
        tokio::select! {
            () = sleep(Duration::from_millis(20)) => {}
            stopped = stop.wait_for(|stop| *stop) => if stopped.is_ok() { return },
        }
        let now = Instant::now();
        if ready_at.is_none() && shared.opened.load(Ordering::Relaxed) == shared.settings.flows {
            ready_at = Some(now);
            tell(Event::Ready(shared.tally().report(start.elapsed())));
        }
        if now >= next {
            next += every;
            tell(Event::Progress(shared.tally().report(start.elapsed())));
        }
        if ready_at.is_some_and(|ready| now >= ready + shared.settings.duration) {
            return;
        }
    }
}

/// One flow: open, ask, remember; after a break open again and see who answers.
async fn flow(shared: Arc<Shared>, index: usize) {
    let settings = &shared.settings;
    let mut home: Option<String> = None;
    let mut first = true;
    while !shared.stopped() {
        let opened = open(&shared, index).await;
        if std::mem::take(&mut first) {
            if opened.is_ok() {
                shared.tally().established();
            }
            shared.opened.fetch_add(1, Ordering::Relaxed);
        }
        let failure = match opened {
            Ok(connection) => talk(&shared, index, connection, &mut home).await,
            Err(failure) => Some(failure),
        };
        let Some(failure) = failure else { return };
        if shared.stopped() {
            return;
        }
        shared.tally().failed(failure, home.as_deref());
        sleep(PAUSE.max(phase(index, settings.flows, PAUSE))).await;
    }
}

async fn open(shared: &Shared, index: usize) -> Result<Connection, Failure> {
    let permit = shared.connecting.acquire().await;
    let _permit = permit.map_err(|_| Failure::Connect(ErrorKind::Interrupted))?;
    Connection::open(&shared.settings.target, index).await
}

/// Requests on one connection until it breaks (how) or the run is over (`None`).
async fn talk(
    shared: &Shared,
    index: usize,
    mut connection: Connection,
    home: &mut Option<String>,
) -> Option<Failure> {
    let settings = &shared.settings;
    let mut stop = shared.stop.clone();
    let mut owner: Option<String> = None;
    let mut due = Instant::now() + phase(index, settings.flows, settings.interval);
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            _ = stop.wait_for(|stop| *stop) => return None,
        }
        due = Instant::now().max(due + settings.interval);
        let asked = Instant::now();
        shared.tally().request();
        match connection.get(&settings.path).await {
            Ok(answer) => {
                let mut tally = shared.tally();
                tally.answer(&answer.backend, asked.elapsed(), answer.body);
                note_owner(&mut tally, &answer.backend, &mut owner, home);
            }
            Err(failure) => return Some(failure),
        }
    }
}

fn note_owner(tally: &mut Tally, backend: &str, owner: &mut Option<String>, home: &mut Option<String>) {
    if let Some(own) = owner {
        if own != backend {
            tally.mismatch();
        }
        return;
    }
    *owner = Some(backend.to_owned());
    match home {
        None => tally.assigned(backend),
        Some(old) if old != backend => tally.moved(old),
        Some(_) => {}
    }
    *home = Some(backend.to_owned());
}
