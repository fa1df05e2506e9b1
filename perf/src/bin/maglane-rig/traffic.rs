//! `blast`, `sink`, `reflect`: packets by the million.

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use maglane_perf::traffic::frame::Mac;
use maglane_perf::traffic::sink::Sink;
use maglane_perf::traffic::{FlowKind, Limit, Template, live, reflect, socket};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// In the kernel (BPF_PROG_RUN with live frames): the fastest on veth
    Live,
    /// An AF_XDP socket
    Socket,
}

#[derive(Debug, Args)]
pub struct Blast {
    /// Interface to send through
    #[arg(long)]
    interface: String,
    /// MAC address of the next hop
    #[arg(long, value_name = "MAC")]
    target_mac: Mac,
    /// Where the packets go
    #[arg(long, value_name = "IP")]
    target: IpAddr,
    /// Destination port
    #[arg(long, default_value_t = 80)]
    port: u16,
    /// Source address of the first flow; others count up in its last 16 bits
    #[arg(long, value_name = "IP")]
    source: IpAddr,
    /// MAC address to send from
    #[arg(long, default_value = "02:00:00:00:00:01", value_name = "MAC")]
    source_mac: Mac,
    /// What the packets are: udp, syn or ack
    #[arg(long, default_value = "udp")]
    kind: FlowKind,
    /// Flows, by source port and address
    #[arg(long, default_value_t = 1)]
    flows: u32,
    /// Frame length without the check sequence, bytes (60 is what benches call 64)
    #[arg(long, default_value_t = 60)]
    size: usize,
    /// Packets a second; 0 is as fast as possible
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Length of the run, seconds
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Packets in all; 0 is no limit
    #[arg(long, default_value_t = 0)]
    count: u64,
    /// How to send
    #[arg(long, value_enum, default_value_t = Engine::Live)]
    engine: Engine,
    /// Queue of an AF_XDP socket
    #[arg(long, default_value_t = 0)]
    queue: u32,
}

impl Blast {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let template = Template {
            kind: self.kind,
            source_mac: self.source_mac,
            target_mac: self.target_mac,
            source: self.source,
            target: self.target,
            port: self.port,
            size: self.size,
        };
        let packet = template.build()?;
        let limit = Limit {
            packets: self.count,
            time: Duration::from_secs_f64(self.seconds),
            rate: self.rate,
        };
        let flag = stop_flag()?;
        let stop = || flag.load(Ordering::Relaxed);
        let sent = match self.engine {
            Engine::Live => live::run(&packet, self.flows, &self.interface, limit, stop)?,
            Engine::Socket => socket::run(&packet, self.flows, &self.interface, self.queue, limit, stop)?,
        };
        println!("{}", serde_json::to_string(&sent)?);
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub struct Sinks {
    /// Interface whose TCP, UDP and IPIP packets are counted and dropped
    #[arg(long)]
    interface: String,
    /// Length of the run, seconds; 0 is until SIGTERM
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,
}

impl Sinks {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let sink = Sink::attach(&self.interface)?;
        println!("ready");
        let flag = stop_flag()?;
        let start = Instant::now();
        let mut told = start;
        while !flag.load(Ordering::Relaxed)
            && (self.seconds <= 0.0 || start.elapsed().as_secs_f64() < self.seconds)
        {
            std::thread::sleep(Duration::from_millis(20));
            if told.elapsed() >= Duration::from_secs(1) {
                told = Instant::now();
                println!("{}", serde_json::to_string(&sink.sunk()?)?);
            }
        }
        println!("{}", serde_json::to_string(&sink.sunk()?)?);
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub struct Reflect {
    /// Interface where packets come in
    #[arg(long)]
    input: String,
    /// Interface where they leave
    #[arg(long)]
    output: String,
    /// Queue of both
    #[arg(long, default_value_t = 0)]
    queue: u32,
    /// Take packets to these addresses
    #[arg(long, required = true, value_delimiter = ',', value_name = "IP,...")]
    vip: Vec<IpAddr>,
    /// MAC address to send to
    #[arg(long, value_name = "MAC")]
    target_mac: Mac,
    /// MAC address to send from
    #[arg(long, default_value = "02:00:00:00:00:01", value_name = "MAC")]
    source_mac: Mac,
    /// How long to look for packets before sleeping, microseconds
    #[arg(long, default_value_t = 50, value_name = "US")]
    spin: u64,
}

impl Reflect {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let settings = reflect::Settings {
            input: self.input,
            output: self.output,
            queue: self.queue,
            vips: self.vip,
            source_mac: self.source_mac,
            target_mac: self.target_mac,
            spin: Duration::from_micros(self.spin),
        };
        let flag = stop_flag()?;
        let forwarded = reflect::run(&settings, || println!("ready"), || flag.load(Ordering::Relaxed))?;
        println!("{{\"forwarded\":{forwarded}}}");
        Ok(ExitCode::SUCCESS)
    }
}

/// Set by SIGTERM and SIGINT.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&flag);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            if let Ok(stop) = super::load::stop_signal() {
                super::load::stopped(stop).await;
                theirs.store(true, Ordering::Relaxed);
            }
        });
    });
    Ok(flag)
}
