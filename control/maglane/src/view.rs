//! What the admin socket and the metrics page show, gathered: the catalog from the control loop, figures
//! from the workers and the kernel. Reading costs the workers nothing.

use std::sync::Arc;

use maglane_control::catalog::Catalog;
use maglane_control::metrics::{InterfaceFigures, Meter, Scrape, SocketFigures, UpdateTimes, WorkerFigures};
use maglane_xsk::{AttachMode, KernelStats, SteerCounters};
use tokio::sync::{mpsc, oneshot};

use crate::engine::Engine;
use crate::run::Shared;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the control loop knows.
#[derive(Clone, Debug)]
pub struct View {
    pub catalog: Arc<Catalog>,
    pub meter: Arc<Meter>,
    pub updates: Arc<UpdateTimes>,
}

/// Asks the control loop for a [`View`].
#[derive(Clone, Debug)]
pub struct Views(mpsc::Sender<oneshot::Sender<View>>);

impl Views {
    pub fn new(questions: mpsc::Sender<oneshot::Sender<View>>) -> Views {
        Views(questions)
    }

    /// `None` while the loop ends.
    pub async fn get(&self) -> Option<View> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        answered.await.ok()
    }
}

/// Everything a page shows. Asks the kernel, so not for the control loop itself.
pub fn scrape(shared: &Shared, view: View) -> Scrape {
    Scrape {
        catalog: view.catalog,
        meter: view.meter,
        updates: view.updates,
        workers: workers(&shared.engine, &shared.settings.interfaces),
        interfaces: interfaces(&shared.engine),
        peers: shared.speaker.peers(),
        version: VERSION,
        uptime: shared.health.uptime(),
    }
}

fn workers(engine: &Engine, interfaces: &[String]) -> Vec<WorkerFigures> {
    let figures = |(watch, sockets): (&maglane_dataplane::worker::Watch, Vec<KernelStats>)| WorkerFigures {
        counters: Arc::clone(&watch.counters),
        vitals: Arc::clone(&watch.vitals),
        sockets: interfaces
            .iter()
            .zip(sockets)
            .map(|(name, stats)| socket(name, stats))
            .collect(),
    };
    engine
        .watches
        .iter()
        .zip(engine.kernel_stats())
        .map(figures)
        .collect()
}

fn socket(interface: &str, stats: KernelStats) -> SocketFigures {
    let KernelStats {
        rx_dropped,
        rx_invalid,
        tx_invalid,
        rx_ring_full,
        fill_empty,
        tx_ring_empty,
    } = stats;
    SocketFigures {
        interface: interface.to_owned(),
        rx_dropped,
        rx_invalid,
        rx_ring_full,
        fill_ring_empty: fill_empty,
        tx_invalid,
        tx_ring_empty,
    }
}

fn interfaces(engine: &Engine) -> Vec<InterfaceFigures> {
    let figures = |(interface, mode, counters): (String, AttachMode, SteerCounters)| InterfaceFigures {
        interface,
        mode: mode_name(mode).to_owned(),
        redirected: counters.redirected,
        passed: counters.passed,
        passed_no_socket: counters.passed_no_socket,
        passed_fragment: counters.passed_fragment,
    };
    engine.steering().into_iter().map(figures).collect()
}

/// As `--xdp-mode` spells it.
pub fn mode_name(mode: AttachMode) -> &'static str {
    match mode {
        AttachMode::Native | AttachMode::NativeMultiBuffer => "native",
        AttachMode::Generic => "generic",
    }
}
