//! What is measured: Maglane, the barest AF_XDP forwarder, the kernel, DPDK.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};

use super::cores::{DEVICE_PRIORITY, Placement};
use super::lane::{BACKENDS, IN, Lane, OUT, PORT};
use crate::manifests::Service;
use crate::process::{Guard, maglane_binary, rig_binary};
use crate::rig::kernel::{self, KernelService};
use crate::rig::plan;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// `maglane run` in a forwarding mode.
    MaglaneL2Dsr,
    MaglaneNat,
    MaglaneIpip,
    /// AF_XDP in, MAC addresses, AF_XDP out.
    Reflect,
    /// Kernel IP forwarding without any rule.
    KernelForward,
    /// nftables rules like kube-proxy's, 16 endpoints.
    KernelDnat,
    /// DPDK testpmd over AF_XDP, forwarding mode `mac`.
    Testpmd,
}

/// A running device under test.
pub struct Device {
    guard: Option<Guard>,
    folder: Option<PathBuf>,
}

impl Contender {
    pub const ALL: [Self; 7] = [
        Self::Reflect,
        Self::MaglaneL2Dsr,
        Self::MaglaneNat,
        Self::MaglaneIpip,
        Self::Testpmd,
        Self::KernelForward,
        Self::KernelDnat,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::MaglaneL2Dsr => "maglane-l2-dsr",
            Self::MaglaneNat => "maglane-nat",
            Self::MaglaneIpip => "maglane-ipip",
            Self::Reflect => "bare-af-xdp",
            Self::KernelForward => "kernel-forward",
            Self::KernelDnat => "kernel-nftables",
            Self::Testpmd => "testpmd-af-xdp",
        }
    }

    /// The kernel works where the packets arrive, so splitting means nothing to it; testpmd spins, so a NAPI
    /// thread on its core would never run.
    #[must_use]
    pub fn fits(self, placement: Placement) -> bool {
        match self {
            Self::KernelForward | Self::KernelDnat => placement == Placement::OneCore,
            Self::Testpmd => placement == Placement::Split,
            Self::MaglaneL2Dsr | Self::MaglaneNat | Self::MaglaneIpip | Self::Reflect => true,
        }
    }

    /// Where the generator's packets go.
    #[must_use]
    pub fn target(self) -> IpAddr {
        match self {
            Self::KernelForward => plan::backend(1).v4.into(),
            Self::MaglaneL2Dsr
            | Self::MaglaneNat
            | Self::MaglaneIpip
            | Self::Reflect
            | Self::KernelDnat
            | Self::Testpmd => plan::vip(1).v4.into(),
        }
    }

    pub fn start(self, lane: &Lane) -> anyhow::Result<Device> {
        match self {
            Self::MaglaneL2Dsr => maglane(lane, "l2-dsr"),
            Self::MaglaneNat => maglane(lane, "nat"),
            Self::MaglaneIpip => maglane(lane, "ipip"),
            Self::Reflect => reflect(lane),
            Self::KernelForward => Ok(Device {
                guard: None,
                folder: None,
            }),
            Self::KernelDnat => {
                let backends = (1..=BACKENDS).map(|n| plan::backend(n).v4.into()).collect();
                let service = KernelService {
                    vip: plan::vip(1).v4.into(),
                    port: PORT,
                    backends,
                };
                kernel::load(&lane.device, &[service])?;
                Ok(Device {
                    guard: None,
                    folder: None,
                })
            }
            Self::Testpmd => testpmd(lane),
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|c| c.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|c| c.name()).collect();
            format!("{text} is unknown; use {}", names.join(", "))
        })
    }
}

impl Device {
    /// Why it may not forward.
    pub fn last_words(&self) -> String {
        let lines = self
            .guard
            .as_ref()
            .map(|guard| [guard.stdout(), guard.stderr()].concat());
        let lines = lines.unwrap_or_default();
        format!(
            "nothing comes through: {}",
            lines[lines.len().saturating_sub(5)..].join(" | ")
        )
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        drop(self.guard.take());
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn maglane(lane: &Lane, mode: &str) -> anyhow::Result<Device> {
    let binary = maglane_binary().context("no `maglane` binary: cargo build --release -p maglane")?;
    let folder = std::env::temp_dir().join(lane.device.name());
    let manifests = folder.join("manifests");
    std::fs::create_dir_all(&manifests).with_context(|| format!("make {}", manifests.display()))?;
    let mut service = Service::standard("bench", 1, mode, BACKENDS);
    service.vips.truncate(1);
    service.write(&manifests)?;
    let args = [
        format!("--interface={IN},{OUT}"),
        "--workers=1".to_owned(),
        format!("--cores={}", lane.cores.device),
        format!("--manifests={}", manifests.display()),
        format!("--snat-address={}", plan::balancer_back(1).v4),
        format!("--admin-socket={}", folder.join("socket").display()),
        format!("--lock-dir={}", folder.display()),
        format!("--spin-us={}", lane.placement.spin_us()),
    ];
    let guard = lane.spawn_device("maglane", &binary, ["run".to_owned()].into_iter().chain(args))?;
    Ok(Device {
        guard: Some(guard),
        folder: Some(folder),
    })
}

fn reflect(lane: &Lane) -> anyhow::Result<Device> {
    let args = [
        "reflect".to_owned(),
        format!("--input={IN}"),
        format!("--output={OUT}"),
        format!("--vip={}", plan::vip(1).v4),
        format!("--target-mac={}", lane.sink_mac),
        format!("--source-mac={}", lane.out_mac),
        format!("--spin={}", lane.placement.spin_us()),
    ];
    let guard = lane.spawn_device("reflect", &rig_binary()?, args)?;
    Ok(Device {
        guard: Some(guard),
        folder: None,
    })
}

fn testpmd(lane: &Lane) -> anyhow::Result<Device> {
    let binary = "/usr/bin/dpdk-testpmd";
    if !Path::new(binary).is_file() {
        bail!("no {binary}: apt-get install dpdk-dev librte-net-af-xdp23");
    }
    let line = format!(
        "-l {main},{device} --main-lcore {main} --no-pci --no-huge -m 1024 \
         --vdev net_af_xdp0,iface={IN} --vdev net_af_xdp1,iface={OUT} -- \
         --forward-mode=mac --eth-peer=1,{mac} --eth-peer=0,{mac} --nb-cores=1 --total-num-mbufs=32768 --auto-start --stats-period=60",
        main = lane.cores.generator,
        device = lane.cores.device,
        mac = lane.sink_mac,
    );
    // It places its threads itself; the main one only sleeps.
    let priority = DEVICE_PRIORITY.to_string();
    let args = ["-f", &priority, binary]
        .into_iter()
        .chain(line.split_whitespace());
    let guard = lane.device.spawn("testpmd", "chrt", args)?;
    Ok(Device {
        guard: Some(guard),
        folder: None,
    })
}
