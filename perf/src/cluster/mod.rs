//! Test clusters: a real kube-apiserver where one is found, an API double everywhere else, one interface.
//!
//! ```no_run
//! # fn main() -> Result<(), maglane_perf::cluster::ClusterError> {
//! use maglane_perf::cluster::{Cluster, Fault, User};
//! let cluster = Cluster::start()?;                            // and says which in one line
//! cluster.client().apply_all("default", "apiVersion: v1\nkind: Service\n...")?;
//! let kubeconfig = cluster.kubeconfig(&User::service_account("maglane-system", "maglane"))?;
//! cluster.fault(Fault::Frozen)?;
//! cluster.heal()?;
//! # Ok(()) }
//! ```

mod access;
mod client;
mod double;
mod error;
mod fault;
mod front;
mod ground;
mod log;
mod pki;
mod real;
mod refusal;
mod start;
mod target;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use self::double::Double;
use self::front::Front;
use self::ground::Ground;
use self::pki::Authority;
use self::real::Real;

pub use access::{Access, User};
pub use client::{APPLY_PATCH, Client, Discovered, Heard, JSON, JSON_PATCH, MERGE_PATCH, Reply, Watch};
pub use error::ClusterError;
pub use fault::Fault;
pub use log::{Entry, Mark, RequestLog};
pub use start::{Builder, Choice};
pub use target::{Params, Target, Verb};

/// How long the door may take to put a fault into force.
const SETTLE: Duration = Duration::from_secs(30);

/// A running cluster; it ends when dropped, and with the process.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    server: Server,
    /// What the product connects to: faults and the log are here.
    front: Arc<Front>,
    /// The double's way in past all faults. The real server is its own.
    back: Option<Arc<Front>>,
    authority: Authority,
    admin: Client,
    trouble: Mutex<Option<Fault>>,
    ground: Ground,
}

#[derive(Debug)]
enum Server {
    Double(Arc<Double>),
    Real(Box<Real>),
}

impl Cluster {
    /// The real server where it is found, the double otherwise; a line on standard error says which.
    ///
    /// # Errors
    /// When it is found but does not start.
    pub fn start() -> Result<Self, ClusterError> {
        Self::builder().start()
    }

    /// One for all tests of a process; use a namespace a test. Ends with the process.
    ///
    /// # Errors
    /// As [`Cluster::start`], for the first who asks and all others.
    pub fn shared() -> Result<&'static Self, &'static ClusterError> {
        static SHARED: OnceLock<Result<Cluster, ClusterError>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `kube-apiserver 1.36.2` or `double`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn is_real(&self) -> bool {
        match self.server {
            Server::Real(_) => true,
            Server::Double(_) => false,
        }
    }

    /// How a user reaches the cluster through the door: logged, and subject to faults.
    ///
    /// # Errors
    /// When no certificate can be made for such a name.
    pub fn access(&self, user: &User) -> Result<Access, ClusterError> {
        self.access_at(self.front.address, user)
    }

    /// How a user reaches the server past the door: no log and no faults but those of the real server itself
    /// (frozen, killed); nothing in between to measure.
    ///
    /// # Errors
    /// As [`Cluster::access`].
    pub fn direct_access(&self, user: &User) -> Result<Access, ClusterError> {
        let address = match (&self.server, &self.back) {
            (Server::Real(real), _) => real.address,
            (Server::Double(_), Some(back)) => back.address,
            (Server::Double(_), None) => self.front.address,
        };
        self.access_at(address, user)
    }

    /// The kubeconfig of a user, through the door.
    ///
    /// # Errors
    /// As [`Cluster::access`].
    pub fn kubeconfig(&self, user: &User) -> Result<String, ClusterError> {
        Ok(self.access(user)?.kubeconfig())
    }

    /// The administrator's client, past the door: for what a test does to the cluster.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.admin
    }

