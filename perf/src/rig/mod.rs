//! The test network: clients behind a router, balancers, and backends on one bridge, in namespaces.
//!
//! ```text
//!  c1 ─┐                  ┌──── br-front ──── eth0 lb1 eth1 ────┐
//!      ├─ r ── front ─────┘                  (lb2 ..)           br-back ── b1 .. bN
//!  c2 ─┘  └── back ─────────────────────────────────────────────┘
//! ```
//! Backends answer through `r` (direct return) or through a balancer, as [`Rig::return_path`] says.
//! Dropping the rig ends what runs in its namespaces and removes them.

mod build;
mod cleanup;
mod error;
pub mod kernel;
mod layout;
mod namespace;
mod picture;
pub mod plan;
mod settings;

use std::net::IpAddr;
use std::time::Duration;

pub use build::RigBuilder;
pub use cleanup::{cleanup, run_ids};
pub use error::RigError;
pub use layout::Spec;
pub use namespace::Namespace;
pub(crate) use namespace::output_of;
pub use plan::{Dual, Host, ReturnPath, Shape};

use crate::process::Guard;

/// A laid-out network. See the module page for its shape.
#[derive(Debug)]
pub struct Rig {
    spec: Spec,
    keep: bool,
}

impl Rig {
    #[must_use]
    pub fn builder() -> RigBuilder {
        RigBuilder::default()
    }

    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The namespace of a host by name: `c1`, `r`, `sw`, `lb` or `lb1`, `b1`.
    ///
    /// # Panics
    /// When this rig has no such host.
    #[must_use]
    pub fn ns(&self, host: &str) -> Namespace {
        let known = host
            .parse::<Host>()
            .ok()
            .filter(|h| self.spec.hosts().any(|own| own == *h));
        let Some(host) = known else {
            panic!("{}", RigError::NoHost(host.to_owned()))
        };
        self.on(host)
    }

    #[must_use]
    pub fn on(&self, host: Host) -> Namespace {
        Namespace::new(self.spec.namespace(host))
    }

    /// The balancer's interfaces as `--interface` wants them.
    #[must_use]
    pub fn balancer_interfaces(&self) -> String {
        self.spec.balancer_interfaces().join(",")
    }

    /// Which balancers the router sends the VIPs to; none removes the routes.
    ///
    /// # Errors
    /// When the kernel refuses the route.
    pub fn vip_next_hops(&self, balancers: &[u8]) -> Result<(), RigError> {
        self.on(Host::Router)
            .script(&settings::vip_routes(&self.spec, balancers))
            .map(drop)
    }

    /// Sets the default route of every backend.
    ///
    /// # Errors
    /// When the kernel refuses the route.
    pub fn return_path(&self, path: ReturnPath) -> Result<(), RigError> {
        let gateway = match path {
            ReturnPath::Router => plan::router_back(),
            ReturnPath::Balancer(n) => plan::balancer_back(n),
        };
        self.each_backend(&settings::default_route(gateway))
    }

    /// Makes every backend own this VIP on loopback, silent in ARP and ND: what DSR needs.
    ///
    /// # Errors
    /// When the kernel refuses the address.
    pub fn own_vip(&self, vip: IpAddr) -> Result<(), RigError> {
        self.each_backend(&match vip {
            IpAddr::V4(v4) => format!("ip addr replace {v4}/32 dev lo"),
            IpAddr::V6(v6) => format!("ip -6 addr replace {v6}/128 dev lo nodad"),
        })
    }

    /// Undoes [`Rig::own_vip`].
    ///
    /// # Errors
    /// When a backend does not own it.
    pub fn disown_vip(&self, vip: IpAddr) -> Result<(), RigError> {
        let length = if vip.is_ipv4() { 32 } else { 128 };
        self.each_backend(&format!("ip addr del {vip}/{length} dev lo"))
    }

    /// Gives a client more source addresses ([`plan::client`] with index 1..=count) and returns all of one
    /// family, its own first.
    ///
    /// # Errors
    /// When the kernel refuses an address, or count is above 200.
    pub fn more_sources(&self, client: u8, count: u8) -> Result<Vec<Dual>, RigError> {
        build::in_range("extra sources", count.into(), 0, 200)?;
        let all: Vec<Dual> = (0..=count).map(|index| plan::client(client, index)).collect();
        let script: String = all[1..]
            .iter()
            .map(|dual| {
                format!(
                    "ip addr replace {}/24 dev eth0\nip -6 addr replace {}/64 dev eth0 nodad\n",
                    dual.v4, dual.v6
                )
            })
            .collect();
        self.on(Host::Client(client)).script(&script)?;
        Ok(all)
    }

    /// Makes the path from the router to a client carry at most `mtu` bytes: larger packets that must not
    /// be fragmented are answered with ICMP by the router, as on a narrow link further away.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn narrow_client_path(&self, client: u8, mtu: u16) -> Result<(), RigError> {
        self.on(Host::Router)
            .script(&format!(
                "ip route replace 10.10.{client}.0/24 dev c{client} mtu lock {mtu}\n\
                 ip -6 route replace fd10:{client:x}::/64 dev c{client} mtu lock {mtu} metric 1\n"
            ))
            .map(drop)
    }

    /// Sets the MTU of balancer `n`'s backend-side interface and of the switch port behind it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn narrow_backend_side(&self, balancer: u8, mtu: u16) -> Result<(), RigError> {
        let interface = self.spec.balancer_interfaces().last().copied().unwrap_or("eth0");
        self.set_mtu(Host::Switch, &format!("back-lb{balancer}"), mtu)?;
        self.set_mtu(Host::Balancer(balancer), interface, mtu)
    }

    /// # Errors
    /// When the kernel refuses.
    pub fn set_mtu(&self, host: Host, interface: &str, mtu: u16) -> Result<(), RigError> {
        self.on(host)
            .run("ip", &["link", "set", interface, "mtu", &mtu.to_string()])
            .map(drop)
    }

    /// Starts `maglane-rig serve` on a backend: HTTP on port 80, UDP echo on 5353, both families.
    ///
    /// # Errors
    /// When it does not come up within 10 s.
    pub fn serve(&self, backend: u8) -> Result<Guard, RigError> {
        let name = Host::Backend(backend).to_string();
        let args = [
            "serve",
            "--name",
            &name,
            "--http",
            "[::]:80",
            "--udp",
            "[::]:5353",
        ];
        let mut guard = self.on(Host::Backend(backend)).rig_tool(&name, &args)?;
        guard.wait_for("ready", Duration::from_secs(10))?;
        Ok(guard)
    }

    /// [`Rig::serve`] on every backend.
    ///
    /// # Errors
    /// As there.
    pub fn serve_all(&self) -> Result<Vec<Guard>, RigError> {
        (1..=self.spec.backends).map(|n| self.serve(n)).collect()
    }

    /// Starts a decapsulator for IPIP and GUE on a backend.
    ///
    /// # Errors
    /// When it does not come up within 10 s.
    pub fn decapsulate(&self, backend: u8) -> Result<Guard, RigError> {
        let host = Host::Backend(backend);
        let mut guard = self.on(host).rig_tool(&format!("decap {host}"), &["decap"])?;
        guard.wait_for("ready", Duration::from_secs(10))?;
        Ok(guard)
    }

    /// Leaves the namespaces behind when the rig is dropped; `maglane-rig cleanup` removes them.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    fn each_backend(&self, script: &str) -> Result<(), RigError> {
        (1..=self.spec.backends).try_for_each(|n| self.on(Host::Backend(n)).script(script).map(drop))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !self.keep {
            let _ = cleanup(&self.spec.run_id);
        }
    }
}
