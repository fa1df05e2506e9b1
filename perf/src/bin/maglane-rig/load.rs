//! `flows`, `connects`, `udp`: clients that count what they were promised and what they got.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use maglane_perf::load::{self, Event, Target, connects, flows, udp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[derive(Debug, Args)]
struct Common {
    /// Whom to ask
    #[arg(long, value_name = "ADDRESS:PORT")]
    target: SocketAddr,
    /// Source addresses, used in turn (one gives about 28,000 to 64,000 flows)
    #[arg(long, value_delimiter = ',', value_name = "ADDRESSES")]
    source: Vec<IpAddr>,
    /// How long one connect or answer may take, milliseconds
    #[arg(long, default_value_t = 5000, value_name = "MS")]
    timeout: u64,
    /// Between two progress lines, milliseconds
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    progress: u64,
    /// One JSON object a line: ready, progress, report
    #[arg(long)]
    json: bool,
}

impl Common {
    fn target(&self) -> Target {
        Target {
            address: self.target,
            sources: self.source.clone(),
            timeout: Duration::from_millis(self.timeout),
            progress: Duration::from_millis(self.progress.max(10)),
        }
    }
}

#[derive(Debug, Args)]
pub struct Flows {
    #[command(flatten)]
    common: Common,
    /// Connections held open
    #[arg(long, default_value_t = 2000)]
    flows: usize,
    /// Length of the run after all are open, seconds
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Requests a second of each flow; 0 is as fast as answers come
    #[arg(long, default_value_t = 2.0)]
    rate: f64,
    /// What to ask for
    #[arg(long, default_value = "/")]
    path: String,
}

impl Flows {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let settings = flows::Settings {
            target: self.common.target(),
            flows: self.flows,
            duration: Duration::from_secs_f64(self.seconds),
            interval: load::interval(self.rate),
            path: self.path,
        };
        drive(self.common.json, |stop, tell| flows::run(settings, stop, tell))
    }
}

#[derive(Debug, Args)]
pub struct Connects {
    #[command(flatten)]
    common: Common,
    /// Connections in all
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Connections at a time
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Connections a second in all; 0 is as fast as they end
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// What to ask for
    #[arg(long, default_value = "/")]
    path: String,
}

impl Connects {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let settings = connects::Settings {
            target: self.common.target(),
            count: self.count,
            concurrency: self.concurrency,
            interval: load::interval(self.rate),
            path: self.path,
        };
        drive(self.common.json, |stop, tell| connects::run(settings, stop, tell))
    }
}

#[derive(Debug, Args)]
pub struct Udp {
    #[command(flatten)]
    common: Common,
    /// Sockets, each with its own port
    #[arg(long, default_value_t = 100)]
    flows: usize,
    /// Length of the run, seconds
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Datagrams a second of each flow; 0 is as fast as answers come
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Payload of a datagram, bytes (16 at least)
    #[arg(long, default_value_t = 32)]
    size: usize,
}

impl Udp {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let settings = udp::Settings {
            target: self.common.target(),
            flows: self.flows,
            duration: Duration::from_secs_f64(self.seconds),
            interval: load::interval(self.rate),
            size: self.size,
        };
        drive(self.common.json, |stop, tell| udp::run(settings, stop, tell))
    }
}

fn drive<F, R>(json: bool, run: F) -> anyhow::Result<ExitCode>
where
    F: FnOnce(watch::Receiver<bool>, fn(Event)) -> R,
    R: Future<Output = load::Report>,
{
    load::raise_file_limit();
    let tell: fn(Event) = if json {
        |event| println!("{}", event.line(true))
    } else {
        |event| println!("{}", event.line(false))
    };
    let report = runtime()?.block_on(async { anyhow::Ok(run(stop_signal()?, tell).await) })?;
    Ok(ExitCode::from(u8::from(!report.clean())))
}

pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

/// Becomes true at SIGTERM or SIGINT.
pub fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sender.send_replace(true);
        sender.closed().await;
    });
    Ok(receiver)
}

pub async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