    /// A user's client, through the door: for what a test wants to see as the product would.
    ///
    /// # Errors
    /// As [`Cluster::access`].
    pub fn client_as(&self, user: &User) -> Result<Client, ClusterError> {
        Client::new(self.access(user)?, self.ground.handle().clone())
    }

    /// What came through the door.
    #[must_use]
    pub fn log(&self) -> &RequestLog {
        &self.front.log
    }

    /// What the real server printed; nothing of the double.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match &self.server {
            Server::Real(real) => real.words(),
            Server::Double(_) => Vec::new(),
        }
    }

    /// Puts a fault into force in place of the one before; it is in force when this returns.
    ///
    /// # Errors
    /// When the cluster is not what it was before.
    pub fn fault(&self, fault: Fault) -> Result<(), ClusterError> {
        let mut trouble = self.trouble();
        self.end(&mut trouble)?;
        let serial = self.front.gate.inflict(&fault);
        self.settle(serial)?;
        if let Server::Real(real) = &self.server {
            match fault {
                Fault::Frozen => real.pause(),
                Fault::Down => real.kill(),
                Fault::Closed
                | Fault::Unavailable
                | Fault::Throttled(_)
                | Fault::Forbidden
                | Fault::SilentWatches
                | Fault::SlowList { .. } => {}
            }
        }
        *trouble = Some(fault);
        Ok(())
    }

    /// Ends the fault and waits until the server is ready.
    ///
    /// # Errors
    /// When the server does not come back.
    pub fn heal(&self) -> Result<(), ClusterError> {
        self.end(&mut self.trouble())
    }

    /// Killed and started again on the same port and data.
    ///
    /// # Errors
    /// As [`Cluster::heal`].
    pub fn restart(&self) -> Result<(), ClusterError> {
        self.fault(Fault::Down)?;
        self.heal()
    }

    /// All data is lost and revisions begin anew, as when etcd's disk was: servers restart on the same ports.
    ///
    /// # Errors
    /// As [`Cluster::heal`].
    pub fn wipe(&self) -> Result<(), ClusterError> {
        self.fault(Fault::Down)?;
        match &self.server {
            Server::Real(real) => real.wipe()?,
            Server::Double(double) => double.wipe(),
        }
        self.heal()
    }

    fn end(&self, trouble: &mut Option<Fault>) -> Result<(), ClusterError> {
        let Some(fault) = trouble.take() else {
            return Ok(());
        };
        let restarted = match fault {
            Fault::Down => true,
            Fault::Frozen
            | Fault::Closed
            | Fault::Unavailable
            | Fault::Throttled(_)
            | Fault::Forbidden
            | Fault::SilentWatches
            | Fault::SlowList { .. } => false,
        };
        match &self.server {
            Server::Real(real) => {
                real.resume();
                real.launch(&self.ground)?;
            }
            Server::Double(double) if restarted => double.restart(),
            Server::Double(_) => {}
        }
        // Open as soon as the server listens: whoever connects meets a server that is still starting.
        let serial = self.front.gate.clear();
        self.settle(serial)?;
        match &self.server {
            Server::Real(real) => real.wait_ready(&self.admin),
            Server::Double(_) => Ok(()),
        }
    }

    fn settle(&self, serial: u64) -> Result<(), ClusterError> {
        let mut in_force = self.front.in_force.subscribe();
        let (told, hear) = std::sync::mpsc::channel();
        self.ground.handle().spawn(async move {
            let settled = in_force.wait_for(|now| *now >= serial).await.is_ok();
            let _ = told.send(settled);
        });
        match hear.recv_timeout(SETTLE) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(ClusterError::Gone),
        }
    }

    fn access_at(&self, server: std::net::SocketAddr, user: &User) -> Result<Access, ClusterError> {
        let fronts = [Some(&self.front), self.back.as_ref()];
        start::introduce(&self.authority, fronts.into_iter().flatten(), server, user)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<Fault>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
