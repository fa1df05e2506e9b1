//! The line: two namespaces, two veth pairs, one core for the generator and the sink, one for the device.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::cores::{Cores, DEVICE_PRIORITY, GENERATOR_PRIORITY, Placement, napi_thread, on_core};
use crate::process::{Guard, rig_binary};
use crate::rig::{Namespace, RigError, cleanup, output_of, plan};
use crate::traffic::Sent;
use crate::traffic::sink::Sink;

pub const IN: &str = "in0";
pub const OUT: &str = "out0";
pub const BACKENDS: u8 = 16;
/// UDP, so that every packet is a flow of its own right and nobody waits for a handshake.
pub const PORT: u16 = 5353;
const GENERATOR: &str = "g0";
const SINK: &str = "g1";

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub flows: u32,
    pub size: usize,
    /// Packets a second; 0 is full speed.
    pub rate: u64,
    pub seconds: f64,
    pub target: IpAddr,
}

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub struct Through {
    pub sent: u64,
    pub received: u64,
    pub seconds: f64,
}

impl Through {
    /// Share of packets that did not arrive.
    pub fn lost(&self) -> f64 {
        if self.sent == 0 {
            0.0
        } else {
            1.0 - (self.received.min(self.sent) as f64 / self.sent as f64)
        }
    }
}

/// The laid-out line; removed when dropped.
pub struct Lane {
    pub device: Namespace,
    pub cores: Cores,
    pub placement: Placement,
    pub sink_mac: String,
    pub out_mac: String,
    far: Namespace,
    in_mac: String,
    sink: Option<Sink>,
    run_id: String,
}

impl Lane {
    pub fn build(cores: Cores, placement: Placement) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let run_id = format!(
            "e{:x}x{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let far = Namespace::new(format!("mgl-{run_id}-g"));
        let device = Namespace::new(format!("mgl-{run_id}-d"));
        let mut lane = Self {
            far,
            device,
            cores,
            placement,
            sink_mac: String::new(),
            out_mac: String::new(),
            in_mac: String::new(),
            sink: None,
            run_id,
        };
        lane.lay_out()?;
        lane.sink = Some(lane.far.inside(|| Sink::attach(SINK))??);
        lane.place(IN, placement)?;
        napi_thread(&lane.far, SINK, cores.generator)?;
        Ok(lane)
    }

    fn lay_out(&mut self) -> anyhow::Result<()> {
        let (far, device) = (self.far.name(), self.device.name());
        let mut script = format!("ip netns add {far}\nip netns add {device}\n");
        for (near, end) in [(GENERATOR, IN), (SINK, OUT)] {
            script.push_str(&format!(
                "ip link add {near} netns {far} numtxqueues 1 numrxqueues 1 type veth \
                 peer name {end} netns {device} numtxqueues 1 numrxqueues 1\n"
            ));
        }
        output_of(
            Command::new("sh").args(["-euc", &script]),
            "ip link add",
            "of the machine",
        )?;
        self.far.script(&port_scripts([GENERATOR, SINK]))?;
        self.device.script(&port_scripts([IN, OUT]))?;
        let mac = |ns: &Namespace, name: &str| -> Result<String, RigError> {
            Ok(ns
                .run("cat", &[&format!("/sys/class/net/{name}/address")])?
                .trim()
                .to_owned())
        };
        self.sink_mac = mac(&self.far, SINK)?;
        self.out_mac = mac(&self.device, OUT)?;
        self.in_mac = mac(&self.device, IN)?;
        self.device.script(&self.addresses(&mac(&self.far, GENERATOR)?))?;
        Ok(())
    }

    /// Addresses, routes and neighbours that never need to be asked for.
    fn addresses(&self, generator_mac: &str) -> String {
        let router = plan::router_front().v4;
        let mut script = format!(
            "echo 1 > /proc/sys/net/ipv4/ip_forward\n\
             for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done\n\
             ip addr add {}/24 dev {IN}\nip addr add {}/24 dev {OUT}\n\
             ip neigh replace {router} lladdr {generator_mac} dev {IN} nud permanent\n\
             ip route add 10.10.0.0/16 via {router}\n",
            plan::balancer_front(1).v4,
            plan::balancer_back(1).v4,
        );
        for n in 1..=BACKENDS {
            let address = plan::backend(n).v4;
            script.push_str(&format!(
                "ip neigh replace {address} lladdr {} dev {OUT} nud permanent\n",
                self.sink_mac
            ));
        }
        script
    }

    fn place(&self, interface: &str, placement: Placement) -> anyhow::Result<()> {
        match placement {
            Placement::OneCore => napi_thread(&self.device, interface, self.cores.device),
            Placement::Split => Ok(()),
        }
    }

    /// Starts the device's program on its core, at its priority.
    pub fn spawn_device(
        &self,
        label: &str,
        program: &Path,
        args: impl IntoIterator<Item = String>,
    ) -> Result<Guard, RigError> {
        let before = on_core(self.cores.device, DEVICE_PRIORITY);
        let all = before
            .into_iter()
            .chain([program.display().to_string()])
            .chain(args)
            .skip(1);
        self.device.spawn(label, "taskset", all)
    }

    /// Waits until packets come out at the end.
    pub fn wait_through(&self, load: &Load) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(15) {
            if self.run(load)?.received > 0 {
                return Ok(());
            }
        }
        anyhow::bail!("no packet came through within 15 s")
    }

    /// Sends a load and counts what arrives, stragglers of 100 ms included.
    pub fn run(&self, load: &Load) -> anyhow::Result<Through> {
        let before = self.sunk()?;
        let args = [
            "blast".to_owned(),
            format!("--interface={GENERATOR}"),
            format!("--target-mac={}", self.in_mac),
            format!("--target={}", load.target),
            format!("--port={PORT}"),
            "--source=10.10.0.1".to_owned(),
            format!("--flows={}", load.flows),
            format!("--size={}", load.size),
            format!("--rate={}", load.rate),
            format!("--seconds={}", load.seconds),
        ];
        let program = rig_binary()?.display().to_string();
        let all = on_core(self.cores.generator, GENERATOR_PRIORITY)
            .into_iter()
            .chain([program])
            .chain(args);
        let guard = self.far.spawn("blast", "taskset", all.skip(1))?;
        let finished = guard.finish(Duration::from_secs_f64(load.seconds + 20.0))?;
        let sent: Option<Sent> = finished
            .stdout
            .last()
            .and_then(|line| serde_json::from_str(line).ok());
        let sent = sent.with_context(|| format!("the generator said {:?}", finished.stderr))?;
        std::thread::sleep(Duration::from_millis(100));
        Ok(Through {
            sent: sent.packets,
            received: self.sunk()? - before,
            seconds: sent.seconds,
        })
    }

    fn sunk(&self) -> anyhow::Result<u64> {
        Ok(self.sink.as_ref().context("no sink")?.sunk()?.packets)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.sink = None;
        let _ = cleanup(&self.run_id);
    }
}

/// `gro on` gives NAPI, and only on an interface that is up does it also allow XDP frames from the far end.
fn port_scripts(names: [&str; 2]) -> String {
    let lines = names.map(|name| {
        format!(
            "ip link set {name} gro_max_size 1\nip link set {name} up\n\
             ethtool -K {name} tx off tso off gso off gro on > /dev/null\n"
        )
    });
    format!(
        "ip link set lo up\necho 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6\n{}",
        lines.concat()
    )
}
