//! The packet path as the control side holds it: workers, the publication point, the steering programs.
//!
//! Opening goes inwards (program, sockets, sockets into the program's map, workers), so that nothing is
//! redirected before somebody receives it; stopping ([`crate::shutdown`]) goes the other way round.

mod config;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result};
use maglane_dataplane::worker::Watch;
use maglane_dataplane::{Affinities, Forwarder, NatReturns, Worker};
use maglane_shared::counters::{Counters, Vitals};
use maglane_shared::facts::Facts;
use maglane_shared::publish::{self, Publisher, Reader};
use maglane_shared::table::ForwardingTable;
use maglane_xsk::{AttachMode, BindMode, KernelStats, QueueSet, SteerCounters, SteerSet, Steering, Waker};

use crate::preflight::Launch;
use crate::settings::Settings;
use crate::view::mode_name;

/// Shared by the control loop, the admin socket and the metrics page.
pub struct Engine {
    pub watches: Vec<Watch>,
    publisher: Mutex<Publisher<ForwardingTable>>,
    /// An idle worker takes a new table at once, not after its longest sleep.
    wakers: Vec<Waker>,
    /// By interface.
    steering: Mutex<Vec<Steering>>,
    /// Duplicates of the workers' sockets, by worker and interface, to ask the kernel for its counters.
    sockets: Vec<Vec<OwnedFd>>,
}

/// A worker's thread has ended, in whatever way.
#[derive(Debug)]
pub struct WorkerEnd {
    pub worker: u16,
    /// Why, when nobody asked it to.
    pub failure: Option<String>,
}

/// The running threads.
#[derive(Debug)]
pub struct Crew {
    threads: Vec<JoinHandle<Option<QueueSet>>>,
}

/// Opened and attached, not yet started.
pub struct Opened {
    pub engine: Engine,
    workers: Vec<Worker<QueueSet>>,
}

/// Attaches every program, binds every socket and joins them; redirects nothing yet.
pub fn open(settings: &Settings, launch: &Launch) -> Result<Opened> {
    // First: it says at once, and by pid, who else is at the interface; a bound queue would say only "busy".
    let mut steering = attach(settings, launch)?;
    let sets = open_sockets(settings, launch)?;
    let mut sockets = vec![];
    for (queue, set) in sets.iter().enumerate() {
        for (port, fd) in set.socket_fds() {
            steering[usize::from(port.0)].set_socket(queue as u32, fd)?;
        }
        let duplicates = set
            .socket_fds()
            .into_iter()
            .map(|(_, fd)| fd.try_clone_to_owned());
        sockets.push(
            duplicates
                .collect::<io::Result<Vec<_>>>()
                .context("duplicating a socket")?,
        );
    }
    let initial = ForwardingTable {
        hash_key: settings.balance.hash_key,
        ..ForwardingTable::default()
    };
    let (publisher, readers) = publish::channel(&Arc::new(initial), usize::from(launch.workers));
    let wakers = sets.iter().filter_map(QueueSet::waker).collect();
    let (workers, watches) = make_workers(settings, launch, sets, readers)?;
    let engine = Engine {
        watches,
        publisher: Mutex::new(publisher),
        wakers,
        steering: Mutex::new(steering),
        sockets,
    };
    Ok(Opened { engine, workers })
}

fn open_sockets(settings: &Settings, launch: &Launch) -> Result<Vec<QueueSet>> {
    let sets = bind_sockets(settings, launch)?;
    for (worker, set) in sets.iter().enumerate() {
        for (interface, mode) in settings.interfaces.iter().zip(set.bind_modes()) {
            let BindMode {
                zero_copy,
                need_wakeup,
                busy_poll,
                multi_buffer,
                huge_pages,
            } = mode;
            tracing::info!(
                worker,
                interface,
                zero_copy,
                need_wakeup,
                busy_poll,
                multi_buffer,
                huge_pages,
                "socket bound"
            );
        }
    }
    Ok(sets)
}

fn bind_sockets(settings: &Settings, launch: &Launch) -> Result<Vec<QueueSet>> {
    let open = |index| Ok(QueueSet::open(&config::queue_set(settings, launch, index))?);
    (0..launch.workers).map(open).collect()
}

fn attach(settings: &Settings, launch: &Launch) -> Result<Vec<Steering>> {
    let options = config::attach(settings, launch);
    let mut all = vec![];
    for name in &settings.interfaces {
        let steering = Steering::attach(name, &options)?;
        if let Some(warning) = steering.warning() {
            tracing::warn!("{warning}");
        }
        tracing::info!(
            "{name}: steering program attached, mode {}",
            mode_name(steering.mode())
        );
        all.push(steering);
    }
    Ok(all)
}

fn make_workers(
    settings: &Settings,
    launch: &Launch,
    sets: Vec<QueueSet>,
    readers: Vec<Reader<ForwardingTable>>,
) -> Result<(Vec<Worker<QueueSet>>, Vec<Watch>)> {
    let origin = Instant::now();
    let flows = settings.flows.table_size as usize * usize::from(launch.workers);
    let returns = Arc::new(NatReturns::new(flows));
    let affinities = Arc::new(Affinities::default());
    let (mut workers, mut watches) = (vec![], vec![]);
    for ((index, set), reader) in (0..launch.workers).zip(sets).zip(readers) {
        let config = config::worker(settings, launch, index);
        config.check()?;
        let balance = &settings.balance;
        let watch = Watch {
            vitals: Arc::new(Vitals::default()),
            counters: Arc::new(Counters::new(
                balance.max_services as usize,
                balance.max_backends as usize,
            )),
            facts: Arc::new(Facts::default()),
        };
        let (counters, facts) = (Arc::clone(&watch.counters), Arc::clone(&watch.facts));
        let (returns, affinities) = (Arc::clone(&returns), Arc::clone(&affinities));
        let forwarder = Forwarder::new(&config, index, returns, affinities, counters, facts);
        workers.push(Worker::new(
            set,
            forwarder,
            reader,
            watch.clone(),
            config.poll,
            origin,
        ));
        watches.push(watch);
    }
    Ok((workers, watches))
}

impl Opened {
    /// Starts a thread a worker; each says on `ends` when it ends.
    pub fn start(self, ends: &Sender<WorkerEnd>) -> Result<(Engine, Crew)> {
        let spawn = |(index, worker): (u16, Worker<QueueSet>)| {
            let ends = ends.clone();
            let body = move || run_worker(index, worker, &ends);
            let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(body);
            thread.with_context(|| format!("worker {index}: its thread cannot be started"))
        };
        let threads = (0u16..).zip(self.workers).map(spawn).collect::<Result<_>>()?;
        Ok((self.engine, Crew { threads }))
    }
}

/// Gives the queue back when the worker was asked to stop; tells of every other end (FAILURES P1).
fn run_worker(index: u16, worker: Worker<QueueSet>, ends: &Sender<WorkerEnd>) -> Option<QueueSet> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker.run()));
    let (queue, failure) = match outcome {
        Ok(Ok(queue)) => (Some(queue), None),
        Ok(Err(error)) => (None, Some(error.to_string())),
        Err(panic) => (None, Some(panic_text(&*panic))),
    };
    // The receiver outlives every worker but for a process that is ending anyway.
    let _ = ends.send(WorkerEnd {
        worker: index,
        failure,
    });
    queue
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or(panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}

impl Crew {
    /// Waits for every worker to end and gives back the queues of those that ended well.
    pub fn join(self) -> Vec<QueueSet> {
        self.threads
            .into_iter()
            .filter_map(|thread| thread.join().ok().flatten())
            .collect()
    }
}

impl Engine {
    /// Every worker takes `table` at its next turn, which is now.
    pub fn publish(&self, table: &Arc<ForwardingTable>) {
        lock(&self.publisher).publish(table);
        self.wakers.iter().for_each(Waker::wake);
    }

    /// Makes every interface redirect exactly this.
    pub fn steer(&self, want: &SteerSet) -> Result<()> {
        for steering in lock(&self.steering).iter_mut() {
            steering
                .apply(want)
                .with_context(|| format!("{}: steering", steering.interface()))?;
        }
        Ok(())
    }

    /// Attaches again where somebody took the program off; names those interfaces.
    pub fn heal(&self) -> Result<Vec<String>> {
        let mut healed = vec![];
        for steering in lock(&self.steering).iter_mut() {
            if steering.reattach()? {
                healed.push(steering.interface().to_owned());
            }
        }
        Ok(healed)
    }

    /// By interface: its name, the program's mode, its counters.
    pub fn steering(&self) -> Vec<(String, AttachMode, SteerCounters)> {
        let show = |s: &Steering| {
            (
                s.interface().to_owned(),
                s.mode(),
                s.counters().unwrap_or_default(),
            )
        };
        lock(&self.steering).iter().map(show).collect()
    }

    /// By worker and interface; zeros where the kernel does not answer.
    pub fn kernel_stats(&self) -> Vec<Vec<KernelStats>> {
        let read = |fd: &OwnedFd| KernelStats::read(fd.as_fd()).unwrap_or_default();
        self.sockets
            .iter()
            .map(|ports| ports.iter().map(read).collect())
            .collect()
    }

    /// Asks every worker to end after its turn.
    pub fn stop_workers(&self) {
        for watch in &self.watches {
            watch.vitals.stop();
        }
    }

    /// Takes the programs off the interfaces.
    pub fn detach(&self) {
        lock(&self.steering).clear();
    }
}

/// A panic of the control loop leaves these usable: each operation leaves them whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
